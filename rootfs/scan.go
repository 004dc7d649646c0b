package rootfs

import (
	"context"
	"io"
	"runtime"
	"sync"
	"time"
)

// ScanOptions are what Scan does.
type ScanOptions struct {
	Rules Rules
	// Older is the list that the last scan wrote, if any: sums of files that have not changed are taken from it.
	// It is only a cache, and read as far as it is valid.
	Older io.Reader
	Hash  bool      // read the files whose sums are not known; else these are left zero
	Out   io.Writer // for the list, with stamps
	// Progress, if set, is called now and then with what has been listed so far.
	Progress func(entries int, bytes int64)

	// For tests:
	now    func() time.Time
	listed func(path string) // a file has been found, and is about to be opened
	opened func(path string) // and to be read
}

// ScanReport says what a scan found.
type ScanReport struct {
	Entries int
	Files   int
	Bytes   int64 // of the content of all files
	Hashed  int64 // bytes that were read
	Digest  string
	LeftOut []LeftOut
}

const (
	ahead         = 1024 // entries that are found and not written yet
	progressEvery = 4096 // entries
)

// Scan lists what the rules copy of a root. It walks, hashes and writes at once; what it holds in memory does
// not grow with the root. It is an error if an entry cannot be copied as it is.
//
// A sum goes with a file's stamp only if the file was at rest when it was read. Time stamps have steps: a file
// that is changed, read, and changed again in one step looks the same after. So a file that changed less than
// racy before it was read gets the stamp 0, and the next scan reads it again; git's index does likewise.
func Scan(ctx context.Context, o ScanOptions) (ScanReport, error) {
	m, err := o.Rules.compile()
	if err != nil {
		return ScanReport{}, err
	}
	if o.now == nil {
		o.now = time.Now
	}
	ctx, cancel := context.WithCancel(ctx)
	s := &scanner{
		ScanOptions: o, ruler: m, ctx: ctx, older: newSums(o.Older),
		queue: make(chan *pending, ahead), jobs: make(chan *pending, ahead),
	}
	var work sync.WaitGroup
	defer work.Wait()
	defer cancel()
	for range runtime.GOMAXPROCS(0) {
		work.Go(s.hashAll)
	}
	var walked error
	work.Go(func() {
		defer close(s.queue)
		defer close(s.jobs)
		s.left, walked = m.walk(ctx, false, s.add)
	})
	report, err := s.write()
	if err != nil {
		return report, err
	}
	report.LeftOut = s.left // the queue is closed: the walk has ended
	return report, walked
}

// scanner is a scan under way: the walk adds to the queue and to the jobs, workers do the jobs, and the entries
// are written in the order of the queue.
type scanner struct {
	ScanOptions
	*ruler
	ctx   context.Context
	older *sums
	queue chan *pending
	jobs  chan *pending
	links linkCache
	left  []LeftOut
}

// pending is an entry on its way.
type pending struct {
	*found
	done   chan struct{} // closed when it has been hashed; nil if it need not be
	gone   bool
	hashed int64
	err    error
}

// add is called by the walk for each entry.
func (s *scanner) add(f *found) error {
	p := &pending{found: f}
	if f.Type == TypeFile && !f.blanked && !s.older.find(&f.Entry) {
		if s.Hash {
			p.done = make(chan struct{})
			select {
			case s.jobs <- p:
			case <-s.ctx.Done():
				return s.ctx.Err()
			}
		} else if racyAt(s.now(), f.Stamp) {
			f.Stamp.CTime = 0
		}
	}
	select {
	case s.queue <- p:
		return nil
	case <-s.ctx.Done():
		return s.ctx.Err()
	}
}

// racy is how old a change must be for a stamp to be trusted: more than the steps of any file system's time
// stamps, of which FAT's are the longest.
const racy = 2 * time.Second

// racyAt reports whether a file's last change was so short before it was read, or is in the future.
func racyAt(read time.Time, stamp Stamp) bool { return read.Sub(time.Unix(0, stamp.CTime)) <= racy }

// write writes the entries in their order, until there are no more.
func (s *scanner) write() (ScanReport, error) {
	var r ScanReport
	list := NewListWriter(s.Out, true)
	for p := range s.queue {
		if p.done != nil {
			<-p.done
		}
		if p.err != nil {
			return r, p.err
		}
		if p.gone {
			continue
		}
		if err := list.Add(&p.Entry); err != nil {
			return r, err
		}
		r.Entries++
		r.Hashed += p.hashed
		r.Bytes += p.Size
		if p.Type == TypeFile {
			r.Files++
		}
		if s.Progress != nil && r.Entries%progressEvery == 0 {
			s.Progress(r.Entries, r.Bytes)
		}
	}
	if s.Progress != nil {
		s.Progress(r.Entries, r.Bytes)
	}
	var err error
	r.Digest, err = list.Close()
	return r, err
}

// sums are those of an older list.
type sums struct {
	list *ListReader
	e    *Entry
}

func newSums(r io.Reader) *sums {
	s := &sums{}
	if r != nil {
		s.list = NewListReader(r, true)
		s.next()
	}
	return s
}

// next goes on to the next entry. At the end of the list, or of what is valid of it, there is none.
func (s *sums) next() { s.e, _ = s.list.Next() }

// find sets the sum of a file that has not changed. Files must come in tree order.
func (s *sums) find(e *Entry) bool {
	for s.e != nil && Compare(s.e.Path, e.Path) < 0 {
		s.next()
	}
	if s.e == nil || s.e.Path != e.Path || s.e.Type != TypeFile || s.e.Sum == (Sum{}) || s.e.Stamp.CTime == 0 ||
		s.e.Stamp != e.Stamp || s.e.Size != e.Size || s.e.Sec != e.Sec || s.e.Nsec != e.Nsec {
		return false
	}
	e.Sum = s.e.Sum
	return true
}
