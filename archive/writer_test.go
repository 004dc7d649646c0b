package archive

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestAddTreeNames(t *testing.T) {
	dir := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(dir, "etc/portage/gnupg"), 0o755))
	for _, name := range []string{"etc/portage/make.conf", "etc/portage/gnupg/key", "etc/other"} {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte("text"), 0o644))
	}
	noKeys := func(path string, fi fs.FileInfo) bool {
		return !(path == "etc/portage/gnupg" && fi.IsDir())
	}
	for _, tc := range []struct {
		dir, prefix string
		filter      func(string, fs.FileInfo) bool
		want        string
	}{
		{"etc/portage", "", nil, "gnupg gnupg/key make.conf"},
		{"etc/portage/", "conf/p", nil, "conf/p conf/p/gnupg conf/p/gnupg/key conf/p/make.conf"},
		{".", "", noKeys, "etc etc/other etc/portage etc/portage/make.conf"},
		{"etc", "x", noKeys, "x x/other x/portage x/portage/make.conf"},
		{"etc", "x", func(string, fs.FileInfo) bool { return false }, "x"},
	} {
		var buf bytes.Buffer
		w := NewWriter(&buf, Options{})
		must(t, w.AddTree(t.Context(), openRoot(t, dir), tc.dir, tc.prefix, tc.filter))
		must(t, w.Close())
		var names []string
		r := NewReader(&buf, Limits{})
		for {
			hdr, err := r.Next()
			if err == io.EOF {
				break
			}
			must(t, err)
			names = append(names, hdr.Name)
		}
		if got := strings.Join(names, " "); got != tc.want {
			t.Errorf("AddTree(%q, %q) wrote %s, want %s", tc.dir, tc.prefix, got, tc.want)
		}
	}
}

func TestAddFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	must(t, os.WriteFile(path, []byte("from the first byte"), 0o640))
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	_, err = f.Seek(5, io.SeekStart)
	must(t, err)
	var buf bytes.Buffer
	w := NewWriter(&buf, Options{Level: ForBinpkgs})
	must(t, w.AddFile("cat/f", f))
	must(t, w.AddReader("r", 4, 0o600, time.Unix(5, 6), strings.NewReader("four")))
	must(t, w.AddBytes("b", []byte("bytes"), 0o444))
	must(t, w.Close())
	got, err := contents(buf.Bytes())
	must(t, err)
	want := "0 cat/f  640 from the first byte\n0 r  600 four\n0 b  444 bytes\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// changing is the content of a file that another process shortens or extends while it is read.
type changing struct {
	f      *os.File
	change func(*os.File) error
}

func (c *changing) Read(p []byte) (int, error) {
	if c.change != nil {
		if err := c.change(c.f); err != nil {
			return 0, err
		}
		c.change = nil
	}
	return c.f.Read(p[:min(len(p), 1000)])
}

func TestFileChanges(t *testing.T) {
	for want, change := range map[string]func(*os.File) error{
		"shrank": func(f *os.File) error { return f.Truncate(1500) },
		"grew":   func(f *os.File) error { return f.Truncate(3001) },
	} {
		f, err := os.Create(filepath.Join(t.TempDir(), "f"))
		must(t, err)
		defer f.Close()
		must(t, f.Truncate(3000))
		var buf bytes.Buffer
		w := NewWriter(&buf, Options{})
		err = w.AddReader("cat/file", 3000, 0o644, time.Time{}, &changing{f, change})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "cat/file") {
			t.Errorf("a file that %s: %v", want, err)
		}
		checkStaysCut(t, w, &buf, err)
	}
}

// AddFile and AddTree see a file that grows between Stat and the last read: here one whose size Stat calls
// 0.
func TestFileGrows(t *testing.T) {
	f, err := os.Open("/proc/self/status")
	must(t, err)
	defer f.Close()
	var buf bytes.Buffer
	w := NewWriter(&buf, Options{})
	if err := w.AddFile("status", f); err == nil || !strings.Contains(err.Error(), "grew") {
		t.Errorf("AddFile: %v", err)
	}
	w.Close()
	w = NewWriter(&buf, Options{})
	root := openRoot(t, "/proc/self")
	status := func(path string, _ fs.FileInfo) bool { return path == "status" }
	err = w.AddTree(t.Context(), root, ".", "", status)
	if err == nil || !strings.Contains(err.Error(), "grew") {
		t.Errorf("AddTree: %v", err)
	}
	w.Close()
}

// checkStaysCut fails unless every call on w returns err and the reader gets no complete archive.
func checkStaysCut(t *testing.T, w *Writer, buf *bytes.Buffer, err error) {
	t.Helper()
	for name, again := range map[string]error{
		"AddBytes": w.AddBytes("next", nil, 0o644), "Flush": w.Flush(), "Close": w.Close(),
		"Close again": w.Close(),
	} {
		if !errors.Is(again, err) {
			t.Errorf("%s after the error: %v", name, again)
		}
	}
	if s, err := contents(buf.Bytes()); err == nil {
		t.Errorf("the reader takes the archive for complete: %q", s)
	}
}

func TestUnsendable(t *testing.T) {
	dir := t.TempDir()
	must(t, unix.Mkfifo(filepath.Join(dir, "fifo"), 0o644))
	l, err := net.Listen("unix", filepath.Join(dir, "sock"))
	must(t, err)
	defer l.Close()
	for _, name := range []string{"fifo", "sock"} {
		var buf bytes.Buffer
		w := NewWriter(&buf, Options{})
		only := func(path string, _ fs.FileInfo) bool { return path == name }
		err := w.AddTree(t.Context(), openRoot(t, dir), ".", "p", only)
		if err == nil || !strings.Contains(err.Error(), filepath.Join(dir, name)) {
			t.Errorf("%s: %v", name, err)
		}
		checkStaysCut(t, w, &buf, err)
	}
	var buf bytes.Buffer
	w := NewWriter(&buf, Options{})
	must(t, w.AddTree(t.Context(), openRoot(t, dir), ".", "", func(_ string, fi fs.FileInfo) bool {
		return fi.Mode().IsRegular()
	}))
	must(t, w.Close())

	for _, name := range []string{"", ".", "/abs", "a/../b"} {
		w := NewWriter(io.Discard, Options{})
		if w.AddBytes(name, nil, 0o644) == nil || w.Close() == nil {
			t.Errorf("name %q was accepted", name)
		}
	}
}

// A link whose target is elsewhere is sent as a link.
func TestAddTreeStaysInside(t *testing.T) {
	dir := playground(t)
	must(t, os.Symlink("../outside", filepath.Join(dir, "link")))
	var buf bytes.Buffer
	w := NewWriter(&buf, Options{})
	must(t, w.AddTree(t.Context(), openRoot(t, dir), ".", "", nil))
	must(t, w.Close())
	if s, err := contents(buf.Bytes()); err != nil || !strings.Contains(s, "2 link ../outside") {
		t.Errorf("got %q, %v", s, err)
	}
}

// What turns into something else between the filter and the open is not sent, and does not block.
func TestAddTreeReplaced(t *testing.T) {
	for name, change := range map[string]func(path string) error{
		"directory to link": func(path string) error { return os.Symlink("../outside", path) },
		"file to link":      func(path string) error { return os.Symlink("../outside", path) },
		"file to link here": func(path string) error { return os.Symlink("zz", path) },
		"file to fifo":      func(path string) error { return unix.Mkfifo(path, 0o644) },
		"file to file":      func(path string) error { return os.Rename(filepath.Join(path, "../zz"), path) },
	} {
		dir := playground(t)
		must(t, os.WriteFile(filepath.Join(dir, "zz"), []byte("another"), 0o644))
		path := filepath.Join(dir, "mine")
		if strings.HasPrefix(name, "directory") {
			must(t, os.Remove(path))
			must(t, os.Mkdir(path, 0o755))
		}
		w := NewWriter(io.Discard, Options{})
		err := w.AddTree(t.Context(), openRoot(t, dir), ".", "", func(shown string, _ fs.FileInfo) bool {
			if shown == "mine" {
				must(t, os.Remove(path))
				must(t, change(path))
			}
			return true
		})
		if err == nil {
			t.Errorf("%s: sent", name)
		}
		w.Close()
	}
}

func TestAddTreeCancel(t *testing.T) {
	for _, keep := range []bool{true, false} {
		ctx, cancel := context.WithCancel(t.Context())
		dir := playground(t)
		must(t, os.WriteFile(filepath.Join(dir, "zz"), nil, 0o644))
		w := NewWriter(io.Discard, Options{})
		err := w.AddTree(ctx, openRoot(t, dir), ".", "", func(string, fs.FileInfo) bool {
			cancel()
			return keep
		})
		if !errors.Is(err, context.Canceled) || !errors.Is(w.Close(), context.Canceled) {
			t.Errorf("got %v, want the context's error", err)
		}
	}
}

// A lost connection is an error at the latest in Flush and Close, and Close leaves no goroutine: synctest
// fails when one stays behind.
func TestWriteError(t *testing.T) {
	lost := errors.New("connection lost")
	for _, level := range []Level{ForText, ForBinpkgs} {
		for after := range 5 { // writes of pgzip: header, blocks
			synctest.Test(t, func(t *testing.T) {
				w := NewWriter(&failing{after: after, err: lost}, Options{Level: level})
				_ = w.AddBytes("big", incompressible(5*blockBytes), 0o644)
				if err := w.Flush(); !errors.Is(err, lost) {
					t.Errorf("Flush: %v", err)
				}
				if err := w.Close(); !errors.Is(err, lost) {
					t.Errorf("Close: %v", err)
				}
			})
		}
	}
}

type failing struct {
	after int
	err   error
}

func (f *failing) Write(p []byte) (int, error) {
	if f.after--; f.after < 0 {
		return 0, f.err
	}
	return len(p), nil
}

// Writer and Reader together hold a few MiB however much passes through: 24 MiB of noise and of text.
func TestMemory(t *testing.T) {
	const size, most = 24 << 20, 12 << 20
	for level, data := range map[Level][]byte{ForBinpkgs: incompressible(4 << 20), ForText: ownSource(t)} {
		pr, pw := io.Pipe()
		go func() {
			w := NewWriter(pw, Options{Level: level})
			err := w.AddReader("f", size, 0o644, time.Time{}, io.LimitReader(&repeat{data: data}, size))
			pw.CloseWithError(errors.Join(err, w.Close()))
		}()
		runtime.GC()
		var mem runtime.MemStats
		runtime.ReadMemStats(&mem)
		before, peak := mem.HeapInuse, uint64(0)
		r := NewReader(pr, Limits{})
		_, err := r.Next()
		must(t, err)
		for err == nil {
			_, err = io.CopyN(io.Discard, r, 3<<20)
			runtime.GC() // what is not in use does not count, and how much of it there is depends on what ran before
			runtime.ReadMemStats(&mem)
			peak = max(peak, mem.HeapInuse)
		}
		must(t, r.Finish())
		t.Logf("level %d: heap of %d KiB at most", level, (peak-before)>>10)
		if peak > before+most {
			t.Errorf("level %d: heap grew by %d KiB", level, (peak-before)>>10)
		}
	}
}
