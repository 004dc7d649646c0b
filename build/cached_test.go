package build

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"lantage/gentoo"
)

// put writes a file and the directories above it.
func put(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}

// TestPlanned: the plan of a job that compiles nothing declares the binpkgs that it names, and no others.
func TestPlanned(t *testing.T) {
	pkgDir, logs := t.TempDir(), t.TempDir()
	for _, name := range []string{"one-1-1", "one-1-2", "one-1-3", "two-2-1", "other-1-1"} {
		put(t, filepath.Join(pkgDir, "a", name[:strings.IndexByte(name, '-')], name+".gpkg.tar"), name)
	}
	put(t, filepath.Join(logs, planName), `
These are the packages that would be merged, in order:

[binary  N     ] a/other-1-1::lab
[binary  N     ] a/one-1-2::lab  USE="x"
[binary  N     ] a/two-2-7::lab
`)
	root, err := os.OpenRoot(logs)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	pkgs := []Package{{cpv(t, "a/one-1"), "lab"}, {cpv(t, "a/two-2"), "lab"}}
	var events []Event
	emit := func(e Event) { events = append(events, e) }
	found := newResults(t.Context(), pkgDir, pkgs, func(bool) error { return nil }, emit)
	if !found.complete() {
		t.Error("every package has a binpkg, and complete does not say so")
	}
	f, err := newFollower(Job{}, root, found, emit)
	if err != nil {
		t.Fatal(err)
	}
	f.planned()
	if len(found.found) != 1 || found.found[pkgs[0].CPV].Path != "a/one/one-1-2.gpkg.tar" {
		t.Errorf("declared: %v", found.found)
	}
	rep := f.report(pkgs, 0, "")
	if rep.Packages[0].State != StateReused || rep.Packages[1].State != StateSkipped {
		t.Errorf("report: %+v", rep.Packages)
	}
	if len(events) != 2 || events[0].Kind != EventResult || !events[0].Result.Reused || events[1].State != StateReused ||
		events[1].N != 2 || events[1].Of != 3 {
		t.Errorf("events: %+v", events)
	}
	more := newResults(t.Context(), pkgDir, append(pkgs, Package{gentoo.CPV{Category: "a", Name: "three", Version: "1"}, "lab"}), nil, emit)
	if more.complete() {
		t.Error("a package without a binpkg, and complete says there is one of each")
	}
}

// TestPlanFirst: emerge runs a second time, without --pretend, where its plan is not one of binpkgs alone.
func TestPlanFirst(t *testing.T) {
	for name, c := range map[string]struct {
		plan, status string
		runs         bool
	}{
		"binpkgs alone": {"[binary  N     ] a/one-1-2::lab", "0", false},
		"one to build":  {"[binary  N     ] a/one-1-2::lab\n[ebuild  N     ] a/two-2::lab", "0", true},
		"no plan":       {"[blocks B      ] a/one (a/one is blocking a/two)", "1", true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			emerge := filepath.Join(dir, "emerge")
			put(t, emerge, "#!/bin/sh\nfor last; do :; done\ntest \"$last\" = --pretend || { echo ran \"$@\"; exit 5; }\n"+
				"echo '"+c.plan+"'\nexit "+c.status+"\n")
			argv := cachedArgv([]string{emerge, "--jobs=2", "=a/one-1"})
			argv[2] = strings.Replace(argv[2], insideLogDir, dir, 1)
			out, err := exec.Command(argv[0], argv[1:]...).Output()
			_, noPlan := os.Stat(filepath.Join(dir, planName))
			ran := string(out) == "ran --jobs=2 =a/one-1\n"
			if ran != c.runs || (err != nil) != c.runs || (noPlan != nil) != c.runs {
				t.Errorf("printed %q, ended with %v, plan: %v", out, err, noPlan)
			}
		})
	}
}
