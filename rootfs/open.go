package rootfs

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// ErrChanged is wrapped by errors about a file that is not any more what its entry says.
var ErrChanged = errors.New("the file has changed")

// Opener opens listed files to send their contents.
type Opener struct{ m *ruler }

// Opener makes the rules ready to open files.
func (r *Rules) Opener() (*Opener, error) {
	m, err := r.compile()
	return &Opener{m}, err
}

// Content is what goes of a file.
type Content struct {
	io.Reader
	f *os.File
}

// Close closes the file.
func (c *Content) Close() error { return c.f.Close() }

// Open opens a listed file. It follows no symbolic link, whatever has become of the path since. The error wraps ErrChanged if the file
// is gone, or is another one or changed since it was listed; what changes after Open shows in the content's Sum only.
func (o *Opener) Open(e *Entry) (*Content, error) {
	f, st, err := openBelow(o.m.root, e.Path)
	if err != nil {
		return nil, err
	}
	c := &Content{f, f}
	now := Entry{Path: e.Path}
	now.set(st)
	if now.Size <= MaxText && o.m.isWritten(e.Path) {
		text, other, err := o.m.textOf(f)
		if err != nil {
			f.Close()
			return nil, err
		}
		if c.Reader = bytes.NewReader(text); other {
			now.Size = int64(len(text))
		}
		if other && e.Sum != sha256.Sum256(text) {
			now.Size = -1 // it was listed without what is in it now
		}
	}
	if e.Type != TypeFile || !unchanged(e, &now) {
		f.Close()
		return nil, fmt.Errorf("%s: %w", f.Name(), ErrChanged)
	}
	return c, nil
}

// StillIs reports an error that wraps ErrChanged if the file of which all content was read is not any more, as far as its status
// says, what it was when it was listed.
func (c *Content) StillIs(e *Entry) error {
	f := c.f
	if c.Reader != f { // it was read whole, and judged after that
		return nil
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return fmt.Errorf("%s: %w", f.Name(), err)
	}
	now := Entry{Path: e.Path}
	now.set(&st)
	if !unchanged(e, &now) {
		return fmt.Errorf("%s: %w", f.Name(), ErrChanged)
	}
	return nil
}

// unchanged reports whether a file is the one that was listed, as far as its stamp says.
func unchanged(listed, now *Entry) bool {
	return now.Size == listed.Size && now.Sec == listed.Sec && now.Nsec == listed.Nsec &&
		(listed.Stamp.Inode == 0 || now.Stamp.Inode == listed.Stamp.Inode) &&
		(listed.Stamp.CTime == 0 || now.Stamp.CTime == listed.Stamp.CTime)
}

// openBelow opens a regular file below root. An error about what is not there, or not a file, wraps ErrChanged.
func openBelow(root, p string) (*os.File, *unix.Stat_t, error) {
	at := filepath.Join(root, p)
	dir, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("the root %s: %w", root, err)
	}
	defer unix.Close(dir)
	how := unix.OpenHow{
		// Nothing waits for the other end of a fifo, nor leaves a trace in the times of the files.
		Flags:   unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_NOATIME,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	}
	fd, err := openat2(dir, p, &how)
	if err == unix.EPERM { // O_NOATIME is for the owner and for root
		how.Flags &^= unix.O_NOATIME
		fd, err = openat2(dir, p, &how)
	}
	if vanished(err) || err == unix.ENXIO { // ENXIO: a socket
		return nil, nil, fmt.Errorf("%s: %w: %w", at, ErrChanged, err)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("open %s: %w", at, err)
	}
	var st unix.Stat_t
	err = unix.Fstat(fd, &st)
	if err == nil && st.Mode&unix.S_IFMT != unix.S_IFREG {
		err = fmt.Errorf("%w: it is not a regular file any more", ErrChanged)
	}
	if err == nil {
		err = unix.SetNonblock(fd, false)
	}
	if err != nil {
		unix.Close(fd)
		return nil, nil, fmt.Errorf("%s: %w", at, err)
	}
	return os.NewFile(uintptr(fd), at), &st, nil
}

func openat2(dir int, p string, how *unix.OpenHow) (int, error) {
	for {
		fd, err := unix.Openat2(dir, p, how)
		if err != unix.EINTR {
			return fd, err
		}
	}
}
