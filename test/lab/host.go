package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Host is one machine of a lab.
type Host struct {
	Name string

	number int
	pid    int
}

// PID is the host's process 1 as this machine numbers it: `nsenter -a -t PID` enters the host.
func (h *Host) PID() int { return h.pid }

// IP is the host's IPv4 address.
func (h *Host) IP() string { return ipv4(h.number) }

// IP6 is the host's global IPv6 address.
func (h *Host) IP6() string { return ipv6(h.number) }

// Path is where this machine finds the host's file: for reading and writing it from a test. An absolute
// symbolic link on the way leads to this machine's file, not the host's.
func (h *Host) Path(path string) string {
	return filepath.Join(fmt.Sprintf("/proc/%d/root", h.pid), path)
}

// environment is all that a host's commands inherit.
var environment = []string{
	"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
	"HOME=/root",
	"LC_ALL=C.UTF-8",
	"TERM=dumb",
	"LANTAGE_ACCEPT_NEW=true", // mostly nobody is there to be asked
}

// Command returns a command that runs a program on the host, as root, in /root, with a clean environment;
// name is looked up there. The process that it starts only waits for the program: signals sent to it are
// passed on to the program (just that one, see [Interrupt] for Ctrl-C), and it ends with the program's exit
// status, 128 + n after signal n. When it is killed, or ctx ends, the program is killed too, and with ctx
// the program's process group. Cmd.Dir and Cmd.ExtraFiles mean nothing here.
func (h *Host) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	return Enter(ctx, h.pid, name, args...)
}

// Enter is [Host.Command] for a host of another process's lab, of which only the process 1 is known.
func Enter(ctx context.Context, pid int, name string, args ...string) *exec.Cmd {
	self := again(roleEnter, append([]string{strconv.Itoa(pid), name}, args...)...)
	cmd := exec.CommandContext(ctx, self.Path)
	cmd.Args = self.Args
	cmd.Env = environment
	cmd.WaitDelay = 10 * time.Second // not for ever, when something left behind holds the output open
	cmd.Cancel = func() error {
		if pid := child(cmd.Process.Pid); pid != 0 {
			_ = syscall.Kill(-pid, syscall.SIGKILL)
		}
		return cmd.Process.Kill()
	}
	return cmd
}

// Run runs a program on the host and returns what it printed and its exit status: -1 if it could not be
// started, with the reason in stderr.
func (h *Host) Run(ctx context.Context, name string, args ...string) (stdout, stderr string, code int) {
	cmd := h.Command(ctx, name, args...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	if cmd.ProcessState == nil {
		return "", err.Error(), -1
	}
	return out.String(), errOut.String(), cmd.ProcessState.ExitCode()
}

// PID returns the process ID, as this machine numbers it, of the program that a started Host.Command runs. It
// waits until the program runs. The program leads a process group of the same number.
func PID(cmd *exec.Cmd) (int, error) {
	for range 1000 {
		if pid := child(cmd.Process.Pid); pid != 0 {
			return pid, nil
		}
		if _, err := os.Stat(fmt.Sprintf("/proc/%d/fd/0", cmd.Process.Pid)); err != nil {
			break // it has ended
		}
		time.Sleep(5 * time.Millisecond)
	}
	return 0, fmt.Errorf("lab: %s does not run", strings.Join(cmd.Args[2:], " "))
}

// Interrupt does what Ctrl-C at a terminal does: it sends SIGINT to the program that a started Host.Command
// runs, and to all processes of its group.
func Interrupt(cmd *exec.Cmd) error {
	pid, err := PID(cmd)
	if err != nil {
		return err
	}
	return syscall.Kill(-pid, syscall.SIGINT)
}

// dieWithParent is the beginning of a command that runs another one in its own place, to be killed when its
// parent ends.
var (
	dieWithParent = []string{"setpriv", "--pdeathsig", "KILL", "--"}
	setpriv       = []byte(strings.Join(dieWithParent, "\x00"))
)

// child returns the program that process pid, in the role enter, waits for; 0 if it does not run (yet).
func child(pid int) int {
	self, err := commandLine(pid)
	if err != nil {
		return 0
	}
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, list := range lists {
		data, _ := os.ReadFile(list)
		for _, field := range strings.Fields(string(data)) {
			// First it is a fork that still bears this name, then setpriv, then the program.
			c, _ := strconv.Atoi(field)
			name, err := commandLine(c)
			if err == nil && !bytes.Equal(name, self) && !bytes.HasPrefix(name, setpriv) {
				return c
			}
		}
	}
	return 0
}

func commandLine(pid int) ([]byte, error) {
	return os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
}

// enter is the role of the process that Command starts: it runs a program in the namespaces of process
// args[0] and returns its exit status.
func enter(args []string) (int, error) {
	pid, err := strconv.Atoi(args[0])
	if err != nil {
		return 0, err
	}
	if err := join(pid); err != nil {
		return 0, fmt.Errorf("entering the host: %w (is the lab still up?)", err)
	}
	unix.Umask(0o022)
	if _, err := exec.LookPath(args[1]); err != nil {
		return 0, err
	}
	// SysProcAttr.Pdeathsig does not work into another PID namespace.
	cmd := exec.Command(dieWithParent[0], slices.Concat(dieWithParent[1:], args[1:])...)
	cmd.Dir, cmd.Env = "/root", os.Environ() // nothing is added to that: no PWD
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if _, err := unix.IoctlGetInt(0, unix.TIOCGPGRP); err == nil {
		// Its own terminal: the program must be in the foreground, to read from it and to be reached by
		// Ctrl-C.
		cmd.SysProcAttr.Foreground = true
		signal.Ignore(syscall.SIGTTOU)
	}
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGUSR1,
		syscall.SIGUSR2, syscall.SIGWINCH)
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	go func() {
		for s := range signals {
			_ = cmd.Process.Signal(s)
		}
	}()
	err = cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		status := exit.Sys().(syscall.WaitStatus)
		if status.Signaled() {
			return 128 + int(status.Signal()), nil
		}
		return status.ExitStatus(), nil
	}
	return 0, err
}

// join moves the calling thread into the namespaces of process pid; programs started by this thread are
// there, in the PID namespace too. The caller holds the thread.
func join(pid int) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	// A thread that shares its root and working directory with others may not change its mount namespace.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return err
	}
	return unix.Setns(fd, hostNamespaces)
}
