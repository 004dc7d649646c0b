package archive

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestReproducible: equal trees make equal archives, whoever made them, when, and in which order.
func TestReproducible(t *testing.T) {
	names := []string{"b/two", "a", "b/one", "c"}
	plain := func(dir string, order []int) {
		for _, i := range order {
			name := filepath.Join(dir, names[i])
			must(t, os.MkdirAll(filepath.Dir(name), 0o755))
			must(t, os.WriteFile(name, []byte("the same"), 0o644))
		}
	}
	one, two := t.TempDir(), t.TempDir()
	plain(one, []int{0, 1, 2, 3})
	plain(two, []int{3, 2, 1})
	must(t, os.Link(filepath.Join(two, "c"), filepath.Join(two, "b/two")))
	must(t, os.Chtimes(filepath.Join(two, "a"), time.Time{}, time.Unix(12345, 678)))
	must(t, unix.Setxattr(filepath.Join(two, "a"), "user.note", []byte("x"), 0))
	if os.Geteuid() == 0 {
		must(t, os.Chown(filepath.Join(two, "a"), 1234, 1234))
	}
	opt := Options{Level: ForText, Reproducible: true}
	first, second := pack(t, one, opt), pack(t, two, opt)
	if !bytes.Equal(first, second) {
		t.Errorf("the archives differ: %q, %q", listed(t, first), listed(t, second))
	}
	if bytes.Equal(pack(t, one, Options{}), pack(t, two, Options{})) {
		t.Error("the trees do not differ in what a reproducible archive leaves out")
	}
	must(t, os.Chmod(filepath.Join(two, "a"), 0o755))
	if bytes.Equal(first, pack(t, two, opt)) {
		t.Error("a mode is lost")
	}
	out := t.TempDir()
	_, err := Extract(context.Background(), bytes.NewReader(first), openRoot(t, out), ExtractOptions{})
	must(t, err)
	fi, err := os.Stat(filepath.Join(out, "a"))
	must(t, err)
	if year := fi.ModTime().UTC().Year(); year < 1981 {
		t.Errorf("a file of the year %d cannot be put into a zip file", year)
	}
}

func listed(t *testing.T, data []byte) (names []string) {
	t.Helper()
	r := NewReader(bytes.NewReader(data), Limits{})
	for {
		h, err := r.Next()
		if err != nil {
			return names
		}
		names = append(names, h.Name)
	}
}
