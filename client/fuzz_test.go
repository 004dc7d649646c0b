package client

import (
	"bytes"
	"encoding/json"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lantage/archive"
	"lantage/gentoo"
	"lantage/wire"
)

// FuzzBuilder has a builder send whatever bytes after its hello. The session must end with the connection, show nothing that
// could move the cursor, and leave only files of the package that was asked for.
func FuzzBuilder(f *testing.F) {
	const binpkg = "lab/a/a-1-1.gpkg.tar"
	frame := func(kind wire.Type, v any) string {
		body, isBytes := v.([]byte)
		if !isBytes {
			body, _ = json.Marshal(v)
		}
		return string(append([]byte{byte(kind), 0, 0, byte(len(body) >> 8), byte(len(body))}, body...))
	}
	members := func(name, content string) []byte {
		var b bytes.Buffer
		w := archive.NewWriter(&b, archive.Options{Level: archive.ForBinpkgs})
		_ = w.AddBytes(name, []byte(content), 0o644)
		_ = w.Close()
		return append([]byte{byte(wire.StreamResults)}, b.Bytes()...)
	}
	accepted := frame(wire.TypeAccepted, wire.Accepted{ID: strings.Repeat("1", 32)})
	declare := func(seq int, r wire.Result) string {
		return frame(wire.TypeEvent, wire.Event{Seq: seq, Kind: wire.EventResult, CPV: r.CPV, Result: &r})
	}
	good := resultOf(wire.ResultBinpkg, "lab/a-1", binpkg, "binpkg a")
	log := resultOf(wire.ResultLog, "lab/a-1", "a.log", "log")
	f.Add([]byte(accepted + declare(1, good) + frame(wire.TypeData, members("binpkgs/"+binpkg, "binpkg a"))))
	f.Add([]byte(accepted + declare(1, log) + frame(wire.TypeData, members("logs/a.log", "log"))))
	f.Add([]byte(accepted + declare(1, good) + frame(wire.TypeData, members("../../x", "binpkg a"))))
	f.Add([]byte(accepted + frame(wire.TypeEvent, wire.Event{
		Seq: 1, Kind: wire.EventPackage, CPV: "lab/a-1", State: wire.StateFailed, Phase: "compile", Text: "\x1b[2J", N: 1, Of: 1,
	}) + frame(wire.TypeEvent, wire.Event{Seq: 2, Kind: wire.EventQueued, Position: -1}) +
		frame(wire.TypeEvent, wire.Event{Seq: 3, Kind: wire.EventNote, Text: "\r\x1b]0;x\a"})))
	f.Add([]byte(accepted + frame(wire.TypeData, []byte("\x03lab/a-1: \x1b[31mlog\n"))))
	f.Add([]byte(accepted + frame(wire.TypeDone, wire.Done{Outcome: wire.OutcomeFailed, Text: "\x1bc"})))
	f.Add([]byte(frame(wire.TypeError, wire.Error{Code: wire.CodeBusy, Text: "\x1bc"})))
	f.Add([]byte("\x08\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, in []byte) {
		dir := t.TempDir()
		store, err := gentoo.OpenPkgDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		near, far := net.Pipe()
		builderDone := make(chan struct{})
		go func() {
			defer close(builderDone)
			go func() { _, _ = io.Copy(io.Discard, far) }()
			_, _ = io.WriteString(far, "LANTAGE\n\x00\x01\x00\x01\x01\x00\x00\x00\x02{}")
			_, _ = far.Write(in)
			far.Close()
		}()
		conn, hello, err := wire.Handshake(near, wire.Hello{Name: "lappy"})
		if err != nil {
			t.Fatal(err)
		}
		cpv, err := gentoo.ParseCPV("lab/a-1")
		if err != nil {
			t.Fatal(err)
		}
		var out buffer
		show := newDisplay(newScreen(&out, nil), newBoard("tower", 1), time.Now, nil)
		rs := newResults([]gentoo.Package{{CPV: cpv}}, store, filepath.Join(dir, "logs"), show.transfer)
		j := &job{
			msg: wire.Job{ID: strings.Repeat("1", 32), Log: true}, inputs: strings.NewReader("x"), size: 1,
			builder: &builder{hello: hello, conn: conn}, results: rs, display: show,
		}
		_, _ = j.session(t.Context(), conn)
		show.close()
		<-builderDone
		if i := strings.IndexFunc(out.String(), func(r rune) bool { return r < ' ' && r != '\n' && r != '\t' }); i >= 0 {
			t.Errorf("control characters were shown: %q", out.String())
		}
		if err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if rel := strings.TrimPrefix(path, dir+"/"); err == nil && !d.IsDir() && !strings.HasPrefix(rel, "logs/") &&
				!strings.HasPrefix(rel, "lab/a/a-1-") {
				info, _ := os.Lstat(path)
				t.Errorf("there is a %s (%v)", rel, info.Mode())
			}
			return err
		}); err != nil {
			t.Error(err)
		}
	})
}
