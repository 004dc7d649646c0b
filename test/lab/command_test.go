package lab_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lantage/test/lab"
)

func TestSignals(t *testing.T) {
	t.Parallel()
	tower, lappy := two(t)
	for _, h := range []*lab.Host{tower, lappy} {
		// A signal to the command reaches the program, and no other process.
		cmd := h.Command(t.Context(), "bash", "-c", `trap 'kill $!; echo caught; exit 7' TERM
			sleep 100 & echo ready; wait`)
		out := untilReady(t, cmd, func() error { return cmd.Process.Signal(syscall.SIGTERM) })
		if out != "caught" {
			t.Errorf("SIGTERM: the program says %q", out)
		}
		if code := cmd.ProcessState.ExitCode(); code != 7 {
			t.Errorf("SIGTERM: exit status %d, want the program's own, 7", code)
		}
		// Ctrl-C reaches its children, too.
		cmd = h.Command(t.Context(), "bash", "-c", `trap 'wait; echo caught' INT
			bash -c 'trap "echo child; exit" INT; echo ready; while :; do sleep 0.01; done'`)
		if out := untilReady(t, cmd, func() error { return lab.Interrupt(cmd) }); out != "child\ncaught" {
			t.Errorf("Ctrl-C: the programs say %q", out)
		}
		// Death by a signal is told as a shell tells it.
		cmd = h.Command(t.Context(), "sh", "-c", "echo ready; kill -9 $$")
		untilReady(t, cmd, func() error { return nil })
		if code := cmd.ProcessState.ExitCode(); code != 128+9 {
			t.Errorf("SIGKILL: exit status %d, want %d", code, 128+9)
		}
		// With its context, a command ends with its whole group.
		ctx, cancel := context.WithCancel(t.Context())
		cmd = h.Command(ctx, "sh", "-c", "sleep 1000 & echo ready; wait")
		untilReady(t, cmd, func() error { cancel(); return nil })
		eventually(t, func() error {
			if out, _, code := h.Run(t.Context(), "pgrep", "-a", "sleep"); code != 1 {
				return fmt.Errorf("still running on %s: %s", h.Name, out)
			}
			return nil
		})
		cancel()
	}
}

// A program with a terminal reads from it and is reached by its Ctrl-C, and the environment may be changed.
func TestTerminal(t *testing.T) {
	t.Parallel()
	_, lappy := two(t)
	terminal, slave := openTerminal(t)
	cmd := lappy.Command(t.Context(), "bash", "-c", `trap 'echo caught; exit 7' INT
		echo $TERM; read x; echo got $x; while :; do sleep 0.01; done`)
	cmd.Env = append(cmd.Env, "TERM=xterm")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	slave.Close()
	for _, step := range []struct{ wait, write string }{
		{"xterm", "it\n"},
		{"got it", "\x03"},
		{"caught", ""},
	} {
		var said strings.Builder
		for buf := make([]byte, 1); !strings.Contains(said.String(), step.wait); {
			if _, err := terminal.Read(buf); err != nil {
				t.Fatalf("waiting for %q after %q: %v", step.wait, said.String(), err)
			}
			said.Write(buf)
		}
		if _, err := terminal.WriteString(step.write); err != nil {
			t.Fatal(err)
		}
	}
	if _ = cmd.Wait(); cmd.ProcessState.ExitCode() != 7 {
		t.Errorf("exit status %d, want the program's own, 7", cmd.ProcessState.ExitCode())
	}
}

// openTerminal makes a pseudo-terminal; reading from it fails after a while.
func openTerminal(t *testing.T) (terminal, slave *os.File) {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	terminal = os.NewFile(uintptr(fd), "terminal")
	t.Cleanup(func() { terminal.Close() })
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := terminal.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return terminal, slave
}

// untilReady starts a command, waits for its line "ready", does something to it, and returns what else it
// says.
func untilReady(t *testing.T, cmd *exec.Cmd, do func() error) string {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var word string
	if _, err := fmt.Fscanln(out, &word); err != nil || word != "ready" {
		t.Fatalf("%q says %q, %v", cmd.Args, word, err)
	}
	if err := do(); err != nil {
		t.Fatal(err)
	}
	var rest strings.Builder
	buf := make([]byte, 512)
	for {
		n, err := out.Read(buf)
		rest.Write(buf[:n])
		if err != nil {
			break
		}
	}
	_ = cmd.Wait()
	return strings.TrimSpace(rest.String())
}

// eventually waits until f has nothing to complain about.
func eventually(t *testing.T, f func() error) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Error(err)
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}
