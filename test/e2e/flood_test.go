package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	endian "encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"lantage/archive"
	"lantage/test/lab"
	"lantage/trust"
	"lantage/wire"
)

// The crowd of TestFlood.
const (
	floodHostile  = 100 // connections at once
	floodJobs     = 20
	floodWatchers = 80
	floodRounds   = 15 // connections that each of the hostile makes, one after the other, before it only holds one
	floodMemory   = 128 << 20
)

// TestFlood: 200 connections at once, of which half send garbage, stall, or are reset. Of the others 20 have a job built, which
// the rest watch; all of them end well. The daemon has not taken much memory for it, has not filled its log, and nothing of it
// is left.
func TestFlood(t *testing.T) {
	t.Parallel()
	l := newLab(t, lab.HostSpec{Name: "tower", Builder: true})
	tower := l.Host("tower")
	d := serve(t, tower)
	pid, err := lab.PID(d.cmd)
	if err != nil {
		t.Fatal(err)
	}
	self, err := trust.NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	f := &flood{t: t, self: self, dial: dialer(t, tower), stop: make(chan struct{})}
	if err := f.build(0); err != nil { // what the others are answered with
		t.Fatal(err)
	}
	before := openFiles(t, pid)

	var connected, hostile sync.WaitGroup
	connected.Add(floodHostile)
	for i := range floodHostile {
		hostile.Go(func() { f.attack(i, connected.Done) })
	}
	connected.Wait()
	f.accepted.Add(floodJobs)
	results := make(chan error, floodJobs+floodWatchers)
	for i := range floodJobs {
		go func() { results <- f.build(1 + i) }()
	}
	f.accepted.Wait()
	for i := range floodWatchers {
		go func() { results <- f.watch(1+i%floodJobs, i) }()
	}
	for range floodJobs + floodWatchers {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	close(f.stop)
	hostile.Wait()
	memory := peakMemory(t, tower, pidOf(t, tower, "lantage serve --bases=host"))
	t.Logf("%d hostile connections, %d KiB of memory at most", f.attacks.Load(), memory>>10)
	if n := f.attacks.Load(); n < floodHostile*floodRounds/2 {
		t.Errorf("only %d hostile connections were made", n)
	}
	if memory >= floodMemory {
		t.Errorf("the daemon took %d KiB of memory, want less than %d", memory>>10, floodMemory>>10)
	}
	eventually(t, time.Minute, "the daemon has closed what it had opened", func() bool { return openFiles(t, pid) <= before })
	if n := strings.Count(d.log.String(), "refused or not understood"); n == 0 || n > 100 {
		t.Errorf("the log has %d lines of what was not understood, want some and not one for each", n)
	}
	mark := d.log.mark()
	if err := syscall.Kill(pid, syscall.SIGQUIT); err != nil { // it prints its goroutines
		t.Fatal(err)
	}
	<-d.done
	for stack := range strings.SplitSeq(d.log.since(mark), "\n\n") {
		if strings.Contains(stack, "lantage/wire.") || strings.Contains(stack, "(*session)") {
			t.Errorf("a session is left:\n%s", stack)
		}
	}
	if !strings.Contains(d.log.since(mark), "(*Server).accept(") {
		t.Errorf("these are no goroutines of a daemon:\n%s", d.log.since(mark))
	}
}

// flood is the crowd. Errors of its attackers are what they are for.
type flood struct {
	t        *testing.T
	self     *trust.Identity // of all friends
	dial     func(from string) (net.Conn, error)
	stop     chan struct{}
	accepted sync.WaitGroup // jobs but the first
	attacks  atomic.Int64
}

// dialer returns a function that connects, on a host, one of its loopback addresses with the daemon there.
func dialer(t *testing.T, h *lab.Host) func(from string) (net.Conn, error) {
	t.Helper()
	type answer struct {
		conn net.Conn
		err  error
	}
	type call struct {
		from   string
		answer chan answer
	}
	calls := make(chan call)
	ready := make(chan struct{})
	t.Cleanup(func() { close(calls) })
	go func() {
		inNetwork(t, h, func() (struct{}, error) {
			close(ready)
			for c := range calls {
				d := net.Dialer{Timeout: 10 * time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP(c.from)}}
				conn, err := d.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(wire.DefaultPort)))
				c.answer <- answer{conn, err}
			}
			return struct{}{}, nil
		})
	}()
	<-ready
	return func(from string) (net.Conn, error) {
		c := call{from, make(chan answer)}
		calls <- c
		a := <-c.answer
		return a.conn, a.err
	}
}

// frameOf is a frame as bytes.
func frameOf(kind wire.Type, body string) string {
	return string(endian.BigEndian.AppendUint32([]byte{byte(kind)}, uint32(len(body)))) + body
}

// attack connects again and again in one of several ways, and in the end holds a connection on which it says nothing. It
// reports its first connection.
func (f *flood) attack(i int, connected func()) {
	const hello = "LANTAGE\n\x00\x01\x00\x01\x01\x00\x00\x00\x02{}"
	from := fmt.Sprintf("127.0.66.%d", 1+i%2)
	for round := range floodRounds + 1 {
		conn, err := f.dial(from)
		if round == 0 {
			connected()
		}
		if err != nil {
			f.t.Errorf("attacker %d cannot connect: %v", i, err)
			return
		}
		f.attacks.Add(1)
		closed := make(chan struct{})
		go func() { _, _ = io.Copy(io.Discard, conn); close(closed) }()
		wait := closed
		switch kind := i % 8; {
		case round == floodRounds || kind == 0: // says nothing
			wait = nil
		case kind == 1:
			_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: tower\r\n\r\n")
		case kind == 2:
			_, _ = io.WriteString(conn, hello+"\x99garbage")
		case kind == 3:
			_, _ = io.WriteString(conn, hello+"\x04\xff\xff\xff\xff")
		case kind == 4:
			_, _ = io.WriteString(conn, hello+frameOf(wire.TypeSubmit, strings.Repeat("[", wire.MaxControl)))
		case kind == 5: // is reset in the middle of a message
			_, _ = io.WriteString(conn, hello+"\x04\x00\x0f\x00\x00{")
			_ = conn.(*net.TCPConn).SetLinger(0)
			conn.Close()
		case kind == 6: // has said that more will follow
			_, _ = io.WriteString(conn, "LANTAGE\n\x00\x01\x00\x01\x01\x00\x00\xff\xff{")
			wait = nil
		case kind == 7: // is gone before it has read anything
			_, _ = io.WriteString(conn, hello+frameOf(wire.TypeAttach, `{"id":"`+f.job(0).ID+`"}`))
			conn.Close()
		}
		if wait == nil && round < floodRounds {
			// Held until the daemon has had enough of it, or the test has.
			wait = closed
		}
		select {
		case <-wait:
			conn.Close()
		case <-f.stop:
			conn.Close()
			<-closed
			return
		}
	}
}

// job is the one that all of them want, each under an ID of its own.
func (f *flood) job(n int) wire.Job {
	return wire.Job{
		ID: fmt.Sprintf("%032x", n+1), Client: "crowd", CHOST: "x86_64-pc-linux-gnu", Base: "host",
		Packages: []wire.Package{{CPV: "lab-five/p1-1", Repo: "lab"}}, Profile: wire.Profile{Repo: "lab", Path: "default"},
		Repos: []wire.Repo{{Name: "lab", Location: "/var/db/repos/lab"}},
	}
}

// friend connects as a client does.
func (f *flood) friend(from string) (*wire.Conn, wire.Hello, error) {
	conn, err := f.dial(from)
	if err != nil {
		return nil, wire.Hello{}, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	channel, err := trust.Client(ctx, conn, f.self)
	if err != nil {
		conn.Close()
		return nil, wire.Hello{}, err
	}
	return wire.Handshake(channel, wire.Hello{Name: "crowd", Software: "test"})
}

// build has a job built.
func (f *flood) build(n int) error {
	conn, hello, err := f.friend(fmt.Sprintf("127.0.1.%d", 1+n%5))
	if err != nil {
		return fmt.Errorf("job %d: %w", n, err)
	}
	defer conn.Close()
	j := f.job(n)
	j.CHOST = hello.CHOST
	var inputs bytes.Buffer
	w := archive.NewWriter(&inputs, archive.Options{})
	const repos = "[DEFAULT]\nmain-repo = lab\n\n[lab]\nlocation = /var/db/repos/lab\n"
	if err := errors.Join(w.AddBytes("etc/portage/make.conf", []byte(lab.AllSandboxes), 0o644),
		w.AddBytes("etc/portage/repos.conf/lab.conf", []byte(repos), 0o644), w.Close()); err != nil {
		return err
	}
	if err := conn.Send(wire.TypeSubmit, j); err != nil {
		return fmt.Errorf("job %d: %w", n, err)
	}
	stream := conn.Writer(wire.StreamInputs)
	if _, err := stream.Write(inputs.Bytes()); err == nil {
		_ = stream.Close()
	}
	accepted := func() {}
	if n > 0 {
		accepted = sync.OnceFunc(f.accepted.Done)
	}
	defer accepted()
	if err := f.end(conn, accepted); err != nil {
		return fmt.Errorf("job %d: %w", n, err)
	}
	return nil
}

// watch attaches to a job.
func (f *flood) watch(n, i int) error {
	conn, _, err := f.friend(fmt.Sprintf("127.0.2.%d", 1+i%5))
	if err != nil {
		return fmt.Errorf("watcher %d: %w", i, err)
	}
	defer conn.Close()
	if err := conn.Send(wire.TypeAttach, wire.Attach{ID: f.job(n).ID}); err != nil {
		return fmt.Errorf("watcher %d: %w", i, err)
	}
	if err := f.end(conn, func() {}); err != nil {
		return fmt.Errorf("watcher %d of job %d: %w", i, n, err)
	}
	return nil
}

// end follows a job to its end, which must be a good one, and checks that its binary package came.
func (f *flood) end(conn *wire.Conn, accepted func()) error {
	results := wire.NewStreamReader(wire.StreamResults)
	came := make(chan string, 1)
	go func() {
		sum := sha256.New()
		r := archive.NewReader(results, archive.Limits{})
		if _, err := r.Next(); err == nil {
			_, _ = io.Copy(sum, r)
		}
		_, _ = io.Copy(io.Discard, results)
		came <- hex.EncodeToString(sum.Sum(nil))
	}()
	declared := ""
	for {
		frame, err := conn.Read()
		if err != nil {
			results.Fail(err)
			<-came
			return err
		}
		if ours, err := results.Feed(frame); ours {
			if err != nil {
				return err
			}
			continue
		}
		switch frame.Type {
		case wire.TypeAccepted:
			accepted()
		case wire.TypeEvent:
			var e wire.Event
			if err := frame.Decode(wire.TypeEvent, &e); err != nil {
				return err
			}
			if e.Result != nil {
				declared = e.Result.SHA256
			}
		case wire.TypeDone:
			var done wire.Done
			if err := frame.Decode(wire.TypeDone, &done); err != nil {
				return err
			}
			if got := <-came; done.Outcome != wire.OutcomeDone || declared == "" || got != declared {
				return fmt.Errorf("it ended with %+v; %q came, %q was declared", done, got, declared)
			}
			return nil
		}
	}
}

// openFiles is how many descriptors a process has.
func openFiles(t *testing.T, pid int) int {
	t.Helper()
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}
