package archive

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

var allXattrs = []string{"user.lantage", "user.empty"}

// makeTree fills a new directory with one of everything an archive can hold, odd names and attributes
// included.
func makeTree(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	long := strings.Repeat("0123456789", 12)
	files := []struct {
		name string
		data []byte
		mode fs.FileMode
	}{
		{"etc/portage/make.conf", []byte("USE=\"lab\"\n"), 0o644},
		{"etc/portage/empty", nil, 0o600},
		{"bin/setuid", []byte("#!/bin/sh\n"), 0o755 | fs.ModeSetuid},
		{"bin/setgid", []byte("#!/bin/sh\n"), 0o710 | fs.ModeSetgid},
		{"bin/big", incompressible(3*blockBytes + 17), 0o644},
		{"odd/ leading, \"quotes\", tab\tand newline\n", []byte("x"), 0o644},
		{"odd/latin1-\xe9\xff", []byte("y"), 0o644},
		{"odd/grüße", []byte("z"), 0o644},
		{"odd/-rf", []byte("-"), 0o400},
		{".hidden/.f", []byte("."), 0o644},
		{"..two/-dir/...", []byte("."), 0o644},
		{"odd/trailing.", []byte("."), 0o644},
		{"long/" + long + "/" + long + "/" + long + "/f", []byte("deep"), 0o644},
		{"long/" + strings.Repeat("n", 255), []byte("wide"), 0o644},
		{"ro/inside", []byte("in a directory that may not be written\n"), 0o444},
	}
	for _, f := range files {
		path := filepath.Join(dir, f.name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, f.data, 0o600))
		must(t, os.Chmod(path, f.mode))
	}
	must(t, os.MkdirAll(filepath.Join(dir, "empty dir"), 0o755))
	must(t, os.Chmod(filepath.Join(dir, "empty dir"), 0o777|fs.ModeSticky))
	must(t, os.Link(filepath.Join(dir, "bin/big"), filepath.Join(dir, "bin/big2")))
	must(t, os.Link(filepath.Join(dir, "bin/big"), filepath.Join(dir, "etc/big3")))
	must(t, os.Symlink("big", filepath.Join(dir, "bin/link")))
	must(t, os.Symlink("../etc/portage/"+long, filepath.Join(dir, "bin/dangling")))
	must(t, unix.Setxattr(filepath.Join(dir, "bin/setuid"), "user.lantage", []byte("a\x00b=c\n"), 0))
	must(t, unix.Setxattr(filepath.Join(dir, "bin/setuid"), "user.empty", nil, 0))
	must(t, unix.Setxattr(filepath.Join(dir, "etc/portage"), "user.lantage", []byte("on a directory"), 0))
	if os.Geteuid() == 0 {
		must(t, os.Lchown(filepath.Join(dir, "odd/-rf"), 250, 1<<31+7))
		must(t, os.Lchown(filepath.Join(dir, "bin/link"), 1000, 1001))
		must(t, os.Lchown(filepath.Join(dir, "empty dir"), 1000000, 1001))
	}
	setTimes(t, dir)
	must(t, os.Chmod(filepath.Join(dir, "ro"), 0o555))
	t.Cleanup(func() { _ = os.Chmod(filepath.Join(dir, "ro"), 0o755) })
	return dir
}

// setTimes gives each file below dir another time, with nanoseconds, the directories after what is in them.
func setTimes(t *testing.T, dir string) {
	var paths []string
	must(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		paths = append(paths, path)
		return err
	}))
	for i, path := range slices.Backward(paths) {
		ts := unix.NsecToTimespec(int64(1_500_000_000+i)*1e9 + 123456789)
		must(t, unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW))
	}
}

// describe says all that an archive should keep about each file below dir, except for dir itself.
func describe(t *testing.T, dir string, precision time.Duration) map[string]string {
	t.Helper()
	files := map[string]string{}
	first := map[uint64]string{}
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		fi, err := d.Info()
		if err != nil {
			return err
		}
		st := fi.Sys().(*syscall.Stat_t)
		s := fmt.Sprintf("%v %d:%d %s", fi.Mode(), st.Uid, st.Gid,
			fi.ModTime().UTC().Truncate(precision).Format(time.RFC3339Nano))
		switch fi.Mode().Type() {
		case 0:
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if first[st.Ino] == "" {
				first[st.Ino] = name
			}
			s += fmt.Sprintf(" %d %.8x of %s", len(data), sha256.Sum256(data), first[st.Ino])
			fallthrough
		case fs.ModeDir:
			for _, attr := range allXattrs {
				buf := make([]byte, 100)
				if n, err := unix.Getxattr(path, attr, buf); err == nil {
					s += fmt.Sprintf(" %s=%q", attr, buf[:n])
				}
			}
		case fs.ModeSymlink:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			s += " -> " + target
		}
		files[name] = s
		return nil
	}))
	return files
}

func TestRoundTrip(t *testing.T) {
	dir := makeTree(t)
	for _, level := range []Level{ForText, ForBinpkgs} {
		data := pack(t, dir, Options{Level: level})
		out := t.TempDir()
		stats, err := Extract(t.Context(), bytes.NewReader(data), openRoot(t, out), faithful)
		must(t, err)
		if diff := cmp.Diff(describe(t, dir, 1), describe(t, out, 1)); diff != "" {
			t.Errorf("level %d: the tree came back different (-sent +got):\n%s", level, diff)
		}
		want := Stats{Files: 15, Dirs: 13, Symlinks: 2, HardLinks: 2, Bytes: stats.Bytes}
		if stats != want || stats.Bytes < 3*blockBytes {
			t.Errorf("stats %+v, want %+v", stats, want)
		}
	}
}

// GNU tar and gzip read what we write.
func TestGNUTarReadsOurs(t *testing.T) {
	dir := makeTree(t)
	out := t.TempDir()
	cmd := exec.Command("tar", "-xpzf", "-", "-C", out, "--numeric-owner", "--xattrs", "--xattrs-include=*")
	cmd.Stdin = bytes.NewReader(pack(t, dir, Options{}))
	if text, err := cmd.CombinedOutput(); err != nil || len(text) > 0 {
		t.Fatalf("tar: %v\n%s", err, text)
	}
	if diff := cmp.Diff(describe(t, dir, 1), describe(t, out, 1)); diff != "" {
		t.Errorf("GNU tar made another tree of it (-sent +got):\n%s", diff)
	}
}

// We read what GNU tar and gzip write, in the formats that can hold such names.
func TestWeReadGNUTar(t *testing.T) {
	dir := makeTree(t)
	for format, precision := range map[string]time.Duration{"pax": 1, "gnu": time.Second} {
		t.Run(format, func(t *testing.T) {
			args := []string{"-czf", "-", "-C", dir, "--format=" + format}
			if format == "pax" {
				args = append(args, "--xattrs")
			} else {
				must(t, unix.Removexattr(filepath.Join(dir, "bin/setuid"), "user.lantage"))
				must(t, unix.Removexattr(filepath.Join(dir, "bin/setuid"), "user.empty"))
				must(t, unix.Removexattr(filepath.Join(dir, "etc/portage"), "user.lantage"))
			}
			data, err := exec.Command("tar", append(args, ".")...).Output()
			must(t, err)
			out := t.TempDir()
			_, err = Extract(t.Context(), bytes.NewReader(data), openRoot(t, out), faithful)
			must(t, err)
			if diff := cmp.Diff(describe(t, dir, precision), describe(t, out, precision)); diff != "" {
				t.Errorf("the tree came back different (-sent +got):\n%s", diff)
			}
		})
	}
}

// What the zero options leave out: owners, setuid, extended attributes.
func TestExtractCautious(t *testing.T) {
	out := t.TempDir()
	root := openRoot(t, out)
	data := gz(t, tarOf(t,
		entry{Header: tar.Header{
			Name: "f", Mode: 0o7755, Uid: 77, Gid: 78,
			PAXRecords: map[string]string{"SCHILY.xattr.user.lantage": "v"},
		}},
		entry{Header: tar.Header{
			Name: "d/", Typeflag: tar.TypeDir, Mode: 0o6711, Uid: 77,
			PAXRecords: map[string]string{"SCHILY.xattr.user.lantage": "v"},
		}},
	))
	_, err := Extract(t.Context(), bytes.NewReader(data), root, ExtractOptions{})
	must(t, err)
	for name, want := range map[string]fs.FileMode{"f": 0o755 | fs.ModeSticky, "d": 0o711 | fs.ModeDir} {
		fi, err := root.Lstat(name)
		must(t, err)
		st := fi.Sys().(*syscall.Stat_t)
		if fi.Mode() != want || int(st.Uid) != os.Geteuid() {
			t.Errorf("%s has mode %v and owner %d, want %v and the caller", name, fi.Mode(), st.Uid, want)
		}
		if n, err := unix.Getxattr(filepath.Join(out, name), "user.lantage", nil); !errors.Is(err, unix.ENODATA) {
			t.Errorf("%s has an extended attribute that was not asked for: %d, %v", name, n, err)
		}
	}
}

// Directories come with the mode and time of the archive wherever they stand in it, and may exist before.
func TestExtractDirectories(t *testing.T) {
	out := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(out, "old/kept"), 0o700))
	when := time.Unix(1_400_000_000, 5)
	dirEntry := func(name string, mode int64) entry {
		return entry{Header: tar.Header{
			Name: name, Typeflag: tar.TypeDir, Mode: mode, ModTime: when, Format: tar.FormatPAX,
		}}
	}
	data := gz(t, tarOf(t,
		dirEntry("./", 0o751), file("a/b/before", "1"), dirEntry("a/b/", 0o500), dirEntry("a/", 0o510),
		file("a/b/after", "2"), dirEntry("old", 0), dirEntry("old/", 0o510), file("implied/f", "3"),
	))
	_, err := Extract(t.Context(), bytes.NewReader(data), openRoot(t, out), ExtractOptions{})
	must(t, err)
	for name, want := range map[string]fs.FileMode{
		".": 0o751, "a": 0o510, "a/b": 0o500, "old": 0o510, "old/kept": 0o700, "implied": 0o755,
	} {
		fi, err := os.Lstat(filepath.Join(out, name))
		must(t, err)
		if fi.Mode().Perm() != want {
			t.Errorf("%s has mode %v, want %v", name, fi.Mode(), want)
		}
		if set := name != "old/kept" && name != "implied"; set != fi.ModTime().Equal(when) {
			t.Errorf("%s has time %v, which is right only where the archive says it", name, fi.ModTime())
		}
	}
	for _, name := range []string{"a", "a/b", "old"} { // for the removal, where it is not root's
		must(t, os.Chmod(filepath.Join(out, name), 0o700))
	}
}

// After Flush a reader has the whole entry while the writer has sent nothing more.
func TestFlushIsLive(t *testing.T) {
	for _, level := range []Level{ForText, ForBinpkgs} {
		for _, size := range []int{0, 1, 511, 512, 100_000, 3*blockBytes + 5} {
			want := incompressible(size)
			pr, pw := io.Pipe()
			more := make(chan struct{})
			sent := make(chan error, 1)
			go func() {
				w := NewWriter(pw, Options{Level: level})
				err := errors.Join(w.AddBytes("first", want, 0o644), w.Flush())
				<-more
				err = errors.Join(err, w.AddBytes("second", want, 0o644), w.Flush(), w.Close())
				pw.CloseWithError(err)
				sent <- err
			}()
			stalled := time.AfterFunc(20*time.Second, func() {
				pr.CloseWithError(errors.New("the reader waited for bytes after Flush"))
			})
			r := NewReader(pr, Limits{})
			for _, name := range []string{"first", "second"} {
				hdr, err := r.Next()
				must(t, err)
				got, err := io.ReadAll(r)
				must(t, err)
				if hdr.Name != name || !bytes.Equal(got, want) {
					t.Errorf("got %q with %d bytes, want %q with %d", hdr.Name, len(got), name, size)
				}
				if name == "first" {
					close(more)
				}
			}
			must(t, r.Finish())
			must(t, <-sent)
			stalled.Stop()
		}
	}
}

// The same without root's privileges: modes that lock the caller out come last, whatever the order of
// entries.
func TestExtractLockedDirectories(t *testing.T) {
	dir := func(name string, mode int64) entry {
		return entry{Header: tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: mode}}
	}
	data := gz(t, tarOf(t, dir("./", 0), dir("-d/", 0), dir("a/", 0), dir("a/b/", 0),
		dir("a/b/c/", 0o100), dir("a/b/", 0o200),
		file("a/b/c/f", "x"), link(tar.TypeLink, "a/l", "a/b/c/f"), link(tar.TypeLink, "a/m", "a/l")))
	out := t.TempDir()
	if os.Geteuid() == 0 {
		must(t, os.Chown(out, 65534, -1))
	}
	root := openRoot(t, out)
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine, and its user with it
		if os.Geteuid() == 0 {
			_, _ = unix.SetfsuidRetUid(65534) // takes CAP_DAC_OVERRIDE from this thread, see credentials(7)
		}
		_, err := Extract(t.Context(), bytes.NewReader(data), root, ExtractOptions{})
		done <- err
	}()
	must(t, <-done)
	for _, tc := range []struct {
		name string
		mode fs.FileMode
	}{{".", 0}, {"-d", 0}, {"a", 0}, {"a/b", 0o200}, {"a/b/c", 0o100}} {
		fi, err := os.Lstat(filepath.Join(out, tc.name))
		must(t, err)
		if fi.Mode().Perm() != tc.mode {
			t.Errorf("%s has mode %v, want %v", tc.name, fi.Mode(), tc.mode)
		}
		must(t, os.Chmod(filepath.Join(out, tc.name), 0o700))
	}
}

// What is there after Flush is whole tar blocks, for readers that want the padding with the entry, as GNU
// tar does.
func TestFlushPads(t *testing.T) {
	var buf bytes.Buffer
	w := NewWriter(&buf, Options{})
	defer w.Close()
	must(t, w.AddBytes("f", []byte("text"), 0o644))
	must(t, w.Flush())
	r, err := gzip.NewReader(&buf)
	must(t, err)
	if plain, err := io.ReadAll(r); len(plain) != 1024 || err != io.ErrUnexpectedEOF {
		t.Errorf("got %d bytes, %v; want 1024 and no end", len(plain), err)
	}
}

// faithful is for archives of our own: everything is kept.
var faithful = ExtractOptions{Owners: true, KeepSetID: true, Xattrs: allXattrs}

func pack(t *testing.T, dir string, opt Options) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := NewWriter(&buf, opt)
	must(t, w.AddTree(context.Background(), openRoot(t, dir), ".", "", nil))
	must(t, w.Close())
	return buf.Bytes()
}

func openRoot(t *testing.T, dir string) *os.Root {
	t.Helper()
	root, err := os.OpenRoot(dir)
	must(t, err)
	t.Cleanup(func() { root.Close() })
	return root
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}
