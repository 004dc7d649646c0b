package client

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"lantage/archive"
	"lantage/discovery"
	"lantage/gentoo"
	"lantage/trust"
	"lantage/wire"
)

const testCHOST = "x86_64-pc-linux-gnu"

// machine is a client machine of a test: stand-ins for Portage's programs, which log their arguments to
// calls, and a place for everything.
type machine struct {
	t   *testing.T
	dir string

	distfiles []gentoo.Distfile // that lab/a-1 needs
}

const fakeEmerge = `#!/bin/sh
echo "emerge $*" >>"$FAKE/calls"
for a; do
	if [ "$a" = --pretend ]; then
		cat "$FAKE/pretend.out"
		cat "$FAKE/pretend.err" >&2
		case " $* " in *" --usepkgonly "*) exit $(cat "$FAKE/usepkgonly.rc");; esac
		exit $(cat "$FAKE/pretend.rc")
	fi
done
echo "emerge merges"
exit $(cat "$FAKE/emerge.rc")
`

// fakePython is Portage as portage.py tells of it, and nothing of packages.
const fakePython = `#!/bin/sh
echo "$3" >>"$FAKE/queries"
vars="\"CHOST\": \"x86_64-pc-linux-gnu\", \"PKGDIR\": \"$FAKE/pkg dir\", \"PORTAGE_CONFIGROOT\": \"$FAKE\", \"USE_EXPAND\": \"LAB_TARGETS\""
vars="$vars, \"DISTDIR\": \"$FAKE/distfiles\", \"EMERGE_DEFAULT_OPTS\": \"$(cat "$FAKE/opts")\""
case " $3 " in *" PORTAGE_REPOSITORIES "*)
	vars="$vars, \"PORTAGE_REPOSITORIES\": \"[DEFAULT]\\nmain-repo = lab\\n[lab]\\nlocation = $FAKE/repo\\n\"";;
esac
printf '%s\n' "{\"variables\": {$vars}}"
`

const fakeEmaint = `#!/bin/sh
echo "emaint $*" >>"$FAKE/calls"
exit $(cat "$FAKE/emaint.rc")
`

func newMachine(t *testing.T) *machine {
	t.Helper()
	m := &machine{t: t, dir: t.TempDir()}
	for name, text := range map[string]string{
		"bin/emerge": fakeEmerge, "bin/python3": fakePython, "bin/emaint": fakeEmaint,
		"pretend.out": planOf("lab/a-1", "lab/b-2"), "pretend.err": "", "pretend.rc": "0", "emerge.rc": "0",
		"emaint.rc": "0", "usepkgonly.rc": "0", "calls": "", "queries": "", "opts": "",
		"repo/profiles/default/eapi": "8\n", "etc/portage/make.conf": "CFLAGS=-O2\n",
	} {
		m.write(name, text)
	}
	if err := os.Symlink("../../repo/profiles/default", m.path("etc/portage/make.profile")); err != nil {
		t.Fatal(err)
	}
	return m
}

func (m *machine) path(name string) string { return filepath.Join(m.dir, name) }

func (m *machine) write(name, text string) {
	m.t.Helper()
	if err := os.MkdirAll(filepath.Dir(m.path(name)), 0o755); err != nil {
		m.t.Fatal(err)
	}
	// A process that another goroutine starts meanwhile would have the file open for writing, and nothing could run it.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(m.path(name), []byte(text), 0o755); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) read(name string) string {
	m.t.Helper()
	b, err := os.ReadFile(m.path(name))
	if err != nil {
		m.t.Fatal(err)
	}
	return string(b)
}

// emerge prepares `lantage emerge args`, with out taking all that is printed.
func (m *machine) emerge(host string, out *buffer, args ...string) *Emerge {
	return &Emerge{
		Where: Where{
			Host: host, CacheFile: m.path("cache/builders.json"), StateDir: m.path("state"), Plain: true,
			network: &network{browse: func(context.Context, func(discovery.Builder)) (discovery.Report, error) {
				return discovery.Report{}, discovery.ErrNoPath
			}},
		},
		Args: args, Version: "test", LogDir: m.path("logs"),
		Environ: []string{"PATH=" + m.path("bin") + ":/usr/bin:/bin", "FAKE=" + m.dir, "USE=x", "HOME=" + m.dir},
		Stdin:   strings.NewReader(""), Stdout: out, Stderr: out,
		patience: 3 * time.Second, unproved: true,
		facts: func(_ context.Context, _ *tools, pkgs []gentoo.Package) (map[gentoo.CPV]facts, error) {
			known := map[gentoo.CPV]facts{}
			for _, p := range pkgs {
				f := facts{CPV: p.CPV.String(), Phases: []string{"compile"}}
				if f.CPV == "lab/a-1" {
					f.Distfiles = m.distfiles
				}
				known[p.CPV] = f
			}
			return known, nil
		},
	}
}

// binpkgs returns the files in PKGDIR by their names.
func (m *machine) binpkgs() map[string]string {
	m.t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(m.path("pkg dir"), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		rel, _ := filepath.Rel(m.path("pkg dir"), path)
		files[rel] = string(b)
		return err
	})
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		m.t.Fatal(err)
	}
	return files
}

// planOf is a merge list of new packages.
func planOf(cpvs ...string) string {
	var b strings.Builder
	b.WriteString("\nPerforming Global Updates\n\nThese are the packages that would be merged, in order:\n\n" +
		"Calculating dependencies ... done!\n\n")
	for _, cpv := range cpvs {
		fmt.Fprintf(&b, "[ebuild  N     ] %s::lab  USE=\"x\" 0 KiB\n", cpv)
	}
	fmt.Fprintf(&b, "\nTotal: %d packages (%d new), Size of downloads: 0 KiB\n", len(cpvs), len(cpvs))
	return b.String()
}

// buffer may be written by several goroutines.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// fakeBuilder answers on a port of this machine. Each connection is handled by the next of its scripts,
// after the hello.
type fakeBuilder struct {
	t       *testing.T
	ln      net.Listener
	hello   wire.Hello
	scripts []func(*dialog)
	shy     bool // clients may go without a hello
	// identities are those of the connections, the last one for all others, too; none: it does not encrypt.
	identities []*trust.Identity

	mu          sync.Mutex
	connections int
	wg          sync.WaitGroup
}

func newBuilder(t *testing.T, scripts ...func(*dialog)) *fakeBuilder {
	t.Helper()
	return newBuilderSaying(t, wire.Hello{
		Name: "tower", ID: "0123456789abcdef", CHOST: testCHOST, Cores: 8, JobLimit: 1, Software: "0.1",
	}, scripts...)
}

func newBuilderSaying(t *testing.T, hello wire.Hello, scripts ...func(*dialog)) *fakeBuilder {
	t.Helper()
	return newFake(t, &fakeBuilder{hello: hello, scripts: scripts})
}

// newFake has the builder answer until the end of the test.
func newFake(t *testing.T, f *fakeBuilder) *fakeBuilder {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.t, f.ln = t, ln
	f.wg.Go(f.serve)
	t.Cleanup(func() {
		ln.Close()
		f.wg.Wait()
	})
	return f
}

func (f *fakeBuilder) addr() string { return f.ln.Addr().String() }

func (f *fakeBuilder) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.connections
}

func (f *fakeBuilder) serve() {
	for {
		c, err := f.ln.Accept()
		if err != nil {
			return
		}
		f.mu.Lock()
		n := f.connections
		f.connections++
		f.mu.Unlock()
		f.wg.Go(func() { f.talk(c, n) })
	}
}

func (f *fakeBuilder) talk(c net.Conn, n int) {
	defer c.Close()
	if n >= len(f.scripts) {
		return // as a builder that is gone
	}
	raw, channel := c, (*trust.Conn)(nil)
	if k := len(f.identities); k > 0 {
		var err error
		if channel, err = trust.Server(f.t.Context(), c, f.identities[min(n, k-1)]); err != nil {
			if errors.Is(err, trust.ErrPlain) {
				wire.Refuse(c, wire.Errorf(wire.CodeDeclined, "%s takes only encrypted connections; leave --plain out", f.hello.Name))
			}
			if !f.shy {
				f.t.Errorf("channel: %v", err)
			}
			return
		}
		raw = channel
	}
	conn, _, err := wire.Handshake(raw, f.hello)
	if err != nil && f.shy {
		return
	}
	if err != nil {
		f.t.Errorf("handshake: %v", err)
		return
	}
	defer conn.Close()
	f.scripts[n](&dialog{t: f.t, conn: conn, raw: raw, channel: channel})
}

// dialog is one connection as the builder sees it. What the client sends is not judged unless a method says
// so.
type dialog struct {
	t       *testing.T
	conn    *wire.Conn
	raw     net.Conn
	channel *trust.Conn // nil: it is not encrypted
	job     wire.Job
	inputs  []byte // as they came
	seq     int
	out     *wire.StreamWriter
	tar     *archive.Writer
}

// submit takes the job and its inputs, and accepts it.
func (d *dialog) submit() {
	f := d.frame()
	if err := f.Decode(wire.TypeSubmit, &d.job); err != nil {
		d.t.Errorf("submit: %v", err)
	}
	for f.Type != wire.TypeEnd {
		if f = d.frame(); f.Type == 0 {
			return
		}
		if f.Type == wire.TypeData {
			d.inputs = append(d.inputs, f.Body[1:]...)
		}
	}
	d.send(wire.TypeAccepted, wire.Accepted{ID: d.job.ID, Base: "host"})
	d.start()
}

// attach takes an attach and accepts it.
func (d *dialog) attach() wire.Attach {
	var a wire.Attach
	if err := d.frame().Decode(wire.TypeAttach, &a); err != nil {
		d.t.Errorf("attach: %v", err)
	}
	d.send(wire.TypeAccepted, wire.Accepted{ID: a.ID, Base: "host"})
	d.seq = a.After
	d.start()
	return a
}

func (d *dialog) start() {
	d.out = d.conn.Writer(wire.StreamResults)
	d.tar = archive.NewWriter(d.out, archive.Options{Level: archive.ForBinpkgs})
}

// frame reads a frame; its zero value is a connection that ended.
func (d *dialog) frame() wire.Frame {
	f, err := d.conn.Read()
	if err != nil {
		return wire.Frame{}
	}
	return f
}

func (d *dialog) send(t wire.Type, v any) { _ = d.conn.Send(t, v) }

func (d *dialog) event(e wire.Event) {
	d.seq++
	e.Seq = d.seq
	d.send(wire.TypeEvent, e)
}

// declare announces a result.
func (d *dialog) declare(r wire.Result) {
	d.event(wire.Event{Kind: wire.EventResult, CPV: r.CPV, Result: &r})
}

func resultOf(kind wire.ResultKind, cpv, path, content string) wire.Result {
	sum := sha256.Sum256([]byte(content))
	return wire.Result{
		Kind: kind, CPV: cpv, Path: path, Size: int64(len(content)), SHA256: hex.EncodeToString(sum[:]),
	}
}

// member sends a member of the results.
func (d *dialog) member(name, content string) {
	_ = d.tar.AddBytes(name, []byte(content), 0o644)
	_ = d.tar.Flush()
}

// built tells that a package is built, and sends its binpkg.
func (d *dialog) built(cpv, content string) {
	e := wire.Event{Kind: wire.EventPackage, CPV: cpv, N: 1, Of: 2, State: wire.StateBuilding, Phase: "compile"}
	d.event(e)
	e.State, e.Phase = wire.StateBuilt, ""
	d.event(e)
	d.declare(resultOf(wire.ResultBinpkg, cpv, pathOf(cpv), content))
	d.member("binpkgs/"+pathOf(cpv), content)
}

// pathOf is a name for a package's binpkg: "lab/a-1" is lab/a/a-1-1.gpkg.tar.
func pathOf(cpv string) string {
	dir, pf, _ := strings.Cut(cpv, "/")
	name := pf[:strings.LastIndexByte(pf, '-')]
	return dir + "/" + name + "/" + pf + "-1.gpkg.tar"
}

// done ends the job.
func (d *dialog) done(outcome wire.Outcome, results ...wire.PackageResult) {
	_ = d.tar.Close()
	_ = d.out.Close()
	d.send(wire.TypeDone, wire.Done{Outcome: outcome, Packages: results})
	d.drain()
}

// drain reads until the client has gone, so that nothing sent is lost in a reset.
func (d *dialog) drain() {
	_, _ = io.Copy(io.Discard, d.raw)
}

// drop ends the connection in the middle, after what was sent has been delivered.
func (d *dialog) drop() {
	_ = d.raw.(interface{ CloseWrite() error }).CloseWrite()
	d.drain()
}

// status is the exit status that main would end with.
func status(err error) int {
	if err == nil {
		return 0
	}
	if coded, ok := errors.AsType[*ExitError](err); ok {
		return coded.ExitCode()
	}
	return 1
}

// words is what an error says, and what was printed.
func words(err error, out *buffer) string {
	if err == nil {
		return out.String()
	}
	return out.String() + err.Error()
}

// untilCancelled waits for the cancel that must come.
func (d *dialog) untilCancelled() {
	for {
		switch d.frame().Type {
		case wire.TypeCancel:
			return
		case 0:
			d.t.Error("the job was not cancelled")
			return
		}
	}
}
