package client

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lantage/wire"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// building and ended are events of one package.
func building(cpv string, n int, phase string) wire.Event {
	return wire.Event{Kind: wire.EventPackage, CPV: cpv, N: n, Of: 3, State: wire.StateBuilding, Phase: phase}
}

func ended(cpv string, n int, state wire.State, phase string) wire.Event {
	return wire.Event{Kind: wire.EventPackage, CPV: cpv, N: n, Of: 3, State: state, Phase: phase}
}

// script is a job of three packages, by the second in which an event comes.
var script = []struct {
	second int
	event  wire.Event
}{
	{0, wire.Event{Kind: wire.EventQueued, Position: 1}},
	{5, wire.Event{Kind: wire.EventStarted}},
	{6, ended("dev-libs/greet-2", 1, wire.StateReused, "")},
	{6, building("app-misc/hello-1.1-r1", 2, "")},
	{6, building("app-misc/hello-1.1-r1", 2, "unpack")},
	{7, building("app-misc/hello-1.1-r1", 2, "compile")},
	{8, building("lab-fail/compile-1", 3, "\x1b[2J")},
	{9, wire.Event{Kind: wire.EventNote, Text: "disk \x1b[31malmost\x07 full"}},
	{48, ended("app-misc/hello-1.1-r1", 2, wire.StateBuilt, "")},
	{3700, ended("lab-fail/compile-1", 3, wire.StateFailed, "compile")},
}

func TestPlainLines(t *testing.T) {
	var out bytes.Buffer
	now := start
	d := newDisplay(&screen{out: &out}, newBoard("tower", 3), func() time.Time { return now }, nil)
	for _, s := range script {
		d.do(func() { now = start.Add(time.Duration(s.second) * time.Second) })
		d.event(s.event)
	}
	d.transfer("app-misc/hello-1.1-r1", 0, 200*mebi)
	d.transfer("app-misc/hello-1.1-r1", 200*mebi, 200*mebi)
	d.close()
	d.say("after the end")
	want := `tower: waiting, 1 job before this one
tower: the build root is ready, emerge runs
(1 of 3) dev-libs/greet-2 was built before, nothing to compile
(2 of 3) app-misc/hello-1.1-r1 unpack 0:00
(2 of 3) app-misc/hello-1.1-r1 compile 0:01
(3 of 3) lab-fail/compile-1 build 0:00
tower: disk almost^G full
(2 of 3) app-misc/hello-1.1-r1 built in 0:42
(3 of 3) lab-fail/compile-1 FAILED in compile after 1:01:32
receiving app-misc/hello-1.1-r1, 200 MiB
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// On a terminal the status line is redrawn below the lines that stay; ticks move the clock on.
func TestStatusLineOnATerminal(t *testing.T) {
	var out bytes.Buffer
	now := start
	tick := make(chan time.Time)
	s := &screen{out: &out, tty: true, width: func() int { return 60 }}
	d := newDisplay(s, newBoard("tower", 3), func() time.Time { return now }, tick)
	for _, s := range script[1:6] {
		d.do(func() { now = start.Add(time.Duration(s.second) * time.Second) })
		d.event(s.event)
	}
	d.do(func() { now = start.Add(50 * time.Second) })
	tick <- start
	d.event(script[8].event)
	d.close()
	got := strings.ReplaceAll(out.String(), "\r\x1b[K", "\n<")
	want := `
<[0/3] waiting for tower
<tower: the build root is ready, emerge runs

<[0/3] waiting for tower
<(1 of 3) dev-libs/greet-2 was built before, nothing to
  compile

<[1/3] waiting for tower
<[1/3] (2 of 3) app-misc/hello-1.1-r1 starting 0:00
<[1/3] (2 of 3) app-misc/hello-1.1-r1 unpack 0:00
<[1/3] (2 of 3) app-misc/hello-1.1-r1 unpack 0:01
<[1/3] (2 of 3) app-misc/hello-1.1-r1 compile 0:01
<[1/3] (2 of 3) app-misc/hello-1.1-r1 compile 0:44
<(2 of 3) app-misc/hello-1.1-r1 built in 0:44

<[2/3] waiting for tower
<`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestStatusWidths(t *testing.T) {
	b := newBoard("tower", 17)
	cpvs := []string{"dev-lang/rust-1.90.0", "app-office/libreoffice-25.8.1.1", "sys-devel/gcc-15.2.0"}
	for i, cpv := range cpvs {
		b.apply(wire.Event{
			Kind: wire.EventPackage, CPV: cpv, N: i + 3, Of: 17, State: wire.StateBuilding, Phase: "compile",
		}, start, false)
	}
	b.transfer = &transfer{"app-misc/big-1", 120 * mebi, 200 * mebi}
	want := map[int]string{
		200: "[0/17] receiving app-misc/big-1 120 of 200 MiB, (3 of 17) dev-lang/rust-1.90.0 compile 1:05, " +
			"(4 of 17) app-office/libreoffice-25.8.1.1 compile 1:05, (5 of 17) sys-devel/gcc-15.2.0 compile 1:05",
		120: "[0/17] receiving app-misc/big-1 120 of 200 MiB, (3 of 17) dev-lang/rust-1.90.0 compile 1:05 +2",
		60:  "[0/17] receiving app-misc/big-1 120 of 200 MiB +3",
		40:  "[0/17] big-1 120 of 200 MiB +3",
		20:  "big-1 120 of 200 MiB",
		19:  "big-1 120 of 200 M…",
		5:   "big-…",
		1:   "",
		0:   "",
		-1:  "",
	}
	for width, w := range want {
		if got := b.status(start.Add(65*time.Second), width); got != w {
			t.Errorf("%d columns:\n%q, want\n%q", width, got, w)
		}
	}
}

func TestLogLines(t *testing.T) {
	var out bytes.Buffer
	d := newDisplay(&screen{out: &out}, newBoard("tower", 1), time.Now, nil)
	long := strings.Repeat("x", 5000)
	d.logLines(io.MultiReader(
		strings.NewReader("one\ntw"), strings.NewReader("o\x1b[31m\x07\n\nthree\n"+long+"\nlast"),
	))
	d.close()
	want := fmt.Sprintf("one\ntwo^G\n\nthree\n%s\n%s\nlast\n", long[:4096], long[4096:])
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
