package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"lantage/test/lab"
)

// binary is the program under test, built once for the run.
var binary string

func TestMain(m *testing.M) {
	lab.Main()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "lantage-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "lantage")
	build := exec.Command("go", "build", "-trimpath", "-o", binary, "lantage")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "building lantage:", err)
		return 1
	}
	return m.Run()
}

// clientConf is a client's make.conf: its own USE flags and CFLAGS, to be seen in what hello prints.
func clientConf(use, mark string) string {
	return fmt.Sprintf("USE=%q\nCFLAGS=\"-O1 -pipe -DMARK=%s\"\n", use, mark)
}

// newLab makes a lab for one test.
func newLab(t *testing.T, hosts ...lab.HostSpec) *lab.Lab {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	l, err := lab.New(ctx, lab.Options{Hosts: hosts, Binary: binary})
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// pair is the usual lab: a builder "tower" and a client "lappy".
func pair(t *testing.T, clientFiles map[string]string) (l *lab.Lab, tower, lappy *lab.Host) {
	t.Helper()
	l = newLab(t, lab.HostSpec{Name: "tower", Builder: true}, lab.HostSpec{Name: "lappy", Files: clientFiles})
	return l, l.Host("tower"), l.Host("lappy")
}

// daemon is a running `lantage serve`.
type daemon struct {
	t    *testing.T
	cmd  *exec.Cmd
	log  *watched
	done chan struct{}
	err  error
}

// serve starts a daemon and waits until it is ready. Unless the flags name the bases it offers its own root alone: most
// promises do not depend on the base, and clients' roots take their time to be copied.
func serve(t *testing.T, h *lab.Host, flags ...string) *daemon {
	t.Helper()
	d := startDaemon(t, h, flags...)
	d.log.wait(t, "ready for jobs")
	return d
}

func startDaemon(t *testing.T, h *lab.Host, flags ...string) *daemon {
	t.Helper()
	if !slices.ContainsFunc(flags, func(f string) bool { return strings.HasPrefix(f, "--bases") }) {
		flags = append(flags, "--bases=host")
	}
	return daemonBy(t, h, h.Command(context.Background(), "lantage", append([]string{"serve"}, flags...)...))
}

// daemonBy starts the command of a daemon, which ends with the test.
func daemonBy(t *testing.T, h *lab.Host, cmd *exec.Cmd) *daemon {
	t.Helper()
	d := &daemon{t: t, cmd: cmd, log: newWatched(), done: make(chan struct{})}
	d.cmd.Stdout, d.cmd.Stderr = d.log, d.log
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { d.err = d.cmd.Wait(); d.log.end(); close(d.done) }()
	t.Cleanup(func() {
		d.stop(syscall.SIGTERM)
		if t.Failed() {
			t.Logf("the daemon on %s said:\n%s", h.Name, d.log)
		}
	})
	return d
}

// stop ends the daemon and waits for it.
func (d *daemon) stop(sig syscall.Signal) {
	select {
	case <-d.done:
		return
	default:
	}
	_ = signal(d.cmd, sig)
	select {
	case <-d.done:
	case <-time.After(20 * time.Second):
		d.t.Errorf("the daemon does not end after signal %v", sig)
		_ = signal(d.cmd, syscall.SIGKILL)
		<-d.done
	}
}

// signal sends the daemon a signal.
func (d *daemon) signal(sig syscall.Signal) {
	d.t.Helper()
	if err := signal(d.cmd, sig); err != nil {
		d.t.Fatal(err)
	}
}

// result is what a command did.
type result struct {
	out  string // standard output and error, in order
	code int
}

// in runs a command on a host with nothing on its standard input and no terminal.
func in(t *testing.T, h *lab.Host, env []string, name string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	cmd := h.Command(ctx, "env", append(append([]string{}, env...), append([]string{name}, args...)...)...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if ctx.Err() != nil {
		t.Fatalf("%s %q on %s takes too long; it said:\n%s", name, args, h.Name, out.String())
	}
	if err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return result{out.String(), cmd.ProcessState.ExitCode()}
}

// lantage runs the program on a host.
func lantage(t *testing.T, h *lab.Host, args ...string) result {
	t.Helper()
	return in(t, h, nil, "lantage", args...)
}

// ok stops the test unless the command ended well.
func (r result) ok(t *testing.T) result {
	t.Helper()
	return r.is(t, 0)
}

// is stops the test unless the command ended with this status.
func (r result) is(t *testing.T, code int) result {
	t.Helper()
	if r.code != code {
		t.Fatalf("exit status %d, want %d; it said:\n%s", r.code, code, r.out)
	}
	return r
}

// says stops the test unless all of these texts were printed.
func (r result) says(t *testing.T, texts ...string) result {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(r.out, text) {
			t.Fatalf("it does not say %q; it said:\n%s", text, r.out)
		}
	}
	return r
}

// saysNot stops the test if one of these texts was printed.
func (r result) saysNot(t *testing.T, texts ...string) result {
	t.Helper()
	for _, text := range texts {
		if strings.Contains(r.out, text) {
			t.Fatalf("it says %q; it said:\n%s", text, r.out)
		}
	}
	return r
}

// watched is output that a test can wait on.
type watched struct {
	mu    sync.Mutex
	buf   bytes.Buffer
	more  chan struct{} // closed and made anew with each write
	ended bool
}

func newWatched() *watched { return &watched{more: make(chan struct{})} }

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.buf.Write(p)
	close(w.more)
	w.more = make(chan struct{})
	return len(p), nil
}

func (w *watched) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
	close(w.more)
	w.more = make(chan struct{})
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.String()
}

// wait waits until text was written.
func (w *watched) wait(t *testing.T, text string) {
	t.Helper()
	deadline := time.After(2 * time.Minute)
	for {
		w.mu.Lock()
		found, ended, more := strings.Contains(w.buf.String(), text), w.ended, w.more
		w.mu.Unlock()
		switch {
		case found:
			return
		case ended:
			t.Fatalf("it ended without saying %q; it said:\n%s", text, w)
		}
		select {
		case <-more:
		case <-deadline:
			t.Fatalf("it does not say %q; it said:\n%s", text, w)
		}
	}
}

// running is a command that a test talks to.
type running struct {
	t    *testing.T
	cmd  *exec.Cmd
	out  *watched
	done chan struct{}
	tty  *os.File // nil: no terminal
}

// start starts lantage on a host, without a terminal.
func start(t *testing.T, h *lab.Host, args ...string) *running {
	t.Helper()
	r := &running{t: t, out: newWatched(), done: make(chan struct{})}
	r.cmd = h.Command(context.Background(), "lantage", args...)
	r.cmd.Stdout, r.cmd.Stderr = r.out, r.out
	r.run(nil)
	return r
}

// startTTY starts lantage on a host in a terminal of the given width.
func startTTY(t *testing.T, h *lab.Host, columns int, args ...string) *running {
	t.Helper()
	master, slave := openTTY(t, columns)
	r := &running{t: t, out: newWatched(), done: make(chan struct{}), tty: master}
	r.cmd = h.Command(context.Background(), "env", append([]string{"TERM=xterm", "lantage"}, args...)...)
	r.cmd.Stdin, r.cmd.Stdout, r.cmd.Stderr = slave, slave, slave
	shown := make(chan struct{}) // all that was written to the terminal has been read
	r.run(shown)
	slave.Close()
	go func() {
		_, _ = io.Copy(r.out, master) // ends when nobody has the terminal open any more
		close(shown)
	}()
	return r
}

// run starts the command; it is done when it has ended and shown, if there is one, is closed.
func (r *running) run(shown <-chan struct{}) {
	r.t.Helper()
	if err := r.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	go func() {
		_ = r.cmd.Wait()
		if shown != nil {
			<-shown
		}
		r.out.end()
		close(r.done)
	}()
	r.t.Cleanup(func() {
		select {
		case <-r.done:
		default:
			_ = signal(r.cmd, syscall.SIGKILL)
			<-r.done
		}
		if r.tty != nil {
			r.tty.Close()
		}
	})
}

// end waits for the command's end, no longer than limit.
func (r *running) end(limit time.Duration) result {
	r.t.Helper()
	select {
	case <-r.done:
	case <-time.After(limit):
		r.t.Fatalf("it does not end within %v; it said:\n%s", limit, r.out)
	}
	return result{r.out.String(), r.cmd.ProcessState.ExitCode()}
}

// signal sends the command a signal, and only the command: a terminal's Ctrl-C reaches its children too.
func (r *running) signal(sig syscall.Signal) {
	r.t.Helper()
	if err := signal(r.cmd, sig); err != nil {
		r.t.Fatal(err)
	}
}

// signal sends a signal to what a host's command runs.
func signal(cmd *exec.Cmd, sig syscall.Signal) error {
	pid, err := lab.PID(cmd)
	if err != nil {
		return err
	}
	return syscall.Kill(pid, sig)
}
