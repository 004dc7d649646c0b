package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"lantage/test/lab"
)

// syncBench measures what copies a client's root to a builder, on a lab of its own: laptop is the client,
// and desk a builder that is not Gentoo.
type syncBench struct {
	*bench
	laptop, desk *host
	daemon       *process
	copy         string // where other programs copy to, on this machine; Lantage's copies are on the same disk
}

// sync measures synced client roots.
func (b *bench) sync(ctx context.Context) (err error) {
	l, err := lab.New(ctx, lab.Options{Binary: b.binary, Hosts: []lab.HostSpec{
		{Name: "laptop"}, {Name: "desk", Foreign: true},
	}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	s := &syncBench{bench: b, laptop: l.Host("laptop"), desk: l.Host("desk"), copy: filepath.Join(l.Dir, "copy")}
	if err := s.furnish(ctx); err != nil {
		return err
	}
	defer func() {
		if s.daemon != nil {
			s.daemon.stop()
		}
	}()
	for _, measure := range []func(context.Context) error{s.first, s.afterMerge, s.nothingChanged, s.walk} {
		if err := measure(ctx); err != nil {
			return err
		}
	}
	return nil
}

// furnish puts this program on the hosts, and more files on laptop than the small root of the lab has.
func (s *syncBench) furnish(ctx context.Context) error {
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return err
	}
	for _, h := range []*host{s.laptop, s.desk} {
		if err := os.WriteFile(h.Path(tool), self, 0o755); err != nil {
			return err
		}
	}
	s.say("a root of about 50,000 files and 1.2 GB on laptop")
	if err := addPackages(s.laptop); err != nil {
		return err
	}
	_, _, err = on(ctx, s.laptop, tool, "make-full", "/usr/share/full", "40000")
	return err
}

// first measures the first sync against other programs' copies.
func (s *syncBench) first(ctx context.Context) error {
	took := make(map[string][]time.Duration)
	ways := []string{"lantage", "rsync", "tar"}
	for round := range s.rounds {
		s.say("first sync, round %d of %d: %s", round+1, s.rounds, strings.Join(ways, ", "))
		for _, way := range ways {
			d, err := s.copyBy(ctx, way)
			if err != nil {
				return err
			}
			took[way] = append(took[way], d)
		}
		slices.Reverse(ways)
	}
	files, size, err := s.copySize()
	if err != nil {
		return err
	}
	o, r, t := median(took["lantage"]).Seconds(), median(took["rsync"]).Seconds(), median(took["tar"]).Seconds()
	speed := func(seconds float64) string {
		return fmt.Sprintf("%.1f s (%.0f MB/s)", seconds, float64(size)/1e6/seconds)
	}
	s.row(fmt.Sprintf("first sync of %d files, %.0f MB", files, float64(size)/1e6), speed(o),
		"rsync -aHAX: "+speed(r), fmt.Sprintf("%.2f", r/o), "≥ 1.0", r/o >= 1)
	s.row("", "", "tar | tar: "+speed(t), fmt.Sprintf("%.2f", t/o), "≥ 0.6", t/o >= 0.6)
	return nil
}

// copyBy makes one copy from nothing, with all that was written before on the disk already.
func (s *syncBench) copyBy(ctx context.Context, way string) (time.Duration, error) {
	if way == "lantage" {
		if err := s.freshBuilder(ctx); err != nil {
			return 0, err
		}
		syscall.Sync()
		sent, err := s.lantageSync(ctx)
		if err == nil && sent.bytes == 0 {
			err = fmt.Errorf("the daemon received nothing; it said:\n%s", s.daemon)
		}
		return sent.took, err
	}
	if err := errors.Join(os.RemoveAll(s.copy), os.Mkdir(s.copy, 0o755)); err != nil {
		return 0, err
	}
	syscall.Sync()
	if way == "tar" {
		return s.tarCopy(ctx)
	}
	stop, err := s.serveRsync(ctx)
	if err != nil {
		return 0, err
	}
	defer stop()
	took, err := s.rsyncCopy(ctx)
	if err != nil {
		return 0, err
	}
	again, err := s.rsyncCopy(ctx)
	s.note("first sync: rsync takes %.2f s when nothing has changed in the same files", again.Seconds())
	return took, err
}

// synced is what a `lantage sync` did.
type synced struct {
	took  time.Duration
	bytes int64 // of files, sent
	peak  int   // resident, KiB
}

// What the daemon says when it has a new copy, and when a job's root is there.
var (
	copySaid    = regexp.MustCompile(`msg="a client's root is copied".* received=(\d+)`)
	jobRootSaid = regexp.MustCompile(`msg="job root is ready".* took=(\S+)`)
)

// freshBuilder starts a daemon that has nothing, and has the client forget all that it knows.
func (s *syncBench) freshBuilder(ctx context.Context) (err error) {
	if s.daemon != nil {
		s.daemon.stop()
	}
	for _, h := range []*host{s.desk, s.laptop} {
		if _, _, err := on(ctx, h, "rm", "-rf", "/var/lib/lantage", "/var/cache/lantage"); err != nil {
			return err
		}
	}
	if s.daemon, err = start(ctx, s.desk, "lantage", "serve", "--bases=client"); err != nil {
		return err
	}
	return s.daemon.await(ctx, "advertising", 1)
}

// lantage is a command line of the client's, with the builder named: finding it is measured elsewhere.
func (s *syncBench) lantage(args ...string) []string {
	return append([]string{"lantage", "--no-fallback", "--builder", s.desk.IP()}, args...)
}

// lantageSync is one `lantage sync`.
func (s *syncBench) lantageSync(ctx context.Context, flags ...string) (did synced, err error) {
	before := s.received()
	began := time.Now()
	p, err := start(ctx, s.laptop, s.lantage(append([]string{"sync"}, flags...)...)...)
	if err != nil {
		return did, err
	}
	err = p.wait()
	return synced{took: time.Since(began), bytes: s.received() - before, peak: p.peak}, err
}

// received is how many bytes of files' contents the daemon has taken so far.
func (s *syncBench) received() (sum int64) {
	for _, m := range copySaid.FindAllStringSubmatch(s.daemon.String(), -1) {
		n, _ := strconv.ParseInt(m[1], 10, 64)
		sum += n
	}
	return sum
}

// afterMerge has packages built on the client's own root, merges them, and looks what of them is sent again.
func (s *syncBench) afterMerge(ctx context.Context) error {
	s.say("packages built on the client's root, merged, and synced again")
	args := s.lantage("--base", "client", "emerge", "-1q", "lab-apps/big1", "lab-apps/hello", "lab-five/p1")
	before := s.received()
	if _, _, err := on(ctx, s.laptop, args...); err != nil {
		return err
	}
	if _, err := s.lantageSync(ctx); err != nil {
		return err
	}
	sent := s.received() - before
	out, _, err := on(ctx, s.laptop, "find", pkgDir, "-name", "*.gpkg.tar", "-printf", "%s\n")
	if err != nil {
		return err
	}
	var size int64
	for line := range strings.Lines(out) {
		n, _ := strconv.ParseInt(strings.TrimSpace(line), 10, 64)
		size += n
	}
	share := float64(sent) / float64(max(size, 1)) * 100
	s.row(fmt.Sprintf("sent again of %.0f MB of binpkgs", float64(size)/1e6), fmt.Sprintf("%d bytes", sent), "",
		fmt.Sprintf("%.2f %%", share), "< 2 %", share < 2)
	s.jobRoot()
	return nil
}

// jobRoot reads from the daemon's log how long the roots of its jobs took.
func (s *syncBench) jobRoot() {
	worst, shown := time.Duration(-1), "not said"
	for _, m := range jobRootSaid.FindAllStringSubmatch(s.daemon.String(), -1) {
		if d, err := time.ParseDuration(m[1]); err == nil && d > worst {
			worst, shown = d, fmt.Sprintf("%.0f ms", d.Seconds()*1e3)
		}
	}
	s.row("job root from a synced base", shown, "", "", "< 100 ms", worst >= 0 && worst < 100*time.Millisecond)
}

// manyDir and a number name trees of 100,000 empty files. Those after the first are hard links to it: ten times
// as many files would take minutes to make, and a list has each link as a file anyway.
const manyDir = "/usr/share/many-"

// link makes more of those trees.
func (s *syncBench) link(ctx context.Context, from, to int) error {
	for i := from; i <= to; i++ {
		if _, _, err := on(ctx, s.laptop, tool, "make-links", manyDir+"0", manyDir+strconv.Itoa(i)); err != nil {
			return err
		}
	}
	return nil
}

// nothingChanged measures a sync of a large root in which nothing has changed.
func (s *syncBench) nothingChanged(ctx context.Context) error {
	s.say("500,000 files and 1,500 installed packages more on laptop")
	if _, _, err := on(ctx, s.laptop, tool, "make-empty", manyDir+"0", "100000"); err != nil {
		return err
	}
	if err := s.link(ctx, 1, 4); err != nil {
		return err
	}
	if _, _, err := on(ctx, s.laptop, tool, "make-vdb", "/var/db/pkg", "1500"); err != nil {
		return err
	}
	s.say("syncing them")
	did, err := s.lantageSync(ctx)
	if err != nil {
		return err
	}
	s.note("500,000 new files, all empty, and 1,500 packages in the VDB were synced in %.1f s", did.took.Seconds())
	var took []time.Duration
	for range max(s.rounds, 3) {
		did, err := s.lantageSync(ctx)
		if err != nil {
			return err
		}
		took = append(took, did.took)
	}
	o := median(took)
	s.row("nothing changed, 500,000 files, 1,500 packages", fmt.Sprintf("%.2f s", o.Seconds()), "", "", "< 0.3 s",
		o < 300*time.Millisecond)
	if did, err = s.lantageSync(ctx, "--full"); err == nil {
		s.note("the same with --full, which walks: %.1f s, peak RSS %d MiB", did.took.Seconds(), did.peak>>10)
	}
	return err
}

// walk measures a walk of a million files, and beside it find's.
func (s *syncBench) walk(ctx context.Context) error {
	s.say("500,000 files more, and a walk of a million")
	if err := s.link(ctx, 5, 9); err != nil {
		return err
	}
	find := s.laptop.Command(ctx, "find", "/", "-xdev", "-printf", "%s %T@\\n")
	var out bytes.Buffer
	find.Stdout = &out
	began := time.Now()
	if err := find.Run(); err != nil {
		return fmt.Errorf("find: %w", err)
	}
	found := time.Since(began)
	began = time.Now()
	p, err := start(ctx, s.laptop, s.lantage("sync", "--show-inputs")...)
	if err != nil {
		return err
	}
	if err := p.wait(); err != nil {
		return err
	}
	took, files := time.Since(began), bytes.Count(out.Bytes(), []byte("\n"))
	s.row(fmt.Sprintf("walk of %d files", files), fmt.Sprintf("%.1f s", took.Seconds()),
		fmt.Sprintf("find -printf: %.1f s", found.Seconds()), fmt.Sprintf("%.2f", found.Seconds()/took.Seconds()),
		"< 10 s", took < 10*time.Second)
	s.row("", fmt.Sprintf("peak RSS %d MiB", p.peak>>10), "", "", "< 200 MB", p.peak<<10 < 200e6)
	return nil
}
