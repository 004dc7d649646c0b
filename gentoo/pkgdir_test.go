package gentoo

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

var hello = CPV{"lab-misc", "hello", "1.0-r1"}

const helloName = "lab-misc/hello/hello-1.0-r1-1.gpkg.tar"

func openTestPkgDir(t *testing.T) (*PkgDir, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "binpkgs")
	p, err := OpenPkgDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p, dir
}

// add stores data under its true size and hash.
func add(p *PkgDir, rel, data string) (string, error) {
	return p.Add(hello, rel, int64(len(data)), sha256.Sum256([]byte(data)), strings.NewReader(data), nil)
}

// filesIn returns all files below dir with their contents.
func filesIn(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(name)
		files[strings.TrimPrefix(name, dir+"/")] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestPkgDirAdd(t *testing.T) {
	p, dir := openTestPkgDir(t)
	name, err := add(p, helloName, "contents")
	if err != nil || name != helloName {
		t.Fatalf("stored as %q: %v", name, err)
	}
	if diff := cmp.Diff(map[string]string{helloName: "contents"}, filesIn(t, dir)); diff != "" {
		t.Error(diff)
	}
	info, err := os.Stat(filepath.Join(dir, helloName))
	if err != nil || info.Mode() != 0o644 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestPkgDirCollisions(t *testing.T) {
	p, dir := openTestPkgDir(t)
	steps := []struct{ rel, data, want string }{
		{helloName, "one", helloName},
		{helloName, "one", helloName}, // the same again is kept
		{helloName, "two", "lab-misc/hello/hello-1.0-r1-2.gpkg.tar"},
		{"lab-misc/hello/hello-1.0-r1-9.gpkg.tar", "nine", "lab-misc/hello/hello-1.0-r1-9.gpkg.tar"},
		{helloName, "ten", "lab-misc/hello/hello-1.0-r1-10.gpkg.tar"},
		{"lab-misc/hello-1.0-r1.tbz2", "old", "lab-misc/hello-1.0-r1.tbz2"},
		{"lab-misc/hello-1.0-r1.tbz2", "old2", "lab-misc/hello/hello-1.0-r1-11.xpak"},
		{"lab-misc/hello-1.0-r1.gpkg.tar", "flat", "lab-misc/hello-1.0-r1.gpkg.tar"},
		{"lab-misc/hello-1.0-r1.gpkg.tar", "flat2", "lab-misc/hello/hello-1.0-r1-12.gpkg.tar"},
		{"lab-misc/hello/hello-1.0-r1-2147483647.xpak", "m", "lab-misc/hello/hello-1.0-r1-2147483647.xpak"},
		{"lab-misc/hello/hello-1.0-r1-2147483647.xpak", "n", "lab-misc/hello/hello-1.0-r1-13.xpak"},
		{"lab-misc/hello/hello-1.0-r1-999999.xpak", "o", "lab-misc/hello/hello-1.0-r1-999999.xpak"},
		{"lab-misc/hello/hello-1.0-r1-1000000.xpak", "p", "lab-misc/hello/hello-1.0-r1-1000000.xpak"},
		{"lab-misc/hello/hello-1.0-r1-1000000.xpak", "q", "lab-misc/hello/hello-1.0-r1-1000001.xpak"},
	}
	want := map[string]string{}
	for _, s := range steps {
		got, err := add(p, s.rel, s.data)
		if err != nil || got != s.want {
			t.Errorf("%s with %q is stored as %s, want %s (%v)", s.rel, s.data, got, s.want, err)
		}
		want[s.want] = s.data
	}
	if diff := cmp.Diff(want, filesIn(t, dir)); diff != "" {
		t.Error(diff)
	}
}

func TestPkgDirMismatchIsNeverVisible(t *testing.T) {
	p, dir := openTestPkgDir(t)
	sum := sha256.Sum256([]byte("contents"))
	broken := errors.New("connection lost")
	for name, c := range map[string]struct {
		size int64
		r    io.Reader
		want error
	}{
		"short":     {8, strings.NewReader("content"), ErrMismatch},
		"long":      {8, strings.NewReader("contents!"), ErrMismatch},
		"altered":   {8, strings.NewReader("kontents"), ErrMismatch},
		"negative":  {-1, strings.NewReader("contents"), ErrMismatch},
		"broken":    {8, io.MultiReader(strings.NewReader("cont"), iotest.ErrReader(broken)), broken},
		"brokenEnd": {8, io.MultiReader(strings.NewReader("contents"), iotest.ErrReader(broken)), broken},
	} {
		if _, err := p.Add(hello, helloName, c.size, sum, c.r, nil); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		} else if name == "short" && !strings.Contains(err.Error(), "7 bytes instead of 8") {
			t.Errorf("%s: %v", name, err)
		} else if !strings.Contains(err.Error(), helloName) || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: the error does not say what was not stored where: %v", name, err)
		}
	}
	if files := filesIn(t, dir); len(files) != 0 {
		t.Errorf("left behind: %v", files)
	}
}

// TestPkgDirPendingIsInvisible looks at PKGDIR in the middle of an Add.
func TestPkgDirPendingIsInvisible(t *testing.T) {
	p, dir := openTestPkgDir(t)
	look := func() {
		for name := range filesIn(t, dir) {
			for _, ext := range []string{".tbz2", ".xpak", ".gpkg.tar"} {
				if strings.HasSuffix(name, ext) {
					t.Errorf("Portage would see %s", name)
				}
			}
		}
		if n, err := p.Sweep(); n != 0 || err != nil {
			t.Errorf("Sweep took the file of a running Add: %d, %v", n, err)
		}
	}
	data := bytes.Repeat([]byte("x"), 100_000)
	r := iotest.OneByteReader(bytes.NewReader(data[50_000:]))
	lookingReader := readerFunc(func(b []byte) (int, error) { look(); return 0, io.EOF })
	all := io.MultiReader(bytes.NewReader(data[:50_000]), lookingReader, r, lookingReader)
	if _, err := p.Add(hello, helloName, int64(len(data)), sha256.Sum256(data), all, nil); err != nil {
		t.Fatal(err)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

func TestPkgDirSweep(t *testing.T) {
	p, dir := openTestPkgDir(t)
	keep := []string{
		"Packages", ".lantage-x", "lab-misc/hello/hello-1.0-1.gpkg.tar", "a/b/c/.lantage-deep.pending",
	}
	gone := []string{".lantage-0.pending", "lab-misc/.lantage-1.pending", "lab-misc/hello/.lantage-2.pending"}
	for _, name := range slices.Concat(keep, gone) {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := p.Sweep(); n != len(gone) || err != nil {
		t.Errorf("%d removed, %v", n, err)
	}
	left := filesIn(t, dir)
	for _, name := range keep {
		if _, ok := left[name]; !ok {
			t.Errorf("%s is gone", name)
		}
	}
	if len(left) != len(keep) {
		t.Errorf("left: %v", left)
	}
}

func TestPkgDirConcurrentAdds(t *testing.T) {
	p, dir := openTestPkgDir(t)
	const n = 20
	names := make([]string, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			var err error
			if names[i], err = add(p, helloName, fmt.Sprint("contents ", i/2)); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() {
			if _, err := p.Sweep(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	files := filesIn(t, dir)
	for i, name := range names {
		if want := fmt.Sprint("contents ", i/2); files[name] != want {
			t.Errorf("%s holds %q, want %q", name, files[name], want)
		}
	}
	for name := range files {
		if isPendingName(filepath.Base(name)) {
			t.Errorf("%s is left", name)
		}
	}
}

func TestPkgDirStaysInside(t *testing.T) {
	p, dir := openTestPkgDir(t)
	outside := t.TempDir()
	if err := os.Symlink(outside, filepath.Join(dir, "lab-misc")); err != nil {
		t.Fatal(err)
	}
	if name, err := add(p, helloName, "x"); err == nil {
		t.Errorf("stored as %s through a link that leads out", name)
	}
	if files := filesIn(t, outside); len(files) != 0 {
		t.Errorf("written outside: %v", files)
	}
	for _, rel := range []string{
		"../hello-1.0-r1.tbz2", "/etc/passwd", "lab-misc/other/other-1-1.gpkg.tar", "",
	} {
		if name, err := add(p, rel, "x"); err == nil {
			t.Errorf("%q is stored as %s", rel, name)
		}
	}
}

// TestPkgDirCheck: what the check refuses never becomes visible, and leaves nothing.
func TestPkgDirCheck(t *testing.T) {
	p, dir := openTestPkgDir(t)
	const data = "a binpkg"
	refused := errors.New("not this one")
	for _, want := range []error{refused, nil} {
		_, err := p.Add(hello, helloName, int64(len(data)), sha256.Sum256([]byte(data)), strings.NewReader(data), func(r io.ReaderAt) error {
			got, err := io.ReadAll(io.NewSectionReader(r, 0, int64(len(data))))
			if string(got) != data || err != nil {
				t.Errorf("the check reads %q, %v", got, err)
			}
			if _, err := os.Stat(filepath.Join(dir, helloName)); err == nil {
				t.Error("the file is visible before it is checked")
			}
			return want
		})
		if !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
		if files := filesIn(t, dir); (len(files) == 1) != (want == nil) {
			t.Errorf("after %v there are %q", want, files)
		}
	}
}
