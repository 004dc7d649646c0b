package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"lantage/test/lab"
)

// process is a command of a host that runs while we look at it.
type process struct {
	name string
	cmd  *exec.Cmd
	pid  int
	done chan struct{}
	err  error

	mu   sync.Mutex
	out  bytes.Buffer
	more chan struct{} // closed and made anew with each write
	mark string        // a text to take the time of
	when time.Time     // when it was printed last
	peak int           // the largest VmHWM that was seen, KiB
}

func start(ctx context.Context, h *host, args ...string) (*process, error) {
	p := &process{name: strings.Join(args, " "), done: make(chan struct{}), more: make(chan struct{})}
	p.cmd = h.Command(ctx, args[0], args[1:]...)
	p.cmd.Stdout, p.cmd.Stderr = p, p
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { p.err = p.cmd.Wait(); close(p.done) }()
	var err error
	p.pid, err = lab.PID(p.cmd)
	return p, err
}

func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.out.Write(b)
	if p.mark != "" && bytes.Contains(b, []byte(p.mark)) {
		p.when = time.Now()
	}
	close(p.more)
	p.more = make(chan struct{})
	return len(b), nil
}

func (p *process) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.String()
}

// await waits until the process has printed text n times.
func (p *process) await(ctx context.Context, text string, n int) error {
	for {
		p.mu.Lock()
		found, more := bytes.Count(p.out.Bytes(), []byte(text)) >= n, p.more
		p.mu.Unlock()
		if found {
			return nil
		}
		select {
		case <-more:
		case <-p.done:
			return fmt.Errorf("%s ended without saying %q; it said:\n%s", p.name, text, p)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// wait waits for the end and, until then, watches the memory.
func (p *process) wait() error {
	t := time.NewTicker(5 * time.Millisecond)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			p.look()
		case <-p.done:
			if p.err != nil {
				return fmt.Errorf("%s: %w; it said:\n%s", p.name, p.err, p)
			}
			return nil
		}
	}
}

// look takes note of the peak of resident memory (proc_pid_status(5), VmHWM), and returns it in KiB.
func (p *process) look() int {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.pid))
	_, rest, _ := strings.Cut(string(b), "VmHWM:")
	field, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	n, _ := strconv.Atoi(field)
	p.peak = max(p.peak, n)
	return p.peak
}

// cpuNow is how long the process has kept cores busy, without its children (proc_pid_stat(5), utime and stime).
func (p *process) cpuNow() time.Duration {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.pid))
	_, rest, _ := strings.Cut(string(b), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * tick
}

// tick is the unit of times in /proc: all of Linux's platforms that we run on have 100 a second.
const tick = time.Second / 100

// cores is how long the machine's cores were idle so far, and at all there.
type cores struct{ idle, all int }

// coresNow reads it (proc_stat(5)); waiting for a disk is idle.
func coresNow() (c cores) {
	b, _ := os.ReadFile("/proc/stat")
	line, _, _ := strings.Cut(string(b), "\n")
	for i, field := range strings.Fields(line)[1:] {
		n, _ := strconv.Atoi(field)
		if i < 8 { // guests' times are in the users' as well
			c.all += n
		}
		if i == 3 || i == 4 {
			c.idle += n
		}
	}
	return c
}

// since is the share of the cores that was busy since then, of 1.
func (c cores) since(then cores) float64 {
	all := c.all - then.all
	if all == 0 {
		return 0
	}
	return 1 - float64(c.idle-then.idle)/float64(all)
}

// forget begins a new peak (proc_pid_clear_refs(5)).
func (p *process) forget() error {
	p.peak = 0
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", p.pid), []byte("5"), 0)
}

func (p *process) stop() {
	_ = signalTo(p.cmd, syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(10 * time.Second):
		_ = signalTo(p.cmd, syscall.SIGKILL)
	}
}
