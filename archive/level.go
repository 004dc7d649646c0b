package archive

import (
	"math"
	"slices"
	"time"

	"github.com/klauspost/compress/flate"
)

// levels are the candidates: stored, fastest, normal, thorough. Higher ones are slower by far for next to
// nothing.
var levels = [...]int{0, 1, 3, 6}

// speed is how a level does: bytes a second of input, and output per input.
type speed struct{ rate, ratio float64 }

// member is what was measured while a member was written.
type member struct {
	in, out int64
	wall    time.Duration // from begin to end
	idle    time.Duration // while there was nothing to compress
	writing time.Duration // in writes below
	link    float64       // bytes a second that they took
}

const (
	// better is by how much a level must be expected to win before it is changed to.
	better = 1.1
	// Compressing takes the processor from whoever produces the data, and where a slow receiver looks like a slow link it
	// wins nothing. So it must promise much more, and is given up for a little less.
	worthwhile = 1.9
	cheaper    = 0.9
	// Of the time that has passed, this part may go into trying levels.
	tryShare = 50
	// A link that was not the bottleneck is faster than was measured, nobody knows by how much. Its rate is
	// raised with each such member, so that a lower level is tried at last: soon while the link has never
	// been seen as the bottleneck, later if it has.
	raiseUnknown = 8.0
	raiseKnown   = 1.05
)

// chooser picks the level of each member: the one for which the smaller of compression rate and link rate
// (both in bytes of input) is largest.
type chooser struct {
	level int // of the member that comes
	try   func(level int, data []byte) speed
	now   func() time.Time

	speeds  [len(levels)]speed
	turn    int     // which level is tried next
	link    float64 // bytes a second
	known   bool    // the link was the bottleneck once
	started time.Time
	trying  time.Duration
}

// linkBound reports whether the link was what took the time.
func (m member) linkBound() bool { return 2*m.writing >= m.wall }

// next takes what the last member has shown, and chooses for the next one. sample is some of its input.
func (c *chooser) next(m member, sample []byte) {
	c.measureLink(m)
	c.trySome(sample)
	c.correct(m)
	best, now := 0.0, 0.0
	level := c.level
	for i, l := range levels {
		e := c.expect(i)
		if l == c.level {
			now = e
		}
		if e > best {
			best, level = e, l
		}
	}
	switch {
	case c.level == 0 && best < now*worthwhile:
	case c.level > 0 && c.expect(0) >= best*cheaper:
		c.level = 0
	case best > now*better:
		c.level = level
	}
}

// expect returns the bytes of input a second that a level will get through.
func (c *chooser) expect(i int) float64 {
	return min(c.speeds[i].rate, c.link/c.speeds[i].ratio)
}

func (c *chooser) measureLink(m member) {
	if m.linkBound() {
		if c.known { // a receiver whose disk is busy for a moment is not a slow link
			m.link = math.Sqrt(c.link * m.link)
		}
		c.link, c.known = m.link, true
		return
	}
	raise := raiseUnknown
	if c.known {
		raise = raiseKnown
	}
	c.link = max(c.link*raise, rate(m.out, m.wall))
}

// trySome measures levels on the sample, in turn, as many as the time allows, and all at first. Half of what
// was known before is kept: a sample is small.
func (c *chooser) trySome(sample []byte) {
	for range levels {
		i := c.turn % len(levels)
		if c.turn >= len(levels) && c.trying > c.now().Sub(c.started)/tryShare {
			return
		}
		before := c.now()
		s := c.try(levels[i], sample)
		c.trying += c.now().Sub(before)
		if old := c.speeds[i]; c.turn >= len(levels) {
			s = speed{(s.rate + old.rate) / 2, (s.ratio + old.ratio) / 2}
		}
		c.speeds[i] = s
		c.turn++
	}
}

// correct goes by the whole of the last member, to which there is more than the sample: what it shows of one
// level holds for the others, for the data and the machine are the same.
func (c *chooser) correct(m member) {
	i := slices.Index(levels[:], c.level)
	if c.level == 0 || m.in == 0 {
		return
	}
	was, is := c.speeds[i].ratio, float64(m.out)/float64(m.in)
	speedup := 1.0
	if !m.linkBound() && 2*m.idle < m.wall { // so it was the compression that took the time
		speedup = rate(m.in, m.wall-m.idle) / c.speeds[i].rate
	}
	for i := range c.speeds[1:] {
		c.speeds[i+1].ratio = follow(c.speeds[i+1].ratio, was, is)
		c.speeds[i+1].rate *= speedup
	}
}

// follow returns a level's ratio where another level's was expected to be `was` and is `is`. What cannot be
// compressed at one level cannot at any.
func follow(ratio, was, is float64) float64 {
	switch {
	case is < was:
		return ratio * is / was
	case was < 1:
		return 1 - (1-ratio)*(1-is)/(1-was)
	}
	return is
}

// trier measures levels on this machine.
type trier struct {
	now   func() time.Time
	cores int // that compress at once
}

func (t trier) try(level int, data []byte) speed {
	var out countWriter
	w, err := flate.NewWriter(&out, level)
	if err != nil {
		panic(err) // a constant of this file, nobody's input
	}
	_, _ = w.Write(data[:min(len(data), 4<<10)]) // its tables are allocated and touched
	w.Reset(&out)
	out = 0
	before := t.now()
	_, _ = w.Write(data)
	_ = w.Close()
	return speed{
		rate:  rate(int64(len(data)), t.now().Sub(before)) * float64(t.cores),
		ratio: max(float64(out), 1) / max(float64(len(data)), 1),
	}
}

type countWriter int64

func (c *countWriter) Write(p []byte) (int, error) {
	*c += countWriter(len(p))
	return len(p), nil
}

// rate is bytes a second. A clock that has not moved makes it very high, not infinite.
func rate(bytes int64, took time.Duration) float64 {
	return float64(bytes) / max(took.Seconds(), 1e-9)
}
