package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

const pkgDir = "/var/cache/binpkgs"

// bigPackages, with their sizes in blocks of 50 MiB: four that make one gigabyte, and one of four.
var bigPackages = []struct {
	name   string
	blocks int
}{{"big1", 4}, {"big2", 5}, {"big3", 5}, {"big4", 5}, {"huge", 77}}

// gigabyte is 1 GB in several packages, the first of them 0.2 GB; huge is 4 GB in one.
var (
	gigabyte = []string{"lab-apps/big1", "lab-apps/big2", "lab-apps/big3", "lab-apps/big4"}
	huge     = []string{"lab-apps/huge"}
)

// transfers measures what the wire does: speed against raw copies of the same files, and memory by size.
func (b *bench) transfers(ctx context.Context) error {
	b.say("building 1 GB of incompressible packages on tower")
	if _, err := b.fetch(ctx, b.main, gigabyte); err != nil {
		return err
	}
	var ours, raw []time.Duration
	var files []string
	for round := range b.rounds {
		b.say("transfer of 1 GB, round %d of %d: Lantage, then a raw copy", round+1, b.rounds)
		f, err := b.fetchAtOnce(ctx, b.main, gigabyte)
		if err != nil {
			return err
		}
		ours = append(ours, f.transfer)
		b.gigabyte.daemon = max(b.gigabyte.daemon, f.daemonKiB>>10)
		b.gigabyte.client = max(b.gigabyte.client, f.clientKiB>>10)
		files = f.files
		took, err := b.rawCopy(ctx, files)
		if err != nil {
			return err
		}
		raw = append(raw, took)
		b.note("transfer, round %d: %.2f s until the last binpkg is in PKGDIR, then %.2f s for Portage's index "+
			"(emaint --fix binhost); raw copy %.2f s",
			round+1, f.transfer.Seconds(), f.index.Seconds(), took.Seconds())
	}
	b.say("tar czf - | tar xzf - of the first 200 MB of it")
	tar, size, err := b.tarPipe(ctx, files[:1])
	if err != nil {
		return err
	}
	total, err := b.size(files)
	if err != nil {
		return err
	}
	speed := func(n int64, d time.Duration) float64 { return float64(n) / 1e6 / d.Seconds() }
	o, r, t := speed(total, median(ours)), speed(total, median(raw)), speed(size, tar)
	b.row("transfer of 1 GB of binpkgs", fmt.Sprintf("%.0f MB/s", o),
		fmt.Sprintf("raw TCP copy: %.0f MB/s", r), fmt.Sprintf("%.2f", o/r), "≥ 0.7", o/r >= 0.7)
	b.row("", "", fmt.Sprintf("tar czf | tar xzf: %.0f MB/s", t),
		fmt.Sprintf("%.1f", o/t), "≥ 10", o/t >= 10)
	return nil
}

// serving is a daemon on tower, and the flags with which a client takes it and no other.
type serving struct {
	daemon *process
	flags  []string
}

// fetched is a `lantage emerge --buildpkgonly` that has ended well.
type fetched struct {
	files                []string // below PKGDIR
	transfer, index      time.Duration
	daemonCPU, clientCPU time.Duration // during the transfer
	busy                 float64       // the share of the machine's cores that was, during the transfer
	daemonKiB, clientKiB int
}

// fetch has packages built, or sent from the builder's cache, into an empty PKGDIR.
func (b *bench) fetch(ctx context.Context, from serving, pkgs []string) (fetched, error) {
	p, err := b.begin(ctx, from, pkgs)
	if err != nil {
		return fetched{}, err
	}
	err = p.wait()
	from.daemon.look()
	return fetched{daemonKiB: from.daemon.peak, clientKiB: p.peak}, err
}

func (b *bench) begin(ctx context.Context, from serving, pkgs []string) (*process, error) {
	if _, _, err := on(ctx, b.store, "find", pkgDir, "-mindepth", "1", "-delete"); err != nil {
		return nil, err
	}
	if err := from.daemon.forget(); err != nil {
		return nil, err
	}
	args := append([]string{"lantage", "--no-fallback"}, from.flags...)
	return start(ctx, b.store, slices.Concat(args, []string{"emerge", "-1B"}, pkgs)...)
}

// fetchAtOnce is a fetch of which only the transfer counts. The builder answers from its cache, but its
// emerge takes its time to merge each package into the build root, and the client gets each at that
// moment. So the client is stopped until that is done, and all of the results are waiting for it when it
// goes on.
func (b *bench) fetchAtOnce(ctx context.Context, from serving, pkgs []string) (f fetched, err error) {
	const ended = "job ended"
	before := strings.Count(from.daemon.String(), ended)
	p, err := b.begin(ctx, from, pkgs)
	if err != nil {
		return f, err
	}
	if err := p.await(ctx, "emerge runs", 1); err != nil {
		return f, err
	}
	if err := syscall.Kill(p.pid, syscall.SIGSTOP); err != nil {
		return f, err
	}
	err = from.daemon.await(ctx, ended, before+1)
	// After so long a silence it may have to connect anew first; then its first result begins anew as well.
	f.clientCPU, f.daemonCPU = p.cpuNow(), from.daemon.cpuNow()
	cores := coresNow()
	p.mark = "receiving " + pkgs[0] + "-1"
	p.when = time.Now()
	_ = p.cmd.Process.Signal(syscall.SIGCONT) // nsenter stops with its program
	if err := errors.Join(err, syscall.Kill(p.pid, syscall.SIGCONT)); err != nil {
		return f, err
	}
	arrived := make(chan time.Time, 1)
	go func() {
		f.files = b.awaitFiles(p, len(pkgs))
		last := time.Now()
		f.clientCPU, f.daemonCPU = p.cpuNow()-f.clientCPU, from.daemon.cpuNow()-f.daemonCPU
		f.busy = coresNow().since(cores)
		arrived <- last
	}()
	err = p.wait()
	last := <-arrived
	f.transfer, f.index = last.Sub(p.when), time.Since(last)
	from.daemon.look()
	f.daemonKiB, f.clientKiB = from.daemon.peak, p.peak
	if err == nil && len(f.files) != len(pkgs) {
		err = fmt.Errorf("%d of %d packages arrived; the client said:\n%s", len(f.files), len(pkgs), p)
	}
	return f, err
}

// awaitFiles waits until n binpkgs lie in store's PKGDIR, or p has ended, and returns their paths below it.
func (b *bench) awaitFiles(p *process, n int) []string {
	top := b.store.Path(pkgDir) + "/"
	for ended := false; ; {
		files, _ := filepath.Glob(top + "lab-apps/*/*.gpkg.tar")
		if len(files) == n || ended {
			for i, name := range files {
				files[i] = strings.TrimPrefix(name, top)
			}
			return files
		}
		select {
		case <-p.done:
			ended = true
		case <-time.After(3 * time.Millisecond):
		}
	}
}

// onTower are the same files in the builder's PKGDIR, as the builder sees them.
func (b *bench) onTower(files []string) ([]string, error) {
	var list []string
	for _, name := range files {
		top := b.tower.Path("/")
		found, err := filepath.Glob(filepath.Join(top, "var/lib/lantage/binpkgs/*/*", name)) // of each client and its settings
		if err != nil || len(found) != 1 {
			return nil, fmt.Errorf("%s is %d times in tower's cache", name, len(found))
		}
		list = append(list, "/"+strings.TrimPrefix(found[0], top))
	}
	return list, nil
}

func (b *bench) size(files []string) (n int64, err error) {
	for _, name := range files {
		fi, err := os.Stat(b.store.Path(filepath.Join(pkgDir, name)))
		if err != nil {
			return 0, err
		}
		n += fi.Size()
	}
	return n, nil
}

// rawCopy copies the files over TCP and to the disk, and nothing else.
func (b *bench) rawCopy(ctx context.Context, files []string) (time.Duration, error) {
	const dir = "/var/cache/raw"
	if _, _, err := on(ctx, b.store, "sh", "-c", "rm -rf "+dir+"; mkdir "+dir); err != nil {
		return 0, err
	}
	list, err := b.onTower(files)
	if err != nil {
		return 0, err
	}
	sender := append([]string{tool, "send"}, list...)
	return b.between(ctx, sender, []string{tool, "receive", b.tower.IP(), dir})
}

// tarPipe copies files as people do by hand.
func (b *bench) tarPipe(ctx context.Context, files []string) (took time.Duration, size int64, err error) {
	list, err := b.onTower(files)
	if err != nil {
		return 0, 0, err
	}
	if size, err = b.size(files); err != nil {
		return 0, 0, err
	}
	took, err = b.between(ctx, append([]string{tool, "pipe-out", "tar", "czPf", "-"}, list...),
		[]string{tool, "pipe-in", b.tower.IP(), "tar", "xzf", "-", "-C", "/var/cache/raw"})
	return took, size, err
}

// between runs a sender on tower and a receiver on store, and takes the time from the receiver's start
// to its end.
func (b *bench) between(ctx context.Context, sender, receiver []string) (time.Duration, error) {
	s, err := start(ctx, b.tower, sender...)
	if err != nil {
		return 0, err
	}
	if err := s.await(ctx, "ready", 1); err != nil {
		return 0, err
	}
	_, took, err := on(ctx, b.store, receiver...)
	return took, errors.Join(err, s.wait())
}

func median[T int | float64 | time.Duration](list []T) T {
	list = slices.Sorted(slices.Values(list))
	return (list[(len(list)-1)/2] + list[len(list)/2]) / 2
}
