package wire

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// recorder is a carrier that keeps what is written and has nothing to read.
type recorder struct{ bytes.Buffer }

func (*recorder) Close() error                     { return nil }
func (*recorder) SetReadDeadline(time.Time) error  { return nil }
func (*recorder) SetWriteDeadline(time.Time) error { return nil }

func sender() (*Conn, *recorder) {
	rec := new(recorder)
	return &Conn{carrier: rec, stopPing: make(chan struct{})}, rec
}

// reader is a connection whose handshake is over and which reads what is given.
func reader(b []byte) *Conn {
	rec := new(recorder)
	rec.Write(b)
	return &Conn{carrier: rec, r: bufio.NewReader(rec), stopPing: make(chan struct{}), greeted: true}
}

// TestGoldenBytes pins version 1 of the protocol byte by byte. A change here is a change of the protocol.
func TestGoldenBytes(t *testing.T) {
	tests := map[string]struct {
		send func(*Conn) error
		want string
	}{
		"preface": {
			func(c *Conn) error { return writePreface(c.carrier) },
			"LANTAGE\n\x00\x01\x00\x01",
		},
		"hello": {
			func(c *Conn) error { return c.Send(TypeHello, Hello{Name: "tower", Software: "0.1", Jobs: 1}) },
			"\x01\x00\x00\x00\x2b" + `{"name":"tower","software":"0.1","jobs":1}` + "",
		},
		"error": {
			func(c *Conn) error { return c.SendError(Errorf(CodeBusy, "later")) },
			"\x02\x00\x00\x00\x1e" + `{"code":"busy","text":"later"}`,
		},
		"ping": {func(c *Conn) error { return c.write(TypePing) }, "\x03\x00\x00\x00\x00"},
		"submit": {
			func(c *Conn) error {
				return c.Send(TypeSubmit, Job{
					ID: "00", Packages: []Package{{"a/b-1", "gentoo"}}, Profile: Profile{"gentoo", "x"},
					Repos: []Repo{{Name: "gentoo", Location: "/r"}}, Log: true,
				})
			},
			"\x04\x00\x00\x00\xb2" +
				`{"id":"00","client":"","chost":"","packages":[{"cpv":"a/b-1","repo":"gentoo"}],` +
				`"profile":{"repo":"gentoo","path":"x"},"repos":[{"name":"gentoo","location":"/r"}],"log":true}`,
		},
		"attach": {
			func(c *Conn) error { return c.Send(TypeAttach, Attach{ID: "00", After: 3, Have: []string{"ab"}}) },
			"\x05\x00\x00\x00\x24" + `{"id":"00","after":3,"have":["ab"]}`,
		},
		"cancel": {
			func(c *Conn) error { return c.Send(TypeCancel, Cancel{"00"}) },
			"\x06\x00\x00\x00\x0b" + `{"id":"00"}`,
		},
		"accepted": {
			func(c *Conn) error { return c.Send(TypeAccepted, Accepted{"00", "host"}) },
			"\x07\x00\x00\x00\x19" + `{"id":"00","base":"host"}`,
		},
		"event": {
			func(c *Conn) error {
				return c.Send(TypeEvent, Event{Seq: 1, Time: time.Unix(0, 0).UTC(), Kind: EventQueued, Position: 2})
			},
			"\x08\x00\x00\x00\x49" + `{"seq":1,"time":"1970-01-01T00:00:00Z","kind":"queued","position":2}`,
		},
		"done": {
			func(c *Conn) error {
				pkgs := []PackageResult{{CPV: "a/b-1", State: StateBuilt}}
				return c.Send(TypeDone, Done{Outcome: OutcomeDone, Packages: pkgs})
			},
			"\x09\x00\x00\x00\x45" + `{"outcome":"done","packages":[{"cpv":"a/b-1","state":"built"}]}`,
		},
		"data and end": {
			func(c *Conn) error {
				w := c.Writer(StreamResults)
				_, err := w.Write([]byte("abc"))
				return errors.Join(err, w.Close())
			},
			"\x0a\x00\x00\x00\x04\x02abc" + // CRC-32C of "abc"
				"\x0b\x00\x00\x00\x0d\x02\x00\x00\x00\x00\x00\x00\x00\x03\x36\x4b\x3f\xb7",
		},
	}
	for name, tt := range tests {
		c, rec := sender()
		if err := tt.send(c); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		want := tt.want
		if i := strings.IndexByte(want, '{'); i == headerSize { // the length is counted here, not by hand
			n := binary.BigEndian.AppendUint32(nil, uint32(len(want)-headerSize))
			want = want[:1] + string(n) + want[headerSize:]
		}
		if diff := cmp.Diff(want, rec.String()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestTypeNumbers pins what the golden bytes do not show.
func TestTypeNumbers(t *testing.T) {
	if StreamInputs != 1 || StreamResults != 2 || StreamLog != 3 || DefaultPort != 8473 {
		t.Error("numbers of the protocol were changed")
	}
}

func TestLargeMessages(t *testing.T) {
	job := Job{Packages: make([]Package, 5000)}
	for i := range job.Packages {
		job.Packages[i] = Package{CPV: strings.Repeat("x", 150), Repo: "gentoo"}
	}
	c, rec := sender()
	if err := c.Send(TypeSubmit, job); err != nil {
		t.Fatal(err)
	}
	f, err := reader(rec.Bytes()).Read()
	if err != nil {
		t.Fatal(err)
	}
	var got Job
	if err := f.Decode(TypeSubmit, &got); err != nil || !cmp.Equal(job, got) {
		t.Errorf("a large job came back changed, %v", err)
	}
	if err := c.Send(TypeSubmit, strings.Repeat("x", MaxControl)); err == nil {
		t.Error("a message over MaxControl was sent")
	}
}

func TestHostileFrames(t *testing.T) {
	tests := map[string]string{
		"unknown type":      "\x63\x00\x00\x00\x00",
		"type 0":            "\x00\x00\x00\x00\x00",
		"control too long":  "\x04\x00\x10\x00\x01",
		"length of 2^32-1":  "\x04\xff\xff\xff\xff",
		"data of 2^31":      "\x0a\x80\x00\x00\x00",
		"data too long":     "\x0a\x00\x01\x00\x02",
		"data of no stream": "\x0a\x00\x00\x00\x00",
		"short end":         "\x0b\x00\x00\x00\x28" + strings.Repeat("x", 0x28),
		"long end":          "\x0b\x00\x00\x00\x2a" + strings.Repeat("x", 0x2a),
		"ping with a body":  "\x03\x00\x00\x00\x01x",
		"error of no JSON":  "\x02\x00\x00\x00\x01x",
	}
	for name, in := range tests {
		if _, err := reader([]byte(in)).Read(); !errors.Is(err, ErrProtocol) {
			t.Errorf("%s: error %v, want ErrProtocol", name, err)
		}
	}
	for _, cut := range []string{
		"", "\x04\x00", "\x04\x00\x00\x00\x09{", "\x04\x00\x0f\x00\x00{", "\x0a\x00\x00\x00\x09\x01",
	} {
		if _, err := reader([]byte(cut)).Read(); !errors.Is(err, ErrLost) {
			t.Errorf("cut %q: error %v, want ErrLost", cut, err)
		}
	}
}

// TestPromisedLengthIsNotAllocated: what a header announces costs nothing until it arrives.
func TestPromisedLengthIsNotAllocated(t *testing.T) {
	c := reader([]byte("\x04\x00\x10\x00\x00{"))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, _ = c.read()
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 64<<10 {
		t.Errorf("reading a header that announces 1 MiB allocated %d bytes", n)
	}
}

func TestDecode(t *testing.T) {
	refused := Frame{TypeError, []byte(`{"code":"busy","text":"later"}`)}
	var a Accepted
	err := refused.Decode(TypeAccepted, &a)
	if !errors.Is(err, &Error{Code: CodeBusy}) || err.Error() != "later" {
		t.Errorf("an error frame decoded as %v", err)
	}
	for _, f := range []Frame{
		{TypeDone, []byte("{}")}, {TypeAccepted, nil}, {TypeAccepted, []byte(`{"id":1}`)},
	} {
		if err := f.Decode(TypeAccepted, &a); !errors.Is(err, ErrProtocol) {
			t.Errorf("%d %q: error %v, want ErrProtocol", f.Type, f.Body, err)
		}
	}
	if err := (Frame{TypeAccepted, []byte(`{"id":"1","later":[{}]}`)}).Decode(TypeAccepted, &a); err != nil {
		t.Errorf("a key of a later version: %v", err)
	}
}

func TestErrorCodes(t *testing.T) {
	err := error(Errorf(CodeDeclined, "no %s here", "amd64"))
	is := func(code Code) bool { return errors.Is(err, &Error{Code: code}) }
	if !is(CodeDeclined) || is(CodeBusy) || errors.Is(err, io.EOF) {
		t.Error("errors.Is does not compare codes")
	}
	if e := AsError(errors.Join(io.EOF, err)); e.Code != CodeDeclined {
		t.Errorf("AsError lost the code: %+v", e)
	}
	if e := AsError(io.EOF); e.Code != CodeInternal || e.Text != "EOF" {
		t.Errorf("AsError of a plain error: %+v", e)
	}
	if text := (&Error{Code: "new-code"}).Error(); !strings.Contains(text, "new-code") {
		t.Errorf("an error without text says %q", text)
	}
}

func TestPreface(t *testing.T) {
	v := func(oldest, newest uint16) string {
		b := binary.BigEndian.AppendUint16([]byte(magic), oldest)
		return string(binary.BigEndian.AppendUint16(b, newest))
	}
	tests := []struct {
		in   string
		want error
	}{
		{v(1, 1), nil},
		{v(0, 1), nil},
		{v(1, 9), nil},
		{v(0, 0), ErrPeerOlder},
		{v(2, 2), ErrPeerNewer},
		{v(2, 0xffff), ErrPeerNewer},
		{v(3, 2), ErrNotLantage},
		{"GET / HTTP/1.1\r\n", ErrNotLantage},
		{"LANTAGE\r\x00\x01\x00\x01", ErrNotLantage},
		{"\x16\x03\x01\x00", ErrNotLantage}, // TLS
		{"", io.EOF},
		{"LANTAGE\n\x00\x01", io.ErrUnexpectedEOF},
	}
	for _, tt := range tests {
		got, err := readPreface(strings.NewReader(tt.in))
		if !errors.Is(err, tt.want) {
			t.Errorf("%q: error %v, want %v", tt.in, err, tt.want)
		}
		if err == nil && got != 1 {
			t.Errorf("%q: version %d, want 1", tt.in, got)
		}
	}
	r := strings.NewReader("EHLO")
	if _, err := readPreface(r); !errors.Is(err, ErrNotLantage) || r.Len() != 3 {
		t.Errorf("%d bytes were left, want 3: it waits for more than the first wrong byte", r.Len())
	}
}

// TestMessagesRoundTrip: every field survives, and none is left out by mistake.
func TestMessagesRoundTrip(t *testing.T) {
	event := Event{
		Seq: 3, Time: time.Date(2026, 11, 22, 21, 0, 0, 5, time.UTC), Kind: EventResult, Position: 1,
		CPV: "a/b-1", N: 1, Of: 2,
		State: StateFailed, Phase: "compile", Text: "x",
		Result: &Result{ResultLog, "a/b-1", "a/b.log", 1 << 40, "ff", true},
	}
	for _, v := range []any{
		&Hello{"a", "b", "c", "d", "e", "f", []string{"avx"}, "g", "gcc", []string{"host"}, 1, 2, 0.5, 3, 4, 5, "", true, true},
		&Offer{"i", "host", []Distfile{{"a.tar", 1, "ff", "ee"}}, true}, &Stored{1, 2},
		&Job{
			"id", "laptop", "x86_64-pc-linux-gnu",
			[]Package{{"a/b-1", "gentoo"}},
			Profile{"gentoo", "x"},
			[]Repo{{"gentoo", "/r", "r1"}},
			[]string{"USE=x"},
			"host", true, "i", "r",
			[]string{"RUSTC_WRAPPER"},
			true,
			[]Profile{{"lab", "y"}},
		},
		&Sync{"i", "laptop", "x86_64-pc-linux-gnu", true}, &Copy{"d", "f", 1, 2, true}, &List{"d"}, &Wants{1, 2, 3}, &Commit{"f"}, &Pair{[]byte("m"), []byte("p")},
		&Attach{"id", 1, []string{"x"}, true}, &Cancel{"id"}, &Accepted{"id", "host"}, &event,
		&Done{OutcomeFailed, "text", []PackageResult{{"a/b-1", StateFailed, "compile", "text"}}},
	} {
		body, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		got := reflect.New(reflect.TypeOf(v).Elem()).Interface()
		if err := json.Unmarshal(body, got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(v, got); diff != "" {
			t.Errorf("%T (-sent +got):\n%s", v, diff)
		}
	}
}

// TestWritersDoNotMix lets many goroutines write at once: each frame must arrive whole, and each stream in
// its order.
func TestWritersDoNotMix(t *testing.T) {
	a, b := connected(t)
	var wg sync.WaitGroup
	for _, s := range []Stream{StreamResults, StreamLog} {
		wg.Go(func() {
			w := a.Writer(s)
			if _, err := io.Copy(w, bytes.NewReader(bytes.Repeat([]byte{byte(s)}, 1<<20))); err != nil {
				t.Error(err)
			}
			if err := w.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Go(func() {
		for i := range 100 {
			if err := a.Send(TypeEvent, Event{Seq: i + 1}); err != nil {
				t.Error(err)
			}
		}
	})
	results, log := NewStreamReader(StreamResults), NewStreamReader(StreamLog)
	for _, sr := range []*StreamReader{results, log} {
		wg.Go(func() {
			if n, err := io.Copy(io.Discard, sr); err != nil || n != 1<<20 {
				t.Errorf("%d bytes, %v", n, err)
			}
		})
	}
	for ends, seq := 0, 0; ends < 2 || seq < 100; {
		f, err := b.Read()
		if err != nil {
			t.Fatal(err)
		}
		if f.Type == TypeEvent {
			var e Event
			if err := f.Decode(TypeEvent, &e); err != nil || e.Seq != seq+1 {
				t.Fatalf("event %d after %d, %v", e.Seq, seq, err)
			}
			seq++
			continue
		}
		for _, sr := range []*StreamReader{results, log} {
			if _, err := sr.Feed(f); err != nil {
				t.Fatal(err)
			}
		}
		if f.Type == TypeEnd {
			ends++
		}
	}
	wg.Wait()
}

// connected makes two ends of a TCP connection that have greeted each other.
func connected(t *testing.T) (a, b *Conn) {
	t.Helper()
	ca, cb := tcpPair(t)
	var wg sync.WaitGroup
	var errA, errB error
	wg.Go(func() { a, _, errA = Handshake(ca, Hello{Name: "a"}) })
	wg.Go(func() { b, _, errB = Handshake(cb, Hello{Name: "b"}) })
	wg.Wait()
	if err := errors.Join(errA, errB); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

func tcpPair(t *testing.T) (a, b net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if a, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if b, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}
