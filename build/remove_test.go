package build

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// TestRemoveAll: what jobs have made goes, however deep, with few descriptors; what their links lead to stays.
func TestRemoveAll(t *testing.T) {
	outside, dir := filepath.Join(t.TempDir(), "outside"), filepath.Join(t.TempDir(), "job")
	put(t, filepath.Join(outside, "file"), "outside")
	put(t, filepath.Join(dir, "a/b/\xff"), "x")
	for i := range 2500 {
		put(t, filepath.Join(dir, "many", strconv.Itoa(i)), "")
	}
	if err := errors.Join(os.Symlink(outside, filepath.Join(dir, "a/link")), mkfifo(filepath.Join(dir, "fifo"))); err != nil {
		t.Fatal(err)
	}
	at, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	for range 3000 {
		err := unix.Mkdirat(at, "d", 0o700)
		next, openErr := unix.Openat(at, "d", unix.O_PATH|unix.O_DIRECTORY, 0)
		unix.Close(at)
		if at = next; err != nil || openErr != nil {
			t.Fatal(err, openErr)
		}
	}
	if err := errors.Join(unix.Symlinkat(outside, at, "link"), unix.Mkdirat(at, "empty", 0o700), unix.Close(at)); err != nil {
		t.Fatal(err)
	}
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 256, Max: before.Max}); err != nil {
		t.Fatal(err)
	}
	defer unix.Setrlimit(unix.RLIMIT_NOFILE, &before)
	if err := RemoveAll(dir); err != nil {
		t.Errorf("%.200s", err.Error())
	}
	if _, err := os.Lstat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Error("it is still there:", err)
	}
	if _, err := os.Stat(filepath.Join(outside, "file")); err != nil {
		t.Error(err)
	}

	// What cannot be removed keeps nothing else.
	kept := filepath.Join(dir, "kept")
	put(t, filepath.Join(kept, "x"), "x")
	for i := range 100 { // some of which come after it, in whatever order
		put(t, filepath.Join(dir, strconv.Itoa(i), "x"), "x")
	}
	if err := unix.Mount(outside, kept, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	err = RemoveAll(dir)
	left, readErr := os.ReadDir(dir)
	if errors.Join(readErr, unix.Unmount(kept, 0)); err == nil || len(left) != 1 || left[0].Name() != "kept" {
		t.Errorf("beside a mount: %v, left %v", err, left)
	}
	if err := RemoveAll(dir); err != nil {
		t.Error(err)
	}

	link := filepath.Join(filepath.Dir(dir), "link")
	if err := errors.Join(os.Symlink(outside, link), RemoveAll(link), RemoveAll(link)); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(outside); err != nil || len(left) != 1 {
		t.Errorf("of what a link leads to there is %v, %v", left, err)
	}
}
