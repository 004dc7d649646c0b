package build

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// followLogs makes a follower of the logs in a directory.
func followLogs(t *testing.T, job Job, logs string, emit func(Event), pkgs ...Package) *follower {
	t.Helper()
	root, err := os.OpenRoot(logs)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	f, err := newFollower(job, root, newResults(t.Context(), t.TempDir(), pkgs, nil, emit), emit)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestFollowLines: each line is passed on once and whole, however its parts come; a very long one in pieces.
func TestFollowLines(t *testing.T) {
	logs := t.TempDir()
	log := filepath.Join(logs, "a:one-1:20260101-000000.log")
	long := strings.Repeat("x", maxLogLine)
	put(t, log, "")
	all := filepath.Join(t.TempDir(), "all")
	f := followLogs(t, Job{Log: all}, logs, func(Event) {})
	for _, part := range []string{"on", "e\ntw", "", "o\r\n", long + "\n", "begin" + long, long + "\n\nend"} {
		file, err := os.OpenFile(log, os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := file.WriteString(part); err != nil {
			t.Fatal(err)
		}
		file.Close()
		f.look()
	}
	text, err := os.ReadFile(all)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"one", "two", long, "begin" + long[5:], long[:5] + long[5:], "xxxxx", "", ""}
	var got []string
	for line := range strings.SplitSeq(string(text), "\n") {
		got = append(got, strings.TrimPrefix(line, "a/one-1> "))
	}
	if !slices.Equal(got, want) {
		t.Errorf("%d lines were passed on, want %d", len(got), len(want))
		for i := range min(len(got), len(want)) {
			if got[i] != want[i] {
				t.Errorf("line %d has %d bytes, want %d", i, len(got[i]), len(want[i]))
			}
		}
	}
}

// TestManyLogs: a job that makes logs without number is ended, and until then they are not all looked at. How many there were before
// and are gone does not count, but they are not remembered, either.
func TestManyLogs(t *testing.T) {
	logs := t.TempDir()
	logName := func(n int) string { return fmt.Sprintf("a:one-%d:20260101-000000.log", n) }
	first := filepath.Join(logs, logName(0))
	put(t, first, "line\n")
	w := newWatch(Limits{}, nil, nil, firstID, []string{logs}, []string{t.TempDir()})
	f := followLogs(t, Job{}, logs, func(Event) {})
	f.look()
	for n := 1; n < maxLogs; n++ {
		if err := os.Link(first, filepath.Join(logs, logName(n))); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.check(); err != nil {
		t.Errorf("with as many logs as may be: %v", err)
	}
	put(t, filepath.Join(logs, "one too many"), "")
	over, _ := errors.AsType[*LimitError](w.check())
	if over == nil || !strings.Contains(over.Error(), "more than 20000 files in its directory of logs") || strings.Contains(over.Error(), "--") {
		t.Errorf("with one too many: %v", over)
	}
	f.look()
	for n := range maxLogs {
		if err := os.Rename(filepath.Join(logs, logName(n)), filepath.Join(logs, logName(maxLogs+n))); err != nil {
			t.Fatal(err)
		}
	}
	f.look()
	if n := len(f.files); n < maxLogs || n > maxLogs+1 {
		t.Errorf("%d logs are remembered", n)
	}
	put(t, filepath.Join(logs, emergeLog), "1700000000:  >>> emerge (1 of 2) a/one-0 to /\n")
	f.look()
	if p := f.states[cpv(t, "a/one-0")]; p == nil || p.state != StateBuilding {
		t.Errorf("emerge's own log was not looked at any more: %+v", p)
	}
}

// TestManyPackages: of packages that emerge's log tells of without number some are remembered, and nothing of the lines around them;
// the results of those that the job is for are found all the same.
func TestManyPackages(t *testing.T) {
	logs := t.TempDir()
	file, err := os.Create(filepath.Join(logs, emergeLog))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	out := bufio.NewWriter(file)
	filling := strings.Repeat("x", 1500)
	for n := range maxFollows + 1000 {
		fmt.Fprintf(out, "1700000000:  >>> emerge (1 of 2) a/%040d-1 to %s\n", n, filling)
	}
	fmt.Fprint(out, "1700000000:  === (1 of 2) Merging (a/one-1::/x.ebuild)\n")
	if err := out.Flush(); err != nil {
		t.Fatal(err)
	}
	events, found := 0, 0
	f := followLogs(t, Job{}, logs, func(e Event) {
		events++
		if e.Kind == EventResult {
			found++
		}
	}, Package{cpv(t, "a/one-1"), "lab"})
	f.results.trust = func(bool) error { return nil }
	put(t, filepath.Join(f.results.dir, "a/one/one-1-1.gpkg.tar"), "x")
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	f.look()
	runtime.GC()
	runtime.ReadMemStats(&after)
	if kept := int64(after.HeapAlloc) - int64(before.HeapAlloc); kept > 20<<20 {
		t.Errorf("%d MiB are kept", kept>>20)
	}
	if events != maxFollows+1 || len(f.states) != maxFollows {
		t.Errorf("there are %d events, and %d packages are remembered", events, len(f.states))
	}
	if found != 1 {
		t.Errorf("%d results were found", found)
	}
}

// TestLogWithHoles: a log whose size is more than any disk has is read in pieces, and what else there is to read is read beside it.
func TestLogWithHoles(t *testing.T) {
	logs := t.TempDir()
	hole := filepath.Join(logs, "a:hole-1:20260101-000000.log")
	put(t, hole, "")
	if err := os.Truncate(hole, 1<<42); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(logs, emergeLog), "1700000000:  >>> emerge (1 of 2) a/one-1 to /\n")
	f := followLogs(t, Job{}, logs, func(Event) {})
	f.look()
	if n := f.files[filepath.Base(hole)]; n < maxLook/2 || n > 2*maxLook {
		t.Errorf("%d bytes of it were read in one look", n)
	}
	if f.states[cpv(t, "a/one-1")] == nil {
		t.Error("emerge's own log was not read")
	}
}

// TestLogReadToItsEnd: what is written in a job's last moment is passed on, also where it is more than one look reads.
func TestLogReadToItsEnd(t *testing.T) {
	logs, all := t.TempDir(), filepath.Join(t.TempDir(), "all")
	name := filepath.Join(logs, "a:one-1:20260101-000000.log")
	put(t, name, strings.Repeat(strings.Repeat("x", 1<<12-1)+"\n", (maxLook+1<<20)>>12)+"the last line\n")
	f := followLogs(t, Job{Log: all}, logs, func(Event) {})
	done := make(chan struct{})
	close(done)
	f.run(done)
	if text, err := os.ReadFile(all); err != nil || !strings.HasSuffix(string(text), "the last line\n") {
		t.Errorf("%d bytes were passed on, without the last line (%v)", len(text), err)
	}
}

// TestResultWithHoles: what is larger than the room that it takes is no result, and a cancelled job has none any more.
func TestResultWithHoles(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var events []Event
	r := newResults(ctx, t.TempDir(), []Package{{cpv(t, "a/one-1"), "lab"}}, func(bool) error { return nil }, func(e Event) { events = append(events, e) })
	binpkg := filepath.Join(r.dir, "a/one/one-1-1.gpkg.tar")
	put(t, binpkg, "content")
	if err := os.Truncate(binpkg, 1<<42); err != nil {
		t.Fatal(err)
	}
	r.built(cpv(t, "a/one-1"))
	if len(r.found) > 0 || len(events) != 1 || !strings.Contains(events[0].Text, "holes") {
		t.Errorf("it was declared: %v, %+v", r.found, events)
	}
	put(t, binpkg, strings.Repeat("content", 100_000))
	cancel()
	if r.built(cpv(t, "a/one-1")); len(r.found)+len(events) != 1 {
		t.Errorf("after the end: %v, %+v", r.found, events)
	}
}
