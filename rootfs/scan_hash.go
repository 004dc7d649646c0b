package rootfs

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// hashAll does jobs until there are no more.
func (s *scanner) hashAll() {
	buf := make([]byte, 256<<10)
	for p := range s.jobs {
		if p.err = s.ctx.Err(); p.err == nil {
			p.err = s.hash(p, buf)
		}
		close(p.done)
	}
}

// hash sets the sum of a file. One that changes meanwhile is read once more; if it changes again it is taken
// as it was read, and its stamp is not to be trusted. One that is not a file any more is gone.
func (s *scanner) hash(p *pending, buf []byte) error {
	if s.links.find(p.found) {
		return nil
	}
	same := false
	for try := 0; try < 2 && !same; try++ {
		if s.listed != nil {
			s.listed(p.Path)
		}
		f, st, err := openBelow(s.root, p.Path)
		if errors.Is(err, ErrChanged) {
			p.gone = true
			return nil
		}
		if err != nil {
			return err
		}
		if s.opened != nil {
			s.opened(p.Path)
		}
		same, err = s.hashFile(p, f, st, buf)
		f.Close()
		if err != nil || p.gone {
			return err
		}
	}
	if !same {
		p.Stamp.CTime = 0
	}
	s.links.add(p.found)
	return nil
}

// hashFile hashes an open file, and reports whether it stayed as it is.
func (s *scanner) hashFile(p *pending, f *os.File, st *unix.Stat_t, buf []byte) (bool, error) {
	read := s.now()
	if err := p.renew(f, st); err != nil || p.gone {
		return false, err
	}
	h := sha256.New()
	n, err := io.CopyBuffer(h, &contextReader{s.ctx, io.LimitReader(f, p.Size)}, buf)
	p.hashed += n
	if err != nil {
		return false, fmt.Errorf("read %s: %w", f.Name(), err)
	}
	h.Sum(p.Sum[:0])
	var after unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &after); err != nil {
		return false, fmt.Errorf("stat %s: %w", f.Name(), err)
	}
	now := Entry{}
	now.set(&after)
	same := n == p.Size && unchanged(&p.Entry, &now)
	p.Size = n
	if racyAt(read, p.Stamp) {
		p.Stamp.CTime = 0
	}
	return same, nil
}

// renew makes the entry that of the file that was opened, if it is not the one that was found. If not everybody
// may read it any more it is gone: whether it is left out now is for the next walk to say.
func (p *pending) renew(f *os.File, st *unix.Stat_t) error {
	now := Entry{Path: p.Path}
	now.set(st)
	if unchanged(&p.Entry, &now) && p.Stamp.CTime != 0 {
		return nil
	}
	if p.Mode&0o004 != 0 && now.Mode&0o004 == 0 {
		p.gone = true
		return nil
	}
	var err error
	fd := int(f.Fd())
	now.Sparse = now.Sparse && hasHoles(fd, now.Size)
	list := func(buf []byte) (int, error) { return unix.Flistxattr(fd, buf) }
	get := func(name string, buf []byte) (int, error) { return unix.Fgetxattr(fd, name, buf) }
	now.Xattrs, err = readXattrs(list, get, make([]byte, maxXattr), make([]byte, maxXattr))
	if err != nil {
		return fmt.Errorf("%s: %w", f.Name(), err)
	}
	p.Entry, p.ctime = now, now.Stamp.CTime
	return nil
}

// contextReader fails when its context ends.
type contextReader struct {
	ctx context.Context
	io.Reader
}

func (r *contextReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}

// linkCache has the sums of files that have several names, so that they are read once. It is bounded.
type linkCache struct {
	mu   sync.Mutex
	sums map[inode]linked
}

type inode struct{ dev, ino uint64 }

type linked struct {
	sum  Sum
	size int64
	at   Stamp
}

const maxLinks = 10_000

func (c *linkCache) find(f *found) bool {
	if f.links < 2 {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	l, ok := c.sums[inode{f.dev, f.Stamp.Inode}]
	if !ok || l.at != f.Stamp || l.size != f.Size {
		return false
	}
	f.Sum = l.sum
	return true
}

// add remembers a file whose stamp can be trusted.
func (c *linkCache) add(f *found) {
	if f.links < 2 || f.Stamp.CTime == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sums == nil || len(c.sums) >= maxLinks {
		c.sums = map[inode]linked{}
	}
	c.sums[inode{f.dev, f.Stamp.Inode}] = linked{f.Sum, f.Size, f.Stamp}
}
