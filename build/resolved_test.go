package build

import (
	"crypto/sha256"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// written makes files below dir.
func written(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
	}
}

func TestResolve(t *testing.T) {
	inputs, root := t.TempDir(), t.TempDir()
	written(t, root, map[string]string{"etc/portage/make.conf": "old", "etc/portage/other": "kept", "real/file": "kept", "outside": "kept"})
	for link, target := range map[string]string{
		"etc/portage/link": "other", "dir": "real", "etc/portage/out": filepath.Join(root, "outside"),
	} {
		if err := os.Symlink(target, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	tr, err := openTree(root)
	if err != nil {
		t.Fatal(err)
	}
	if err := tr.resolve(inputs); err != nil { // most jobs have no such files
		t.Fatal(err)
	}
	written(t, filepath.Join(inputs, resolvedDir), map[string]string{
		"etc/portage/make.conf": "new", "etc/portage/link": "x", "etc/portage/missing": "x", "etc/portage/out": "x", "dir/file": "x",
		"etc/portage/other/below": "x", "missing/file": "x", "real": "x",
	})
	if err := tr.resolve(inputs); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			text, err := os.ReadFile(path)
			rel, _ := filepath.Rel(root, path)
			got[rel] = string(text)
			return err
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"etc/portage/make.conf": "new", "etc/portage/other": "kept", "real/file": "kept", "outside": "kept"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if fi, err := os.Stat(filepath.Join(root, "etc/portage/make.conf")); err != nil || fi.Mode().Perm() != 0o640 {
		t.Errorf("its mode is %v (%v)", fi.Mode(), err)
	}
}

// Such a file is a part of the settings: of two clients with the same make.conf, native may mean different CPUs.
func TestResolvedKeys(t *testing.T) {
	keys := map[string]string{}
	for name, files := range map[string]map[string]string{
		"none": nil, "one CPU": {"etc/portage/make.conf": "-march=a"}, "another": {"etc/portage/make.conf": "-march=b"},
		"another file": {"etc/make.conf": "-march=a"},
	} {
		job := Job{Inputs: t.TempDir()}
		written(t, filepath.Join(job.Inputs, resolvedDir), files)
		own, err := keyOfJob(t, job)
		if err != nil {
			t.Fatal(err)
		}
		root, err := (&rootReader{}).key(job)
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{own, root} {
			if before, ok := keys[key]; ok {
				t.Errorf("%s and %s have the same key", before, name)
			}
			keys[key] = name
		}
	}
	if err := hashResolved(sha256.New(), "/nonexistent"); err != nil {
		t.Error(err)
	}
}

func TestResolvable(t *testing.T) {
	inputs := t.TempDir()
	written(t, filepath.Join(inputs, resolvedDir), map[string]string{"var/db/repos/a/profiles/make.defaults": "x"})
	declined, ok := errors.AsType[*DeclineError](resolvable(inputs, []bind{{Target: "/var/db/repos/a"}}))
	if !ok || declined.Reason == "" {
		t.Error("a file in what is only shown in the build root was taken")
	}
	if err := resolvable(inputs, []bind{{Target: "/var/db/repos/ab"}, {Target: "/var/db/repos/a/profiles/make"}}); err != nil {
		t.Error(err)
	}
}
