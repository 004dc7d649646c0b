package build

import (
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lantage/gentoo"
)

// aRoot is a root with these files, as "path=content".
func aRoot(files ...string) *Root {
	return &Root{Client: "c1", Files: func(visit func(RootFile) error) error {
		for _, f := range files {
			path, content, _ := strings.Cut(f, "=")
			file := RootFile{Path: path, Sum: sha256.Sum256([]byte(content))}
			if target, ok := strings.CutPrefix(content, "-> "); ok {
				file = RootFile{Path: path, Target: target}
			}
			if err := visit(file); err != nil {
				return err
			}
		}
		return nil
	}}
}

// TestClientBaseAdapt: what can be built is what the root has ebuilds of, and the settings key of a job on a client's root
// changes with all that changes a package, and with nothing else.
func TestClientBaseAdapt(t *testing.T) {
	base := []string{
		"etc/env.d/04gcc=x", "etc/hostname=laptop", "etc/portage/make.conf=CFLAGS", "etc/portage/make.profile=-> ../p",
		"etc/portage/package.use=a/b c", "usr/bin/gcc=gcc", "var/db/pkg/a/b-1/BUILD_TIME=1", "var/db/pkg/a/b-1/CONTENTS=x",
		"var/db/repos/lab/a/b/b-2.ebuild=EAPI=8", "var/db/repos/lab/eclass/e.eclass=x", "var/lib/portage/world=a/b",
	}
	job := Job{
		Repos:    []gentoo.Repo{{Name: "lab", Location: "/var/db/repos/lab"}},
		Packages: []Package{{cpv(t, "a/b-2"), "lab"}, {cpv(t, "a/b-3"), "lab"}, {cpv(t, "a/b-2"), "other"}},
	}
	adapt := func(job Job, files []string) adapted {
		t.Helper()
		a, err := ClientBase{aRoot(files...)}.adapt(t.Context(), job)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	a := adapt(job, base)
	if len(a.pkgs) != 1 || a.pkgs[0] != job.Packages[0] || len(a.declined) != 2 || a.declined[0].CPV != job.Packages[1].CPV {
		t.Errorf("to be built: %v; declined: %v", a.pkgs, a.declined)
	}
	if !strings.HasPrefix(a.pkgDir, "c1/") {
		t.Errorf("PKGDIR %q is not one of the client's own", a.pkgDir)
	}
	with := func(from, to string) string {
		return adapt(job, strings.Split(strings.Replace(strings.Join(base, "\n"), from, to, 1), "\n")).pkgDir
	}
	for _, same := range [][2]string{
		{"hostname=laptop", "hostname=other"}, {"a/b c", "a/b -c"}, {"CONTENTS=x", "CONTENTS=y"}, {"world=a/b", "world=a/c"},
	} {
		if with(same[0], same[1]) != a.pkgDir {
			t.Errorf("%s changes the key; it must not", same[0])
		}
	}
	for _, other := range [][2]string{
		{"04gcc=x", "04gcc=y"},
		{"CFLAGS", "CFLAGS2"},
		{"-> ../p", "-> ../q"},
		{"BUILD_TIME=1", "BUILD_TIME=2"},
		{"a/b-1/", "a/b-1.1/"},
		{"EAPI=8", "EAPI=9"},
		{"e.eclass=x", "e.eclass=y"},
	} {
		if with(other[0], other[1]) == a.pkgDir {
			t.Errorf("%s does not change the key; it must", other[0])
		}
	}
	job.Env = []string{"CFLAGS=-O3"}
	if adapt(job, base).pkgDir == a.pkgDir {
		t.Error("CFLAGS of the environment do not change the key; they must")
	}
}

func TestTryErrorReason(t *testing.T) {
	for output, want := range map[string]string{
		"cc1: error\nlantage: the compiler does not run here: it crashes\n": "the compiler does not run here: it crashes (cc1: error)",
		"lantage: it\n": "it",
		"":              "the client's own bash does not run here: it uses an instruction that the CPU of this builder lacks (SIGILL)",
	} {
		if got := (&tryError{"/bin/bash", 132, output}).reason(); got != want {
			t.Errorf("%q: %q, want %q", output, got, want)
		}
	}
}

// TestCollect: a PKGDIR goes when nobody has used it for long, and not while a job has it.
func TestCollect(t *testing.T) {
	state := t.TempDir()
	make1 := func(dir string) string {
		dir = filepath.Join(state, PkgDirs, dir)
		put(t, filepath.Join(dir, "a/b/b-1-1.gpkg.tar"), "binpkg")
		put(t, filepath.Join(dir, "Packages"), "index")
		return dir
	}
	const key1, key2, key3, client1 = "11111111111111111111111111111111", "22222222222222222222222222222222", "33333333333333333333333333333333", "0123456789abcdef0123456789abcdef"
	old, client, held := make1(key1), make1(client1+"/"+key2), make1(key3)
	put(t, filepath.Join(state, DistDir, "x.tar"), "distfile")
	letGo, err := holdPkgDir(held)
	if err != nil {
		t.Fatal(err)
	}
	if c, err := Collect(state, time.Hour, false); err != nil || c != (Collected{}) {
		t.Errorf("what is new: %+v, %v", c, err)
	}
	// The time of the last status change is nobody's to set, so the present is moved instead.
	if c, err := Collect(state, -time.Minute, true); err != nil || c.PkgDirs != 2 || c.Distfiles != 1 {
		t.Errorf("in a dry run: %+v, %v", c, err)
	}
	if c, err := Collect(state, -time.Minute, false); err != nil || c.PkgDirs != 2 || c.Distfiles != 1 {
		t.Errorf("collected: %+v, %v", c, err)
	}
	for dir, want := range map[string]bool{old: false, client: false, held: true} {
		if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) == want {
			t.Errorf("%s: %v", dir, err)
		}
	}
	letGo()
	if c, err := Collect(state, -time.Minute, false); err != nil || c.PkgDirs != 1 {
		t.Errorf("after the job: %+v, %v", c, err)
	}
}

// TestCollectWhatJobsLeave: nothing that a job leaves is there for ever, and no link leads out of it.
func TestCollectWhatJobsLeave(t *testing.T) {
	state, outside := t.TempDir(), filepath.Join(t.TempDir(), "outside")
	put(t, outside, "outside")
	const key, client, fake = "11111111111111111111111111111111", "22222222222222222222222222222222", "33333333333333333333333333333333"
	notPackages := filepath.Join(state, PkgDirs, key, "junk/big") // without an index
	later := filepath.Join(state, PkgDirs, client, key, "junk")   // read in the future
	odd := filepath.Join(state, PkgDirs, fake, key, "\xff/junk")  // as if it were a client
	for _, file := range []string{notPackages, later, odd, filepath.Join(state, DistDir, "git3-src/x/config"), filepath.Join(state, DistDir, "d/big")} {
		put(t, file, "12345")
	}
	year2100 := time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
	if err := errors.Join(
		os.Chtimes(later, year2100, year2100),
		os.Symlink(outside, filepath.Join(filepath.Dir(notPackages), "link")), os.Symlink(outside, filepath.Join(state, DistDir, "link")),
		os.Symlink(filepath.Dir(outside), filepath.Join(state, DistDir, "d/link")), mkfifo(filepath.Join(state, DistDir, "fifo")),
	); err != nil {
		t.Fatal(err)
	}
	if c, err := Collect(state, time.Hour, false); err != nil || c != (Collected{}) {
		t.Errorf("what is new: %+v, %v", c, err)
	}
	want := Collected{PkgDirs: 3, Distfiles: 4, Bytes: 25 + int64(len(outside))}
	for _, dry := range []bool{true, false} {
		if c, err := Collect(state, -time.Minute, dry); err != nil || c != want {
			t.Errorf("dry %v: %+v, %v, want %+v", dry, c, err, want)
		}
	}
	for _, pattern := range []string{filepath.Join(DistDir, "*"), filepath.Join(PkgDirs, key), filepath.Join(PkgDirs, "*/*")} {
		if left, _ := filepath.Glob(filepath.Join(state, pattern)); len(left) > 0 {
			t.Errorf("left: %q", left)
		}
	}
	if _, err := os.Stat(outside); err != nil {
		t.Error(err)
	}
}
