package discovery

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// host is a running host, seen from the test.
type host struct {
	t    *testing.T
	name string
	cmd  *exec.Cmd

	mu      sync.Mutex
	enc     *json.Encoder
	seq     int
	waiting map[int]chan reply
}

func startHost(t *testing.T, name string) *host {
	t.Helper()
	h := &host{t: t, name: name, waiting: map[int]chan reply{}}
	h.cmd = exec.Command("/proc/self/exe")
	h.cmd.Env = append(os.Environ(), roleEnv+"=host")
	h.cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	var stderr bytes.Buffer
	h.cmd.Stderr = &stderr
	in, err := h.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := h.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := h.cmd.Start(); err != nil {
		t.Fatalf("cannot start a host in a network namespace of its own: %v", err)
	}
	h.enc = json.NewEncoder(in)
	read := make(chan struct{})
	go func() {
		defer close(read)
		for dec := json.NewDecoder(out); ; {
			var r reply
			if dec.Decode(&r) != nil {
				h.hangUp()
				return
			}
			h.deliver(r)
		}
	}()
	t.Cleanup(func() {
		in.Close() // the host ends at the end of its input
		<-read
		if err := h.cmd.Wait(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if t.Failed() || strings.Contains(stderr.String(), "DATA RACE") {
			t.Logf("%s said:\n%s", name, &stderr)
		}
	})
	return h
}

func (h *host) deliver(r reply) {
	h.mu.Lock()
	ch := h.waiting[r.Seq]
	if r.Last {
		delete(h.waiting, r.Seq)
	}
	h.mu.Unlock()
	if ch != nil {
		ch <- r
		if r.Last {
			close(ch)
		}
	}
}

func (h *host) hangUp() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, ch := range h.waiting {
		close(ch)
	}
	clear(h.waiting)
}

// send gives the host an order; its replies arrive in the channel, which is closed after the last one.
func (h *host) send(o order) (int, <-chan reply) {
	h.t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.seq++
	o.Seq = h.seq
	ch := make(chan reply, 4096)
	h.waiting[o.Seq] = ch
	if err := h.enc.Encode(o); err != nil {
		h.t.Fatalf("%s: %v", h.name, err)
	}
	return o.Seq, ch
}

// do gives the host an order and waits for the only reply.
func (h *host) do(o order) reply {
	h.t.Helper()
	_, ch := h.send(o)
	select {
	case r, ok := <-ch:
		if !ok {
			h.t.Fatalf("%s ended before it answered %q", h.name, o.Op)
		}
		if r.Err != "" {
			h.t.Fatalf("%s: %s %q: %s", h.name, o.Op, o.Args, r.Err)
		}
		return r
	case <-time.After(20 * time.Second):
		h.t.Fatalf("%s did not answer %q", h.name, o.Op)
	}
	return reply{}
}

// ip runs commands of ip(8) on the host.
func (h *host) ip(lines ...string) {
	h.t.Helper()
	h.do(order{Op: "run", Args: []string{"ip", "-batch", "-"}, Input: strings.Join(lines, "\n")})
}

// nft loads rules of nft(8) on the host.
func (h *host) nft(rules string) {
	h.t.Helper()
	if _, err := exec.LookPath("nft"); err != nil {
		h.t.Fatal("this test needs the nft command: install nftables")
	}
	h.do(order{Op: "run", Args: []string{"nft", "-f", "-"}, Input: rules})
}

// settles waits until the host has no more goroutines and file descriptors than base.
func (h *host) settles(base [2]int) {
	h.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		open := h.do(order{Op: "open"}).Open
		if open[0] <= base[0] && open[1] <= base[1] {
			return
		}
		if time.Now().After(deadline) {
			h.t.Fatalf("%s: goroutines and descriptors were %v, now %v", h.name, base, open)
		}
	}
}

// address adds addresses; IPv6 ones are usable at once.
func (h *host) address(ifname string, addrs ...string) {
	h.t.Helper()
	var lines []string
	for _, a := range addrs {
		line := "addr add " + a + " dev " + ifname
		if strings.Contains(a, ":") {
			line += " nodad"
		}
		lines = append(lines, line)
	}
	if len(lines) > 0 {
		h.ip(lines...)
	}
}

// advertise starts a builder with the ID on the host and returns what stops it and waits for its end.
func (h *host) advertise(id string, interfaces ...string) (stop func()) {
	h.t.Helper()
	seq, ch := h.send(order{Op: "advertise", Info: testInfo(h.name, id), Interfaces: interfaces})
	return func() {
		h.t.Helper()
		h.do(order{Op: "stop", Target: seq})
		if r := <-ch; r.Err != "" {
			h.t.Errorf("%s: Advertise: %s", h.name, r.Err)
		}
	}
}

func testInfo(name, id string) Info {
	return Info{
		ID: id, Name: name, Proto: 1, CHOST: "x86_64-pc-linux-gnu", Arch: "x86_64", CPU: "x86-64-v3",
		Cores: 8, Memory: 32000, Waiting: 1, JobLimit: 2, Portage: "3.0.77", Bases: []string{"host", "dir"},
		Load: 0.25, Software: "0.1",
	}
}

// browsing is a Browse that runs on a host.
type browsing struct {
	h     *host
	seq   int
	ch    <-chan reply
	now   map[string]Builder // by ID, as last told
	calls []reply            // of found

	ending time.Duration // how long the end took, with the pipe to the host and back
}

func (h *host) browse(interfaces ...string) *browsing {
	h.t.Helper()
	return h.browseWith("browse", interfaces...)
}

func (h *host) browseWith(op string, interfaces ...string) *browsing {
	h.t.Helper()
	seq, ch := h.send(order{Op: op, Interfaces: interfaces})
	return &browsing{h: h, seq: seq, ch: ch, now: map[string]Builder{}}
}

// listen is a browse that only listens to IPv4 multicast. It has begun when it returns.
func (h *host) listen() *browsing {
	h.t.Helper()
	b := h.browseWith("listen")
	<-b.ch
	return b
}

// background starts an order that runs until the host ends.
func (h *host) background(op string) {
	h.t.Helper()
	h.send(order{Op: op})
}

// until waits until ok says so, and returns the time between the start of Browse and the deciding call of
// found.
func (b *browsing) until(limit time.Duration, ok func(now map[string]Builder) bool) time.Duration {
	b.h.t.Helper()
	deadline := time.After(limit)
	for !ok(b.now) {
		select {
		case r, open := <-b.ch:
			if !open || r.Builder == nil {
				b.h.t.Fatalf("%s: Browse ended: %s", b.h.name, r.Err)
			}
			b.now[r.Builder.ID] = *r.Builder
			b.calls = append(b.calls, r)
		case <-deadline:
			b.h.t.Fatalf("%s: not within %v; builders: %+v; report: %+v", b.h.name, limit, b.now, b.stop().Report)
		}
	}
	if len(b.calls) == 0 {
		return 0
	}
	return b.calls[len(b.calls)-1].After
}

// untilSeen waits for the builders with the IDs.
func (b *browsing) untilSeen(limit time.Duration, ids ...string) time.Duration {
	b.h.t.Helper()
	return b.until(limit, func(now map[string]Builder) bool {
		for _, id := range ids {
			if n, ok := now[id]; !ok || n.Gone {
				return false
			}
		}
		return true
	})
}

// stop ends the Browse and returns its last reply. It takes note how long the end took.
func (b *browsing) stop() reply {
	b.h.t.Helper()
	begin := time.Now()
	b.h.do(order{Op: "stop", Target: b.seq})
	for r := range b.ch {
		if r.Last {
			b.ending = time.Since(begin)
			return r
		}
		b.now[r.Builder.ID] = *r.Builder
		b.calls = append(b.calls, r)
	}
	b.h.t.Fatalf("%s ended before Browse did", b.h.name)
	return reply{}
}
