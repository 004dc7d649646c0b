package daemon

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"lantage/build"
	"lantage/wire"
)

// These tests run on a fake clock, with pipes for connections.

// pipeListener hands out pipes.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

// dial makes a pipe to the server.
func (l *pipeListener) dial() net.Conn {
	near, far := net.Pipe()
	l.conns <- far
	return near
}

// onFakeClock runs a test with a server in a bubble.
func onFakeClock(t *testing.T, limit int, test func(*testing.T, *rig, *pipeListener)) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		ln := newPipeListener()
		test(t, newRigOn(t, limit, ln, dir), ln)
	})
}

func TestNoRequest(t *testing.T) {
	onFakeClock(t, 1, func(t *testing.T, r *rig, ln *pipeListener) {
		p := newPeer(t, ln.dial())
		start := time.Now()
		err := <-p.err
		want := "a request did not come within 1m0s"
		if !errors.Is(err, &wire.Error{Code: wire.CodeBadRequest}) || err.Error() != want {
			t.Errorf("error %v", err)
		}
		if d := time.Since(start); d != requestTime {
			t.Errorf("after %v", d)
		}
	})
}

// TestSlowInputs: a client that lives and does not send on holds its place for inputsTime at most.
func TestSlowInputs(t *testing.T) {
	onFakeClock(t, 1, func(t *testing.T, r *rig, ln *pipeListener) {
		p := newPeer(t, ln.dial())
		p.send(wire.TypeSubmit, jobOf(1, "a/one-1"))
		if _, err := p.conn.Writer(wire.StreamInputs).Write([]byte("\x1f\x8b")); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if err := <-p.err; !errors.Is(err, &wire.Error{Code: wire.CodeBadRequest}) {
			t.Errorf("error %v", err)
		}
		if d := time.Since(start); d != inputsTime {
			t.Errorf("after %v", d)
		}
		p.close()
		r.shutDown()
		if dirs := r.jobDirs(); len(dirs) != 0 {
			t.Errorf("directories %q are left", dirs)
		}
	})
}

// TestHalfOpen: clients whose machine lost its power, at any point. Their jobs live on, and nothing else of
// them.
func TestHalfOpen(t *testing.T) {
	onFakeClock(t, 1, func(t *testing.T, r *rig, ln *pipeListener) {
		var peers []*raw
		for range 3 {
			conn := ln.dial()
			go func() { // it takes everything, and answers nothing
				buf := make([]byte, 4096)
				for {
					if _, err := conn.Read(buf); err != nil {
						return
					}
				}
			}()
			p := &raw{t, conn}
			p.write(greeting)
			peers = append(peers, p)
		}
		inputs := inputsOf(t, map[string]string{"etc/portage/make.conf": "x"})
		peers[1].frame(wire.TypeSubmit, jsonOf(t, jobOf(1, "a/one-1")))
		peers[1].frame(wire.TypeData, []byte{byte(wire.StreamInputs), inputs[0]})
		peers[2].frame(wire.TypeSubmit, jsonOf(t, jobOf(2, "a/one-1")))
		peers[2].frame(wire.TypeData, append([]byte{byte(wire.StreamInputs)}, inputs...))
		peers[2].frame(wire.TypeEnd, endOf(inputs))
		run := r.next()
		time.Sleep(wire.DeadAfter + lingerTime + time.Second)
		synctest.Wait()
		r.server.mu.Lock()
		if n := len(r.server.sessionConns); n != 0 {
			t.Errorf("%d connections are open", n)
		}
		if n := len(r.server.arriving); n != 0 {
			t.Errorf("%d jobs are still on their way", n)
		}
		r.server.mu.Unlock()
		if dirs := r.jobDirs(); len(dirs) != 1 || dirs[0] != run.job.ID {
			t.Errorf("directories %q, want that of the job that was accepted", dirs)
		}
		if run.ctx.Err() != nil {
			t.Error("the job ended with its client")
		}
		r.log.await(t, "its job goes on")
		run.result(t, "a/one-1", "content")
		run.finish(build.StateBuilt)
		p := newPeer(t, ln.dial())
		p.send(wire.TypeAttach, wire.Attach{ID: run.job.ID})
		if m := receive(t, p.members); !strings.HasSuffix(m, "=content") {
			t.Errorf("member %q", m)
		}
		receive(t, p.done)
		p.close()
	})
}

// runOne submits a job and lets it end.
func runOne(t *testing.T, r *rig, ln *pipeListener, n int) *run {
	t.Helper()
	p := newPeer(t, ln.dial())
	p.submit(jobOf(n, "a/one-1"))
	run := r.next()
	run.finish(build.StateSkipped)
	receive(t, p.done)
	p.close()
	receive(t, p.err)
	synctest.Wait()
	return run
}

func TestEndedJobsAreForgotten(t *testing.T) {
	onFakeClock(t, 1, func(t *testing.T, r *rig, ln *pipeListener) {
		runOne(t, r, ln, 0)
		time.Sleep(keepFor - time.Minute)
		synctest.Wait()
		if n := len(r.jobDirs()); n != 1 {
			t.Fatalf("%d directories before the time", n)
		}
		for i := range keepEnded + 3 {
			runOne(t, r, ln, i+1)
		}
		if n := len(r.jobDirs()); n != keepEnded {
			t.Errorf("%d directories, want %d", n, keepEnded)
		}
		p := newPeer(t, ln.dial())
		p.send(wire.TypeAttach, wire.Attach{ID: jobOf(3).ID})
		p.refused(wire.CodeUnknownJob)
		p.close()
		p = newPeer(t, ln.dial())
		p.send(wire.TypeAttach, wire.Attach{ID: jobOf(4).ID})
		receive(t, p.done)
		p.close()
		time.Sleep(keepFor + 2*time.Second)
		synctest.Wait()
		if dirs := r.jobDirs(); len(dirs) != 0 {
			t.Errorf("directories %q are left after their time", dirs)
		}
		if n := len(r.server.jobs); n != 0 {
			t.Errorf("%d jobs are left", n)
		}
	})
}

// TestEventsOfEndedJobsAreBounded: jobs that said much go before their time.
func TestEventsOfEndedJobsAreBounded(t *testing.T) {
	s := &Server{StateDir: t.TempDir(), jobs: map[string]*job{}}
	for i := range 4 {
		j := &job{msg: jobOf(i), endedAt: time.Now(), events: make([]wire.Event, maxEvents), cancel: func(error) {}}
		j.spec.Dir = t.TempDir()
		s.jobs[j.msg.ID], s.ended = j, append(s.ended, j)
	}
	s.ended[0].watchers = 1
	s.prune()
	if len(s.ended) != 2 || s.ended[0].msg.ID != jobOf(0).ID || s.ended[1].msg.ID != jobOf(3).ID {
		t.Errorf("%d are left, want the one that is watched and the youngest", len(s.ended))
	}
}

// stubborn is a Runner that does not end when it should.
type stubborn struct{ end chan struct{} }

func (s stubborn) Run(_ context.Context, _ build.Job, _ func(build.Event)) (build.Report, error) {
	<-s.end
	return build.Report{}, nil
}

// TestStubbornJob: the drain is bounded, and what still runs keeps its directory.
func TestStubbornJob(t *testing.T) {
	onFakeClock(t, 1, func(t *testing.T, r *rig, ln *pipeListener) {
		s := stubborn{make(chan struct{})}
		r.server.Runner = s
		p := newPeer(t, ln.dial())
		p.submit(jobOf(0, "a/one-1"))
		start := time.Now()
		r.stop()
		err := <-r.served
		r.served = nil
		if d := time.Since(start); err == nil || d != drainTime {
			t.Errorf("Serve returned %v after %v", err, d)
		}
		if dirs := r.jobDirs(); len(dirs) != 1 {
			t.Errorf("directories %q", dirs)
		}
		close(s.end)
		receive(t, p.err)
		synctest.Wait()
	})
}
