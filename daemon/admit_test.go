package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"lantage/build"
	"lantage/trust"
	"lantage/wire"
)

func someone(t *testing.T) *trust.Identity {
	t.Helper()
	self, err := trust.NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	return self
}

// newSecureRig is a rig that encrypts and keeps clients' roots. Its owner's commands reach it.
func newSecureRig(t *testing.T, prepare ...func(*Server)) *rig {
	t.Helper()
	r := newSyncRig(t, append([]func(*Server){func(s *Server) { s.Identity = someone(t) }}, prepare...)...)
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	if err := r.server.control(ctx); err != nil {
		t.Fatal(err)
	}
	return r
}

func pairedOnly(s *Server) { s.PairedOnly = true }

// channel is an encrypted connection before the hello.
func (r *rig) channel(self *trust.Identity) *trust.Conn {
	r.t.Helper()
	conn, err := net.Dial("tcp", r.ln.Addr().String())
	if err != nil {
		r.t.Fatal(err)
	}
	c, err := trust.Client(r.t.Context(), conn, self)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { c.Close() })
	if c.Peer != r.server.Identity.Key {
		r.t.Errorf("the builder has the key %v", c.Peer)
	}
	return c
}

// as is a client that encrypts.
func (r *rig) as(self *trust.Identity) *peer {
	r.t.Helper()
	return newPeer(r.t, r.channel(self))
}

func (r *rig) clients() []trust.Peer {
	r.t.Helper()
	peers, err := clientsOf(r.dir).Peers()
	if err != nil {
		r.t.Fatal(err)
	}
	return peers
}

// manage is `lantage trust` on the builder.
func (r *rig) manage(do func(*trust.Manager) error) {
	r.t.Helper()
	c := &Clients{StateDir: r.dir, Stdout: io.Discard, Logger: r.server.Logger}
	if err := do(&trust.Manager{Sides: []trust.Side{c.Side()}, Stdout: io.Discard}); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) set(key trust.Key, state trust.State) {
	r.t.Helper()
	r.manage(func(m *trust.Manager) error { return m.Set(r.t.Context(), key.String(), state) })
}

// sessions are those that go on.
func (r *rig) sessions() int {
	r.server.mu.Lock()
	defer r.server.mu.Unlock()
	return len(r.server.live)
}

func wantText(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("it says %q and should say %q", text, p)
		}
	}
}

// nothingIsKept: of a client that was refused there is no job, no distfile and no copy.
func (r *rig) nothingIsKept() {
	r.t.Helper()
	r.shutDown()
	copies, err := r.server.Roots.Clients()
	if dirs := r.jobDirs(); err != nil || len(copies) != 0 || len(dirs) != 0 || len(r.sent()) != 0 {
		r.t.Errorf("kept: jobs %q, distfiles %q, copies %v, %v", dirs, r.sent(), copies, err)
	}
	if len(r.runner.runs) != 0 {
		r.t.Error("a job was run")
	}
}

// A job over an encrypted connection is its key's: it is noted at first sight, and nobody else's attach or cancel finds the job.
func TestEncryptedJob(t *testing.T) {
	r := newSecureRig(t)
	laptop, mallory := someone(t), someone(t)
	p := r.as(laptop)
	p.submit(jobOf(1, "a/one-1"))
	run := r.next()
	peers := r.clients()
	if len(peers) != 1 || peers[0].Key != laptop.Key || peers[0].State != trust.Seen || peers[0].Name != "laptop" {
		t.Errorf("noted: %v", peers)
	}
	r.log.await(t, laptop.Key.String())

	for _, ask := range []func(*peer){
		func(p *peer) { p.send(wire.TypeAttach, wire.Attach{ID: run.job.ID, Log: true}) },
		func(p *peer) { p.send(wire.TypeCancel, wire.Cancel{ID: run.job.ID}) },
	} {
		other := r.as(mallory)
		ask(other)
		if e, a := <-other.err, len(other.accepted)+len(other.events)+len(other.done); !errors.Is(e, &wire.Error{Code: wire.CodeUnknownJob}) || a != 0 {
			t.Errorf("another client was told: %v, and %d messages", e, a)
		}
	}
	if run.ctx.Err() != nil {
		t.Error("another client has cancelled the job")
	}

	p.close()
	receive(t, p.err)
	p = r.as(laptop)
	p.send(wire.TypeAttach, wire.Attach{ID: run.job.ID})
	receive(t, p.accepted)
	run.result(t, "a/one-1", "content")
	run.finish(build.StateBuilt)
	if m := receive(t, p.members); !strings.HasSuffix(m, "=content") {
		t.Errorf("member %q", m)
	}
	receive(t, p.done)
	if n := len(r.clients()); n != 2 {
		t.Errorf("%d clients are noted, want both", n)
	}
}

// Who does not encrypt reads why that does not work, and nothing of it is kept.
func TestPlainClient(t *testing.T) {
	r := newSecureRig(t)
	conn, err := net.Dial("tcp", r.ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = wire.Handshake(conn, wire.Hello{Name: "laptop"})
	if !errors.Is(err, &wire.Error{Code: wire.CodeDeclined}) {
		t.Errorf("%v", err)
	}
	wantText(t, fmt.Sprint(err), "tower takes only encrypted connections", "--plain")
	r.log.await(t, "does not encrypt")
	// All that it could want, before it has read the refusal.
	p := r.dialRaw()
	p.frame(wire.TypeSubmit, jsonOf(t, jobOf(1, "a/one-1")))
	wantText(t, p.refusal(), "LANTAGE\n", "--plain")
	for _, words := range []string{"GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03", "\x16\x03\x01\xff\xff"} {
		conn, err := net.Dial("tcp", r.ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		p := &raw{t, conn}
		p.write(words)
		_ = conn.(*net.TCPConn).CloseWrite()
		if said := p.refusal(); strings.Contains(said, "LANTAGE") {
			t.Errorf("%q is answered with %q", words, said)
		}
		conn.Close()
	}
	if len(r.clients()) != 0 {
		t.Error("a client is noted")
	}
	r.nothingIsKept()
}

// Peers that do not come from a network of the builder's own are refused with the reason, unless only paired ones count.
func TestAllowLAN(t *testing.T) {
	asked := make(chan netip.Addr, 9)
	far := func(s *Server) {
		s.attached = func(a netip.Addr) error {
			asked <- a
			return fmt.Errorf("%v is on no network", a)
		}
	}
	for name, carrier := range map[string]func(*rig) wire.Carrier{
		"encrypted": func(r *rig) wire.Carrier { return r.channel(someone(t)) },
		"plain": func(r *rig) wire.Carrier {
			conn, err := net.Dial("tcp", r.ln.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			return conn
		},
	} {
		r := newSecureRig(t, far, func(s *Server) {
			if name == "plain" {
				s.Identity = nil
			}
		})
		_, _, err := wire.Handshake(carrier(r), wire.Hello{Name: "laptop"})
		if !errors.Is(err, &wire.Error{Code: wire.CodeDeclined}) {
			t.Errorf("%s: %v", name, err)
		}
		wantText(t, fmt.Sprint(err), "tower takes jobs from its own networks only", "127.0.0.1 is on no network", "--allow=paired")
		if a := receive(t, asked); a.Unmap() != netip.MustParseAddr("127.0.0.1") {
			t.Errorf("asked about %v", a)
		}
		if len(r.clients()) != 0 {
			t.Error("a client is noted")
		}
		r.nothingIsKept()
	}
	r := newSecureRig(t, far, pairedOnly)
	laptop := someone(t)
	if err := clientsOf(r.dir).Set(laptop.Key, "laptop", trust.Trusted); err != nil {
		t.Fatal(err)
	}
	r.as(laptop).submit(jobOf(1, "a/one-1"))
	r.next().finish(build.StateSkipped)
}

// Everything that a client may ask for is refused to one that is not paired, and to one that is revoked.
func TestNotAdmitted(t *testing.T) {
	content := "int main;"
	asks := map[string]func(*peer){
		"submit": func(p *peer) {
			p.submitWith(jobOf(1, "a/one-1"), inputsOf(t, map[string]string{"etc/portage/make.conf": "x"}))
		},
		"offer": func(p *peer) {
			p.send(wire.TypeOffer, wire.Offer{Files: []wire.Distfile{dist("a.c", content)}})
			w := wire.NewContentsWriter(p.conn.Writer(wire.StreamDistfiles))
			_, _ = w.Add(strings.NewReader(content))
		},
		"sync": func(p *peer) { p.send(wire.TypeSync, wire.Sync{Client: "laptop", CHOST: "x86_64-pc-linux-gnu"}) },
		"forget": func(p *peer) {
			p.send(wire.TypeSync, wire.Sync{Client: "laptop", CHOST: "x86_64-pc-linux-gnu", Forget: true})
		},
		"attach": func(p *peer) { p.send(wire.TypeAttach, wire.Attach{ID: jobOf(1).ID}) },
		"cancel": func(p *peer) { p.send(wire.TypeCancel, wire.Cancel{ID: jobOf(1).ID}) },
	}
	for what, ask := range asks {
		t.Run(what, func(t *testing.T) {
			r := newSecureRig(t, pairedOnly)
			laptop, thief := someone(t), someone(t)
			p := r.as(laptop)
			ask(p)
			wantText(t, p.refused(wire.CodeDeclined), "tower takes jobs of paired machines only", laptop.Key.String(), "lantage pair")
			p.close()
			if peers := r.clients(); len(peers) != 1 || peers[0].Key != laptop.Key || peers[0].State != trust.Seen {
				t.Errorf("noted: %v", peers)
			}
			if err := clientsOf(r.dir).Set(thief.Key, "thief", trust.Revoked); err != nil {
				t.Fatal(err)
			}
			p = r.as(thief)
			ask(p)
			wantText(t, p.refused(wire.CodeDeclined), "owner has revoked it")
			p.close()
			r.nothingIsKept()
		})
	}
	r := newSecureRig(t, pairedOnly)
	laptop := someone(t)
	r.as(laptop).send(wire.TypeAttach, wire.Attach{ID: jobOf(1).ID})
	r.log.await(t, "paired machines only")
	r.manage(func(m *trust.Manager) error { return m.Set(t.Context(), laptop.Key.String(), trust.Trusted) })
	r.as(laptop).submit(jobOf(1, "a/one-1"))
	r.next().finish(build.StateSkipped)
}

// A book that is full of what the owner said takes nobody else, and those who are in it all the same.
func TestFullBook(t *testing.T) {
	r := newSecureRig(t)
	laptop := someone(t)
	err := clientsOf(r.dir).Update(func([]trust.Peer) ([]trust.Peer, error) {
		peers := []trust.Peer{{Key: laptop.Key, State: trust.Trusted, Name: "laptop"}}
		for n := range 4095 {
			peers = append(peers, trust.Peer{Key: trust.Key{byte(n), byte(n >> 8), 1}, State: trust.Revoked, Name: "x"})
		}
		return peers, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	p := r.as(someone(t))
	p.submitWith(jobOf(1, "a/one-1"), nil)
	wantText(t, p.refused(wire.CodeDeclined), "tower knows too many clients", "lantage trust forget")
	if len(r.jobDirs()) != 0 {
		t.Error("its job is kept")
	}
	r.as(laptop).submit(jobOf(2, "a/one-1"))
	r.next().finish(build.StateSkipped)
}

// A book that cannot be read lets nobody in.
func TestDamagedBook(t *testing.T) {
	r := newSecureRig(t)
	r.put("", trust.KnownClients, "garbage\n")
	p := r.as(someone(t))
	p.submitWith(jobOf(1, "a/one-1"), nil)
	wantText(t, p.refused(wire.CodeInternal), "line 1")
	p.close()
	r.nothingIsKept()
}

// Revoking ends what runs and what waits of a client, with the reason, and nothing of others.
func TestRevoke(t *testing.T) {
	for how, revoke := range map[string]func(*rig, trust.Key){
		"revoked": func(r *rig, k trust.Key) { r.set(k, trust.Revoked) },
		"forgotten": func(r *rig, k trust.Key) {
			r.manage(func(m *trust.Manager) error { return m.Forget(t.Context(), k.String()) })
		},
	} {
		t.Run(how, func(t *testing.T) {
			r := newSecureRig(t, pairedOnly, func(s *Server) { s.JobLimit = 2 })
			laptop, other := someone(t), someone(t)
			for key, name := range map[trust.Key]string{laptop.Key: "laptop", other.Key: "other"} {
				if err := clientsOf(r.dir).Set(key, name, trust.Trusted); err != nil {
					t.Fatal(err)
				}
			}
			sessions := []*peer{r.as(laptop), r.as(other), r.as(laptop)}
			var runs []*run
			for i, p := range sessions {
				p.submit(jobOf(i, "a/one-1"))
				if i < 2 {
					runs = append(runs, r.next())
				}
			}
			idle := r.as(laptop)
			revoke(r, laptop.Key)
			for _, p := range []*peer{sessions[0], sessions[2], idle} {
				err := receive(t, p.err)
				said := fmt.Sprint(err)
				if errors.Is(err, wire.ErrLost) && len(p.done) == 1 { // the job's end was faster, and says it, too
					said = (<-p.done).Text
				}
				wantText(t, said, map[string]string{"revoked": "owner has revoked it", "forgotten": "paired machines only"}[how])
			}
			select {
			case <-runs[0].ctx.Done():
				wantText(t, context.Cause(runs[0].ctx).Error(), "tower takes")
			case <-time.After(patience):
				t.Error("its job goes on")
			}
			if runs[1].ctx.Err() != nil {
				t.Error("another client's job has ended")
			}
			runs[1].result(t, "a/one-1", "content")
			runs[1].finish(build.StateBuilt)
			if d := receive(t, sessions[1].done); d.Outcome != wire.OutcomeDone {
				t.Errorf("another client's job: %v", d)
			}
			p := r.as(laptop)
			p.send(wire.TypeAttach, wire.Attach{ID: jobOf(0).ID})
			p.refused(wire.CodeDeclined)
			if len(r.runner.runs) != 0 {
				t.Error("the job that waited has run")
			}
		})
	}
}

// A client that is revoked while its inputs are on their way can send them to their end, but they are no job any more.
func TestRevokedMeanwhile(t *testing.T) {
	r := newSecureRig(t)
	laptop := someone(t)
	p := r.as(laptop)
	inputs := inputsOf(t, map[string]string{"etc/portage/make.conf": "x"})
	p.send(wire.TypeSubmit, jobOf(1, "a/one-1"))
	w := p.conn.Writer(wire.StreamInputs)
	if _, err := w.Write(inputs[:10]); err != nil {
		t.Fatal(err)
	}
	for len(r.jobDirs()) == 0 { // it is admitted then
		runtime.Gosched()
	}
	r.set(laptop.Key, trust.Revoked)
	p.refused(wire.CodeDeclined)
	if _, err := w.Write(inputs[10:]); err == nil {
		_ = w.Close()
	}
	p.close()
	for r.sessions() > 0 {
		runtime.Gosched()
	}
	r.nothingIsKept()
}

// The owner's socket is for the owner alone, comes back after a daemon that was killed, and tells the status.
func TestControl(t *testing.T) {
	r := newSecureRig(t)
	file := filepath.Join(r.dir, controlName)
	if fi, err := os.Stat(file); err != nil || fi.Mode() != os.ModeSocket|0o600 {
		t.Errorf("%v, %v", fi.Mode(), err)
	}
	p := r.as(someone(t))
	p.submit(jobOf(1, "a/one-1"))
	run := r.next()
	st, err := QueryStatus(t.Context(), r.dir)
	want := Status{Name: "tower", Version: "0.1", Key: r.server.Identity.Key.String(), Jobs: 1, Sessions: 1, PID: os.Getpid()}
	if err != nil || st != want {
		t.Errorf("%+v, %v; want %+v", st, err, want)
	}
	run.finish(build.StateSkipped)
	receive(t, p.done)
	if _, err := QueryStatus(t.Context(), t.TempDir()); !errors.Is(err, ErrNoDaemon) {
		t.Errorf("without a daemon: %v", err)
	}

	dead := t.TempDir() // a daemon that was killed leaves its socket
	ln, err := net.Listen("unix", filepath.Join(dead, controlName))
	if err != nil {
		t.Fatal(err)
	}
	ln.(*net.UnixListener).SetUnlinkOnClose(false)
	ln.Close()
	if _, err := QueryStatus(t.Context(), dead); !errors.Is(err, ErrNoDaemon) {
		t.Errorf("with a dead daemon: %v", err)
	}
	s := &Server{StateDir: dead, Logger: r.server.Logger}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if err := s.control(ctx); err != nil {
		t.Fatal(err)
	}
	if st, err := QueryStatus(t.Context(), dead); err != nil || !st.Plain {
		t.Errorf("%+v, %v", st, err)
	}
}

// TestProxied: a client that somebody is between is refused where the network is what counts, and taken where it is paired.
func TestProxied(t *testing.T) {
	s := &Server{Hello: wire.Hello{Name: "tower"}}
	for _, c := range []struct {
		from, addr string
		paired, ok bool
	}{
		{"10.77.0.3", "10.77.0.3:999", false, true},
		{"10.77.0.3", "[::ffff:10.77.0.3]:999", false, true},
		{"fe80::3", "[fe80::3%lo]:999", false, true},
		{"10.77.0.3", "10.77.0.2:999", false, false},
		{"nonsense", "10.77.0.2:999", false, false},
		{"10.77.0.3", "10.77.0.2:999", true, true},
		{"", "10.77.0.2:999", false, true}, // it does not say
	} {
		s.PairedOnly = c.paired
		addr := net.TCPAddrFromAddrPort(netip.MustParseAddrPort(c.addr))
		err := (&session{server: s, addr: addr, from: c.from}).isDirect()
		if (err == nil) != c.ok {
			t.Errorf("from %q, seen as %s, paired only %t: %v", c.from, c.addr, c.paired, err)
		}
	}
}
