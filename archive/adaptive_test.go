package archive

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// simulation is a machine and a link that take time on a clock of their own.
type simulation struct {
	mu     sync.Mutex
	clock  time.Time
	link   float64         // bytes a second
	speeds map[int]float64 // bytes a second that each level compresses
	ratio  func(level int, data []byte) float64
}

// laptop compresses fast enough for gigabit Ethernet, but not for more.
func laptop(link float64) *simulation {
	return &simulation{
		clock:  time.Unix(1, 0),
		link:   link,
		speeds: map[int]float64{0: 3e9, 1: 400e6, 3: 200e6, 6: 80e6},
		ratio: func(level int, _ []byte) float64 {
			return map[int]float64{0: 1, 1: 0.32, 3: 0.28, 6: 0.26}[level]
		},
	}
}

func (s *simulation) now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.clock
}

func (s *simulation) pass(seconds float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clock = s.clock.Add(time.Duration(seconds * 1e9))
}

func (s *simulation) Write(p []byte) (int, error) {
	s.pass(float64(len(p)) / s.link)
	return len(p), nil
}

func (s *simulation) try(level int, data []byte) speed {
	s.pass(float64(len(data)) / s.speeds[level])
	return speed{s.speeds[level], s.ratio(level, data)}
}

// send sends n members of data, and returns the level of each.
func (s *simulation) send(t *testing.T, a *Adaptive, n int, data []byte) (levels []int) {
	t.Helper()
	for range n {
		for left := a.size; left > 0; {
			part := data[:min(len(data), left)]
			s.pass(float64(len(part)) / s.speeds[a.Stats().Level])
			_, err := a.Write(part)
			must(t, err)
			left -= len(part)
		}
		levels = append(levels, a.Stats().Level)
	}
	return levels
}

func TestAdaptiveLevels(t *testing.T) {
	text, noise := ownSource(t)[:64<<10], incompressible(64<<10)
	measured := func(level int, data []byte) float64 { return trier{time.Now, 1}.try(level, data).ratio }
	for _, tc := range []struct {
		name  string
		link  float64
		data  []byte
		ratio func(int, []byte) float64
		want  []int // any of these
	}{
		{"WLAN", 10e6, text, nil, []int{3, 6}},
		{"100 Mbit/s", 12e6, text, nil, []int{3, 6}},
		{"gigabit", 117e6, text, nil, []int{1}},
		{"as fast as memory", 2e9, text, nil, []int{0}},
		{"no limit at all", 1e12, text, nil, []int{0}},
		{"nothing to compress, slow", 10e6, noise, measured, []int{0, 1}},
		{"nothing to compress, fast", 1e9, noise, measured, []int{0}},
	} {
		s := laptop(tc.link)
		if tc.ratio != nil {
			s.ratio = tc.ratio
		}
		a := newAdaptive(s, s.now, s.try)
		a.size = blockBytes
		levels := s.send(t, a, 16, tc.data)
		must(t, a.Close())
		if levels[0] != firstLevel {
			t.Errorf("%s: begins with level %d", tc.name, levels[0])
		}
		for _, l := range levels[8:] {
			if !bytes.Contains(toBytes(tc.want), []byte{byte(l)}) {
				t.Errorf("%s: levels %v, want %v", tc.name, levels, tc.want)
				break
			}
		}
	}
}

func toBytes(levels []int) (b []byte) {
	for _, l := range levels {
		b = append(b, byte(l))
	}
	return b
}

// The link becomes slower and faster again, as when a laptop is carried around.
func TestAdaptiveFollows(t *testing.T) {
	text := ownSource(t)[:64<<10]
	s := laptop(2e9)
	a := newAdaptive(s, s.now, s.try)
	a.size = blockBytes
	s.send(t, a, 16, text)
	s.link = 10e6
	if levels := s.send(t, a, 3, text); levels[2] < 3 {
		t.Errorf("on a link that has become slow: levels %v", levels)
	}
	s.link = 2e9
	if levels := s.send(t, a, 50, text); levels[49] != 0 {
		t.Errorf("on a link that has become fast: levels %v", levels)
	}
	must(t, a.Close())
}

// Where the compression is about as fast as the link, levels are not changed again and again.
func TestAdaptiveSettles(t *testing.T) {
	text := ownSource(t)[:64<<10]
	s := laptop(117e6)
	s.speeds = map[int]float64{0: 3e9, 1: 150e6, 3: 80e6, 6: 30e6} // sent and compressed one after the other here
	a := newAdaptive(s, s.now, s.try)
	a.size = blockBytes
	levels := s.send(t, a, 60, text)
	must(t, a.Close())
	if slices.Max(levels[10:]) != slices.Min(levels[10:]) {
		t.Errorf("it does not settle: %v", levels)
	}
}

// A sample can be easier than the rest: the rate of a whole member counts, unless it waited for its input.
func TestChooserCorrects(t *testing.T) {
	s := laptop(0)
	s.speeds[6] = 300e6 // as the sample has it
	const in = memberBytes
	at := func(rate float64) time.Duration { return time.Duration(in / rate * 1e9) }
	for _, tc := range []struct {
		name string
		m    member
		want int
	}{
		{"compression takes the time", member{in: in, out: in / 4, wall: at(50e6), writing: at(500e6)}, 1},
		{"the input takes the time", member{in: in, out: in / 4, wall: at(50e6), idle: at(55e6), writing: at(500e6)}, 6},
		{"the link takes the time", member{in: in, out: in / 4, wall: at(50e6), writing: at(51e6), link: 12.5e6}, 6},
		{"so small that the link is not all", member{in: in, out: in / 8, wall: at(50e6), writing: at(51e6), link: 100e6}, 1},
	} {
		c := chooser{level: 6, try: s.try, now: s.now, started: s.now(), link: 50e6, known: true}
		if c.next(tc.m, make([]byte, sampleBytes)); c.level != tc.want {
			t.Errorf("%s: level %d, want %d; %+v", tc.name, c.level, tc.want, c.speeds)
		}
	}
}

func TestFollow(t *testing.T) {
	for _, tc := range [][4]float64{ // ratio, was, is, want
		{0.3, 0.4, 0.4, 0.3},
		{0.3, 0.4, 0.2, 0.15},
		{0.3, 0.4, 0.7, 0.65},
		{0.3, 0.4, 1, 1},
		{1, 1, 1.001, 1.001},
		{1, 1.001, 0.5005, 0.5},
	} {
		if got := follow(tc[0], tc[1], tc[2]); got < tc[3]-1e-9 || got > tc[3]+1e-9 {
			t.Errorf("follow(%v, %v, %v) = %v, want %v", tc[0], tc[1], tc[2], got, tc[3])
		}
	}
}

// Buffers on the way that swallow the beginning of a member do not make the link look fast.
func TestMeteredWriter(t *testing.T) {
	s := laptop(1e12)
	m := meteredWriter{w: s, now: s.now, total: &newAdaptive(s, s.now, s.try).out}
	for i := range 64 {
		if i == 24 { // 6 MiB of 16
			s.link = 10e6
		}
		_, _ = m.Write(make([]byte, 256<<10))
	}
	if got := m.measured().link; got < 9.9e6 || got > 10.1e6 {
		t.Errorf("a link of 10 MB/s is measured as one of %.3g", got/1e6)
	}
}

func TestAdaptiveRoundTrip(t *testing.T) {
	text := ownSource(t)
	for _, size := range []int{0, 1, 2*blockBytes - 1, 2 * blockBytes, 2*blockBytes + 1, 8 * blockBytes} {
		want := bytes.Repeat(text, size/len(text)+1)[:size]
		var buf bytes.Buffer
		a := newAdaptive(&buf, time.Now, nil)
		a.size = 2 * blockBytes
		for part := want; len(part) > 0; {
			n := min(len(part), 70_001)
			_, err := a.Write(part[:n])
			must(t, err)
			part = part[n:]
		}
		must(t, a.Close())
		if _, err := a.Write([]byte("x")); err == nil {
			t.Error("Write after Close has no error")
		}
		if s := a.Stats(); s.In != int64(size) || s.Out != int64(buf.Len()) {
			t.Errorf("%d bytes: stats %+v, wrote %d", size, s, buf.Len())
		}
		got, err := io.ReadAll(NewGunzip(bytes.NewReader(buf.Bytes())))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes: got %d back, error %v", size, len(got), err)
		}
		gz, err := gzip.NewReader(&buf)
		must(t, err)
		if got, err := io.ReadAll(gz); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes: the standard library got %d back, error %v", size, len(got), err)
		}
	}
}

// A stream that is cut anywhere, between members too, is not complete.
func TestGunzipCut(t *testing.T) {
	var buf bytes.Buffer
	var ends []int
	a := newAdaptive(&buf, time.Now, nil)
	a.size = 5000
	for range 3 {
		_, err := a.Write(ownSource(t)[:a.size])
		must(t, err)
		ends = append(ends, buf.Len())
	}
	must(t, a.Close())
	whole := buf.Bytes()
	cuts := append([]int{0, 1, 5, 100, len(whole) - 1, len(whole) - 10}, ends...)
	for n := range 100 {
		cuts = append(cuts, len(whole)-1-n)
	}
	for _, n := range cuts {
		if _, err := io.ReadAll(NewGunzip(bytes.NewReader(whole[:n]))); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%d bytes of %d: %v", n, len(whole), err)
		}
	}
	for name, data := range map[string][]byte{
		"garbage behind": append(bytes.Clone(whole), "garbage behind the end"...),
		"no gzip":        []byte("any text that is not gzip"),
		"damaged":        append(bytes.Clone(whole[:1000]), append([]byte{^whole[1000]}, whole[1001:]...)...),
	} {
		r := NewGunzip(bytes.NewReader(data))
		_, err := io.ReadAll(r)
		if err == nil {
			t.Errorf("%s: no error", name)
		}
		if _, again := r.Read(make([]byte, 1)); again != err {
			t.Errorf("%s: then %v", name, again)
		}
	}
}

// As for Writer: a lost connection is an error at the latest in Close, which leaves no goroutine.
func TestAdaptiveLostConnection(t *testing.T) {
	lost := errors.New("connection lost")
	for after := range 20 {
		synctest.Test(t, func(t *testing.T) {
			a := newAdaptive(&failing{after: after, err: lost}, time.Now, nil)
			a.size = 8 * blockBytes // more than pgzip holds: Write sees the error, too
			var err error
			data := incompressible(100_000)
			for i := 0; i < 50 && err == nil; i++ {
				_, err = a.Write(data)
			}
			if closed := a.Close(); !errors.Is(closed, lost) || err != nil && !errors.Is(err, lost) {
				t.Errorf("lost after %d writes: Write has %v, Close %v", after, err, closed)
			}
			if a.Close() == nil {
				t.Error("the error did not stay")
			}
		})
	}
}

// BenchmarkAdaptiveLevels has the rate and ratio of each level in the blocks of an Adaptive. LANTAGE_BENCH_DATA
// names a file to compress instead of the system's programs and libraries.
func BenchmarkAdaptiveLevels(b *testing.B) {
	data := benchData(b)
	for _, level := range levels {
		b.Run("level="+string(rune('0'+level)), func(b *testing.B) {
			var out countWriter
			b.SetBytes(int64(len(data)))
			before := cpuTime(b)
			for b.Loop() {
				out = 0
				a := newAdaptive(&out, time.Now, func(l int, _ []byte) speed {
					if l == level {
						return speed{1e12, 1}
					}
					return speed{1, 1}
				})
				a.choice.level = level
				_, err := a.Write(data)
				must(b, errors.Join(err, a.Close()))
			}
			b.ReportMetric(float64(out)/float64(len(data))*100, "%size")
			b.ReportMetric((cpuTime(b)-before).Seconds()/float64(b.N)/float64(len(data))*1e9, "cpu-s/GB")
		})
	}
	b.Run("adaptive-no-link", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			a := NewAdaptive(io.Discard)
			_, err := a.Write(data)
			must(b, errors.Join(err, a.Close()))
		}
	})
}

func benchData(b *testing.B) []byte {
	if name := os.Getenv("LANTAGE_BENCH_DATA"); name != "" {
		data, err := os.ReadFile(name)
		must(b, err)
		return data
	}
	var data []byte
	names, _ := filepath.Glob("/usr/lib*/*")
	more, _ := filepath.Glob("/usr/bin/*")
	for _, name := range append(names, more...) {
		if fi, err := os.Stat(name); err == nil && fi.Mode().IsRegular() && len(data) < 256<<20 {
			text, err := os.ReadFile(name)
			must(b, err)
			data = append(data, text...)
		}
	}
	return data
}
