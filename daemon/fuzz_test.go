package daemon

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lantage/build"
	"lantage/rootfs"
	"lantage/wire"
)

// ready is a Runner whose jobs are done at once, with events of every kind.
type ready struct{}

func (ready) Run(ctx context.Context, job build.Job, emit func(build.Event)) (build.Report, error) {
	emit(build.Event{Kind: build.EventStarted})
	var rep build.Report
	for _, p := range job.Packages {
		emit(build.Event{Kind: build.EventPackage, CPV: p.CPV, State: build.StateFailed, Phase: "compile"})
		emit(build.Event{Kind: build.EventResult, CPV: p.CPV, Result: &build.Result{
			CPV: p.CPV, Dir: job.Inputs, Path: "etc/portage/make.conf", Log: true, Size: 1,
		}})
		rep.Packages = append(rep.Packages, build.PackageReport{CPV: p.CPV, State: build.StateFailed})
	}
	return rep, ctx.Err()
}

// FuzzSession gives a session whatever bytes. It must end when the connection does and leave nothing behind
// but the directory of a job that it accepted.
func FuzzSession(f *testing.F) {
	frame := func(t wire.Type, v any) []byte {
		body, ok := v.([]byte)
		if !ok {
			body, _ = json.Marshal(v)
		}
		return append([]byte{byte(t), 0, 0, byte(len(body) >> 8), byte(len(body))}, body...)
	}
	inputs := inputsOf(f, map[string]string{"etc/portage/make.conf": "x"})
	submit := frame(wire.TypeSubmit, jobOf(1, "a/one-1"))
	whole := append(append(append([]byte(greeting), submit...),
		frame(wire.TypeData, append([]byte{1}, inputs...))...), frame(wire.TypeEnd, endOf(inputs))...)
	f.Add(whole)
	f.Add(append(whole[:len(whole):len(whole)], frame(wire.TypeCancel, wire.Cancel{ID: jobOf(1).ID})...))
	f.Add(whole[:len(whole)-50])
	f.Add([]byte(greeting))
	f.Add([]byte(greeting + "\x04\xff\xff\xff\xff"))
	f.Add(append([]byte(greeting), frame(wire.TypeAttach, wire.Attach{ID: "x"})...))
	f.Add(append([]byte(greeting), frame(wire.TypeCancel, wire.Cancel{ID: "x"})...))
	f.Add(append(append([]byte(greeting), submit...), frame(wire.TypeData, []byte("\x01garbage"))...))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	file := wire.Distfile{Name: "a.tar", Size: 1, SHA512: strings.Repeat("0", 128)}
	f.Add(append(append([]byte(greeting), frame(wire.TypeOffer, wire.Offer{Identity: strings.Repeat("1", 64), Base: "host", Files: []wire.Distfile{file}})...),
		frame(wire.TypeData, []byte("\x07\x01x\x00\x01"))...))
	f.Add(append([]byte(greeting), frame(wire.TypeOffer, wire.Offer{More: true})...))
	sync := append([]byte(greeting), frame(wire.TypeSync, wire.Sync{Client: "laptop", Identity: strings.Repeat("1", 64), CHOST: "x86_64-pc-linux-gnu"})...)
	f.Add(append(append(sync[:len(sync):len(sync)], frame(wire.TypeList, wire.List{})...), frame(wire.TypeData, []byte("\x04garbage"))...))
	f.Add(append(sync, frame(wire.TypeCommit, wire.Commit{})...))
	f.Fuzz(func(t *testing.T, in []byte) {
		dir := t.TempDir()
		logger := slog.New(slog.DiscardHandler)
		store, err := rootfs.OpenStore(filepath.Join(dir, rootsDir), logger)
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		s := &Server{
			Runner: ready{}, StateDir: dir, Logger: logger, Roots: store,
			Hello: wire.Hello{Name: "tower", Bases: []string{"host", wire.BaseClient}, Arch: "x86_64", Distfiles: true},
		}
		if err := s.sweep(); err != nil {
			t.Fatal(err)
		}
		near, far := net.Pipe()
		written := make(chan struct{})
		go func() {
			defer close(written)
			go io.Copy(io.Discard, near)
			near.Write(in)
			near.Close()
		}()
		s.session(t.Context(), far)
		far.Close()
		<-written
		s.running.Wait()
		left, err := os.ReadDir(filepath.Join(dir, "jobs"))
		if err != nil || len(left) != len(s.jobs) || len(s.arriving) != 0 {
			t.Errorf("%d directories of %d jobs are left, %d on their way, %v",
				len(left), len(s.jobs), len(s.arriving), err)
		}
		s.forgetAll()
	})
}
