package gentoo

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseLogLine(t *testing.T) {
	const ebuild = "/var/db/repos/lab/lab-misc/x/x-1.ebuild"
	x := CPV{"lab-misc", "x", "1"}
	at := time.Unix(1795330212, 0)
	for line, want := range map[string]LogEvent{
		">>> emerge (1 of 3) lab-misc/x-1 to /mnt/my root/": {
			Kind: LogStart, N: 1, M: 3, CPV: x, Root: "/mnt/my root/",
		},
		"=== (1 of 3) Cleaning (lab-misc/x-1::" + ebuild + ")": {
			Kind: LogCleaning, N: 1, M: 3, CPV: x, Path: ebuild,
		},
		"=== (2 of 3) Compiling/Packaging (lab-misc/x-1::" + ebuild + ")": {
			Kind: LogCompiling, N: 2, M: 3, CPV: x, Path: ebuild,
		},
		"=== (2 of 3) Compiling/Merging (lab-misc/x-1::" + ebuild + ")": {
			Kind: LogCompiling, N: 2, M: 3, CPV: x, Path: ebuild,
		},
		"=== (2 of 3) Merging (lab-misc/x-1::" + ebuild + ")": {
			Kind: LogMerging, N: 2, M: 3, CPV: x, Path: ebuild,
		},
		"=== (2 of 3) Merging Binary (lab-misc/x-1::/p (1)/x-1-1.gpkg.tar)": {
			Kind: LogMergingBinary, N: 2, M: 3, CPV: x, Path: "/p (1)/x-1-1.gpkg.tar",
		},
		"--- (2 of 3) Fetching Binary (lab-misc/x-1::/p/x-1-1.gpkg.tar.partial)": {
			Kind: LogFetching, N: 2, M: 3, CPV: x, Path: "/p/x-1-1.gpkg.tar.partial",
		},
		"::: completed emerge (3 of 3) lab-misc/x-1 to /": {Kind: LogCompleted, N: 3, M: 3, CPV: x, Root: "/"},
		"!!! unmerge FAILURE: lab-misc/x-1":               {Kind: LogUnmergeFailed, CPV: x},
		"*** exiting successfully.":                       {Kind: LogFinished},
		"*** exiting unsuccessfully with status '127'.":   {Kind: LogFailed, Code: 127},
		"*** terminating.":                                {Kind: LogTerminated},
	} {
		want.Time = at
		got, ok := ParseLogLine("1795330212:  " + line + "\n")
		if diff := cmp.Diff(want, got); !ok || diff != "" {
			t.Errorf("%s: %v\n%s", line, ok, diff)
		}
	}
	for _, line := range []string{
		"", "x", "1795330212", "1795330212:", "1795330212: Started emerge on: Nov 22, 2026 06:50:12",
		"1795330212:  *** emerge --oneshot x", "1795330212:  >>> AUTOCLEAN: a/b:0",
		"1795330212:  *** Finished. Cleaning up...",
		"1795330212:  === (1 of 3) Updating world file (a/b-1)",
		"1795330212:  === (1 of 3) Dancing (a/b-1::/x)",
		"1795330212:  === (1 of 3) Post-Build Cleaning (a/b-1::/x)",
		"1795330212:  >>> emerge (1 of 3) ../b-1 to /",
		"99999999999999999999:  *** terminating.", "1795330212:  >>> emerge (1 of 99999999) a/b-1 to /",
		"1795330212:  === Unmerging... (a/b-1)",
	} {
		if got, ok := ParseLogLine(line); ok {
			t.Errorf("%q gives %+v", line, got)
		}
	}
}

// TestRealLog counts the events of a log that a real emerge wrote.
func TestRealLog(t *testing.T) {
	data, err := os.ReadFile("testdata/emerge.log")
	if err != nil {
		t.Fatal(err)
	}
	for kind, text := range map[LogKind]string{
		LogStart:      ">>> emerge (",
		LogCleaning:   ") Cleaning (",
		LogCompiling:  ") Compiling/",
		LogMerging:    ") Merging (",
		LogCompleted:  "::: completed",
		LogFinished:   "exiting successfully",
		LogFailed:     "exiting unsuccessfully",
		LogTerminated: "terminating.",
	} {
		n := 0
		for line := range strings.Lines(string(data)) {
			if e, ok := ParseLogLine(line); ok && e.Kind == kind {
				n++
			}
		}
		if want := strings.Count(string(data), text); n != want || n == 0 {
			t.Errorf("%d lines with %q, %d there", n, text, want)
		}
	}
}

func FuzzParseLogLine(f *testing.F) {
	f.Add("1795330212:  === (1 of 3) Merging (lab-misc/x-1::/x)")
	f.Add("1795330212:  >>> emerge (1 of 3) lab-misc/x-1 to /")
	f.Fuzz(func(t *testing.T, line string) {
		e, ok := ParseLogLine(line)
		if !ok || e.CPV == (CPV{}) {
			return
		}
		if _, err := ParseCPV(e.CPV.String()); err != nil || e.N < 0 || e.M < 0 {
			t.Errorf("%q gives %+v: %v", line, e, err)
		}
	})
}

func TestBuildLog(t *testing.T) {
	data, err := os.ReadFile("testdata/build.log") // of a package that fails to compile, with colours
	if err != nil {
		t.Fatal(err)
	}
	var phases []Phase
	var failures []BuildFailure
	for line := range strings.Lines(string(data)) {
		if p, ok := PhaseOf(line); ok {
			phases = append(phases, p)
		}
		if f, ok := FailureOf(line); ok {
			failures = append(failures, f)
		}
	}
	if diff := cmp.Diff([]Phase{"unpack", "prepare", "configure", "compile"}, phases); diff != "" {
		t.Error(diff)
	}
	want := []BuildFailure{{CPV{"lab-misc", "fail-compile", "1"}, "lab", "compile"}}
	if diff := cmp.Diff(want, failures); diff != "" {
		t.Error(diff)
	}
	for line, want := range map[string]Phase{
		">>> Test phase: a/b-1": "test", ">>> Install a/b-1 into /var/tmp/portage/a/b-1/image": "install",
		">>> Creating binpkg": "package", ">>> Test phase [not enabled]: a/b-1": "",
		">>> Installing (1 of 2) a/b-1": "",
		">>> Unpacking 'a.tar' to /x":   "", "x >>> Compiling source in /": "", ">>> Source compiled.": "",
	} {
		if got, ok := PhaseOf(line); got != want || ok != (want != "") {
			t.Errorf("%q: %q, %v", line, got, ok)
		}
	}
	if f, ok := FailureOf(" * ERROR: a/b-1::r failed:"); !ok || f.Phase != "" {
		t.Errorf("without a phase: %+v, %v", f, ok)
	}
	for _, line := range []string{
		" * ERROR: x failed (compile phase):", "* ERROR: a/b-1::r failed:", " * ERROR: a/b-1::-r failed:",
	} {
		if f, ok := FailureOf(line); ok {
			t.Errorf("%q gives %+v", line, f)
		}
	}
}

func TestFailedPackage(t *testing.T) {
	for line, ok := range map[string]bool{
		">>> Failed to emerge a/b-1, Log file:":                        true,
		">>> \x1b[31;01mFailed\x1b[0m to install \x1b[32ma/b-1\x1b[0m": true,
		">>> Failed to emerge a/b-1 for /mnt/x/, Log file:":            true,
		">>> Failed to emerge everything":                              false,
		"Failed to emerge a/b-1":                                       false,
		">>> Emerging (1 of 2) a/b-1::lab":                             false,
	} {
		if got, is := FailedPackage(line); is != ok || ok && got != (CPV{"a", "b", "1"}) {
			t.Errorf("%q: %+v, %v", line, got, is)
		}
	}
}

func TestFailureLines(t *testing.T) {
	const log = "one\ntwo\nthree\nfour\n"
	for _, c := range []struct {
		n    int
		size int64
		want []string
	}{
		{2, 100, []string{"three", "four"}},
		{9, 100, []string{"one", "two", "three", "four"}},
		{9, 12, []string{"three", "four"}}, // cut in "two"
		{9, 3, []string{"ur"}},             // nothing but a cut line
		{0, 100, nil},
		{9, 0, nil},
	} {
		got, err := FailureLines(strings.NewReader(log), c.n, c.size)
		if diff := cmp.Diff(c.want, got); err != nil || diff != "" {
			t.Errorf("%d lines of %d bytes: %v\n%s", c.n, c.size, err, diff)
		}
	}
	if got, err := FailureLines(strings.NewReader(""), 5, 100); err != nil || got != nil {
		t.Errorf("of an empty log: %q, %v", got, err)
	}
	died := "cc -c x.c\nx.c:1: error: no\n\x1b[31m*\x1b[0m noise\n * ERROR: lab-five/p3-1::lab failed (compile phase):\n" +
		" *   p3 does not compile\n * \n * Call stack:\n *     ebuild.sh, line 143:  Called src_compile\n"
	got, err := FailureLines(strings.NewReader(died), 3, 1000)
	want := []string{"\x1b[31m*\x1b[0m noise", " * ERROR: lab-five/p3-1::lab failed (compile phase):", " *   p3 does not compile"}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("of a log with Portage's report: %v\n%s", err, diff)
	}
	big := bytes.Repeat([]byte("x"), 1<<20)
	got, err = FailureLines(bytes.NewReader(big), 5, 1000)
	if err != nil || len(got) != 1 || len(got[0]) != 1000 {
		t.Errorf("of one long line: %d lines, %v", len(got), err)
	}
}

func TestParseBuildLogName(t *testing.T) {
	for name, want := range map[string]string{
		"lab-misc:hello-1.1:20261122-065506.log":          "lab-misc/hello-1.1",
		"build/lab-misc/hello-1.1:20261122-065508.log":    "lab-misc/hello-1.1",
		"build/lab-misc/hello-1.1:20261122-065508.log.gz": "lab-misc/hello-1.1",
		"elog/summary.log":                         "",
		"lab-misc/hello-1.1:20261122-065508.log":   "",
		"build/../hello-1.1:20261122-065508.log":   "",
		"lab-misc:hello:20261122-065506.log":       "",
		"lab-misc:hello-1.1:now.log":               "",
		"x/lab-misc:hello-1.1:20261122-065506.log": "",
		"": "",
	} {
		got, err := ParseBuildLogName(name)
		if want == "" && errors.Is(err, ErrNotBuildLog) {
			continue
		}
		if err != nil || got.String() != want {
			t.Errorf("%q: %s, %v", name, got, err)
		}
	}
}
