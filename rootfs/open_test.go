package rootfs

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestOpen(t *testing.T) {
	root := t.TempDir()
	r := Rules{Root: root}
	cases := []struct {
		name   string
		change func(t *testing.T, p string, e *Entry)
		want   error
	}{
		{"unchanged", func(*testing.T, string, *Entry) {}, nil},
		{"unchanged, of an unknown stamp", func(t *testing.T, p string, e *Entry) { e.Stamp = Stamp{} }, nil},
		{"touched", func(t *testing.T, p string, e *Entry) {
			check(t, os.Chtimes(p, time.Time{}, time.Unix(1, 0)))
		}, ErrChanged},
		{"touched, of an unknown stamp", func(t *testing.T, p string, e *Entry) {
			e.Stamp = Stamp{}
			check(t, os.Chtimes(p, time.Time{}, time.Unix(e.Sec, int64(e.Nsec)+1)))
		}, ErrChanged},
		{"grown", func(t *testing.T, p string, e *Entry) {
			e.Stamp.CTime = 0
			check(t, os.Truncate(p, 100))
			check(t, os.Chtimes(p, time.Time{}, time.Unix(e.Sec, int64(e.Nsec))))
		}, ErrChanged},
		{"another one of the same time", func(t *testing.T, p string, e *Entry) {
			e.Stamp.CTime = 0
			check(t, os.WriteFile(p+"2", make([]byte, e.Size), 0o644))
			check(t, os.Chtimes(p+"2", time.Time{}, time.Unix(e.Sec, int64(e.Nsec))))
			check(t, os.Rename(p+"2", p))
		}, ErrChanged},
		{"of another mode since", func(t *testing.T, p string, e *Entry) {
			e.Stamp.CTime-- // as if it had been listed earlier
			check(t, os.Chmod(p, 0o600))
		}, ErrChanged},
		{"gone", func(t *testing.T, p string, e *Entry) { check(t, os.Remove(p)) }, ErrChanged},
		{"a link now", func(t *testing.T, p string, e *Entry) {
			check(t, os.Rename(p, p+"2"))
			check(t, os.Symlink("file2", p))
		}, ErrChanged},
		{"in a directory that is a link now", func(t *testing.T, p string, e *Entry) {
			check(t, os.Rename(filepath.Dir(p), filepath.Dir(p)+"2"))
			check(t, os.Symlink("dir2", filepath.Dir(p)))
		}, ErrChanged},
		{"a fifo now", func(t *testing.T, p string, e *Entry) {
			check(t, os.Remove(p))
			check(t, unix.Mkfifo(p, 0o644))
		}, ErrChanged},
		{"a fifo that looks like it", func(t *testing.T, p string, e *Entry) {
			e.Stamp, e.Size = Stamp{}, 0
			check(t, os.Remove(p))
			check(t, unix.Mkfifo(p, 0o644))
			check(t, os.Chtimes(p, time.Time{}, time.Unix(e.Sec, int64(e.Nsec))))
		}, ErrChanged},
		{"a directory now", func(t *testing.T, p string, e *Entry) {
			check(t, os.Remove(p))
			check(t, os.Mkdir(p, 0o755))
		}, ErrChanged},
		{"outside", func(t *testing.T, p string, e *Entry) { e.Path = "../x" }, unix.EXDEV},
	}
	for _, c := range cases {
		check(t, os.RemoveAll(filepath.Join(root, "usr")))
		plant(t, root, "usr/dir/file")
		e := entries(t, r)["usr/dir/file"].Entry
		c.change(t, filepath.Join(root, "usr/dir/file"), &e)
		f, err := opener(t, r).Open(&e)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
		if err != nil {
			continue
		}
		if b, err := io.ReadAll(f); err != nil || string(b) != "usr/dir/file" {
			t.Errorf("%s: read %q, %v", c.name, b, err)
		}
		check(t, f.Close())
	}
}

// To send a file leaves no trace in the time of its last reading.
func TestOpenKeepsAccessTime(t *testing.T) {
	root := t.TempDir()
	plant(t, root, "usr/file")
	p := filepath.Join(root, "usr/file")
	check(t, os.Chtimes(p, time.Unix(1, 0), time.Unix(2, 0)))
	r := Rules{Root: root}
	e := entries(t, r)["usr/file"].Entry
	f, err := opener(t, r).Open(&e)
	check(t, err)
	_, err = io.ReadAll(f)
	check(t, errors.Join(err, f.Close()))
	var st unix.Stat_t
	check(t, unix.Stat(p, &st))
	if st.Atim.Sec != 1 {
		t.Errorf("it was last read at %d", st.Atim.Sec)
	}
}

func opener(t *testing.T, r Rules) *Opener {
	t.Helper()
	o, err := r.Opener()
	check(t, err)
	return o
}
