package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"lantage/rootfs"
	"lantage/wire"
)

// Sync is `lantage sync`: it brings a builder's copy of this machine's root up to date.
type Sync struct {
	Where
	Copy, NoCopy []string // as in Emerge
	IgnoreCPU    bool     // as in Emerge
	Full         bool     // look at every file, also where nothing seems to have changed
	ShowInputs   bool     // show what would be copied, and do nothing
	Forget       bool     // have the builder remove its copy

	CacheDir       string // empty: /var/cache/lantage
	Version        string // of this program
	Environ        []string
	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

// Run does it.
func (s *Sync) Run(ctx context.Context) error { return interrupted(s.run(ctx)) }

func (s *Sync) run(ctx context.Context) error {
	if !isRoot() {
		return errors.New("a copy of this machine's root has files that root alone may read: run lantage sync as root")
	}
	t := &tools{environ: s.Environ, stdout: s.Stdout, stderr: s.Stderr}
	sys, err := querySystem(ctx, t)
	t.end() // there is no plan
	if err != nil {
		return err
	}
	if err := sys.readRepos(); err != nil {
		return err
	}
	if why := sys.noCopy(); why != "" {
		return errors.New(why)
	}
	e := &Emerge{
		Where: s.Where, Copy: s.Copy, NoCopy: s.NoCopy, IgnoreCPU: s.IgnoreCPU, CacheDir: s.CacheDir, Base: wire.BaseClient,
		Version: s.Version, Environ: s.Environ, Stdin: s.Stdin, Stdout: s.Stdout, Stderr: s.Stderr,
	}
	c, err := e.rootCopy(sys)
	if err != nil {
		return err
	}
	if s.ShowInputs {
		in, err := c.rules.Inputs(ctx, nil)
		if err != nil {
			return err
		}
		_, err = in.WriteTo(s.Stdout)
		return err
	}
	if err := s.check(); err != nil {
		return err
	}
	if !s.Forget {
		sys.flags.needs, sys.flags.copy = sys.queryCPU(ctx, t, sys.env, findFlagFiles(sys.configRoot, sys.repos))
	}
	b, err := e.findBuilder(ctx, sys)
	if err != nil {
		return err
	}
	defer func() { b.conn.Close() }()
	if s.Forget {
		if err := c.forget(ctx, b); err != nil {
			return fmt.Errorf("%v: %w", b, err)
		}
		e.say("%v has no copy of this machine's root any more, and nothing that was built on it.", b)
		return nil
	}
	c.full = s.Full
	_, err = e.syncRoot(ctx, sys, c, b)
	if refused, ok := errors.AsType[*wire.Error](err); ok {
		return fmt.Errorf("%v: %s", b, lostReason(refused))
	}
	return err
}

// rootCopy is what brings a copy of this machine's root up to date.
func (e *Emerge) rootCopy(sys *system) (*rootCopy, error) {
	c := &rootCopy{
		dir: cmp.Or(e.CacheDir, cacheHome), chost: sys.chost,
		rules: rootfs.Rules{
			Root: "/", Repos: sys.repoLocations(), Include: e.Copy, Exclude: e.NoCopy,
			Skip: []string{sys.pkgdir, sys.distdir}, Own: sys.ownRepos(), Text: withoutCredentials,
		},
	}
	if text, err := os.ReadFile(filepath.Join(c.dir, kernelName)); err == nil {
		level, _ := strconv.Atoi(strings.TrimSpace(string(text)))
		c.rules.Kernel = rootfs.Kernel(min(max(level, 0), int(rootfs.KernelSources)))
	}
	return c, nil
}

// withKernel makes so much of the kernel's sources part of the copy, from now on.
func (c *rootCopy) withKernel(level rootfs.Kernel) error {
	if level <= c.rules.Kernel {
		return nil
	}
	c.rules.Kernel = level
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(c.dir, kernelName), []byte(strconv.Itoa(int(level))+"\n"), 0o600)
}

// syncRoot brings b's copy up to date. A connection that is lost is made again for a while, and b then has the new one: what
// the builder has already is not sent again.
func (e *Emerge) syncRoot(ctx context.Context, sys *system, c *rootCopy, b *builder) (copied, error) {
	screen := newScreen(e.Stdout, e.Environ)
	defer screen.clear()
	show := &copyDisplay{screen: screen, builder: b.hello.Name, now: time.Now}
	c.progress = show.update
	start := time.Now()
	giveUp := start.Add(cmp.Or(e.patience, reconnectFor))
	for {
		done, err := c.sync(ctx, b)
		if err == nil {
			show.end()
			e.tellCopied(b, done, time.Since(start), c.full)
			return done, nil
		}
		if ctx.Err() != nil || !errors.Is(err, wire.ErrLost) || time.Now().After(giveUp) {
			return done, err
		}
		screen.words(fmt.Sprintf("%v: %s; trying to reach it again", b, reasonLine(err)))
		again, dialErr := e.reach(ctx, b, giveUp)
		if dialErr != nil {
			return done, err
		}
		screen.line(fmt.Sprintf("%v is back", b))
		b.conn = again.conn
		giveUp = time.Now().Add(cmp.Or(e.patience, reconnectFor))
	}
}

// reach dials a builder until it answers or the time is over.
func (e *Emerge) reach(ctx context.Context, b *builder, giveUp time.Time) (*builder, error) {
	ctx, cancel := context.WithDeadline(ctx, giveUp)
	defer cancel()
	for wait := time.Second; ; wait = min(2*wait, reconnectMost) {
		again, err := b.again(ctx)
		if err == nil && again.hello.ID == b.hello.ID {
			return again, nil
		}
		if err == nil {
			again.conn.Close()
			err = fmt.Errorf("another builder, %v, has its address now", again)
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(wait):
		}
	}
}

// tellCopied says what came of a sync.
func (e *Emerge) tellCopied(b *builder, done copied, took time.Duration, asked bool) {
	if done.current {
		if asked || e.Args == nil {
			e.say("The copy of this machine's root is current on %v: %d files, %s.", b, done.entries, rootfs.HumanBytes(done.bytes))
		}
		return
	}
	line := fmt.Sprintf("This machine's root is copied to %v: %s, %s sent", b, count(done.files, "file"), rootfs.HumanBytes(done.sent))
	if done.found > 0 {
		line += fmt.Sprintf(", %s found in what it had built", rootfs.HumanBytes(done.found))
	}
	e.say("%s (%s).", line, took.Round(100*time.Millisecond))
}

// copyDisplay shows how far a sync is: on a terminal as a status line, elsewhere as a line when it begins to send.
type copyDisplay struct {
	screen  *screen
	builder string
	now     func() time.Time

	drawn   time.Time
	begun   time.Time // the sending
	sending bool
}

func (d *copyDisplay) update(p copyProgress) {
	now := d.now()
	if !p.scanning && !d.sending {
		d.sending, d.begun = true, now
		if !d.screen.tty && p.toSend >= largeTransfer {
			d.screen.line(fmt.Sprintf("Copying this machine's root to %s: %d files, %s to send", d.builder, p.toFile,
				rootfs.HumanBytes(p.toSend)))
		}
	}
	if now.Sub(d.drawn) < 100*time.Millisecond {
		return
	}
	d.drawn = now
	d.screen.status(func(width int) string { return cut(d.line(p, now), width) })
}

func (d *copyDisplay) line(p copyProgress, now time.Time) string {
	if p.scanning {
		return fmt.Sprintf("looking at this machine's root: %d files, %s", p.entries, rootfs.HumanBytes(p.bytes))
	}
	line := fmt.Sprintf("to %s: %s of %s, %d of %d files", d.builder, rootfs.HumanBytes(p.sent), rootfs.HumanBytes(p.toSend),
		p.files, p.toFile)
	if took := now.Sub(d.begun).Seconds(); took > 1 {
		line += fmt.Sprintf(", %s/s", rootfs.HumanBytes(int64(float64(p.sent)/took)))
	}
	return line
}

func (d *copyDisplay) end() { d.screen.clear() }
