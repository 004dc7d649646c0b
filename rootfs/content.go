package rootfs

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// scratch is a directory for files that are not whole yet.
type scratch struct {
	dir *os.File
	fd  int
	n   atomic.Uint64
}

func openScratch(dir string) (*scratch, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	return &scratch{dir: f, fd: int(f.Fd())}, nil
}

func (t *scratch) Close() error { return t.dir.Close() }

func (t *scratch) name() string { return strconv.FormatUint(t.n.Add(1), 10) }

func (t *scratch) remove(name string) { _ = unix.Unlinkat(t.fd, name, 0) }

func (t *scratch) open(name string) (*os.File, error) {
	fd, err := unix.Openat(t.fd, name, unix.O_RDWR|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}

// write makes a temporary file and returns its name, or removes it if what writes it fails. It spares the
// file the os.File: there are hundreds of thousands.
func (t *scratch) write(content func(fd int) error) (string, error) {
	name := t.name()
	fd, err := unix.Openat(t.fd, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return "", fmt.Errorf("make a file in the store: %w", err)
	}
	err = content(fd)
	if cerr := unix.Close(fd); err == nil {
		err = cerr
	}
	if err != nil {
		t.remove(name)
		return "", err
	}
	return name, nil
}

// hole is the smallest run of zeros that becomes one in a sparse file.
const hole = 4096

// fill writes the content of an entry to a new file. Of a sparse one, blocks of zeros become holes.
func fill(fd int, content io.Reader, e *Entry) error {
	w := fileWriter{fd: fd, sparse: e.Sparse}
	if _, err := io.Copy(&w, content); err != nil {
		return fmt.Errorf("%q: %w", e.Path, err)
	}
	return w.end()
}

// fileWriter writes a file from its beginning.
type fileWriter struct {
	fd     int
	at     int64
	sparse bool
}

func (w *fileWriter) Write(b []byte) (int, error) {
	for done := 0; done < len(b); {
		run := len(b) - done
		skip := false
		if w.sparse {
			run, skip = zeroRun(b[done:], int(w.at%hole))
		}
		if !skip {
			if err := w.write(b[done : done+run]); err != nil {
				return done, err
			}
		}
		done += run
		w.at += int64(run)
	}
	return len(b), nil
}

func (w *fileWriter) write(b []byte) error {
	for at := w.at; len(b) > 0; {
		n, err := unix.Pwrite(w.fd, b, at)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		b, at = b[n:], at+int64(n)
	}
	return nil
}

// end gives a file that ends in a hole its size.
func (w *fileWriter) end() error {
	if !w.sparse {
		return nil
	}
	return unix.Ftruncate(w.fd, w.at)
}

// hasHoles reports whether an open file has holes, and leaves it at its beginning. The file's count of blocks does not tell:
// while a file system gives blocks to what was just written, they are for a moment counted nowhere.
func hasHoles(fd int, size int64) bool {
	at, err := unix.Seek(fd, 0, unix.SEEK_HOLE) // at the end there always is one
	_, back := unix.Seek(fd, 0, io.SeekStart)
	return err == nil && back == nil && at < size
}

// zeroRun is how many bytes at the beginning of b are in blocks that are all zero, or all not; the first byte
// lies at offset in its block.
func zeroRun(b []byte, offset int) (n int, zero bool) {
	for n < len(b) {
		block := b[n:min(len(b), n+hole-(offset+n)%hole)]
		z := allZero(block)
		if n > 0 && z != zero {
			break
		}
		zero = z
		n += len(block)
	}
	return n, zero
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// dress gives a new file or directory of 0:0 the owner, extended attributes, mode and time of its entry. The
// order matters: a change of owner takes set-user-ID bits and capabilities away, and each step changes or may
// change what the ones before have set, but not the other way.
func dress(fd int, e *Entry) error {
	if e.UID != 0 || e.GID != 0 {
		if err := unix.Fchown(fd, int(e.UID), int(e.GID)); err != nil {
			return fmt.Errorf("%q cannot belong to %d:%d: %w", e.Path, e.UID, e.GID, err)
		}
	}
	for _, x := range e.Xattrs {
		if err := unix.Fsetxattr(fd, x.Name, []byte(x.Value), 0); err != nil {
			return xattrError(e, x.Name, err)
		}
	}
	if err := unix.Fchmod(fd, e.Mode); err != nil {
		return fmt.Errorf("%q cannot have the mode %#o: %w", e.Path, e.Mode, err)
	}
	return setTime(fd, "", e, unix.AT_EMPTY_PATH)
}

func setTime(fd int, name string, e *Entry, flags int) error {
	t, err := unix.TimeToTimespec(time.Unix(e.Sec, int64(e.Nsec)))
	if err == nil {
		err = unix.UtimesNanoAt(fd, name, []unix.Timespec{t, t}, flags)
	}
	if err != nil {
		return fmt.Errorf("%q cannot have its time: %w", e.Path, err)
	}
	return nil
}

func xattrError(e *Entry, name string, err error) error {
	return fmt.Errorf("%q: the builder's file system cannot keep the extended attribute %s: %w", e.Path, name, err)
}
