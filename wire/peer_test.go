package wire

import (
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// rawPeer makes a connection over a pipe whose other end is in the test's own hands, after the handshake.
func rawPeer(t *testing.T) (*Conn, net.Conn) {
	t.Helper()
	near, far := net.Pipe()
	go io.WriteString(far, "LANTAGE\n\x00\x01\x00\x01\x01\x00\x00\x00\x0e"+`{"name":"far"}`)
	type result struct {
		c     *Conn
		hello Hello
		err   error
	}
	got := make(chan result, 1)
	go func() {
		c, hello, err := Handshake(near, Hello{Name: "near"})
		got <- result{c, hello, err}
	}()
	if _, err := io.ReadFull(far, make([]byte, 12+headerSize+len(`{"name":"near","software":""}`))); err != nil {
		t.Fatal(err)
	}
	r := <-got
	if r.err != nil || r.hello.Name != "far" {
		t.Fatalf("%+v, %v", r.hello, r.err)
	}
	return r.c, far
}

// each writes to the peer now and then, until the connection ends. The test waits for its end.
func each(t *testing.T, pause time.Duration, far net.Conn, text string) {
	done := make(chan struct{})
	t.Cleanup(func() { <-done })
	go func() {
		defer close(done)
		for {
			if _, err := io.WriteString(far, text); err != nil {
				return
			}
			time.Sleep(pause)
		}
	}()
}

// took calls fn and reports how long it took on the bubble's clock.
func took(fn func()) time.Duration {
	start := time.Now()
	fn()
	return time.Since(start)
}

func TestSilentPeerIsDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, far := rawPeer(t)
		go io.Copy(io.Discard, far) // it takes our pings and says nothing: half open
		var err error
		d := took(func() { _, err = c.Read() })
		if !errors.Is(err, ErrLost) || d != DeadAfter {
			t.Errorf("error %v after %v, want ErrLost after %v", err, d, DeadAfter)
		}
		c.Close()
		far.Close()
	})
}

func TestCutFrameIsDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, far := rawPeer(t)
		go io.Copy(io.Discard, far)
		// A byte now and then of a frame that will never be whole: 4, 0, 4, 0, 4 announces 0x04000400 bytes.
		each(t, time.Second, far, "\x04\x00")
		var err error
		d := took(func() { _, err = c.Read() })
		if !errors.Is(err, ErrLost) || d != DeadAfter {
			t.Errorf("error %v after %v, want ErrLost after %v", err, d, DeadAfter)
		}
		c.Close()
		far.Close()
	})
}

// TestSilenceIsNoDeath: two connected sides that say nothing for a day are still connected.
func TestSilenceIsNoDeath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pipePair(t)
		got := make(chan error, 1)
		go func() {
			_, err := b.Read()
			got <- err
		}()
		go a.Read()
		time.Sleep(24 * time.Hour)
		select {
		case err := <-got:
			t.Fatalf("the connection ended in silence: %v", err)
		default:
		}
		if err := a.Send(TypeEvent, Event{Seq: 1}); err != nil {
			t.Error(err)
		}
		if err := <-got; err != nil {
			t.Error(err)
		}
		a.Close()
		b.Close()
	})
}

// TestPingsAreRegular measures the gaps between the bytes that a silent side sends.
func TestPingsAreRegular(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, far := rawPeer(t)
		buf := make([]byte, headerSize)
		for range 10 {
			d := took(func() { io.ReadFull(far, buf) })
			if Type(buf[0]) != TypePing || d > PingInterval {
				t.Errorf("frame of type %d after %v, want a ping within %v", buf[0], d, PingInterval)
			}
		}
		c.Close()
		if _, err := far.Read(buf); err != io.EOF {
			t.Errorf("after Close the peer read %v, want EOF", err)
		}
	})
}

// TestPeerThatTakesNothing pings and never reads: a write ends after StallAfter, and the reader learns of it.
func TestPeerThatTakesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, far := rawPeer(t)
		each(t, PingInterval, far, "\x03\x00\x00\x00\x00")
		read := make(chan error, 1)
		go func() {
			_, err := c.Read()
			read <- err
		}()
		var err error
		d := took(func() { err = c.Send(TypeEvent, Event{Seq: 1}) })
		// Its own ping may have been stuck before it.
		if !errors.Is(err, ErrLost) || d > StallAfter+PingInterval || d < StallAfter-PingInterval {
			t.Errorf("error %v after %v, want ErrLost after %v", err, d, StallAfter)
		}
		if err := <-read; !errors.Is(err, ErrLost) {
			t.Errorf("the reader saw %v", err)
		}
		if err := c.Send(TypeEvent, Event{Seq: 2}); !errors.Is(err, ErrLost) {
			t.Errorf("a write after a cut frame: %v", err)
		}
		c.Close()
		far.Close()
	})
}

// TestSlowDiskIsNoDeath: the reader of a stream that pauses for minutes holds up the sender, not the
// connection.
func TestSlowDiskIsNoDeath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pipePair(t)
		sr := NewStreamReader(StreamResults)
		sent := make(chan error, 1)
		go func() {
			w := a.Writer(StreamResults)
			_, err := w.Write(make([]byte, 4*MaxData))
			sent <- errors.Join(err, w.Close())
		}()
		go a.Read()
		go func() {
			for {
				f, err := b.Read()
				if err != nil {
					sr.Fail(err)
					return
				}
				sr.Feed(f)
			}
		}()
		buf := make([]byte, MaxData)
		for range 4 {
			time.Sleep(StallAfter - time.Second)
			if _, err := io.ReadFull(sr, buf); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := sr.Read(buf); err != io.EOF {
			t.Errorf("the stream ended with %v", err)
		}
		if err := <-sent; err != nil {
			t.Error(err)
		}
		a.Close()
		b.Close()
	})
}

func TestHandshakeTimeout(t *testing.T) {
	for _, start := range []string{
		"", "LANT", "LANTAGE\n\x00\x01\x00\x01",
		"LANTAGE\n\x00\x01\x00\x01\x01\x00\x00\x00\xff{",
	} {
		synctest.Test(t, func(t *testing.T) {
			near, far := net.Pipe()
			go io.Copy(io.Discard, far)
			go io.WriteString(far, start)
			var err error
			d := took(func() { _, _, err = Handshake(near, Hello{}) })
			if !errors.Is(err, ErrLost) || d != HandshakeTimeout {
				t.Errorf("after %q: error %v after %v, want ErrLost after %v", start, err, d, HandshakeTimeout)
			}
			far.Close()
		})
	}
}

// TestStrangersHoldLittle: peers that have not said who they are make us hold no buffers for what they might say later.
func TestStrangersHoldLittle(t *testing.T) {
	const peers = 100
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	var far []net.Conn
	var over sync.WaitGroup
	for range peers {
		near, peer := net.Pipe()
		over.Go(func() { _, _, _ = Handshake(near, Hello{}) })
		if _, err := io.WriteString(peer, "LANTAGE\n\x00\x01\x00\x01\x01\x00\x00\xff\xff{"); err != nil {
			t.Fatal(err)
		}
		far = append(far, peer)
	}
	if each := (heap() - before) / peers; each > 16<<10 {
		t.Errorf("each holds %d bytes", each)
	}
	for _, peer := range far {
		peer.Close()
	}
	over.Wait()
}

// TestHandshakeWithDeafPeer: it says everything that is due and reads nothing.
func TestHandshakeWithDeafPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		go io.WriteString(far, "LANTAGE\n\x00\x01\x00\x01\x01\x00\x00\x00\x02{}")
		var err error
		d := took(func() { _, _, err = Handshake(near, Hello{}) })
		if !errors.Is(err, ErrLost) || d != HandshakeTimeout {
			t.Errorf("error %v after %v, want ErrLost after %v", err, d, HandshakeTimeout)
		}
		far.Close()
	})
}

func pipePair(t *testing.T) (a, b *Conn) {
	t.Helper()
	near, far := net.Pipe()
	var wg sync.WaitGroup
	var errA, errB error
	wg.Go(func() { a, _, errA = Handshake(near, Hello{Name: "a"}) })
	wg.Go(func() { b, _, errB = Handshake(far, Hello{Name: "b"}) })
	wg.Wait()
	if err := errors.Join(errA, errB); err != nil {
		t.Fatal(err)
	}
	return a, b
}

// TestHandshakeErrors has the peer's bytes over real TCP, where closing can lose what was sent.
func TestHandshakeErrors(t *testing.T) {
	hello := "\x01\x00\x00\x00\x02{}"
	tests := map[string]struct {
		says string
		want error
	}{
		"older":    {"LANTAGE\n\x00\x00\x00\x00" + hello, ErrPeerOlder},
		"newer":    {"LANTAGE\n\x00\x02\x00\x03" + hello, ErrPeerNewer},
		"HTTP":     {"GET / HTTP/1.1\r\n\r\n", ErrNotLantage},
		"no hello": {"LANTAGE\n\x00\x01\x00\x01\x09\x00\x00\x00\x02{}", ErrProtocol},
		"long":     {"LANTAGE\n\x00\x01\x00\x01\x01\x00\x01\x00\x01{", ErrProtocol},
		"garbage":  {"LANTAGE\n\x00\x01\x00\x01\xff\xff\xff\xff\xff", ErrProtocol},
		"refusal": {
			"LANTAGE\n\x00\x01\x00\x01\x02\x00\x00\x00\x0f" + `{"code":"busy"}`, &Error{Code: CodeBusy},
		},
		"hello is []": {"LANTAGE\n\x00\x01\x00\x01\x01\x00\x00\x00\x02[]", ErrProtocol},
	}
	for name, tt := range tests {
		near, far := tcpPair(t)
		go io.WriteString(far, tt.says)
		heard := make(chan string)
		go func() {
			b := make([]byte, 12)
			io.ReadFull(far, b)
			heard <- string(b)
			far.Close()
		}()
		if _, _, err := Handshake(near, Hello{}); !errors.Is(err, tt.want) && err.Error() != tt.want.Error() {
			t.Errorf("%s: error %v, want %v", name, err, tt.want)
		}
		got := <-heard
		if (tt.want == ErrPeerOlder || tt.want == ErrPeerNewer) && got != "LANTAGE\n\x00\x01\x00\x01" {
			t.Errorf("%s: the peer heard %q and cannot know what is wrong", name, got)
		}
	}
}

// TestLastWordsArrive: an error that is sent while the peer still talks reaches it, over real TCP.
func TestLastWordsArrive(t *testing.T) {
	for range 20 {
		a, b := connected(t)
		talked := make(chan error, 1)
		go func() { // the client, in the middle of its inputs
			w := b.Writer(StreamInputs)
			for {
				if _, err := w.Write(make([]byte, MaxData)); err != nil {
					talked <- err
					return
				}
			}
		}()
		go func() {
			a.Read()
			a.SendError(Errorf(CodeDeclined, "not here"))
			a.Finish(10 * time.Second)
			for {
				if _, err := a.Read(); err != nil {
					a.Close()
					return
				}
			}
		}()
		if _, err := b.Read(); !errors.Is(err, &Error{Code: CodeDeclined}) {
			t.Fatalf("the peer saw %v", err)
		}
		b.Close()
		<-talked
	}
}

func TestFinish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, far := rawPeer(t)
		each(t, time.Millisecond, far, "\x03\x00\x00\x00\x00") // it talks on for ever
		c.Finish(3 * time.Second)
		if err := c.Send(TypeDone, Done{}); !errors.Is(err, ErrLost) {
			t.Errorf("after Finish, Send says %v", err)
		}
		d := took(func() {
			go c.Read()
			far.Read(make([]byte, 1))
		})
		if d != 3*time.Second {
			t.Errorf("the connection was closed after %v, want 3 s", d)
		}
		c.Close()
		c.Close()
		far.Close()
	})
}

func TestRefuse(t *testing.T) {
	near, far := tcpPair(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		Refuse(near, Errorf(CodeBusy, "64 sessions are open"))
	}()
	if _, _, err := Handshake(far, Hello{}); !errors.Is(err, &Error{Code: CodeBusy}) {
		t.Errorf("the peer saw %v", err)
	}
	<-done
	synctest.Test(t, func(t *testing.T) { // one that neither reads nor closes
		near, far := net.Pipe()
		if d := took(func() { Refuse(near, Errorf(CodeBusy, "no")) }); d > time.Second {
			t.Errorf("Refuse took %v", d)
		}
		far.Close()
	})
}

// TestCloseEndsEverything: no goroutine is left, whoever is blocked in what.
func TestCloseEndsEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // the bubble fails when a goroutine is left
		c, far := rawPeer(t)
		var wg sync.WaitGroup
		wg.Go(func() { c.Read() })
		wg.Go(func() { c.Send(TypeEvent, Event{}) })
		time.Sleep(time.Second)
		c.Close()
		wg.Wait()
		far.Close()
	})
}

// halfCloser is a carrier that can close one direction, and tells what was asked of it.
type halfCloser struct {
	recorder
	calls chan string
}

func (h *halfCloser) CloseWrite() error {
	h.calls <- "half"
	return nil
}

func (h *halfCloser) Close() error {
	h.calls <- "all"
	return nil
}

// TestFinishClosesOneDirection: closing both at once would reset a TCP connection with unread bytes.
func TestFinishClosesOneDirection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &halfCloser{calls: make(chan string, 9)}
		c := &Conn{carrier: h, stopPing: make(chan struct{})}
		c.Finish(time.Second)
		c.Finish(time.Second)
		if call := <-h.calls; call != "half" || len(h.calls) != 0 {
			t.Errorf("Finish did %q and %d more", call, len(h.calls))
		}
		if d := took(func() { <-h.calls }); d != time.Second {
			t.Errorf("it was closed after %v", d)
		}
	})
}

// TestOtherVersionHearsUs: it gets our preface, though it reads late and never stops talking.
func TestOtherVersionHearsUs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		go io.WriteString(far, "LANTAGE\n\x00\x02\x00\x02"+strings.Repeat("x", 1<<20))
		heard := make(chan string, 1)
		go func() {
			time.Sleep(farewell / 2)
			b := make([]byte, 12)
			_, err := io.ReadFull(far, b)
			heard <- fmt.Sprintf("%s %v", b, err)
		}()
		var err error
		d := took(func() { _, _, err = Handshake(near, Hello{}) })
		if !errors.Is(err, ErrPeerNewer) || d > 2*farewell {
			t.Errorf("error %v after %v", err, d)
		}
		if got := <-heard; got != "LANTAGE\n\x00\x01\x00\x01 <nil>" {
			t.Errorf("the peer heard %q", got)
		}
		far.Close()
	})
}

// brokenOnce fails in the middle of its first write.
type brokenOnce struct {
	recorder
	broken bool
}

func (b *brokenOnce) Write(p []byte) (int, error) {
	if !b.broken {
		b.broken = true
		n, _ := b.recorder.Write(p[:len(p)/2])
		return n, io.ErrShortWrite
	}
	return b.recorder.Write(p)
}

// TestNothingAfterACutFrame: what would follow it could only be misunderstood.
func TestNothingAfterACutFrame(t *testing.T) {
	b := new(brokenOnce)
	c := &Conn{carrier: b, stopPing: make(chan struct{})}
	w := c.Writer(StreamLog)
	if _, err := w.Write([]byte("abc")); !errors.Is(err, ErrLost) {
		t.Errorf("error %v", err)
	}
	n := b.Len()
	if err := errors.Join(c.Send(TypeDone, Done{}), w.Close()); !errors.Is(err, ErrLost) || b.Len() != n {
		t.Errorf("%d bytes follow a cut frame, error %v", b.Len()-n, err)
	}
}

// Who speaks another protocol, such as TLS to a side that does not encrypt, gets our preface and knows from it what this is.
func TestOtherProtocolGetsThePreface(t *testing.T) {
	near, far := net.Pipe()
	defer near.Close()
	ended := make(chan error, 1)
	go func() {
		_, _, err := Handshake(far, Hello{})
		ended <- err
	}()
	if _, err := near.Write([]byte("\x16\x03\x01\x02\x00\x01")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(magic))
	if _, err := io.ReadFull(near, got); err != nil || string(got) != magic {
		t.Errorf("%q, %v", got, err)
	}
	near.Close()
	if err := <-ended; !errors.Is(err, ErrNotLantage) {
		t.Error(err)
	}
}
