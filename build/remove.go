package build

import (
	"cmp"
	"crypto/rand"
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// RemoveAll is os.RemoveAll for directories that jobs have written to. That one needs a descriptor for each level of directories, and a
// job can make more levels than there are descriptors. Here, what lies deeper than maxDepth is brought up first.
func RemoveAll(path string) error {
	top, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return os.RemoveAll(path) // no directory
	}
	defer top.Close()
	if err := removeIn(top, top, 0); err != nil {
		return err
	}
	return os.Remove(path)
}

// removeIn removes what is in a directory at this depth below top, but for what cannot be: the error is the first about that.
func removeIn(top, dir *os.File, depth int) (first error) {
	stays := map[string]bool{}
	for {
		names, err := dir.Readdirnames(1000)
		if errors.Is(err, io.EOF) {
			return first
		}
		if err != nil {
			return cmp.Or(first, err)
		}
		removed := false
		for _, name := range names {
			if stays[name] {
				continue
			}
			removed = true
			if err := removeEntry(top, dir, name, depth); err != nil && err != unix.ENOENT {
				stays[name] = true
				first = cmp.Or(first, error(&os.PathError{Op: "remove", Path: dir.Name() + "/" + name, Err: err}))
			}
		}
		if !removed {
			continue // with the names after these
		}
		// Some file systems pass entries over when others are removed meanwhile; and there may be new ones in top.
		if _, err := dir.Seek(0, io.SeekStart); err != nil {
			return err
		}
	}
}

func removeEntry(top, dir *os.File, name string, depth int) error {
	at := int(dir.Fd())
	err := unix.Unlinkat(at, name, 0)
	if err != unix.EISDIR {
		return err
	}
	if err := unix.Unlinkat(at, name, unix.AT_REMOVEDIR); err != unix.ENOTEMPTY && err != unix.EEXIST {
		return err
	}
	if depth == maxDepth {
		return unix.Renameat(at, name, int(top.Fd()), rand.Text())
	}
	fd, err := unix.Openat(at, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	sub := os.NewFile(uintptr(fd), name)
	defer sub.Close()
	if err := removeIn(top, sub, depth+1); err != nil {
		return err
	}
	return unix.Unlinkat(at, name, unix.AT_REMOVEDIR)
}
