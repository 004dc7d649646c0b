package gentoo

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// A pending file is called .lantage-RANDOM.pending: no suffix of a binpkg, so Portage passes it over.
const (
	pendingPrefix = ".lantage-"
	pendingSuffix = ".pending"
)

// pendingFile is a binpkg that is still being written. Its writer holds a lock on it, so that Sweep can
// tell it from what a killed run left.
type pendingFile struct {
	root *os.Root
	name string
	file *os.File
}

// createPending creates and locks an empty pending file in dir.
func (p *PkgDir) createPending(dir string) (*pendingFile, error) {
	for {
		name := pendingName(dir)
		f, err := p.root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return nil, err
		}
		pending := &pendingFile{p.root, name, f}
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
			pending.cleanup()
			return nil, fmt.Errorf("lock %s: %w", name, err)
		}
		// Between creation and lock a Sweep may have taken the file for a left-over.
		info, err := f.Stat()
		if err == nil && info.Sys().(*syscall.Stat_t).Nlink > 0 {
			return pending, nil
		}
		pending.cleanup()
	}
}

// fill writes the contents, checks them and makes them durable.
func (f *pendingFile) fill(size int64, sum [sha256.Size]byte, r io.Reader) error {
	h := sha256.New()
	n, err := f.copy(h, io.LimitReader(r, size))
	if err != nil {
		return err
	}
	if extra, err := io.CopyN(io.Discard, r, 1); extra > 0 || !errors.Is(err, io.EOF) && err != nil {
		if extra == 0 {
			return err
		}
		return fmt.Errorf("%w: more than the %d bytes declared", ErrMismatch, size)
	}
	if n != size {
		return fmt.Errorf("%w: %d bytes instead of %d", ErrMismatch, n, size)
	}
	if got := h.Sum(nil); !bytes.Equal(got, sum[:]) {
		return fmt.Errorf("%w: SHA-256 %x instead of %x", ErrMismatch, got, sum)
	}
	if err := f.file.Chmod(0o644); err != nil {
		return err
	}
	return f.file.Sync()
}

// Bytes that are hashed and written at a time, and after how many the disk begins to write.
const (
	copyBytes  = 256 << 10
	earlyBytes = 8 << 20
)

// copy writes all of r to the file and to h, both at once: one takes about as long as the other. The
// disk begins to write while more is still to come, so that the sync at the end, during which nothing is
// received, finds less to do.
func (f *pendingFile) copy(h hash.Hash, r io.Reader) (n int64, err error) {
	buf := make([]byte, copyBytes)
	for begun := int64(0); ; {
		m := 0
		var readErr error
		for m < len(buf) && readErr == nil {
			var k int
			k, readErr = r.Read(buf[m:])
			m += k
		}
		hashed := make(chan struct{})
		go func() { h.Write(buf[:m]); close(hashed) }()
		_, err := f.file.Write(buf[:m])
		<-hashed
		n += int64(m)
		switch {
		case err != nil:
			return n, err
		case readErr == io.EOF:
			return n, nil
		case readErr != nil:
			return n, readErr
		}
		if n-begun >= earlyBytes {
			// Where that cannot be (sync_file_range(2)), all is left to the sync.
			_ = unix.SyncFileRange(int(f.file.Fd()), begun, n-begun, unix.SYNC_FILE_RANGE_WRITE)
			begun = n
		}
	}
}

// cleanup removes the pending name; under its final name, if it got one, the file stays.
func (f *pendingFile) cleanup() {
	_ = f.root.Remove(f.name) // gone already, or for Sweep to try again
	_ = f.file.Close()
}

// Sweep removes the pending files of runs that were killed, not those of running ones, and returns how many.
func (p *PkgDir) Sweep() (removed int, err error) {
	err = fs.WalkDir(p.root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil && name == ".":
			return err
		case err != nil: // a directory that just went, or one that is not ours to read
			return nil
		case d.IsDir() && strings.Count(name, "/") > 1: // binpkgs lie at most two levels deep
			return fs.SkipDir
		case !d.Type().IsRegular() || !isPendingName(d.Name()):
			return nil
		}
		f, err := p.root.Open(name)
		if err != nil {
			return nil
		}
		defer f.Close()
		if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
			return nil // its writer lives
		}
		if err := p.root.Remove(name); errors.Is(err, fs.ErrNotExist) {
			return nil // renamed or removed by its writer just now
		} else if err != nil {
			return fmt.Errorf("left-over of a killed run: %w", diskError(err))
		}
		removed++
		return nil
	})
	return removed, err
}

func isPendingName(name string) bool {
	return strings.HasPrefix(name, pendingPrefix) && strings.HasSuffix(name, pendingSuffix)
}
