package daemon

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"lantage/archive"
	"lantage/build"
	"lantage/gentoo"
	"lantage/wire"
)

// patience is for what must come: a test that waits longer has failed.
const patience = 20 * time.Second

// TestMain fails when a test leaves a goroutine of ours behind.
func TestMain(m *testing.M) {
	code := m.Run()
	giveUp := time.Now().Add(patience)
	for {
		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		left := 0
		for stack := range strings.SplitSeq(string(stacks), "\n\n") {
			if strings.Contains(stack, "lantage/") && !strings.Contains(stack, "TestMain") {
				left++
			}
		}
		if left == 0 || code != 0 {
			os.Exit(code)
		}
		if time.Now().After(giveUp) {
			fmt.Printf("%d goroutines are left:\n%s\n", left, stacks)
			os.Exit(1)
		}
		runtime.Gosched()
	}
}

// steered is a Runner that does what the test says.
type steered struct{ runs chan *run }

// run is one call of Run.
type run struct {
	ctx  context.Context
	job  build.Job
	emit func(build.Event)
	end  chan runEnd
}

type runEnd struct {
	report build.Report
	err    error
}

func (s *steered) Run(ctx context.Context, job build.Job, emit func(build.Event)) (build.Report, error) {
	r := &run{ctx, job, emit, make(chan runEnd, 1)}
	s.runs <- r
	select {
	case e := <-r.end:
		return e.report, e.err
	case <-ctx.Done():
		return build.Report{}, ctx.Err()
	}
}

// rig is a server that listens, with a steered Runner.
type rig struct {
	t      *testing.T
	server *Server
	runner *steered
	ln     net.Listener
	dir    string
	log    *syncBuffer
	stop   context.CancelFunc
	served chan error
}

// syncBuffer is the owner's log.
type syncBuffer struct {
	mu      sync.Mutex
	b       bytes.Buffer
	written chan struct{} // closed and made anew by each Write
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.written)
	b.written = make(chan struct{})
	return b.b.Write(p)
}

// await waits until the log has a text.
func (b *syncBuffer) await(t *testing.T, text string) {
	t.Helper()
	giveUp := time.After(patience)
	for {
		b.mu.Lock()
		there, written := strings.Contains(b.b.String(), text), b.written
		b.mu.Unlock()
		if there {
			return
		}
		select {
		case <-written:
		case <-giveUp:
			t.Fatalf("the owner's log has no %q:\n%s", text, b)
		}
	}
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func newRig(t *testing.T, limit int) *rig {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return newRigOn(t, limit, ln, t.TempDir())
}

func newRigOn(t *testing.T, limit int, ln net.Listener, dir string, prepare ...func(*Server)) *rig {
	t.Helper()
	r := &rig{
		t: t, runner: &steered{runs: make(chan *run, 200)}, ln: ln, dir: dir,
		log:    &syncBuffer{written: make(chan struct{})},
		served: make(chan error, 1),
	}
	r.server = &Server{
		Runner: r.runner, StateDir: dir, JobLimit: limit, Logger: slog.New(slog.NewTextHandler(r.log, nil)),
		Hello: wire.Hello{
			Name: "tower", Software: "0.1", CHOST: "x86_64-pc-linux-gnu", Cores: 8, Bases: []string{"host", "/stage3"},
		},
	}
	for _, p := range prepare {
		p(r.server)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.stop = cancel
	go func() { r.served <- r.server.Serve(ctx, ln) }()
	t.Cleanup(func() { r.shutDown() })
	return r
}

// shutDown ends the server, once, and waits for it.
func (r *rig) shutDown() {
	r.t.Helper()
	r.stop()
	if r.served == nil {
		return
	}
	if err := receive(r.t, r.served); err != nil {
		r.t.Errorf("Serve: %v", err)
	}
	r.served = nil
}

// jobDirs lists what is below jobs/.
func (r *rig) jobDirs() []string {
	entries, err := os.ReadDir(filepath.Join(r.dir, "jobs"))
	if err != nil {
		r.t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// next is the next job that runs.
func (r *rig) next() *run {
	r.t.Helper()
	return receive(r.t, r.runner.runs)
}

func receive[T any](t *testing.T, ch <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-ch:
	case <-time.After(patience):
		t.Fatal("it did not come")
	}
	return v
}

func cpv(s string) gentoo.CPV {
	c, err := gentoo.ParseCPV(s)
	if err != nil {
		panic(err)
	}
	return c
}

// state emits that a package changed its state.
func (r *run) state(name string, state build.State) {
	r.emit(build.Event{Kind: build.EventPackage, CPV: cpv(name), N: 1, Of: 1, State: state})
}

// result makes a file in a PKGDIR and emits it as a result.
func (r *run) result(t *testing.T, name, content string) build.Result {
	t.Helper()
	res := build.Result{
		CPV: cpv(name), Dir: filepath.Join(r.job.Dir, "pkgdir"), Path: name + "-1.gpkg.tar",
		Size:   int64(len(content)),
		SHA256: sha256.Sum256([]byte(content)),
	}
	file := filepath.Join(res.Dir, res.Path)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	r.emit(build.Event{Kind: build.EventResult, CPV: res.CPV, Result: &res})
	return res
}

// finish ends the run with every package in one state.
func (r *run) finish(state build.State) {
	var rep build.Report
	for _, p := range r.job.Packages {
		rep.Packages = append(rep.Packages, build.PackageReport{CPV: p.CPV, State: state})
	}
	r.end <- runEnd{report: rep}
}

// peer is a client: frames in, frames out.
type peer struct {
	t        *testing.T
	conn     *wire.Conn
	hello    wire.Hello
	accepted chan wire.Accepted
	events   chan wire.Event
	members  chan string // "name=content"
	log      chan string // all of it, at its end
	done     chan wire.Done
	err      chan error // why reading ended
}

func (r *rig) dial() *peer {
	r.t.Helper()
	conn, err := net.Dial("tcp", r.ln.Addr().String())
	if err != nil {
		r.t.Fatal(err)
	}
	return newPeer(r.t, conn)
}

func newPeer(t *testing.T, carrier net.Conn) *peer {
	t.Helper()
	conn, hello, err := wire.Handshake(carrier, wire.Hello{Name: "laptop", Software: "0.1"})
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{
		t: t, conn: conn, hello: hello, accepted: make(chan wire.Accepted, 9), events: make(chan wire.Event, 1<<17),
		members: make(chan string, 999), log: make(chan string, 1), done: make(chan wire.Done, 9),
		err: make(chan error, 1),
	}
	go p.read()
	t.Cleanup(p.close)
	return p
}

func (p *peer) close() { p.conn.Close() }

// read sorts what comes until the connection ends.
func (p *peer) read() {
	results, log := wire.NewStreamReader(wire.StreamResults), wire.NewStreamReader(wire.StreamLog)
	var streams sync.WaitGroup
	streams.Go(func() { p.readMembers(results) })
	streams.Go(func() {
		text, err := io.ReadAll(log)
		if err == nil {
			p.log <- string(text)
		}
	})
	err := p.frames(results, log)
	results.Fail(err)
	log.Fail(err)
	streams.Wait()
	p.err <- err
}

func (p *peer) frames(results, log *wire.StreamReader) error {
	for {
		f, err := p.conn.Read()
		if err != nil {
			return err
		}
		var a wire.Accepted
		var e wire.Event
		var d wire.Done
		switch f.Type {
		case wire.TypeAccepted:
			err = f.Decode(f.Type, &a)
			p.accepted <- a
		case wire.TypeEvent:
			err = f.Decode(f.Type, &e)
			p.events <- e
		case wire.TypeDone:
			err = f.Decode(f.Type, &d)
			p.done <- d
		default:
			var ours [2]bool
			var errs [2]error
			ours[0], errs[0] = results.Feed(f)
			ours[1], errs[1] = log.Feed(f)
			if err = errors.Join(errs[:]...); !ours[0] && !ours[1] {
				err = fmt.Errorf("unexpected frame of type %d", f.Type)
			}
		}
		if err != nil {
			return err
		}
	}
}

func (p *peer) readMembers(results io.Reader) {
	r := archive.NewReader(results, archive.Limits{})
	for {
		hdr, err := r.Next()
		if err != nil {
			p.members <- "end: " + fmt.Sprint(err)
			return
		}
		content, err := io.ReadAll(r)
		if err != nil {
			p.members <- "end: " + fmt.Sprint(err)
			return
		}
		p.members <- hdr.Name + "=" + string(content)
	}
}

// jobOf is a job that passes the border.
func jobOf(n int, names ...string) wire.Job {
	j := wire.Job{
		ID: fmt.Sprintf("%032x", n), Client: "laptop", CHOST: "x86_64-pc-linux-gnu",
		Profile: wire.Profile{Repo: "gentoo", Path: "default/linux/amd64/23.0"},
		Repos:   []wire.Repo{{Name: "gentoo", Location: "/var/db/repos/gentoo"}},
	}
	for _, name := range names {
		j.Packages = append(j.Packages, wire.Package{CPV: name, Repo: "gentoo"})
	}
	return j
}

// inputsOf packs files.
func inputsOf(t testing.TB, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := archive.NewWriter(&b, archive.Options{})
	for name, content := range files {
		if err := w.AddBytes(name, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func (p *peer) send(t wire.Type, v any) {
	p.t.Helper()
	if err := p.conn.Send(t, v); err != nil {
		p.t.Fatal(err)
	}
}

// submit sends a job and its inputs, and waits until it is accepted.
func (p *peer) submit(j wire.Job) {
	p.t.Helper()
	p.submitWith(j, inputsOf(p.t, map[string]string{"etc/portage/make.conf": "USE=\"x\"\n"}))
	if a := receive(p.t, p.accepted); a.ID != j.ID {
		p.t.Errorf("accepted %q, want %q", a.ID, j.ID)
	}
}

func (p *peer) submitWith(j wire.Job, inputs []byte) {
	p.t.Helper()
	p.send(wire.TypeSubmit, j)
	w := p.conn.Writer(wire.StreamInputs)
	// Errors here are seen by the reader too, and better: the builder may have refused the job by now.
	if _, err := w.Write(inputs); err == nil {
		_ = w.Close()
	}
}

// refused waits for the connection's end, which must be a refusal.
func (p *peer) refused(code wire.Code) string {
	p.t.Helper()
	err := receive(p.t, p.err)
	if !errors.Is(err, &wire.Error{Code: code}) {
		p.t.Errorf("the connection ended with %v, want an error of code %s", err, code)
	}
	return fmt.Sprint(err)
}
