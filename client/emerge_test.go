package client

import (
	"context"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lantage/gentoo"
	"lantage/wire"
)

func wantContains(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("%q is missing in:\n%s", p, text)
		}
	}
}

func wantStatus(t *testing.T, err error, want int, out *buffer) {
	t.Helper()
	if got := status(err); got != want {
		t.Errorf("exit status %d, want %d: %v\n%s", got, want, err, out)
	}
}

// goodJob builds both packages of the usual plan.
func goodJob(d *dialog) {
	d.submit()
	d.event(wire.Event{Kind: wire.EventStarted})
	d.built("lab/a-1", "binpkg a")
	d.built("lab/b-2", "binpkg b")
	d.done(wire.OutcomeDone)
}

var bothBinpkgs = map[string]string{"lab/a/a-1-1.gpkg.tar": "binpkg a", "lab/b/b-2-1.gpkg.tar": "binpkg b"}

func TestEmergeBuildsElsewhereAndMergesHere(t *testing.T) {
	m := newMachine(t)
	var job wire.Job
	b := newBuilder(t, func(d *dialog) {
		goodJob(d)
		job = d.job
	})
	var out buffer
	err := m.emerge(b.addr(), &out, "-v", "lab/b").Run(t.Context())
	wantStatus(t, err, 0, &out)
	b.ln.Close()
	b.wg.Wait()
	if diff := cmp.Diff(bothBinpkgs, m.binpkgs()); diff != "" {
		t.Errorf("PKGDIR (-want +got):\n%s", diff)
	}
	want := "emerge --ignore-default-opts --pretend --verbose=y --color=n lab/b\nemaint --fix binhost\n" +
		"emerge --ignore-default-opts --verbose --with-bdeps=y --ask=n --usepkg=y --binpkg-respect-use=y lab/b\n"
	if diff := cmp.Diff(want, m.read("calls")); diff != "" {
		t.Errorf("programs that ran (-want +got):\n%s", diff)
	}
	if n := strings.Count(m.read("queries"), "\n"); n != 1 {
		t.Errorf("Portage, which takes long to start, was asked %d times, want 1:\n%s", n, m.read("queries"))
	}
	wantJob := wire.Job{
		ID: job.ID, Client: job.Client, CHOST: testCHOST, Env: []string{"USE=x"}, Identity: strings.TrimSpace(m.read("state/identity")),
		Packages: []wire.Package{{CPV: "lab/a-1", Repo: "lab"}, {CPV: "lab/b-2", Repo: "lab"}},
		Profile:  wire.Profile{Repo: "lab", Path: "default"},
		Repos:    []wire.Repo{{Name: "lab", Location: m.path("repo"), Revision: job.Repos[0].Revision}},
	}
	if state, err := gentoo.RepoRevision(t.Context(), m.path("repo"), []string{"lab/a", "lab/b"}); err != nil || state != job.Repos[0].Revision {
		t.Errorf("revision %q, want %q, %v", job.Repos[0].Revision, state, err)
	}
	if diff := cmp.Diff(wantJob, job); diff != "" || len(job.ID) != 32 {
		t.Errorf("job (-want +got):\n%s", diff)
	}
	text := out.String()
	wantContains(t, text, "These are the packages that would be merged", "[ebuild  N     ] lab/a-1::lab",
		"Builder: tower ("+b.addr()+"), 8 cores", "(1 of 2) lab/a-1 compile 0:00", "(1 of 2) lab/a-1 built in 0:00",
		"emerge merges")
	if strings.Contains(text, "Global Updates") {
		t.Errorf("noise before the list is shown:\n%s", text)
	}
}

func TestEmergePassesOnExitStatus(t *testing.T) {
	m := newMachine(t)
	m.write("emerge.rc", "42")
	var out buffer
	err := m.emerge(newBuilder(t, goodJob).addr(), &out, "lab/b").Run(t.Context())
	wantStatus(t, err, 42, &out)
}

func TestFailingPlanContactsNoBuilder(t *testing.T) {
	m := newMachine(t)
	m.write("pretend.err", "!!! masked\n")
	m.write("pretend.rc", "1")
	b := newBuilder(t)
	var out buffer
	err := m.emerge(b.addr(), &out, "lab/b").Run(t.Context())
	wantStatus(t, err, 1, &out)
	wantContains(t, out.String(), "!!! masked", "[ebuild  N     ] lab/a-1::lab")
	if b.count() != 0 || err.Error() != "" {
		t.Errorf("%d connections, error %q", b.count(), err)
	}
}

func TestLocalCommands(t *testing.T) {
	for _, args := range [][]string{{"--sync"}, {"-pv", "lab/b"}, {"-C", "lab/b"}, {"--nonsense"}, {}} {
		m := newMachine(t)
		b := newBuilder(t)
		var out buffer
		m.write("emerge.rc", "3")
		m.write("pretend.rc", "3")
		err := m.emerge(b.addr(), &out, args...).Run(t.Context())
		wantStatus(t, err, 3, &out)
		if got, want := m.read("calls"), "emerge "+strings.Join(args, " ")+"\n"; got != want {
			t.Errorf("ran %q, want %q", got, want)
		}
	}
}

func TestLineNotUnderstood(t *testing.T) {
	m := newMachine(t)
	m.write("pretend.out", "[ebuild  N     ] lab/a-1::lab  USE=\"x\" 0 KiB\n[strange N] lab/b-2\n")
	b := newBuilder(t)
	var out buffer
	wantStatus(t, m.emerge(b.addr(), &out, "lab/b").Run(t.Context()), 0, &out)
	wantContains(t, out.String(), "[strange N] lab/b-2", "report", "plain emerge", "emerge merges")
	e := m.emerge(b.addr(), &out, "lab/b")
	e.NoFallback = true
	wantStatus(t, e.Run(t.Context()), ExitNoFallback, &out)
	if b.count() != 0 {
		t.Error("a builder was contacted")
	}
}

func TestNothingToDo(t *testing.T) {
	m := newMachine(t)
	m.write("pretend.out", "\nThese are the packages that would be merged, in order:\n\n")
	b := newBuilder(t)
	var out buffer
	wantStatus(t, m.emerge(b.addr(), &out, "-1u", "lab/b").Run(t.Context()), 0, &out)
	wantContains(t, out.String(), "Nothing to merge")
	if got := m.read("calls"); strings.Count(got, "emerge") != 1 {
		t.Errorf("ran %q", got)
	}
	// Without --oneshot the world file may want a new entry: that is emerge's to do.
	wantStatus(t, m.emerge(b.addr(), &out, "-u", "lab/b").Run(t.Context()), 0, &out)
	wantContains(t, m.read("calls"), "emerge -u lab/b\n")
	if b.count() != 0 {
		t.Error("a builder was contacted")
	}
}

func TestNothingForABuilder(t *testing.T) {
	m := newMachine(t)
	m.write("pretend.out", "[ebuild  N F   ] lab/a-1::lab 0 KiB\n[binary  N     ] lab/b-2-3::lab 0 KiB\n")
	b := newBuilder(t)
	var out buffer
	wantStatus(t, m.emerge(b.addr(), &out, "lab/b").Run(t.Context()), 0, &out)
	wantContains(t, out.String(), "lab/a-1 is built here: its sources have to be downloaded by hand",
		"emerge merges")
	if b.count() != 0 || !strings.HasSuffix(m.read("calls"), "emerge lab/b\n") {
		t.Errorf("%d connections, ran %q", b.count(), m.read("calls"))
	}
}

func TestNoBuilder(t *testing.T) {
	m := newMachine(t)
	var out buffer
	wantStatus(t, m.emerge("", &out, "lab/b").Run(t.Context()), 0, &out)
	wantContains(t, out.String(), "no builder found", "LANTAGE_HOST", "lantage list-builders", "emerge merges")
	if !strings.HasSuffix(m.read("calls"), "emerge lab/b\n") {
		t.Errorf("ran %q", m.read("calls"))
	}
	e := m.emerge("", &out, "lab/b")
	e.NoFallback = true
	wantStatus(t, e.Run(t.Context()), ExitNoFallback, &out)
}

// --no-install never merges, so it does not fall back on what would.
func TestNoInstallWithoutBuilder(t *testing.T) {
	m := newMachine(t)
	var out buffer
	e := m.emerge("", &out, "lab/b")
	e.NoInstall = true
	wantStatus(t, e.Run(t.Context()), ExitNoFallback, &out)
	b := newBuilder(t, func(d *dialog) {
		d.submit()
		d.built("lab/a-1", "binpkg a")
		d.send(wire.TypeError, wire.Errorf(wire.CodeShutdown, "over"))
		d.drain()
	})
	e = m.emerge(b.addr(), &out, "lab/b")
	e.NoInstall = true
	wantStatus(t, e.Run(t.Context()), ExitNoFallback, &out)
	wantContains(t, out.String(), "1 binary package", "--usepkgonly --binpkg-respect-use=y =lab/a-1")
	if strings.Contains(out.String(), "emerge merges") {
		t.Error("emerge was run")
	}
}

func TestOtherCHOST(t *testing.T) {
	m := newMachine(t)
	b := newBuilderSaying(t, wire.Hello{Name: "tower", CHOST: "aarch64-unknown-linux-gnu"}, func(*dialog) {})
	var out buffer
	e := m.emerge(b.addr(), &out, "lab/b")
	e.NoFallback = true
	err := e.Run(t.Context())
	wantStatus(t, err, ExitNoFallback, &out)
	wantContains(t, words(err, &out), "tower", "aarch64-unknown-linux-gnu")
}

func TestAsk(t *testing.T) {
	for _, c := range []struct {
		name, answer string
		terminal     bool
		status       int
		builds       bool
		says         string
	}{
		{"yes", "\n", true, 0, true, "Would you like to merge these packages, 2 of them built on tower (127.0.0.1"},
		{"no", "n\n", true, 130, false, "Quitting."},
		{"end of input", "", true, 130, false, "Interrupted."},
		{"no terminal", "y\n", false, 1, false, `"--ask" should only be used in a terminal`},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMachine(t)
			b := newBuilder(t, func(d *dialog) { d.drain() }, goodJob)
			var out buffer
			e := m.emerge(b.addr(), &out, "-a", "lab/b")
			e.Stdin = strings.NewReader(c.answer)
			e.terminal = func(s any) bool { return s == e.Stdin && c.terminal }
			wantStatus(t, e.Run(t.Context()), c.status, &out)
			wantContains(t, out.String(), c.says)
			if got := len(m.binpkgs()) == 2; got != c.builds {
				t.Errorf("built: %v, want %v", got, c.builds)
			}
			if n := strings.Count(out.String(), "[Yes/No]"); n > 1 {
				t.Errorf("%d questions", n)
			}
		})
	}
}

// One package is one.
func TestAskAboutOne(t *testing.T) {
	m := newMachine(t)
	m.write("pretend.out", planOf("lab/a-1"))
	b := newBuilder(t, (*dialog).drain)
	for host, says := range map[string]string{b.addr(): "merge this package, built on tower (", "": "Build this package here? [Yes/No]"} {
		var out buffer
		e := m.emerge(host, &out, "-a", "lab/a")
		e.Stdin = strings.NewReader("no\n")
		e.terminal = func(s any) bool { return s == e.Stdin }
		wantStatus(t, e.Run(t.Context()), ExitInterrupted, &out)
		wantContains(t, out.String(), says)
	}
}

func TestAskToBuildHere(t *testing.T) {
	m := newMachine(t)
	var out buffer
	e := m.emerge("", &out, "-a", "lab/b", "--", "lab/c")
	e.Stdin = strings.NewReader("yes\n")
	e.terminal = func(s any) bool { return s == e.Stdin }
	wantStatus(t, e.Run(t.Context()), 0, &out)
	wantContains(t, out.String(), "Build these 2 packages here? [Yes/No]")
	wantContains(t, m.read("calls"), "emerge -a lab/b --ask=n -- lab/c\n")
}

// TestFailedDependency: what the builder needed and could not build is shown with its log, though nobody asked for it.
func TestFailedDependency(t *testing.T) {
	m := newMachine(t)
	m.write("pretend.out", planOf("lab/a-1"))
	b := newBuilder(t, func(d *dialog) {
		d.submit()
		d.declare(resultOf(wire.ResultLog, "dev-libs/dep-3", "dev-libs:dep-3:20260101-000000.log", "no such thing\n"))
		d.member("logs/dev-libs:dep-3:20260101-000000.log", "no such thing\n")
		d.done(wire.OutcomeFailed, wire.PackageResult{CPV: "lab/a-1", State: wire.StateSkipped, Text: "needs another"})
	})
	var out buffer
	wantStatus(t, m.emerge(b.addr(), &out, "lab/a").Run(t.Context()), ExitFailed, &out)
	wantContains(t, out.String(), "dev-libs/dep-3 FAILED on the builder", "no such thing", "The whole log: ",
		"lab/a-1 was skipped: needs another")
}

// TestDeclined: a builder that cannot build something has not failed; the rest is built here, or not at all if so wished.
func TestDeclined(t *testing.T) {
	for _, noFallback := range []bool{false, true} {
		m := newMachine(t)
		m.write("pretend.out", planOf("lab/a-1", "lab/b-2"))
		b := newBuilder(t, func(d *dialog) {
			d.submit()
			d.built("lab/a-1", "binpkg a")
			d.done(wire.OutcomeFailed, wire.PackageResult{CPV: "lab/a-1", State: wire.StateBuilt},
				wire.PackageResult{CPV: "lab/b-2", State: wire.StateDeclined, Text: "no such version there"})
		})
		var out buffer
		e := m.emerge(b.addr(), &out, "lab/a", "lab/b")
		e.NoFallback = noFallback
		err := e.Run(t.Context())
		wantContains(t, out.String(), "lab/b-2 cannot be built there: no such version there")
		merged := strings.Contains(m.read("calls"), "--usepkg=y")
		if noFallback {
			wantStatus(t, err, ExitNoFallback, &out)
		} else {
			wantStatus(t, err, 0, &out)
		}
		if merged == noFallback {
			t.Errorf("with NoFallback %v the rest is built here: %v\n%s", noFallback, merged, m.read("calls"))
		}
	}
}

func TestFailedPackage(t *testing.T) {
	m := newMachine(t)
	m.write("pretend.out", planOf("lab/a-1", "lab/b-2", "lab/c-3"))
	log := strings.Repeat("line\n", 100) + "error: \x1b[31mno such thing\x07\n"
	b := newBuilder(t, func(d *dialog) {
		d.submit()
		d.built("lab/a-1", "binpkg a")
		d.event(ended("lab/b-2", 2, wire.StateFailed, "compile"))
		d.declare(resultOf(wire.ResultLog, "lab/b-2", "lab:b-2:20260101-000000.log", log))
		d.member("logs/lab:b-2:20260101-000000.log", log)
		d.done(wire.OutcomeFailed, wire.PackageResult{CPV: "lab/a-1", State: wire.StateBuilt},
			wire.PackageResult{CPV: "lab/b-2", State: wire.StateFailed, Phase: "compile"},
			wire.PackageResult{CPV: "lab/c-3", State: wire.StateSkipped, Text: "needs lab/b-2"})
	})
	var out buffer
	err := m.emerge(b.addr(), &out, "lab/a", "lab/c").Run(t.Context())
	wantStatus(t, err, ExitFailed, &out)
	text := out.String()
	wantContains(t, text, "lab/b-2 FAILED on the builder in compile", "error: no such thing^G",
		"lab/c-3 was skipped: needs lab/b-2", "To try again: lantage emerge lab/a lab/c")
	if n := strings.Count(text, "    line\n"); n != lastLines-1 {
		t.Errorf("%d lines of the log are shown", n)
	}
	_, path, _ := strings.Cut(text, "The whole log: ")
	path, _, _ = strings.Cut(path, "\n")
	if got, err := exec.Command("cat", path).Output(); err != nil || string(got) != log {
		t.Errorf("log at %q: %v", path, err)
	}
	const merge = "emerge --ignore-default-opts --oneshot --usepkgonly --binpkg-respect-use=y --keep-going --ask=n " +
		"--quiet-build=y "
	want := "emaint --fix binhost\n" + merge + "--pretend =lab/a-1\n" + merge + "=lab/a-1\n" +
		"emerge --ignore-default-opts --ask=n --noreplace --usepkgonly --quiet lab/a\n"
	_, calls, _ := strings.Cut(m.read("calls"), "\n")
	if diff := cmp.Diff(want, calls); diff != "" {
		t.Errorf("programs that ran (-want +got):\n%s", diff)
	}
}

// Where packages failed, the user is told what was not built for that reason and what to type, also where nothing is merged.
func TestWhatNext(t *testing.T) {
	for name, c := range map[string]struct {
		arrives, noInstall bool
		want, wantNot      string
	}{
		"some arrive":            {arrives: true, want: "To try again: lantage emerge lab/c\nTo build the rest here: emerge --usepkg lab/c\n"},
		"none arrives":           {want: "To try again: lantage emerge lab/c\nTo build the rest here: emerge --usepkg lab/c\n"},
		"kept, and none arrives": {noInstall: true, want: "To try again: lantage --no-install emerge lab/c\n", wantNot: "To build the rest here"},
		"kept, and some arrive":  {arrives: true, noInstall: true, want: "To try again: lantage --no-install emerge lab/c\n", wantNot: "To build the rest here"},
	} {
		m := newMachine(t)
		m.write("pretend.out", planOf("lab/a-1", "lab/b-2", "lab/c-3"))
		b := newBuilder(t, func(d *dialog) {
			d.submit()
			if c.arrives {
				d.built("lab/a-1", "binpkg a")
			}
			d.done(wire.OutcomeFailed, wire.PackageResult{CPV: "lab/a-1", State: wire.StateFailed, Phase: "compile"},
				wire.PackageResult{CPV: "lab/b-2", State: wire.StateFailed, Phase: "compile"})
		})
		var out buffer
		e := m.emerge(b.addr(), &out, "lab/c")
		e.Local, e.NoInstall = []string{"lab/c"}, c.noInstall
		wantStatus(t, e.Run(t.Context()), ExitFailed, &out)
		_, tail, _ := strings.Cut(out.String(), "lab/b-2 FAILED on the builder in compile")
		if !strings.Contains(tail, "lab/c-3, which stays here, was not built yet, because another package failed.\n"+c.want) ||
			c.wantNot != "" && strings.Contains(tail, c.wantNot) || strings.Contains(tail, "you want it so") {
			t.Errorf("%s: %s", name, tail)
		}
	}
}

func TestNoInstallKeepsAnArchive(t *testing.T) {
	m := newMachine(t)
	var out buffer
	e := m.emerge(newBuilder(t, goodJob).addr(), &out, "lab/b", "--exclude", "lab/x y")
	e.NoInstall = true
	wantStatus(t, e.Run(t.Context()), 0, &out)
	if len(m.binpkgs()) != 0 {
		t.Errorf("PKGDIR: %v", m.binpkgs())
	}
	m.write("calls", "")
	m.write("pkg dir/.keep", "")
	var commands []string
	for line := range strings.Lines(out.String()) {
		if strings.HasPrefix(line, "  ") {
			commands = append(commands, line)
		}
	}
	cmd := exec.Command("sh", "-e")
	cmd.Stdin = strings.NewReader(strings.Join(commands, ""))
	cmd.Env = e.Environ
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s\n%v", err, text, commands)
	}
	want := map[string]string{".keep": ""}
	for name, content := range bothBinpkgs {
		want[name] = content
	}
	if diff := cmp.Diff(want, m.binpkgs()); diff != "" {
		t.Errorf("PKGDIR after the printed commands (-want +got):\n%s", diff)
	}
	wantContains(t, m.read("calls"), "emaint --fix binhost\n", "--usepkg=y --binpkg-respect-use=y lab/b\n",
		"--exclude=lab/x y")
}

func TestInterrupt(t *testing.T) {
	m := newMachine(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancelled := make(chan wire.Cancel, 1)
	b := newBuilder(t, func(d *dialog) {
		d.submit()
		d.built("lab/a-1", "binpkg a")
		cancel()
		var c wire.Cancel
		if err := d.frame().Decode(wire.TypeCancel, &c); err != nil || c.ID != d.job.ID {
			t.Errorf("cancel: %v", err)
		}
		cancelled <- c
		d.done(wire.OutcomeCancelled)
	})
	var out buffer
	err := m.emerge(b.addr(), &out, "lab/b").Run(ctx)
	wantStatus(t, err, ExitInterrupted, &out)
	<-cancelled
	if got := m.binpkgs(); len(got) != 1 {
		t.Errorf("PKGDIR: %v", got)
	}
	wantContains(t, err.Error(), "1 of 2 packages arrived")
}

// A builder that does not answer the cancel holds nobody up.
func TestInterruptWithoutAnswer(t *testing.T) {
	m := newMachine(t)
	ctx, cancel := context.WithCancel(t.Context())
	b := newBuilder(t, func(d *dialog) {
		d.submit()
		cancel()
		d.drain()
	})
	var out buffer
	wantStatus(t, m.emerge(b.addr(), &out, "lab/b").Run(ctx), ExitInterrupted, &out)
}

func TestPkgDirIsCheckedFirst(t *testing.T) {
	m := newMachine(t)
	m.write("pkg dir", "a file")
	submitted := make(chan bool, 1)
	b := newBuilder(t, func(d *dialog) { submitted <- d.frame().Type == wire.TypeSubmit })
	var out buffer
	err := m.emerge(b.addr(), &out, "lab/b").Run(t.Context())
	wantStatus(t, err, ExitFailed, &out)
	wantContains(t, err.Error(), m.path("pkg dir"))
	if <-submitted {
		t.Error("the job was submitted")
	}
}

// TestNextBuilder: where a builder declines the job, the next one gets it; where there is none, the reason is told, and
// emerge goes on here.
func TestNextBuilder(t *testing.T) {
	decline := func(d *dialog) {
		d.frame()
		d.send(wire.TypeError, wire.Errorf(wire.CodeDeclined, "the client's gcc does not run here"))
		d.drain()
	}
	hello := func(id string, cores int) wire.Hello {
		return wire.Hello{Name: "b" + id[:1], ID: id, CHOST: testCHOST, Cores: cores, JobLimit: 1, Software: "0.1"}
	}
	build := func(d *dialog) {
		d.submit()
		d.built("lab/a-1", "binpkg a")
		d.built("lab/b-2", "binpkg b")
		d.done(wire.OutcomeDone)
	}
	passOver := func(d *dialog) { d.drain() } // it is asked what it can do, and not for the job
	for name, second := range map[string]func(*dialog){"builds": build, "declines": decline} {
		m := newMachine(t)
		strong := newBuilderSaying(t, hello("0123456789abcdef", 64), decline, passOver, passOver)
		weak := newBuilderSaying(t, hello("fedcba9876543210", 2), passOver, second, passOver)
		var out buffer
		e := m.emerge("", &out, "lab/a", "lab/b")
		e.Builders = []string{strong.addr(), weak.addr()}
		if err := e.Run(t.Context()); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out.String())
		}
		wantContains(t, out.String(), "gcc does not run here", "Looking for another builder")
		if name == "builds" {
			wantContains(t, out.String(), "2 packages from bf")
			continue
		}
		wantContains(t, out.String(), "Going on here, with emerge", "no other builder that can be used")
		if n := strings.Count(out.String(), "gcc does not run here"); n != 2 { // each of them said so once
			t.Errorf("why they decline is told %d times:\n%s", n, out.String())
		}
	}
	for _, named := range []bool{false, true} {
		m := newMachine(t)
		b := newBuilderSaying(t, hello("0123456789abcdef", 64), decline, passOver)
		var out buffer
		e := m.emerge("", &out, "lab/a", "lab/b")
		e.NoFallback = true
		if e.network = lanOf(b); named {
			e.Host = b.addr()
		}
		err := e.Run(t.Context())
		wantStatus(t, err, ExitNoFallback, &out)
		if text := words(err, &out); strings.Contains(text, "ry again") || strings.Count(text, "gcc does not run here") != 1 {
			t.Errorf("it declines for good; named %v:\n%s", named, text)
		}
	}
	m := newMachine(t)
	only := newBuilderSaying(t, hello("0123456789abcdef", 64), decline)
	var out buffer
	if err := m.emerge(only.addr(), &out, "lab/a", "lab/b").Run(t.Context()); err != nil || strings.Contains(out.String(), "another builder") {
		t.Errorf("the one that was named: %v\n%s", err, out.String())
	}
}
