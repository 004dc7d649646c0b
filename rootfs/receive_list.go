package rootfs

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
)

// Wants is how much is missing: one for each distinct content.
type Wants struct {
	Count int
	Bytes int64
}

// List takes a list, without compression, and says what of it is missing. Against is "" for a whole list, or
// the digest of the list that it is a change to: that of the current generation or of the list before, see
// Digest; if it is neither the error is ErrNotCurrent. A list that is refused leaves the one before as it was.
func (r *Receiver) List(list io.Reader, against string) (Wants, error) {
	digest, err := r.Digest()
	if err != nil {
		return Wants{}, err
	}
	if against != "" && against != digest {
		return Wants{}, ErrNotCurrent
	}
	if err := r.list(list, against != ""); err != nil {
		_ = os.Remove(r.path("sent.new"))
		_ = os.Remove(r.path("list.new"))
		return Wants{}, roomError(err)
	}
	return r.Missing(), nil
}

func (r *Receiver) list(list io.Reader, change bool) error {
	sent, err := os.OpenFile(r.path("sent.new"), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer sent.Close()
	spool := bufio.NewWriterSize(sent, 256<<10)
	sentList := NewListReader(io.TeeReader(&boundedReader{list, maxListBytes}, spool), !change)

	var found wants
	digest, entries, err := r.writeList(func(emit func(*Entry) error) error {
		add := func(e *Entry) error {
			if err := emit(e); err != nil || e != &sentList.e {
				return err
			}
			return r.consider(&found, e, sentList.count-1)
		}
		if !change {
			return Each(sentList, add)
		}
		older, closer, err := r.openList()
		if err != nil {
			return err
		}
		defer closer.Close()
		return Apply(older, sentList, add)
	})
	if err == nil {
		err = spool.Flush()
	}
	if err == nil {
		err = r.findMissing(&found, entries)
	}
	if err != nil {
		return err
	}
	if err := errors.Join(os.Rename(r.path("sent.new"), r.path("sent")), os.Rename(r.path("list.new"), r.path("list"))); err != nil {
		return err
	}
	r.sent.close()
	r.wants, r.digest, r.entries = found, digest, entries
	r.rounds++
	return nil
}

// openList opens the whole list that is the newest.
func (r *Receiver) openList() (*ListReader, io.Closer, error) {
	if r.rounds == 0 {
		return r.current.List()
	}
	f, err := os.Open(r.path("list"))
	if err != nil {
		return nil, nil, err
	}
	return NewListReader(f, true), f, nil
}

// writeList writes list.new and checks that it is whole.
func (r *Receiver) writeList(produce func(emit func(*Entry) error) error) (digest string, entries int, err error) {
	f, err := os.OpenFile(r.path("list.new"), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	out := NewListWriter(f, false)
	check := ListReader{whole: true} // only for its inDir: the list is not read once more
	err = produce(func(e *Entry) error {
		check.e = *e
		if err := check.inDir(); err != nil {
			return fmt.Errorf("%w: %w", ErrList, err)
		}
		if strings.Count(e.Path, "/") >= maxDepth {
			return fmt.Errorf("%w: %.80q… is in more than %d directories", ErrList, e.Path, maxDepth)
		}
		if out.Count() >= maxEntries {
			return fmt.Errorf("%w: more than %d entries", ErrList, maxEntries)
		}
		return out.Add(e)
	})
	if err == nil && out.Count() == 0 {
		err = fmt.Errorf("%w: it is empty", ErrList)
	}
	if err == nil {
		digest, err = out.Close()
	}
	return digest, out.Count(), err
}

// Digest is that of the newest whole list, with the sums of the contents that have come.
func (r *Receiver) Digest() (string, error) {
	if r.closed {
		return "", fs.ErrClosed
	}
	if err := r.writers.drain(); err != nil {
		return "", roomError(err)
	}
	if r.unknown == 0 {
		return r.digest, nil
	}
	digest, err := r.fillSums()
	if err != nil {
		return "", roomError(err)
	}
	r.digest, r.unknown = digest, 0
	return digest, nil
}

// fillSums writes the sums of the contents that have come into the list.
func (r *Receiver) fillSums() (string, error) {
	list, closer, err := r.openList()
	if err != nil {
		return "", err
	}
	defer closer.Close()
	sent := sentReader{name: r.sent.name}
	defer sent.close()

	came := r.wants.came()
	next := func() (path string, sum Sum, err error) {
		if len(came) == 0 {
			return "", Sum{}, nil
		}
		e, err := sent.entry(came[0].index)
		if err != nil {
			return "", Sum{}, err
		}
		sum, came = came[0].sum, came[1:]
		return e.Path, sum, nil
	}
	path, sum, err := next()
	if err != nil {
		return "", err
	}
	digest, _, err := r.writeList(func(emit func(*Entry) error) error {
		return Each(list, func(e *Entry) (err error) {
			if e.Path == path {
				e.Sum = sum
				path, sum, err = next()
			}
			return errors.Join(err, emit(e))
		})
	})
	if err == nil {
		err = os.Rename(r.path("list.new"), r.path("list"))
	}
	return digest, err
}

// boundedReader reads at most a number of bytes, and says so where io.LimitReader would end.
type boundedReader struct {
	r    io.Reader
	left int64
}

func (b *boundedReader) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, fmt.Errorf("it has more than %d MiB", maxListBytes>>20)
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// sentReader finds entries of the list that was sent by their position, cheaply if that ascends.
type sentReader struct {
	name string
	f    *os.File
	list *ListReader
}

func (s *sentReader) close() {
	if s.f != nil {
		_ = s.f.Close()
	}
	s.f, s.list = nil, nil
}

func (s *sentReader) entry(index uint32) (*Entry, error) {
	if s.list != nil && s.list.count > uint64(index) {
		s.close()
	}
	if s.list == nil {
		f, err := os.Open(s.name)
		if err != nil {
			return nil, err
		}
		s.f, s.list = f, NewListReader(f, false)
	}
	for s.list.count <= uint64(index) {
		if _, err := s.list.Next(); err != nil {
			return nil, err
		}
	}
	return &s.list.e, nil
}
