package build

import (
	"os"
	"path/filepath"
	"testing"

	"lantage/gentoo"
)

// TestFailedPhase: the report and the last event name the same phase, that of the log, though emerge.log tells of the beginning of a
// package only after its pkg_setup has failed.
func TestFailedPhase(t *testing.T) {
	const begun, name = "1795330211:  >>> emerge (1 of 1) a/one-1 to /\n", "a:one-1:20260101-000000.log"
	for _, c := range []struct{ log, phase, begun string }{
		{" * Package:    a/one-1\n * ERROR: a/one-1::lab failed (setup phase):\n *   no\n", "setup", begun},
		{">>> Compiling source in /x ...\n * ERROR: a/one-1::lab failed (compile phase):\n * ERROR: a/two-2::lab failed (install phase):\n", "compile", begun},
		{" * Package:    a/one-1\n", "fetch", begun},
		{" * ERROR: a/one-1::lab failed (pretend phase):\n", "pretend", ""},
	} {
		logs := t.TempDir()
		put(t, filepath.Join(logs, name), c.log)
		put(t, filepath.Join(logs, "emerge.log"), c.begun)
		root, err := os.OpenRoot(logs)
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		pkgs := []Package{{cpv(t, "a/one-1"), "lab"}}
		var told gentoo.Phase
		var failed bool
		emit := func(e Event) {
			if e.Kind == EventPackage {
				if failed && e.State != StateFailed {
					t.Errorf("%q: after it has failed, it is %v", c.log, e.State)
				}
				told, failed = e.Phase, e.State == StateFailed
			}
		}
		f, err := newFollower(Job{}, root, newResults(t.Context(), t.TempDir(), pkgs, func(bool) error { return nil }, emit), emit)
		if err != nil {
			t.Fatal(err)
		}
		f.look()
		rep := f.report(pkgs, 1, "")
		if got := rep.Packages[0]; got.State != StateFailed || got.Phase != gentoo.Phase(c.phase) || told != got.Phase {
			t.Errorf("%q: %+v, and the last event says %q; want %s", c.log, got, told, c.phase)
		}
	}
}
