package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lantage/trust"
	"lantage/wire"
)

// owner is `lantage pair` on the builder.
type owner struct {
	t      *testing.T
	out    *syncBuffer
	code   string
	ended  chan error
	giveUp context.CancelFunc
}

var shownCode = regexp.MustCompile(`lantage pair (\d{3}-\d{3})\n`)

func (r *rig) owner() *owner {
	r.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	o := &owner{t: r.t, out: &syncBuffer{written: make(chan struct{})}, ended: make(chan error, 1), giveUp: cancel}
	r.t.Cleanup(cancel)
	go func() { o.ended <- (&Pair{StateDir: r.dir, Stdout: o.out}).Run(ctx) }()
	o.out.await(r.t, "has the key "+r.server.Identity.Key.String())
	m := shownCode.FindStringSubmatch(o.out.String())
	if m == nil {
		r.t.Fatalf("no code: %s", o.out)
	}
	o.code = m[1]
	return o
}

// wrong is another code.
func (o *owner) wrong() string {
	last := o.code[len(o.code)-1]
	return o.code[:len(o.code)-1] + string('0'+(last-'0'+1)%10)
}

// pairer is a client that pairs.
type pairer struct {
	t    *testing.T
	conn *wire.Conn
	end  *trust.Pairing
}

func (r *rig) pairer(self *trust.Identity, code string) *pairer {
	r.t.Helper()
	channel := r.channel(self)
	conn, hello, err := wire.Handshake(channel, wire.Hello{Name: "laptop"})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { conn.Close() })
	r.server.mu.Lock()
	waits := r.server.pairing != nil
	r.server.mu.Unlock()
	if hello.Pairing != waits {
		r.t.Errorf("the hello says that pairing is %v", hello.Pairing)
	}
	end, err := trust.NewPairing(channel, self, code, false)
	if err != nil {
		r.t.Fatal(err)
	}
	return &pairer{r.t, conn, end}
}

func (p *pairer) ask(m wire.Pair) (answer wire.Pair, err error) {
	if err := p.conn.Send(wire.TypePair, m); err != nil {
		return answer, err
	}
	f, err := p.conn.Read()
	if err == nil {
		err = f.Decode(wire.TypePair, &answer)
	}
	return answer, err
}

// start is the first half.
func (p *pairer) start() error {
	answer, err := p.ask(wire.Pair{Message: p.end.Start()})
	if err != nil {
		return err
	}
	return p.end.Take(answer.Message)
}

// prove is the second half.
func (p *pairer) prove() error {
	proof, err := p.end.Proof()
	if err != nil {
		return err
	}
	answer, err := p.ask(wire.Pair{Proof: proof})
	p.conn.Close()
	if err != nil {
		return err
	}
	return p.end.Check(answer.Proof)
}

func (p *pairer) run() error {
	if err := p.start(); err != nil {
		p.conn.Close()
		return err
	}
	return p.prove()
}

// trusted reports whether a client is paired.
func (r *rig) trusted(who *trust.Identity) bool {
	p, _ := trust.Find(r.clients(), who.Key)
	return p.State == trust.Trusted
}

// The code pairs, also one that is not let in yet or was revoked; then the builder takes its jobs.
func TestPair(t *testing.T) {
	r := newSecureRig(t, pairedOnly)
	laptop, other := someone(t), someone(t)
	if err := clientsOf(r.dir).Set(laptop.Key, "laptop", trust.Revoked); err != nil {
		t.Fatal(err)
	}
	for _, who := range []*trust.Identity{laptop, other} {
		o := r.owner()
		if err := r.pairer(who, o.code).run(); err != nil {
			t.Fatal(err)
		}
		if err := receive(t, o.ended); err != nil {
			t.Error(err)
		}
		wantText(t, o.out.String(), "Paired with laptop ("+who.Key.String()+")")
		if !r.trusted(who) {
			t.Errorf("noted: %v", r.clients())
		}
		if err := r.pairer(someone(t), o.code).run(); !errors.Is(err, &wire.Error{Code: wire.CodeDeclined}) {
			t.Errorf("the code counts twice: %v", err)
		}
	}
	r.as(laptop).submit(jobOf(1, "a/one-1"))
	r.next().end <- runEnd{}
}

// Nobody is paired while no owner waits, and where nothing is encrypted.
func TestNoPairing(t *testing.T) {
	r := newSecureRig(t)
	err := r.pairer(someone(t), "123456").run()
	if !errors.Is(err, &wire.Error{Code: wire.CodeDeclined}) {
		t.Error(err)
	}
	wantText(t, fmt.Sprint(err), "tower does not wait", "lantage pair there first")
	if len(r.clients()) != 0 {
		t.Error("somebody is noted")
	}
	p := r.as(someone(t))
	p.send(wire.TypePair, []int{1})
	p.refused(wire.CodeBadRequest)

	plain := newSecureRig(t, func(s *Server) { s.Identity = nil })
	wantText(t, fmt.Sprint((&Pair{StateDir: plain.dir, Stdout: io.Discard}).Run(t.Context())), "does not encrypt", "--plain")
	p = plain.dial()
	p.send(wire.TypePair, wire.Pair{Message: []byte("{}")})
	wantText(t, p.refused(wire.CodeDeclined), "tower does not encrypt")
	if err := (&Pair{StateDir: t.TempDir()}).Run(t.Context()); !errors.Is(err, ErrNoDaemon) {
		t.Errorf("without a daemon: %v", err)
	}
}

// Three tries, whatever is wrong with them, and the code is worth nothing any more.
func TestWrongCodes(t *testing.T) {
	r := newSecureRig(t)
	o := r.owner()
	mallory := someone(t)
	for n, try := range []func() error{
		func() error { return r.pairer(mallory, o.wrong()).run() },
		func() error { // garbage
			_, err := r.pairer(mallory, o.code).ask(wire.Pair{Message: []byte("null")})
			return err
		},
		func() error { // it has seen the builder's message and goes
			p := r.pairer(mallory, o.wrong())
			err := p.start()
			p.conn.Close()
			return errors.Join(err, errors.New("gone"))
		},
	} {
		if err := try(); err == nil {
			t.Errorf("try %d: the client is paired", n)
		}
		r.log.await(t, fmt.Sprintf("left=%d", trust.PairTries-1-n))
	}
	err := receive(t, o.ended)
	wantText(t, fmt.Sprint(err), "nothing is paired", "3 tries with a wrong code", "127.0.0.1")
	if err := r.pairer(mallory, o.code).run(); !errors.Is(err, &wire.Error{Code: wire.CodeDeclined}) {
		t.Errorf("a fourth try: %v", err)
	}
	if r.trusted(mallory) {
		t.Error("it is trusted")
	}
}

// One wrong code, and then the right one.
func TestWrongThenRight(t *testing.T) {
	r := newSecureRig(t)
	o := r.owner()
	laptop := someone(t)
	err := r.pairer(laptop, o.wrong()).run()
	if !errors.Is(err, &wire.Error{Code: wire.CodeDeclined}) {
		t.Error(err)
	}
	wantText(t, fmt.Sprint(err), "the code is another")
	r.log.await(t, "left=2")
	if err := r.pairer(laptop, o.code).run(); err != nil {
		t.Error(err)
	}
	if err := receive(t, o.ended); err != nil || !r.trusted(laptop) {
		t.Error(err)
	}
}

// Only one owner waits, and only one client is in its try; the other is not charged for it.
func TestTwoPair(t *testing.T) {
	r := newSecureRig(t)
	o := r.owner()
	wantText(t, fmt.Sprint((&Pair{StateDir: r.dir, Stdout: o.out}).Run(t.Context())), "another lantage pair waits already")
	laptop, other := someone(t), someone(t)
	first := r.pairer(laptop, o.code)
	if err := first.start(); err != nil {
		t.Fatal(err)
	}
	for range trust.PairTries {
		if err := r.pairer(other, o.code).run(); !errors.Is(err, &wire.Error{Code: wire.CodeBusy}) {
			t.Errorf("the second at once: %v", err)
		}
	}
	if err := first.prove(); err != nil {
		t.Error(err)
	}
	if err := receive(t, o.ended); err != nil || !r.trusted(laptop) || r.trusted(other) {
		t.Errorf("%v; %v", err, r.clients())
	}
}

// Whom the owner was told is not paired is not paired, though it had the code.
func TestPairedTooLate(t *testing.T) {
	r := newSecureRig(t)
	o := r.owner()
	laptop := someone(t)
	p := r.pairer(laptop, o.code)
	if err := p.start(); err != nil {
		t.Fatal(err)
	}
	o.giveUp()
	if err := receive(t, o.ended); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	for {
		r.server.mu.Lock()
		waits := r.server.pairing != nil
		r.server.mu.Unlock()
		if !waits {
			break
		}
	}
	err := p.prove()
	if !errors.Is(err, &wire.Error{Code: wire.CodeDeclined}) {
		t.Error(err)
	}
	wantText(t, fmt.Sprint(err), "does not wait any more")
	if r.trusted(laptop) {
		t.Error("it is trusted")
	}
	r.owner() // another one may
}

// The proof of one connection is worth nothing on another.
func TestPairingReplayed(t *testing.T) {
	r := newSecureRig(t)
	o := r.owner()
	laptop, mallory := someone(t), someone(t)
	p := r.pairer(laptop, o.code)
	message := p.end.Start()
	answer, err := p.ask(wire.Pair{Message: message})
	if err == nil {
		err = p.end.Take(answer.Message)
	}
	if err != nil {
		t.Fatal(err)
	}
	proof, err := p.end.Proof()
	if err != nil {
		t.Fatal(err)
	}
	p.conn.Close()
	r.log.await(t, "left=2")
	for left, who := range []*trust.Identity{laptop, mallory} {
		other := r.pairer(who, "000000")
		if _, err := other.ask(wire.Pair{Message: message}); err != nil {
			t.Fatal(err)
		}
		if _, err := other.ask(wire.Pair{Proof: proof}); !errors.Is(err, &wire.Error{Code: wire.CodeDeclined}) {
			t.Errorf("it is paired: %v", err)
		}
		other.conn.Close()
		r.log.await(t, fmt.Sprintf("left=%d", 1-left))
	}
	if receive(t, o.ended) == nil || r.trusted(mallory) || r.trusted(laptop) {
		t.Errorf("%v", r.clients())
	}
}

// The code is worth something for two minutes.
func TestCodeExpires(t *testing.T) {
	self := someone(t)
	synctest.Test(t, func(t *testing.T) {
		s := &Server{Identity: self, Hello: wire.Hello{Name: "tower"}}
		w := httptest.NewRecorder()
		start := time.Now()
		s.controlPair(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/pair", http.NoBody))
		if d := time.Since(start); d != trust.PairTime || trust.PairTime > 2*time.Minute {
			t.Errorf("after %v", d)
		}
		wantText(t, w.Body.String(), `"code":"`, "nobody typed the code within 2m0s")
		if s.pairing != nil || strings.Contains(w.Body.String(), "name\":\"laptop") {
			t.Error("somebody is paired")
		}
	})
}

// A client that falls silent in its try holds up others for a moment only.
func TestSilentPairer(t *testing.T) {
	self, laptop := someone(t), someone(t)
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		ln := newPipeListener()
		r := newRigOn(t, 1, ln, dir, func(s *Server) { s.Identity = self })
		conn := ln.dial()
		channel, err := trust.Client(t.Context(), conn, laptop)
		if err != nil {
			t.Fatal(err)
		}
		c, _, err := wire.Handshake(channel, wire.Hello{Name: "laptop"})
		if err != nil {
			t.Fatal(err)
		}
		o, err := r.server.beginPairing()
		if err != nil {
			t.Fatal(err)
		}
		end, err := trust.NewPairing(channel, laptop, o.code, false)
		if err != nil {
			t.Fatal(err)
		}
		p := &pairer{t, c, end}
		if err := p.start(); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if _, err := c.Read(); !errors.Is(err, &wire.Error{Code: wire.CodeBadRequest}) {
			t.Errorf("%v", err)
		}
		if d := time.Since(start); d != pairTime {
			t.Errorf("after %v", d)
		}
		c.Close()
		r.log.await(t, "left=2")
		if r.server.pairing.busy {
			t.Error("it holds up others")
		}
		r.server.endPairing(o, paired{})
		r.shutDown()
	})
}
