package daemon

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lantage/archive"
	"lantage/build"
	"lantage/rootfs"
	"lantage/trust"
	"lantage/wire"
)

const identity = "00112233445566778899aabbccddeeff"

// newSyncRig is a rig that keeps clients' roots.
func newSyncRig(t *testing.T, prepare ...func(*Server)) *rig {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	store, err := rootfs.OpenStore(filepath.Join(dir, rootsDir), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() }) // after the server has ended
	return newRigOn(t, 1, ln, dir, append([]func(*Server){func(s *Server) {
		s.Roots, s.Hello.Bases, s.Hello.Arch = store, []string{wire.BaseClient, "host"}, "x86_64"
	}}, prepare...)...)
}

// connect is a connection after the handshake.
func (r *rig) connect() *wire.Conn {
	r.t.Helper()
	carrier, err := net.Dial("tcp", r.ln.Addr().String())
	if err != nil {
		r.t.Fatal(err)
	}
	conn, _, err := wire.Handshake(carrier, wire.Hello{Name: "laptop", Software: "0.1"})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { conn.Close() })
	return conn
}

// syncer is a client's end of a sync.
type syncer struct {
	t    *testing.T
	conn *wire.Conn
}

func (r *rig) syncer(m wire.Sync) (*syncer, wire.Copy) {
	r.t.Helper()
	s := &syncer{r.t, r.connect()}
	m.Client, m.CHOST = "laptop", "x86_64-pc-linux-gnu"
	if m.Identity == "" {
		m.Identity = identity
	}
	s.send(wire.TypeSync, m)
	var c wire.Copy
	s.read(wire.TypeCopy, &c)
	return s, c
}

func (s *syncer) send(t wire.Type, v any) {
	s.t.Helper()
	if err := s.conn.Send(t, v); err != nil {
		s.t.Fatal(err)
	}
}

func (s *syncer) read(want wire.Type, v any) {
	s.t.Helper()
	f, err := s.conn.Read()
	if err == nil {
		err = f.Decode(want, v)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// refusal is the builder's refusal, which is due.
func (s *syncer) refusal() *wire.Error {
	s.t.Helper()
	for {
		_, err := s.conn.Read()
		if e, ok := errors.AsType[*wire.Error](err); ok {
			return e
		}
		if err != nil {
			s.t.Fatalf("no refusal but: %v", err)
		}
	}
}

// stream sends a stream.
func (s *syncer) stream(id wire.Stream, write func(io.Writer)) {
	s.t.Helper()
	out := s.conn.Writer(id)
	gz := archive.NewAdaptive(out)
	write(gz)
	if err := errors.Join(gz.Close(), out.Close()); err != nil {
		s.t.Fatal(err)
	}
}

// list sends a list of files with these contents by path.
func (s *syncer) list(against string, files ...string) wire.Wants {
	s.t.Helper()
	s.send(wire.TypeList, wire.List{Against: against})
	s.stream(wire.StreamList, func(w io.Writer) {
		l := rootfs.NewListWriter(w, false)
		err := l.Add(&rootfs.Entry{Path: ".", Type: rootfs.TypeDir, Mode: 0o755})
		for _, f := range files {
			path, content, _ := strings.Cut(f, "=")
			err = errors.Join(err, l.Add(&rootfs.Entry{
				Path: path, Type: rootfs.TypeFile, Mode: 0o644, Size: int64(len(content)), Sum: sha256.Sum256([]byte(content)),
			}))
		}
		if _, closeErr := l.Close(); err != nil || closeErr != nil {
			s.t.Fatal(err, closeErr)
		}
	})
	var wants wire.Wants
	s.read(wire.TypeWants, &wants)
	for {
		f, err := s.conn.Read()
		if err != nil {
			s.t.Fatal(err)
		}
		if f.Type == wire.TypeEnd {
			return wants
		}
	}
}

// contents sends contents; "-" is one that changed.
func (s *syncer) contents(contents ...string) {
	s.t.Helper()
	s.stream(wire.StreamContents, func(w io.Writer) {
		c := wire.NewContentsWriter(w)
		for _, text := range contents {
			var r io.Reader = strings.NewReader(text)
			if text == "-" {
				r = nil
			}
			if _, err := c.Add(r); err != nil {
				s.t.Fatal(err)
			}
		}
	})
}

func (s *syncer) commit() (c wire.Copy) {
	s.t.Helper()
	s.send(wire.TypeCommit, wire.Commit{Fingerprint: "f1"})
	s.read(wire.TypeCopy, &c)
	return c
}

// TestSync: a root comes, in two rounds because a file changed; the copy is what was sent, is told to the next session, is
// what a job is built on, and is forgotten when that is asked.
func TestSync(t *testing.T) {
	r := newSyncRig(t)
	s, state := r.syncer(wire.Sync{})
	if state.Digest != "" || !state.Nothing {
		t.Errorf("before anything came: %+v", state)
	}
	if w := s.list("", "a=one", "b=two"); w.Count != 2 || w.Bytes != 6 {
		t.Errorf("wanted: %+v", w)
	}
	s.contents("one", "-")
	if w := s.list("", "a=one", "b=three"); w.Count != 1 || w.Bytes != 5 {
		t.Errorf("wanted in the second round: %+v", w)
	}
	s.contents("three")
	made := s.commit()
	if made.Fingerprint != "f1" || made.Entries != 3 {
		t.Errorf("the copy: %+v", made)
	}

	s, state = r.syncer(wire.Sync{})
	if state.Digest != made.Digest || state.Fingerprint != "f1" {
		t.Errorf("the copy in the next session: %+v", state)
	}
	m := jobOf(1, "a/b-1")
	m.Base, m.Identity, m.Root = wire.BaseClient, identity, made.Digest
	s.send(wire.TypeSubmit, m)
	inputs := s.conn.Writer(wire.StreamInputs)
	if _, err := inputs.Write(inputsOf(t, nil)); err != nil || inputs.Close() != nil {
		t.Fatal("the job cannot be sent", err)
	}
	running := r.next()
	if root := running.job.Root; root == nil || root.Client != keyOf(identity).ID() {
		t.Fatalf("the job's root: %+v", root)
	}
	if text, err := os.ReadFile(filepath.Join(running.job.Root.Dir, "b")); err != nil || string(text) != "three" {
		t.Errorf("in the job's root: %q, %v", text, err)
	}
	if text, err := os.ReadFile(filepath.Join(running.job.Dir, "job.json")); err != nil || bytes.Contains(text, []byte(identity)) {
		t.Errorf("the client's secret is in the job's directory (%v):\n%s", err, text)
	}
	forget := &syncer{t, r.connect()}
	ask := wire.Sync{Identity: identity, Client: "laptop", CHOST: "x86_64-pc-linux-gnu", Forget: true}
	forget.send(wire.TypeSync, ask)
	if e := forget.refusal(); e.Code != wire.CodeBusy {
		t.Errorf("a copy that a job uses is forgotten: %v", e)
	}
	running.end <- runEnd{report: build.Report{}}
	for {
		f, err := s.conn.Read()
		if err != nil {
			t.Fatal(err)
		}
		if f.Type == wire.TypeDone {
			break
		}
	}
	if _, state = r.syncer(wire.Sync{Forget: true}); state.Digest != "" {
		t.Errorf("after it was forgotten: %+v", state)
	}
	if _, state = r.syncer(wire.Sync{}); state.Digest != "" {
		t.Errorf("a copy that was forgotten: %+v", state)
	}
}

// TestSyncRefused: what breaks a rule is told, and no copy comes of it.
func TestSyncRefused(t *testing.T) {
	begun := func(s *syncer) { s.list("", "a=one") }
	for name, c := range map[string]struct {
		do   func(*syncer)
		code wire.Code
		text string
	}{
		"a list that is none": {func(s *syncer) {
			s.send(wire.TypeList, wire.List{})
			s.stream(wire.StreamList, func(w io.Writer) { _, _ = io.WriteString(w, "LTLIST1\nno list") })
		}, wire.CodeBadRequest, "not a valid list"},
		"a change to another list": {func(s *syncer) {
			s.send(wire.TypeList, wire.List{Against: strings.Repeat("0", 64)})
			s.stream(wire.StreamList, func(w io.Writer) {
				l := rootfs.NewListWriter(w, false)
				_, _ = l.Close()
			})
		}, wire.CodeInternal, ""},
		"no gzip": {func(s *syncer) {
			s.send(wire.TypeList, wire.List{})
			w := s.conn.Writer(wire.StreamList)
			_, _ = io.WriteString(w, "plain text")
			_ = w.Close()
		}, wire.CodeBadRequest, "gzip"},
		"another content":        {func(s *syncer) { begun(s); s.contents("two") }, wire.CodeBadRequest, ""},
		"fewer contents":         {func(s *syncer) { begun(s); s.contents() }, wire.CodeBadRequest, "fewer contents"},
		"more contents":          {func(s *syncer) { begun(s); s.contents("one", "more") }, wire.CodeBadRequest, "more contents"},
		"contents missing":       {func(s *syncer) { begun(s); s.contents("-"); s.send(wire.TypeCommit, wire.Commit{Fingerprint: "f"}) }, wire.CodeInternal, ""},
		"no fingerprint":         {func(s *syncer) { begun(s); s.contents("one"); s.send(wire.TypeCommit, wire.Commit{}) }, wire.CodeBadRequest, "fingerprint"},
		"something else instead": {func(s *syncer) { begun(s); s.send(wire.TypeCancel, wire.Cancel{}) }, wire.CodeBadRequest, "frame of type"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newSyncRig(t)
			s, _ := r.syncer(wire.Sync{})
			c.do(s)
			if e := s.refusal(); e.Code != c.code || !strings.Contains(e.Text, c.text) {
				t.Errorf("refused with %s: %s", e.Code, e.Text)
			}
			if _, state := r.syncer(wire.Sync{}); state.Digest != "" {
				t.Errorf("a copy came of it: %+v", state)
			}
		})
	}
}

// TestSyncNotTaken: who may not sync is told so before anything is sent.
func TestSyncNotTaken(t *testing.T) {
	good := wire.Sync{Identity: identity, Client: "laptop", CHOST: "x86_64-pc-linux-gnu"}
	for name, c := range map[string]struct {
		change func(*Server, *wire.Sync)
		code   wire.Code
		text   string
	}{
		"short identity": {func(_ *Server, m *wire.Sync) { m.Identity = "00" }, wire.CodeBadRequest, "identity"},
		"no name":        {func(_ *Server, m *wire.Sync) { m.Client = "a\nb" }, wire.CodeBadRequest, "name"},
		"another kind of machine": {
			func(_ *Server, m *wire.Sync) { m.CHOST = "riscv64-unknown-linux-gnu" }, wire.CodeDeclined, "do not run there",
		},
		"base not offered": {func(s *Server, _ *wire.Sync) { s.Roots = nil }, wire.CodeDeclined, "does not offer"},
		"revoked": {func(s *Server, _ *wire.Sync) {
			if err := clientsOf(s.StateDir).Set(keyOf(identity), "laptop", trust.Revoked); err != nil {
				t.Error(err)
			}
		}, wire.CodeDeclined, "revoked"},
	} {
		t.Run(name, func(t *testing.T) {
			m := good
			r := newSyncRig(t, func(server *Server) { c.change(server, &m) })
			s := &syncer{t, r.connect()}
			s.send(wire.TypeSync, m)
			if e := s.refusal(); e.Code != c.code || !strings.Contains(e.Text, c.text) {
				t.Errorf("refused with %s: %s", e.Code, e.Text)
			}
		})
	}
}

// TestJobOnOtherRoot: a job for a state of the root that the builder has not got is declined.
func TestJobOnOtherRoot(t *testing.T) {
	r := newSyncRig(t)
	m := jobOf(1, "a/b-1")
	m.Base, m.Identity, m.Root = wire.BaseClient, identity, strings.Repeat("0", 64)
	s := &syncer{t, r.connect()}
	s.send(wire.TypeSubmit, m)
	if e := s.refusal(); e.Code != wire.CodeDeclined || !strings.Contains(e.Text, "copy of this machine's root") {
		t.Errorf("refused with %s: %s", e.Code, e.Text)
	}
}

// keyOf is what a client is known by that sends this identity on a connection that is not encrypted.
func keyOf(identity string) trust.Key { return sha256.Sum256([]byte(identity)) }

// TestTrust: a client that is revoked is listed so, its copy is offered for removal, and it can be allowed again.
func TestTrust(t *testing.T) {
	r := newSyncRig(t)
	s, _ := r.syncer(wire.Sync{})
	s.list("", "a=one")
	s.contents("one")
	s.commit()
	id := keyOf(identity).ID()
	manage := func(answer string, do func(*trust.Manager) error) string {
		t.Helper()
		var out bytes.Buffer
		c := &Clients{StateDir: r.dir, Stdin: strings.NewReader(answer), Stdout: &out, Ask: answer != "", Logger: r.server.Logger}
		if err := do(&trust.Manager{Sides: []trust.Side{c.Side()}, Stdout: &out}); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	admitted := func() error {
		return (&session{server: r.server, key: keyOf(identity), logger: r.server.Logger}).admit()
	}
	list := func(m *trust.Manager) error { return m.List() }
	set := func(state trust.State) func(*trust.Manager) error {
		return func(m *trust.Manager) error { return m.Set(t.Context(), "laptop", state) }
	}
	if out := manage("", list); !strings.Contains(out, "laptop") || !strings.Contains(out, "seen") || !strings.Contains(out, "copy of its root") {
		t.Errorf("list: %s", out)
	}
	if out := manage("", set(trust.Revoked)); !strings.Contains(out, "lantage gc --forget="+id[:8]) {
		t.Errorf("revoke without a terminal: %s", out)
	}
	if admitted() == nil {
		t.Error("a client that was revoked is admitted")
	}
	if out := manage("", list); !strings.Contains(out, "revoked") {
		t.Errorf("list: %s", out)
	}
	if out := manage("", set(trust.Trusted)); admitted() != nil {
		t.Errorf("allow: %s", out)
	}
	if out := manage("yes\n", set(trust.Revoked)); !strings.Contains(out, "Removed.") {
		t.Errorf("revoke and remove: %s", out)
	}
	if _, err := r.server.Roots.Current(id); !errors.Is(err, rootfs.ErrNoCopy) {
		t.Errorf("its copy is still there (%v)", err)
	}
}
