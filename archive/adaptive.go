package archive

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/klauspost/pgzip"
)

const (
	// A member is long enough to fill what the system buffers of a connection, a few MiB, and to make its
	// start and end, where nothing overlaps, cheap.
	memberBytes = 16 << 20
	firstMember = 1 << 20 // sent before anything is known
	firstLevel  = 0
	sampleBytes = 256 << 10
)

// Adaptive writes a gzip stream whose compression follows what it measures: how fast the writer below takes
// bytes, and how fast and how well this machine compresses these data. It is for bulk contents over a link
// of unknown speed, where a fixed level is too slow for a fast link or too large for a slow one.
//
// The stream is a series of gzip members (RFC 1952, 2.2), each of one level; the last one is empty and marks
// the end. Every gzip reader reads it, but only [NewGunzip] notices when members are missing at the end.
//
// Write and Close may not be called at the same time. As with [Writer], the first error stays, and the
// stream has no end then.
type Adaptive struct {
	below  meteredWriter
	blocks int // compressed at once
	size   int // of a member
	now    func() time.Time
	choice chooser

	gz      *pgzip.Writer // of the member that is being written, or nil
	writers map[int]*pgzip.Writer
	left    int // bytes that the member still takes
	started time.Time
	idle    time.Duration // of the member, between two calls of Write
	back    time.Time     // when Write returned last
	sample  []byte        // the beginning of the member

	level   atomic.Int32
	in, out atomic.Int64

	err  error
	done bool
}

// AdaptiveStats says how far an Adaptive is.
type AdaptiveStats struct {
	Level   int   // of the compression at present; 0: stored
	In, Out int64 // bytes so far, uncompressed and as written
}

// NewAdaptive returns an Adaptive that writes to w, up to 4 blocks of 256 KiB being compressed at once. Close
// must be called, also after an error: it ends the goroutines.
func NewAdaptive(w io.Writer) *Adaptive { return newAdaptive(w, time.Now, nil) }

// newAdaptive has the clock and the measuring of levels in the hands of tests.
func newAdaptive(w io.Writer, now func() time.Time, try func(level int, data []byte) speed) *Adaptive {
	cores := runtime.GOMAXPROCS(0)
	a := &Adaptive{now: now, blocks: max(concurrentBlocks, min(cores, 4)), size: memberBytes, writers: map[int]*pgzip.Writer{}}
	a.below = meteredWriter{w: w, now: now, total: &a.out}
	if try == nil {
		try = trier{now, min(a.blocks, cores)}.try
	}
	a.choice = chooser{level: firstLevel, try: try, now: now, started: now()}
	a.level.Store(firstLevel)
	return a
}

// Stats may be called at any time, by any goroutine.
func (a *Adaptive) Stats() AdaptiveStats {
	return AdaptiveStats{Level: int(a.level.Load()), In: a.in.Load(), Out: a.out.Load()}
}

// Write compresses p. What it returns can be the error of an earlier Write.
func (a *Adaptive) Write(p []byte) (n int, err error) {
	if a.err != nil {
		return 0, a.err
	}
	if a.gz != nil {
		a.idle += a.now().Sub(a.back)
	}
	for len(p) > 0 {
		if a.gz == nil {
			if err := a.begin(); err != nil {
				return n, a.fail(err)
			}
		}
		part := p[:min(len(p), a.left)]
		if _, err := a.gz.Write(part); err != nil {
			return n, a.fail(err)
		}
		a.sample = append(a.sample, part[:min(len(part), sampleBytes-len(a.sample))]...)
		a.in.Add(int64(len(part)))
		n, p, a.left = n+len(part), p[len(part):], a.left-len(part)
		if a.left == 0 {
			if err := a.end(); err != nil {
				return n, a.fail(err)
			}
		}
	}
	a.back = a.now()
	return n, nil
}

// Close ends the stream and waits for the goroutines; it does not close the writer below. After an earlier
// error it returns that error, and the stream stays without an end. A write below that blocks holds it up: a
// caller that gives up closes the connection first.
func (a *Adaptive) Close() error {
	if a.done {
		return a.err
	}
	a.done = true
	if a.err == nil {
		if err := a.finish(); err != nil {
			_ = a.fail(err)
		}
	}
	if a.err != nil {
		if a.gz != nil {
			a.gz.Reset(io.Discard) // as in Writer.Close
		}
		return a.err
	}
	a.err = errors.New("the compressed stream is closed")
	return nil
}

func (a *Adaptive) finish() error {
	if a.gz != nil {
		if err := a.end(); err != nil {
			return err
		}
	}
	if err := a.begin(); err != nil {
		return err
	}
	return a.gz.Close()
}

// begin starts a member with the level of choice.
func (a *Adaptive) begin() error {
	level := a.choice.level
	a.left = a.size
	if a.in.Load() == 0 {
		a.left = min(a.size, firstMember)
	}
	a.sample, a.started, a.idle = a.sample[:0], a.now(), 0
	a.below.restart()
	a.level.Store(int32(level))
	gz := a.writers[level]
	if gz == nil {
		var err error
		if gz, err = newGzip(&a.below, level, blockBytes, a.blocks); err != nil {
			return err
		}
		a.writers[level] = gz
	} else {
		gz.Reset(&a.below)
		if err := gz.SetConcurrency(blockBytes, a.blocks); err != nil { // Reset forgets it
			return err
		}
	}
	a.gz = gz
	return nil
}

// end ends a member and has the level of the next chosen.
func (a *Adaptive) end() error {
	in := a.gz.UncompressedSize()
	if err := a.gz.Close(); err != nil {
		return err
	}
	a.gz = nil
	m := a.below.measured()
	m.in, m.wall, m.idle = int64(in), a.now().Sub(a.started), a.idle
	a.choice.next(m, a.sample)
	return nil
}

func (a *Adaptive) fail(err error) error {
	a.err = fmt.Errorf("write compressed stream: %w", err)
	return a.err
}

// meteredWriter notes how long each write of a member takes.
type meteredWriter struct {
	w      io.Writer
	now    func() time.Time
	total  *atomic.Int64
	writes []timedWrite
}

type timedWrite struct {
	bytes int64
	took  time.Duration
}

func (m *meteredWriter) Write(p []byte) (int, error) {
	before := m.now()
	n, err := m.w.Write(p)
	m.writes = append(m.writes, timedWrite{int64(n), m.now().Sub(before)})
	m.total.Add(int64(n))
	return n, err
}

func (m *meteredWriter) restart() { m.writes = m.writes[:0] }

// measured sums up the writes since restart. The link's rate is taken from the second half of the bytes:
// buffers on the way may have swallowed the first.
func (m *meteredWriter) measured() (s member) {
	for _, w := range m.writes {
		s.out += w.bytes
		s.writing += w.took
	}
	var seen, late int64
	var took time.Duration
	for _, w := range m.writes {
		if seen += w.bytes; seen > s.out/2 {
			late += w.bytes
			took += w.took
		}
	}
	s.link = rate(late, took)
	return s
}
