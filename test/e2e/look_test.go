package e2e

import (
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lantage/test/lab"
)

// processes are the processes of a host, those in its build roots too: their command lines by their numbers
// there.
func processes(t *testing.T, h *lab.Host) map[int]string {
	t.Helper()
	entries, err := os.ReadDir(h.Path("/proc"))
	if err != nil {
		t.Fatal(err)
	}
	list := make(map[int]string)
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		line, err := os.ReadFile(h.Path("/proc/" + e.Name() + "/cmdline"))
		if err == nil && len(line) > 0 { // a zombie has none
			list[pid] = strings.TrimRight(strings.ReplaceAll(string(line), "\x00", " "), " ")
		}
	}
	return list
}

// runs reports whether a process with exactly this command line is on the host.
func runs(t *testing.T, h *lab.Host, line string) bool {
	t.Helper()
	return slices.Contains(slices.Collect(maps.Values(processes(t, h))), line)
}

// pidOf is the number on the host of the one process with this command line.
func pidOf(t *testing.T, h *lab.Host, line string) int {
	t.Helper()
	for pid, l := range processes(t, h) {
		if l == line {
			return pid
		}
	}
	t.Fatalf("%s runs no %q", h.Name, line)
	return 0
}

// mounts are the mounts of all mount namespaces of a host: its own, and others where processes live in any.
func mounts(t *testing.T, h *lab.Host) []string {
	t.Helper()
	seen := make(map[string]bool)
	var list []string
	for pid := range processes(t, h) {
		dir := h.Path("/proc/" + strconv.Itoa(pid))
		ns, err := os.Readlink(filepath.Join(dir, "ns/mnt"))
		if err != nil || seen[ns] {
			continue
		}
		seen[ns] = true
		text, _ := os.ReadFile(filepath.Join(dir, "mountinfo"))
		list = append(list, slices.Collect(strings.Lines(string(text)))...)
	}
	slices.Sort(list)
	return list
}

// eventually waits until something is so, and stops the test if that takes longer than limit.
func eventually(t *testing.T, limit time.Duration, what string, is func() bool) {
	t.Helper()
	begin := time.Now()
	for !is() {
		if time.Since(begin) > limit {
			t.Fatalf("%v have passed and not yet: %s", limit, what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// since is what was written after a mark, which is an earlier length.
func (w *watched) since(mark int) string { return w.String()[mark:] }

func (w *watched) mark() int { return len(w.String()) }

// inNetwork runs fn on a thread that is in the host's network.
func inNetwork[T any](t *testing.T, h *lab.Host, fn func() (T, error)) T {
	t.Helper()
	var value T
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", h.PID()))
		if err == nil {
			defer ns.Close()
			err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET)
		}
		if err == nil {
			value, err = fn()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatalf("in the network of %s: %v", h.Name, err)
	}
	return value
}

// dialFrom connects from a host to an address.
func dialFrom(t *testing.T, h *lab.Host, addr string) net.Conn {
	t.Helper()
	conn := inNetwork(t, h, func() (net.Conn, error) { return net.DialTimeout("tcp", addr, 10*time.Second) })
	t.Cleanup(func() { conn.Close() })
	return conn
}

// listenOn listens on a port of a host and has each connection served by serve, which the test's end does not
// wait for.
func listenOn(t *testing.T, h *lab.Host, port int, serve func(net.Conn)) {
	t.Helper()
	addr := fmt.Sprintf("%s:%d", h.IP(), port)
	ln := inNetwork(t, h, func() (net.Listener, error) { return net.Listen("tcp", addr) })
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				serve(conn)
			}()
		}
	}()
}

// put writes a file of a running host.
func put(t *testing.T, h *lab.Host, path, text string) {
	t.Helper()
	file := h.Path(path)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// addTo appends to a file of a running host.
func addTo(t *testing.T, h *lab.Host, path, text string) {
	t.Helper()
	old, err := os.ReadFile(h.Path(path))
	if err != nil {
		t.Fatal(err)
	}
	put(t, h, path, string(old)+text)
}

// readFile reads a file of a running host.
func readFile(t *testing.T, h *lab.Host, path string) string {
	t.Helper()
	text, err := os.ReadFile(h.Path(path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
