package discovery

import (
	"bytes"
	"slices"
	"strings"
	"sync"
	"time"
)

// disableIPv6 turns IPv6 off on an interface, or on all.
func (h *host) disableIPv6(ifname string) {
	h.t.Helper()
	h.do(order{Op: "run", Args: []string{"sysctl", "-w", "net.ipv6.conf." + ifname + ".disable_ipv6=1"}})
}

// sockets lists the sockets on the mDNS port.
func (h *host) sockets() string {
	h.t.Helper()
	awk := []string{"awk", "$2 ~ /:14E9$/ { print $2, $10 }", "/proc/self/net/udp"} // address and inode
	return h.do(order{Op: "run", Args: awk}).Line
}

// stream is a program that runs on a host until the host ends.
type stream struct {
	h     *host
	ch    <-chan reply
	lines []string
}

func (h *host) stream(args ...string) *stream {
	h.t.Helper()
	_, ch := h.send(order{Op: "stream", Args: args})
	return &stream{h: h, ch: ch}
}

// until waits until the program has written a line with all of the texts, now or earlier; it returns
// that line.
func (s *stream) until(limit time.Duration, texts ...string) string {
	s.h.t.Helper()
	deadline := time.After(limit)
	seen := 0
	for {
		for ; seen < len(s.lines); seen++ {
			line := s.lines[seen]
			if !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(line, text) }) {
				return line
			}
		}
		select {
		case r, open := <-s.ch:
			if !open || r.Last {
				s.h.t.Fatalf("%s: the program ended before it said %q: %s; it said:\n%s", s.h.name, texts, r.Err,
					strings.Join(s.lines, "\n"))
			}
			s.lines = append(s.lines, r.Line)
		case <-deadline:
			s.h.t.Fatalf("%s: nothing with %q within %v in\n%s", s.h.name, texts, limit, strings.Join(s.lines, "\n"))
		}
	}
}

// upToNow returns what the program has written.
func (s *stream) upToNow() string {
	for len(s.ch) > 0 {
		s.lines = append(s.lines, (<-s.ch).Line)
	}
	return strings.Join(s.lines, "\n")
}

// syncBuffer is a buffer that may be read while it is written to.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
