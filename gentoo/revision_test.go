package gentoo

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestRepoRevision(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "x.ebuild")
	revision := func() string {
		t.Helper()
		r, err := RepoRevision(dir)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	write := func(name, data string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(file, "one")
	first := revision()
	if err := os.Chtimes(file, time.Time{}, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if revision() != first {
		t.Error("a time, which no other machine has, changes the revision")
	}
	write(file, "two") // as long as before
	if revision() == first {
		t.Error("a changed file does not change the revision")
	}
	write(filepath.Join(dir, ".git/HEAD"), "ref: refs/heads/main\n")
	write(filepath.Join(dir, ".git/packed-refs"), "# pack-refs\n0123 refs/heads/main\n")
	if got := revision(); got != "0123" {
		t.Errorf("a packed ref gives %q", got)
	}
	write(filepath.Join(dir, ".git/refs/heads/main"), "4567\n")
	if got := revision(); got != "4567" {
		t.Errorf("a loose ref gives %q", got)
	}
	write(filepath.Join(dir, "metadata/timestamp.commit"), "89ab 1 2026\n")
	if got := revision(); got != "89ab 1 2026" {
		t.Errorf("a synchronisation stamp gives %q", got)
	}
}
