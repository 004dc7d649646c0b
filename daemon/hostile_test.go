package daemon

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"lantage/build"
	"lantage/wire"
)

const greeting = "LANTAGE\n\x00\x01\x00\x01\x01\x00\x00\x00\x02{}"

// raw is a peer that sends whatever bytes the test wants.
type raw struct {
	t    *testing.T
	conn net.Conn
}

func (r *rig) dialRaw() *raw {
	r.t.Helper()
	conn, err := net.Dial("tcp", r.ln.Addr().String())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { conn.Close() })
	p := &raw{r.t, conn}
	p.write(greeting)
	return p
}

func (p *raw) write(s string) { _, _ = io.WriteString(p.conn, s) }

func (p *raw) frame(t wire.Type, body []byte) {
	p.write(string(binary.BigEndian.AppendUint32([]byte{byte(t)}, uint32(len(body)))) + string(body))
}

// refusal returns all that the daemon said until it closed.
func (p *raw) refusal() string {
	p.t.Helper()
	if err := p.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		p.t.Fatal(err)
	}
	all, err := io.ReadAll(p.conn)
	if ne, ok := err.(net.Error); ok && ne.Timeout() {
		p.t.Error("the daemon did not close")
	}
	return string(all)
}

func jsonOf(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestHostileBytes: whatever comes on other connections, a job runs to its end.
func TestHostileBytes(t *testing.T) {
	r := newRig(t, 1)
	p := r.dial()
	p.submit(jobOf(1, "a/one-1"))
	run := r.next()
	job, second := string(jsonOf(t, jobOf(2, "a/one-1"))), string(jsonOf(t, jobOf(3, "a/one-1")))
	frame := func(t wire.Type, body string) string {
		return string(binary.BigEndian.AppendUint32([]byte{byte(t)}, uint32(len(body)))) + body
	}
	for name, say := range map[string]string{
		"huge frame":          "\x04\xff\xff\xff\xff",
		"control over 1 MiB":  "\x04\x00\x10\x00\x01",
		"unknown type":        "\x99\x00\x00\x00\x00",
		"no request":          frame(wire.TypeDone, "{}"),
		"second hello":        frame(wire.TypeHello, "{}"),
		"data first":          frame(wire.TypeData, "\x01x"),
		"submit of no JSON":   frame(wire.TypeSubmit, "{"),
		"submit of nothing":   frame(wire.TypeSubmit, "{}"),
		"deep JSON":           frame(wire.TypeSubmit, strings.Repeat("[", 100_000)),
		"attach of no JSON":   frame(wire.TypeAttach, "[]"),
		"attach to nothing":   frame(wire.TypeAttach, "{}"),
		"attach after -1":     frame(wire.TypeAttach, `{"id":"`+run.job.ID+`","after":-1}`),
		"cancel of no JSON":   frame(wire.TypeCancel, "1"),
		"submitted twice":     frame(wire.TypeSubmit, string(jsonOf(t, jobOf(1, "a/one-1")))),
		"submit after submit": frame(wire.TypeSubmit, job) + frame(wire.TypeSubmit, second),
		"wrong stream":        frame(wire.TypeSubmit, job) + frame(wire.TypeData, "\x02x"),
		"cancel of another":   frame(wire.TypeSubmit, job) + frame(wire.TypeCancel, `{"id":"x"}`),
		"inputs of garbage":   frame(wire.TypeSubmit, job) + frame(wire.TypeData, "\x01garbage for gzip"),
		"talks while watched": frame(wire.TypeAttach, `{"id":"`+run.job.ID+`"}`) + frame(wire.TypeData, "\x01x"),
	} {
		q := r.dialRaw()
		q.write(say)
		if name == "inputs of garbage" {
			q.frame(wire.TypeData, []byte("\x01more"))
		}
		q.conn.(*net.TCPConn).CloseWrite()
		if said := q.refusal(); !strings.Contains(said, `{"code":"`) {
			t.Errorf("%s: the last words are %.200q", name, said)
		}
	}
	for _, say := range []string{"GET / HTTP/1.1\r\n\r\n", "\x00", "LANTAGE\n\xff\xff\x00\x00"} {
		conn, err := net.Dial("tcp", r.ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		q := &raw{t, conn}
		q.write(say)
		q.refusal()
		conn.Close()
	}
	run.result(t, "a/one-1", "content")
	run.finish(build.StateBuilt)
	if m := receive(t, p.members); !strings.HasSuffix(m, "=content") {
		t.Errorf("member %q", m)
	}
	if d := receive(t, p.done); d.Outcome != wire.OutcomeDone {
		t.Errorf("done %+v", d)
	}
	if dirs := r.jobDirs(); len(dirs) != 1 {
		t.Errorf("directories %q, want the one of the job", dirs)
	}
}

// TestVersions: a client of another version learns it from the daemon's preface, and the owner from the log.
func TestVersions(t *testing.T) {
	r := newRig(t, 1)
	for preface, want := range map[string]string{
		"LANTAGE\n\x00\x02\x00\x03": "newer Lantage",
		"LANTAGE\n\x00\x00\x00\x00": "older Lantage",
		"SSH-2.0-client":            "does not speak Lantage",
	} {
		conn, err := net.Dial("tcp", r.ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		q := &raw{t, conn}
		q.write(preface)
		if said := q.refusal(); preface[0] == 'L' && !strings.HasPrefix(said, "LANTAGE\n\x00\x01\x00\x01") {
			t.Errorf("%q: the daemon said %q", preface, said)
		}
		conn.Close()
		r.log.await(t, want)
	}
}

// TestLastWordsAreRead: after an error or done the daemon goes on reading until the client closes. With a
// connection that is closed with unread bytes, the client could lose what was sent last.
func TestLastWordsAreRead(t *testing.T) {
	r := newRig(t, 1)
	p := r.dial()
	p.submit(jobOf(1, "a/one-1"))
	r.next().finish(build.StateSkipped)
	receive(t, p.done)
	for name, request := range map[string]wire.Attach{"error": {ID: "x"}, "done": {ID: jobOf(1).ID}} {
		q := r.dialRaw()
		q.frame(wire.TypeAttach, jsonOf(t, request))
		if said := q.refusal(); !strings.Contains(said, `{"code":"`) && !strings.Contains(said, `{"outcome":"`) {
			t.Errorf("the daemon said %q", said)
		}
		for range 100 {
			if _, err := q.conn.Write([]byte{byte(wire.TypePing), 0, 0, 0, 0}); err != nil {
				t.Errorf("after %s the connection was closed in both directions: %v", name, err)
				break
			}
		}
		q.conn.Close()
	}
}

// TestSameID: an ID is taken from the submit on.
func TestSameID(t *testing.T) {
	r := newRig(t, 1)
	p, q := r.dial(), r.dial()
	p.send(wire.TypeSubmit, jobOf(1, "a/one-1"))
	if _, err := p.conn.Writer(wire.StreamInputs).Write([]byte("\x1f\x8b")); err != nil {
		t.Fatal(err)
	}
	for len(r.jobDirs()) == 0 {
		runtime.Gosched() // until the daemon has read it
	}
	q.submitWith(jobOf(1, "a/one-1"), nil)
	if text := q.refused(wire.CodeBadRequest); !strings.Contains(text, "attach to it") {
		t.Errorf("error %q", text)
	}
	p.close()
	receive(t, p.err)
	for len(r.jobDirs()) > 0 {
		runtime.Gosched() // until the daemon has noticed
	}
	q = r.dial()
	q.submit(jobOf(1, "a/one-1"))
	run := r.next()
	q = r.dial()
	q.submitWith(jobOf(1, "a/one-1"), nil)
	if text := q.refused(wire.CodeBadRequest); !strings.Contains(text, "attach to it") {
		t.Errorf("error %q", text)
	}
	if run.ctx.Err() != nil {
		t.Error("the first job was ended")
	}
}

// TestSlowSender sends its inputs byte by byte while another client's job is done.
func TestSlowSender(t *testing.T) {
	r := newRig(t, 1)
	slow := r.dialRaw()
	slow.frame(wire.TypeSubmit, jsonOf(t, jobOf(1, "a/one-1")))
	inputs := tarOf(t, file("etc/portage/make.conf", 10))
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for _, b := range inputs {
			slow.frame(wire.TypeData, []byte{byte(wire.StreamInputs), b})
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
			}
		}
	}()
	p := r.dial()
	p.submit(jobOf(2, "a/one-1"))
	run := r.next()
	if run.job.ID != jobOf(2).ID {
		t.Fatal("a job began before its inputs were whole")
	}
	run.result(t, "a/one-1", "content")
	run.finish(build.StateBuilt)
	if d := receive(t, p.done); d.Outcome != wire.OutcomeDone {
		t.Errorf("done %+v", d)
	}
	close(stop)
	<-stopped
}

// dialFrom connects from one of this machine's loopback addresses.
func (r *rig) dialFrom(from string) net.Conn {
	r.t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := dialer.DialContext(r.t.Context(), "tcp", r.ln.Addr().String())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { conn.Close() })
	return conn
}

// TestTooManyConnections: an address that has its part of the connections is told so, the others have theirs, until there are
// none any more; and room comes back.
func TestTooManyConnections(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	const limit = 16
	r := newRigOn(t, 1, ln, t.TempDir(), func(s *Server) { s.MaxConnections = limit })
	refused := func(from, want string) {
		t.Helper()
		_, _, err := wire.Handshake(r.dialFrom(from), wire.Hello{})
		if !errors.Is(err, &wire.Error{Code: wire.CodeBusy}) || !strings.Contains(err.Error(), want) {
			t.Errorf("from %s: %v, want %q", from, err, want)
		}
	}
	var open []*peer
	for i := range limit {
		from := fmt.Sprintf("127.0.0.%d", 2+i/(limit/partOfAddress))
		open = append(open, newPeer(t, r.dialFrom(from)))
		if i == limit/partOfAddress-1 {
			refused(from, "4 from 127.0.0.2")
		}
	}
	refused("127.0.0.99", "too many connections (16)")
	open[0].close()
	for { // until the daemon has noticed
		if c, _, err := wire.Handshake(r.dialFrom("127.0.0.99"), wire.Hello{}); err == nil {
			c.Close()
			break
		}
	}
}

// TestTooManyJobs: an address that has its part of the queue is told so, the others have theirs, until there is none any more.
func TestTooManyJobs(t *testing.T) {
	r := newRig(t, 1)
	refused := func(from, want string) {
		t.Helper()
		p := newPeer(t, r.dialFrom(from))
		p.submitWith(jobOf(1000, "a/one-1"), nil)
		if text := p.refused(wire.CodeBusy); !strings.Contains(text, want) {
			t.Errorf("from %s: %q, want %q", from, text, want)
		}
	}
	r.dial().submit(jobOf(999, "a/one-1"))
	r.next() // it runs, and waits no more
	const part = DefaultWaiting / partOfAddress
	for i := range DefaultWaiting {
		from := fmt.Sprintf("127.0.0.%d", 2+i/part)
		newPeer(t, r.dialFrom(from)).submit(jobOf(i, "a/one-1"))
		if i == part-1 {
			refused(from, "8 from 127.0.0.2")
		}
	}
	refused("127.0.0.99", "too many jobs waiting (32)")
	if len(r.jobDirs()) != DefaultWaiting+1 {
		t.Errorf("%d directories", len(r.jobDirs()))
	}
}

// TestEventStorm: a build is never held up by those who watch, and what it says has an end.
func TestEventStorm(t *testing.T) {
	r := newRig(t, 1)
	deaf := r.dialRaw()
	deaf.frame(wire.TypeSubmit, jsonOf(t, jobOf(1, "a/one-1")))
	inputs := tarOf(t, file("etc/portage/make.conf", 10))
	w := &raw{t, deaf.conn}
	w.frame(wire.TypeData, append([]byte{byte(wire.StreamInputs)}, inputs...))
	w.frame(wire.TypeEnd, endOf(inputs))
	run := r.next()
	p := r.dial()
	p.send(wire.TypeAttach, wire.Attach{ID: run.job.ID})
	for i := range maxEvents + 1000 { // the deaf one reads nothing of it
		run.emit(build.Event{
			Kind: build.EventPackage, CPV: cpv("a/one-1"), State: build.StateBuilding, Phase: "compile",
			Text: strings.Repeat("x", i%(2*maxEventText)*(i%100/99)),
		})
	}
	run.result(t, "a/one-1", "content")
	run.finish(build.StateBuilt)
	if d := receive(t, p.done); d.Outcome != wire.OutcomeDone {
		t.Errorf("done %+v", d)
	}
	if n := len(p.events); n != maxPhaseEvents+1 {
		t.Errorf("%d events, want %d phases and the result", n, maxPhaseEvents)
	}
	seq := 0
	for range len(p.events) {
		e := <-p.events
		if e.Seq != seq+1 || len(e.Text) > maxEventText {
			t.Fatalf("event %d after %d, with %d bytes of text", e.Seq, seq, len(e.Text))
		}
		seq = e.Seq
	}
	deaf.conn.Close()
}

// TestResultGone: a binpkg that vanished, changed or became a link is left out, the others arrive.
func TestResultGone(t *testing.T) {
	r := newRig(t, 1)
	p := r.dial()
	p.submit(jobOf(1, "a/one-1", "a/two-2", "a/three-3", "a/four-4"))
	run := r.next()
	p.close() // so that nothing is sent yet
	receive(t, p.err)
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("2"), 0o600); err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"a/one-1", "a/two-2", "a/three-3", "a/four-4"} {
		res := run.result(t, name, fmt.Sprint(i))
		path := filepath.Join(res.Dir, res.Path)
		var err error
		switch i {
		case 0:
			err = os.Remove(path)
		case 1:
			if err = os.Remove(path); err == nil {
				err = os.Symlink(secret, path)
			}
		case 2:
			err = os.WriteFile(path, []byte("longer"), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	run.finish(build.StateBuilt)
	q := r.dial()
	q.send(wire.TypeAttach, wire.Attach{ID: run.job.ID})
	receive(t, q.done)
	for _, want := range []string{"binpkgs/a/four-4-1.gpkg.tar=3", "end: EOF"} {
		if m := receive(t, q.members); m != want {
			t.Errorf("member %q, want %q", m, want)
		}
	}
}

// TestSweep: what an earlier daemon left goes away, PKGDIR caches do not.
func TestSweep(t *testing.T) {
	dir := t.TempDir()
	left := filepath.Join(dir, "jobs", strings.Repeat("a", 32), "inputs")
	cache := filepath.Join(dir, "binpkgs", "key")
	for _, d := range []string{left, cache} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := newRigOn(t, 1, ln, dir)
	r.dial()
	if dirs := r.jobDirs(); len(dirs) != 0 {
		t.Errorf("directories %q are left", dirs)
	}
	if _, err := os.Stat(cache); err != nil {
		t.Error(err)
	}
	r.log.await(t, strings.Repeat("a", 32))
}

// brokenListener has no descriptors left, once.
type brokenListener struct {
	net.Listener
	failed bool
}

func (l *brokenListener) Accept() (net.Conn, error) {
	if !l.failed {
		l.failed = true
		return nil, fmt.Errorf("too many open files")
	}
	return l.Listener.Accept()
}

func TestAcceptErrorsPass(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := newRigOn(t, 1, &brokenListener{Listener: ln}, t.TempDir())
	r.dial()
	r.log.await(t, "too many open files")
}
