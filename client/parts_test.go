package client

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lantage/archive"
	"lantage/gentoo"
	"lantage/wire"
)

func link(t *testing.T, target, name string) {
	t.Helper()
	if err := os.Symlink(target, name); err != nil {
		t.Fatal(err)
	}
}

func openRoot(t *testing.T, dir string) *os.Root {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return root
}

func TestColoured(t *testing.T) {
	got := coloured("x\n[ebuild  N     ] lab/a-1::lab  USE=\"x\"\n" +
		"[blocks B      ] lab/b (\"lab/b\" is soft blocking lab/a-1)\n")
	want := "x\n[\x1b[32mebuild\x1b[0m  N     ] \x1b[32mlab/a-1::lab\x1b[0m  USE=\"x\"\n" +
		"[\x1b[31mblocks\x1b[0m B      ] \x1b[31mlab/b\x1b[0m (\"lab/b\" is soft blocking lab/a-1)\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestParseHost(t *testing.T) {
	for _, c := range []struct{ host, port, want string }{
		{"tower", "", "tower 8473"},
		{"tower.lan:99", "", "tower.lan 99"},
		{"tower", "99", "tower 99"},
		{"tower:98", "99", "tower 98"},
		{"192.0.2.1", "", "192.0.2.1 8473"},
		{"192.0.2.1:99", "", "192.0.2.1 99"},
		{"2001:db8::1", "", "2001:db8::1 8473"},
		{"2001:db8::1", "99", "2001:db8::1 99"},
		{"[2001:db8::1]", "", "2001:db8::1 8473"},
		{"[2001:db8::1]:99", "", "2001:db8::1 99"},
		{"fe80::1%eth0", "", "fe80::1%eth0 8473"},
		{"[fe80::1%eth0]:99", "", "fe80::1%eth0 99"},
		{"tower:", "", "error"},
		{"tower:0", "", "error"},
		{"tower:65536", "", "error"},
		{":99", "", "error"},
		{"tower", "http", "error"},
		{"[2001:db8::1", "", "error"},
		{"a:b:c", "", "error"},
		{"http://tower", "", "error"},
		{"two words", "", "error"},
	} {
		name, port, err := parseHost("LANTAGE_HOST", c.host, c.port)
		got := fmt.Sprintf("%s %d", name, port)
		if err != nil {
			got = "error"
		}
		if got != c.want {
			t.Errorf("parseHost(%q, %q) = %s (%v), want %s", c.host, c.port, got, err, c.want)
		}
	}
}

// One reason for all addresses of a builder is said once.
func TestDialErrors(t *testing.T) {
	refused, plain := errors.New("refused"), errors.New("it does not encrypt")
	err := dialErrors{
		&DialError{"192.0.2.1:8473", plain, true}, &DialError{"[fd00::1]:8473", plain, true}, &DialError{"192.0.2.2:8473", refused, false}, errors.New("other"),
	}
	if got, want := err.Error(), "192.0.2.1:8473, [fd00::1]:8473: it does not encrypt; 192.0.2.2:8473: refused; other"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if !errors.Is(err, errAnswered) || errors.Is(err[2:], errAnswered) || !errors.Is(err, refused) {
		t.Error("who answered is not told from who did not")
	}
}

// Of a builder's addresses people are shown the one that is easiest to read and to use, with the name of an interface.
func TestShownAddress(t *testing.T) {
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	link := fmt.Sprintf("[fe80::1%%%d]:8473", lo.Index)
	for _, c := range []struct {
		addrs []string
		want  string
	}{
		{[]string{link}, "fe80::1%lo"},
		{[]string{"[fe80::1%99999]:8473"}, "fe80::1%99999"},
		{[]string{"[fe80::1%eth0]:1"}, "[fe80::1%eth0]:1"},
		{[]string{link, "[fd00::1]:8473"}, "fd00::1"},
		{[]string{link, "[fd00::1]:8473", "10.77.0.1:8473", "10.77.0.2:8473"}, "10.77.0.1"},
		{[]string{"169.254.1.1:8473", "[2001:db8::1]:8473"}, "2001:db8::1"},
	} {
		var addrs []netip.AddrPort
		for _, a := range c.addrs {
			addrs = append(addrs, netip.MustParseAddrPort(a))
		}
		if got := shownAddr(easiest(addrs)); got != c.want {
			t.Errorf("%q: %s, want %s", c.addrs, got, c.want)
		}
		var found []sighting
		for _, a := range addrs { // it answered everywhere
			found = append(found, sighting{builder: &builder{hello: wire.Hello{ID: "tower0"}, at: a}, err: errOther})
		}
		if one := merge(found, nil); len(one) != 1 || one[0].builder.addr != c.want || one[0].builder.addrs[0] != easiest(addrs) {
			t.Errorf("%q: a builder that answers there is shown at %+v", c.addrs, one)
		}
	}
}

func TestTidy(t *testing.T) {
	h := tidy(wire.Hello{Name: "a\x1b[2J\nb", CHOST: strings.Repeat("x", 5000), Cores: -1, Load: math.NaN(), Jobs: 1 << 40})
	if h.Name != "a b" || len(h.CHOST) > 70 || h.Cores != 0 || h.Load != 0 || h.Jobs != 1<<30 {
		t.Errorf("%+v", h)
	}
	long := tidy(wire.Hello{Features: slices.Repeat([]string{strings.Repeat("f", 500) + "\x1b"}, 5000)}).Features
	if len(long) > 1024 || len(long[0]) > 70 {
		t.Errorf("%d features, as %q", len(long), long[0])
	}
	if tidy(wire.Hello{}).Name == "" {
		t.Error("no name to show")
	}
}

func TestPick(t *testing.T) {
	b := func(name string, cores int, load float64, jobs, waiting, limit int) *builder {
		return &builder{addr: "192.0.2.1", hello: wire.Hello{
			Name: name, Cores: cores, Load: load, Jobs: jobs, Waiting: waiting, JobLimit: limit, CHOST: testCHOST,
		}}
	}
	for _, c := range []struct {
		want string
		of   []*builder
	}{
		{"big", []*builder{b("small", 4, 0, 0, 0, 1), b("big", 16, 0, 0, 0, 1)}},
		{"small", []*builder{b("small", 4, 0, 0, 0, 1), b("loaded", 16, 15, 0, 0, 1)}},
		{"small", []*builder{b("small", 4, 0, 0, 0, 1), b("busy", 64, 0, 1, 0, 1)}},
		{"small", []*builder{b("small", 4, 0, 0, 0, 1), b("queue", 64, 0, 0, 3, 4)}},
		{"wide", []*builder{b("wide", 4, 4, 4, 3, 4), b("narrow", 64, 0, 1, 1, 1)}}, // the shorter wait
		{"big", []*builder{b("big", 16, 99, 0, 0, 1), b("small", 4, 99, 0, 0, 1)}},
		{"a", []*builder{b("b", 4, 0, 0, 0, 1), b("a", 4, 0, 0, 0, 1)}},
	} {
		for range 2 {
			if got := pick(c.of).hello.Name; got != c.want {
				t.Errorf("picked %s, want %s", got, c.want)
			}
			slices.Reverse(c.of)
		}
	}
	got := whyPicked(b("big", 16, 0.5, 0, 0, 1), "the freest of 3")
	if got != "Builder: big (192.0.2.1), 16 cores, load 0.50, no job running (the freest of 3)" {
		t.Error(got)
	}
}

func TestAsker(t *testing.T) {
	for _, c := range []struct {
		in           string
		enterInvalid bool
		want         string
		sorry        int
	}{
		{"\n", false, "yes", 0},
		{"y\n", false, "yes", 0},
		{"YE\n", false, "yes", 0},
		{"no\n", false, "no", 0},
		{"N\r\n", false, "no", 0},
		{"what\nyess\n\nn\n", true, "no", 3},
		{"what\n", false, "interrupted", 1},
		{"y", false, "interrupted", 0},
	} {
		var out bytes.Buffer
		in := strings.NewReader(c.in + "rest")
		if strings.HasSuffix(c.want, "interrupted") {
			in = strings.NewReader(c.in)
		}
		yes, err := (&asker{in: in, out: &out, enterInvalid: c.enterInvalid}).yes(t.Context(), "Sure?")
		got := map[bool]string{true: "yes", false: "no"}[yes]
		if errors.Is(err, errInterrupted) {
			got = "interrupted"
		}
		if got != c.want || strings.Count(out.String(), "Sorry") != c.sorry {
			t.Errorf("%q: %s, want %s: %q", c.in, got, c.want, &out)
		}
		if rest, _ := io.ReadAll(in); err == nil && string(rest) != "rest" {
			t.Errorf("%q: %q is left for emerge", c.in, rest)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r, _ := io.Pipe()
	if _, err := (&asker{in: r, out: io.Discard}).yes(ctx, "Sure?"); !errors.Is(err, errInterrupted) {
		t.Errorf("Ctrl-C: %v", err)
	}
}

func TestWorldTargets(t *testing.T) {
	cpv := func(s string) gentoo.CPV {
		c, err := gentoo.ParseCPV(s)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	merged := []arrival{{cpv: cpv("lab/prog-1.2")}, {cpv: cpv("lab/prog-tools-2")}, {cpv: cpv("lab/two-1")}}
	failed := []failure{{cpv: cpv("lab/two-2")}, {cpv: cpv("lab/other-1")}}
	got := worldTargets([]string{
		"prog", "lab/prog", "=lab/prog-1.2", ">=lab/prog-1*", "lab/prog:0", "lab/prog[x]", "lab/prog::lab", "lab/pro",
		"prog-tools", "lab/two", "other", "@world", "xlab/prog",
	}, merged, failed)
	want := []string{
		"prog", "lab/prog", "=lab/prog-1.2", ">=lab/prog-1*", "lab/prog:0", "lab/prog[x]", "lab/prog::lab",
		"prog-tools",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestQuote(t *testing.T) {
	got := quoteAll([]string{"-av", ">=a/b-1", "it's", "", "@world"})
	if want := `-av '>=a/b-1' 'it'\''s' '' @world`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// filesIn are the files of a tar.gz, which has only these and directories.
func filesIn(t *testing.T, targz io.Reader) map[string]string {
	t.Helper()
	got := map[string]string{}
	r := archive.NewReader(targz, archive.Limits{})
	for {
		h, err := r.Next()
		if err == io.EOF {
			return got
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			b, _ := io.ReadAll(r)
			got[h.Name] = string(b)
		} else if h.Typeflag != tar.TypeDir {
			t.Errorf("%s has type %c", h.Name, h.Typeflag)
		}
	}
}

func TestInputs(t *testing.T) {
	m := newMachine(t)
	for name, text := range map[string]string{
		"etc/portage/package.use/x": "x", "etc/portage/package.use/x~": "", "etc/portage/._cfg0000_make.conf": "",
		"etc/portage/.git/config": "", "etc/portage/gnupg/secret": "", "etc/portage/patches/lab/a/one.patch": "p",
		"repo/patches/two.patch": "q", "outside/secret": "s",
	} {
		m.write(name, text)
	}
	link(t, "../../../repo/patches", m.path("etc/portage/patches/more"))
	link(t, m.path("repo/patches/two.patch"), m.path("etc/portage/two"))
	link(t, "package.use", m.path("etc/portage/again"))
	link(t, "gnupg/secret", m.path("etc/portage/key"))
	link(t, "../../outside/secret", m.path("etc/portage/out"))
	link(t, "nowhere", m.path("etc/portage/dangling"))
	link(t, ".", m.path("etc/portage/circle"))
	link(t, "../../etc/portage/patches", m.path("repo/patches/back"))
	var warned []string
	in := inputs{root: m.dir, repos: []string{m.path("repo")}, warn: func(format string, args ...any) {
		warned = append(warned, strings.ReplaceAll(fmt.Sprintf(format, args...), m.dir, ""))
	}}
	file, size, err := in.pack(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	got := filesIn(t, io.NewSectionReader(file, 0, size))
	want := map[string]string{
		"etc/portage/make.conf": "CFLAGS=-O2\n", "etc/portage/package.use/x": "x", "etc/portage/again/x": "x",
		"etc/portage/patches/lab/a/one.patch": "p", "etc/portage/patches/more/two.patch": "q",
		"etc/portage/two": "q",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("inputs (-want +got):\n%s", diff)
	}
	slices.Sort(warned)
	wantWarned := []string{
		"/etc/portage/circle leads round in a circle, so the builder does not get it",
		"/etc/portage/dangling leads nowhere, so the builder does not get it",
		"/etc/portage/out leads to /outside/secret, outside /etc/portage and the repositories, " +
			"so the builder does not get it",
		"/repo/patches/back leads round in a circle, so the builder does not get it",
	}
	if diff := cmp.Diff(wantWarned, warned); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
}

func TestToolsNeverFindThemselves(t *testing.T) {
	m := newMachine(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(m.path("first"), 0o755); err != nil {
		t.Fatal(err)
	}
	link(t, self, m.path("first/emerge"))
	tl := &tools{environ: []string{"PATH=" + m.path("first") + ":" + m.path("bin")}}
	if path, err := tl.find("emerge"); path != m.path("bin/emerge") {
		t.Errorf("%s, %v", path, err)
	}
	if _, err := tl.find("no-such-program"); err == nil {
		t.Error("found")
	}
	tl.environ = append(tl.environ, depthName+"=4")
	if _, err := tl.capture(t.Context(), "emerge", nil); err == nil {
		t.Error("no end of calls to ourselves")
	}
}

// A program's output is bounded, and the program is not held up by that.
func TestOutputIsBounded(t *testing.T) {
	m := newMachine(t)
	m.write("bin/emerge", "#!/bin/sh\nhead -c 70000000 /dev/zero\n")
	tl := &tools{environ: []string{"PATH=" + m.path("bin") + ":/usr/bin:/bin"}}
	if _, err := tl.capture(t.Context(), "emerge", nil); !errors.Is(err, errOutputTooLarge) {
		t.Errorf("%v", err)
	}
}

func TestPackIsReadable(t *testing.T) {
	m := newMachine(t)
	in := inputs{root: filepath.Join(m.dir, "nowhere"), warn: t.Logf}
	if _, _, err := in.pack(t.Context()); err == nil || !strings.Contains(err.Error(), "nowhere/etc/portage") {
		t.Errorf("%v", err)
	}
}
