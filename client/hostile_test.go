package client

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lantage/archive"
	"lantage/wire"
)

// Whatever a builder sends, nothing of it becomes visible that was not declared, asked for and whole; and
// the command ends with a status of its own and without waiting.
func TestBadResults(t *testing.T) {
	binpkg := func(path string) wire.Result { return resultOf(wire.ResultBinpkg, "lab/b-2", path, "binpkg b") }
	good := binpkg(pathOf("lab/b-2"))
	edit := func(f func(*wire.Result)) wire.Result {
		r := good
		f(&r)
		return r
	}
	declared := func(r wire.Result, name, content string) func(*dialog) {
		return func(d *dialog) {
			d.declare(r)
			d.member(name, content)
		}
	}
	const name = "binpkgs/lab/b/b-2-1.gpkg.tar"
	zeros := strings.Repeat("0", 64)
	type badCase struct {
		send func(*dialog)
		says string
	}
	for what, c := range map[string]badCase{
		"another hash":  {declared(edit(func(r *wire.Result) { r.SHA256 = zeros }), name, "binpkg b"), "SHA-256"},
		"other content": {declared(good, name, "BINPKG b"), "SHA-256"},
		"another size":  {declared(good, name, "binpkg b and more"), "is not the file of 8 bytes"},
		"shorter":       {declared(good, name, "binpkg"), "is not the file of 8 bytes"},
		"not declared":  {func(d *dialog) { d.member(name, "binpkg b") }, "without being declared"},
		"declared elsewhere": {
			declared(good, "binpkgs/lab/b/b-2-7.gpkg.tar", "binpkg b"), "without being declared",
		},
		"path upwards":    {declared(binpkg("../../etc/passwd"), "x", "x"), "is not the name of a binpkg"},
		"absolute path":   {declared(binpkg("/etc/passwd"), "x", "x"), "is not the name of a binpkg"},
		"another package": {declared(binpkg("lab/a/a-1-1.gpkg.tar"), "x", "x"), "is not the name of a binpkg"},
		"not asked for": {
			declared(resultOf(wire.ResultBinpkg, "lab/x-1", pathOf("lab/x-1"), "x"), "x", "x"), "was not asked for",
		},
		"log of no package": {
			declared(resultOf(wire.ResultLog, "../x", "x", "x"), "logs/x", "x"), "which is no package",
		},
		"log upwards": {declared(resultOf(wire.ResultLog, "lab/b-2", "..", "log"), "x", "x"), "named \"..\""},
		"log hidden in a path": {
			declared(resultOf(wire.ResultLog, "lab/b-2", "a/b", "log"), "logs/a/b", "log"), "named \"a/b\"",
		},
		"control characters": {
			declared(resultOf(wire.ResultLog, "lab/b-2", "\x1b[2Jx", "log"), "logs/\x1b[2Jx", "log"), "named \"x\"",
		},
		"huge":          {declared(edit(func(r *wire.Result) { r.Size = 1 << 60 }), name, "x"), "of 1152921504606846976 bytes"},
		"negative size": {declared(edit(func(r *wire.Result) { r.Size = -1 }), name, "x"), "of -1 bytes"},
		"no hash":       {declared(edit(func(r *wire.Result) { r.SHA256 = "" }), name, "x"), "without a SHA-256"},
		"unknown kind":  {declared(edit(func(r *wire.Result) { r.Kind = "other" }), name, "x"), "unknown kind"},
		"twice": {func(d *dialog) {
			d.declare(edit(func(r *wire.Result) { r.Path = "lab/b/b-2-2.gpkg.tar" }))
			d.declare(good)
		}, "two results"},
		"event without its result": {
			func(d *dialog) { d.event(wire.Event{Kind: wire.EventResult}) }, "declares no result",
		},
		"event out of order": {func(d *dialog) {
			d.seq++
			d.event(wire.Event{Kind: wire.EventStarted})
		}, "event 5 follows event 3"},
		"another job": {
			func(d *dialog) { d.send(wire.TypeAccepted, wire.Accepted{ID: "other"}) }, "accepted another job",
		},
		"frame of a client": {func(d *dialog) { d.send(wire.TypeSubmit, wire.Job{}) }, "does not send frames"},
		"garbage":           {func(d *dialog) { _, _ = d.raw.Write(bytes.Repeat([]byte{0xff}, 100)) }, "unknown type"},
		"oversized length": {func(d *dialog) {
			_, _ = d.raw.Write(binary.BigEndian.AppendUint32([]byte{byte(wire.TypeEvent)}, 1<<31))
		}, "announces 2147483648 bytes"},
		"archive that is none": {
			func(d *dialog) { _, _ = d.out.Write(bytes.Repeat([]byte("no gzip "), 1000)) }, "read archive",
		},
		"stream of the client": {
			func(d *dialog) { _, _ = d.conn.Writer(wire.StreamInputs).Write([]byte("x")) }, "does not send",
		},
		"over before its results": {func(d *dialog) {
			d.send(wire.TypeDone, wire.Done{Outcome: wire.OutcomeDone})
		}, "before its results"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t)
			b := newBuilder(t, func(d *dialog) {
				d.submit()
				d.built("lab/a-1", "binpkg a")
				c.send(d)
				if what == "over before its results" {
					d.drain()
					return
				}
				d.untilCancelled()
			})
			var out buffer
			e := m.emerge(b.addr(), &out, "lab/b")
			e.NoFallback = true
			err := e.Run(t.Context())
			wantStatus(t, err, ExitNoFallback, &out)
			for name, content := range m.binpkgs() {
				if name != "lab/a/a-1-1.gpkg.tar" || content != "binpkg a" {
					t.Errorf("PKGDIR has %s: %q", name, content)
				}
			}
			text := words(err, &out)
			wantContains(t, text, "tower", "Try again", c.says)
			if strings.ContainsAny(text, "\x1b\x07") {
				t.Errorf("control characters reach the terminal: %q", text)
			}
		})
	}
}

// What has come stays what it is: neither a second file under its name, nor a second declaration of its package, replaces it. And what has
// come is nothing that this machine would execute.
func TestResultsComeOnce(t *testing.T) {
	const name = "binpkgs/lab/b/b-2-1.gpkg.tar"
	for says, again := range map[string]func(*dialog){
		"without being declared": func(d *dialog) { d.member(name, "BINPKG B") },
		"two results":            func(d *dialog) { d.declare(resultOf(wire.ResultBinpkg, "lab/b-2", pathOf("lab/b-2"), "BINPKG B")) },
		"two results for lab/b-2": func(d *dialog) {
			d.declare(resultOf(wire.ResultBinpkg, "lab/b-2", "lab/b/b-2-2.gpkg.tar", "BINPKG B"))
		},
	} {
		for _, noInstall := range []bool{false, true} {
			m := newMachine(t)
			b := newBuilder(t, func(d *dialog) {
				d.submit()
				d.built("lab/b-2", "binpkg b")
				again(d)
				d.untilCancelled()
			})
			var out buffer
			e := m.emerge(b.addr(), &out, "lab/b")
			e.NoFallback, e.NoInstall = true, noInstall
			err := e.Run(t.Context())
			wantStatus(t, err, ExitNoFallback, &out)
			wantContains(t, words(err, &out), says)
			got := m.binpkgs()
			if noInstall {
				got = m.kept()
			}
			if diff := cmp.Diff(map[string]string{"lab/b/b-2-1.gpkg.tar": "binpkg b"}, got); diff != "" {
				t.Errorf("%s, --no-install %t: (-want +got):\n%s", says, noInstall, diff)
			}
			if info, err := os.Stat(m.path("pkg dir/lab/b/b-2-1.gpkg.tar")); !noInstall && (err != nil || info.Mode() != 0o644) {
				t.Errorf("%v, %v", info.Mode(), err)
			}
			if ran := strings.Replace(m.read("calls"), "emaint --fix binhost\n", "", 1); strings.Count(ran, "\n") != 1 || !strings.Contains(ran, "--pretend") {
				t.Errorf("more ran than the plan and the index:\n%s", ran)
			}
		}
	}
}

// kept is what is in the archive of --no-install: its names are those of PKGDIR.
func (m *machine) kept() map[string]string {
	m.t.Helper()
	archives, _ := filepath.Glob(m.path("state/lantage-*.tar.gz"))
	if len(archives) != 1 {
		m.t.Errorf("archives: %q", archives)
		return nil
	}
	f, err := os.Open(archives[0])
	if err != nil {
		m.t.Fatal(err)
	}
	defer f.Close()
	return filesIn(m.t, f)
}

// What archive.Writer refuses to write.
func TestBadArchives(t *testing.T) {
	r := resultOf(wire.ResultBinpkg, "lab/b-2", pathOf("lab/b-2"), "binpkg b")
	for says, c := range map[string]struct{ name, damage string }{
		"leads upwards": {name: "binpkgs/../../../x"},
		"read archive":  {name: "binpkgs/" + r.Path, damage: strings.Repeat("\xff", 1000)},
	} {
		m := newMachine(t)
		b := newBuilder(t, func(d *dialog) {
			d.submit()
			d.declare(r)
			zipped := gzip.NewWriter(d.out)
			w := tar.NewWriter(zipped)
			_ = w.WriteHeader(&tar.Header{Name: c.name, Typeflag: tar.TypeReg, Size: r.Size, Mode: 0o644})
			_, _ = w.Write([]byte("binp"))
			_ = zipped.Flush()
			_, _ = d.out.Write([]byte(c.damage))
			d.untilCancelled()
		})
		var out buffer
		e := m.emerge(b.addr(), &out, "lab/b")
		e.NoFallback = true
		err := e.Run(t.Context())
		wantStatus(t, err, ExitNoFallback, &out)
		wantContains(t, words(err, &out), says)
		if len(m.binpkgs()) != 0 {
			t.Errorf("PKGDIR: %v", m.binpkgs())
		}
	}
}

// A link is no binpkg, and nothing is opened through one.
func TestLinkAsResult(t *testing.T) {
	m := newMachine(t)
	b := newBuilder(t, func(d *dialog) {
		d.submit()
		d.declare(wire.Result{
			Kind: wire.ResultBinpkg, CPV: "lab/a-1", Path: pathOf("lab/a-1"), SHA256: strings.Repeat("0", 64),
		})
		root := t.TempDir()
		link(t, "/etc/passwd", root+"/x")
		sendTree(t, d.tar, root, "binpkgs/lab/a")
		d.untilCancelled()
	})
	var out buffer
	e := m.emerge(b.addr(), &out, "lab/b")
	e.NoFallback = true
	wantStatus(t, e.Run(t.Context()), ExitNoFallback, &out)
	if len(m.binpkgs()) != 0 {
		t.Errorf("PKGDIR: %v", m.binpkgs())
	}
}

func TestLostInTheMiddle(t *testing.T) {
	m := newMachine(t)
	large := strings.Repeat("b", 300_000)
	r := resultOf(wire.ResultBinpkg, "lab/b-2", pathOf("lab/b-2"), large)
	var attach wire.Attach
	b := newBuilder(t, func(d *dialog) {
		d.submit()
		d.built("lab/a-1", "binpkg a")
		d.declare(r)
		_ = d.tar.AddReader("binpkgs/"+r.Path, r.Size, 0o644, time.Time{}, io.MultiReader(
			strings.NewReader(large[:200_000]),
			readerFunc(func([]byte) (int, error) { return 0, io.ErrUnexpectedEOF })))
		d.drop()
	}, func(d *dialog) {
		attach = d.attach()
		d.event(wire.Event{Kind: wire.EventNote, Text: "on with it"})
		d.member("binpkgs/"+r.Path, large)
		d.done(wire.OutcomeDone)
	})
	var out buffer
	wantStatus(t, m.emerge(b.addr(), &out, "lab/b").Run(t.Context()), 0, &out)
	wantContains(t, out.String(), "trying to reach it again", "tower: on with it", "emerge merges")
	want := map[string]string{"lab/a/a-1-1.gpkg.tar": "binpkg a", r.Path: large}
	got := m.binpkgs()
	if len(got) != 2 || got["lab/a/a-1-1.gpkg.tar"] != "binpkg a" || got[r.Path] != want[r.Path] {
		t.Errorf("PKGDIR has %d files", len(got))
	}
	if attach.After != 4 || len(attach.Have) != 1 {
		t.Errorf("attach: %+v", attach)
	}
}

// A connection that is lost before the job was accepted: the builder may have the job or not, and it is built once.
func TestLostBeforeAccepted(t *testing.T) {
	lose := func(d *dialog) {
		for f := d.frame(); f.Type != wire.TypeEnd; f = d.frame() {
		}
		d.drop()
	}
	finish := func(d *dialog) {
		d.built("lab/a-1", "binpkg a")
		d.built("lab/b-2", "binpkg b")
		d.done(wire.OutcomeDone)
	}
	for name, scripts := range map[string][]func(*dialog){
		"the builder has it": {lose, func(d *dialog) { d.attach(); finish(d) }},
		"it has not": {lose, func(d *dialog) {
			d.frame()
			_ = d.conn.SendError(wire.Errorf(wire.CodeUnknownJob, "no such job"))
			d.drain()
		}, func(d *dialog) { d.submit(); finish(d) }},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			b := newBuilder(t, scripts...)
			var out buffer
			e := m.emerge(b.addr(), &out, "lab/b")
			e.NoFallback = true
			wantStatus(t, e.Run(t.Context()), 0, &out)
			if len(m.binpkgs()) != 2 || b.count() != len(scripts) {
				t.Errorf("%d connections, PKGDIR: %v", b.count(), m.binpkgs())
			}
		})
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestLostForGood(t *testing.T) {
	lose := func(d *dialog) {
		d.submit()
		d.built("lab/a-1", "binpkg a")
		d.drop()
	}
	m := newMachine(t)
	b := newBuilder(t, lose)
	var out buffer
	e := m.emerge(b.addr(), &out, "lab/b")
	e.patience = 200 * time.Millisecond
	wantStatus(t, e.Run(t.Context()), 0, &out)
	wantContains(t, out.String(), "connection lost", "1 of 2 packages arrived and stay in", "Going on here",
		"emerge merges")
	wantContains(t, m.read("calls"),
		"emaint --fix binhost\nemerge --ignore-default-opts --with-bdeps=y --ask=n --usepkg=y")

	m = newMachine(t)
	b = newBuilder(t, lose)
	e = m.emerge(b.addr(), &out, "lab/b")
	e.patience, e.NoFallback = 200*time.Millisecond, true
	wantStatus(t, e.Run(t.Context()), ExitNoFallback, &out)
	if len(m.binpkgs()) != 1 {
		t.Errorf("PKGDIR: %v", m.binpkgs())
	}
}

// A builder that says why it cannot go on is not tried again.
func TestRefusals(t *testing.T) {
	for code, says := range map[wire.Code]string{
		wire.CodeShutdown: "its daemon ends", wire.CodeDeclined: "declines", wire.CodeBusy: "busy",
		wire.CodeBadRequest: "does not accept", wire.CodeInternal: "error of its own",
	} {
		m := newMachine(t)
		b := newBuilder(t, func(d *dialog) {
			d.frame()
			_ = d.conn.SendError(wire.Errorf(code, "the \x1b[31mreason"))
			d.drain()
		})
		var out buffer
		wantStatus(t, m.emerge(b.addr(), &out, "lab/b").Run(t.Context()), 0, &out)
		wantContains(t, out.String(), says, "the reason", "emerge merges")
		if b.count() != 1 || strings.Contains(out.String(), "\x1b") {
			t.Errorf("%s: %d connections:\n%s", code, b.count(), &out)
		}
	}
}

// Peers that are no builders are told apart.
func TestPeersThatAreNoBuilders(t *testing.T) {
	for says, send := range map[string]string{
		"does not speak Lantage's protocol": "SSH-2.0-OpenSSH_9.9\r\n",
		"runs a newer Lantage":              "LANTAGE\n\x00\x09\x00\x0a",
		"runs an older Lantage":             "LANTAGE\n\x00\x00\x00\x00",
		"connection lost":                   "LAN",
	} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			if c, err := ln.Accept(); err == nil {
				_, _ = io.WriteString(c, send)
				_ = c.(*net.TCPConn).CloseWrite()
				_, _ = io.Copy(io.Discard, c)
				c.Close()
			}
		}()
		m := newMachine(t)
		var out buffer
		e := m.emerge(ln.Addr().String(), &out, "lab/b")
		e.NoFallback = true
		err = e.Run(t.Context())
		ln.Close()
		wantStatus(t, err, ExitNoFallback, &out)
		wantContains(t, words(err, &out), says, ln.Addr().String())
	}
}

// A fault of this machine ends the job, and is told as what it is.
func TestLocalFault(t *testing.T) {
	m := newMachine(t)
	cancelled := make(chan bool, 1)
	b := newBuilder(t, func(d *dialog) {
		d.submit()
		m.write("pkg dir/lab/b", "a file where a directory is needed")
		d.built("lab/a-1", "binpkg a")
		d.declare(resultOf(wire.ResultBinpkg, "lab/b-2", pathOf("lab/b-2"), "binpkg b"))
		d.member("binpkgs/"+pathOf("lab/b-2"), "binpkg b")
		cancelled <- d.frame().Type == wire.TypeCancel
		d.done(wire.OutcomeCancelled)
	})
	var out buffer
	err := m.emerge(b.addr(), &out, "lab/b").Run(t.Context())
	wantStatus(t, err, ExitFailed, &out)
	wantContains(t, err.Error(), "b-2-1.gpkg.tar", "1 of 2 packages arrived and stay in", "cancelled")
	if !<-cancelled {
		t.Error("the job was not cancelled")
	}
	if strings.Contains(out.String(), "emerge merges") {
		t.Error("emerge merges with a disk that takes nothing")
	}
}

func sendTree(t *testing.T, w *archive.Writer, dir, name string) {
	t.Helper()
	root := openRoot(t, dir)
	if err := w.AddTree(t.Context(), root, ".", name, nil); err != nil {
		t.Error(err)
	}
	_ = w.Flush()
}
