package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	maxOutput  = 64 << 20 // bytes of what a program of Portage's may print where we read it
	depthName  = "LANTAGE_DEPTH"
	maxDepth   = 4
	outputWait = 2 * time.Second // for the children of a program that ended and left its output open
)

// tools runs Portage's programs on this machine.
type tools struct {
	environ        []string // what they inherit
	stdin          io.Reader
	stdout, stderr io.Writer
	onlyShow       bool     // nothing may take this process's place
	portage        *portage // once it is loaded
}

// errOutputTooLarge is more output than anybody would read.
var errOutputTooLarge = fmt.Errorf("more than %d MiB of output", maxOutput>>20)

// load starts Portage and returns the values of these of its variables that are set. It runs until end.
func (t *tools) load(ctx context.Context, names ...string) (map[string]string, error) {
	var err error
	if t.portage, err = startPortage(ctx, t, names...); err != nil {
		return nil, err
	}
	return t.portage.vars, nil
}

// end ends what still runs.
func (t *tools) end() { t.portage.close() }

// find looks a program up on PATH and then where Gentoo has it. It never returns this very program, which
// somebody may have installed under the name emerge.
func (t *tools) find(name string) (string, error) {
	self, _ := os.Stat("/proc/self/exe")
	dirs := append(filepath.SplitList(lookupEnv(t.environ, "PATH")), "/usr/bin", "/usr/sbin")
	if filepath.IsAbs(name) {
		dirs = []string{"/"}
	}
	for _, dir := range dirs {
		path := filepath.Join(dir, name)
		info, err := os.Stat(path)
		if err != nil || !info.Mode().IsRegular() || info.Mode()&0o111 == 0 || os.SameFile(info, self) {
			continue
		}
		return path, nil
	}
	return "", fmt.Errorf("%s was not found on PATH: `lantage emerge` needs Portage on this machine", name)
}

// env is the environment for a program: what we were given, a mark against calling ourselves for ever, and
// extra.
func (t *tools) env(extra ...string) ([]string, error) {
	depth, _ := strconv.Atoi(lookupEnv(t.environ, depthName))
	if depth >= maxDepth {
		return nil, errors.New("the emerge on PATH calls Lantage, which calls emerge again; " +
			"make sure that PATH leads to Portage's own emerge")
	}
	env := slices.DeleteFunc(slices.Clone(t.environ), func(v string) bool { // builds would have them in their environment
		return strings.HasPrefix(v, "LANTAGE_")
	})
	env = append(env, depthName+"="+strconv.Itoa(depth+1))
	return append(env, extra...), nil // the last of equal names counts
}

// command prepares a program. When ctx ends it gets an interrupt, as from Ctrl-C, and the time to clean up.
func (t *tools) command(ctx context.Context, name string, args []string, env ...string) (*exec.Cmd, error) {
	path, err := t.find(name)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, path, args...)
	if cmd.Env, err = t.env(env...); err != nil {
		return nil, err
	}
	cmd.Args[0] = name
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	return cmd, nil
}

// show runs a program that talks to the user itself. Its exit status is the error's.
func (t *tools) show(ctx context.Context, name string, args []string, env ...string) error {
	cmd, err := t.command(ctx, name, args, env...)
	if err != nil {
		return err
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = t.stdin, t.stdout, t.stderr
	return passOn(cmd.Run())
}

// captured is what a program printed, and its exit status.
type captured struct {
	stdout, stderr string
	status         int
}

// capture runs a program with nothing to read from and returns what it prints. An exit status other than 0
// is no error.
func (t *tools) capture(ctx context.Context, name string, args []string, env ...string) (captured, error) {
	cmd, err := t.command(ctx, name, args, env...)
	if err != nil {
		return captured{}, err
	}
	var stdout, stderr limitedBuffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.WaitDelay = outputWait
	err = cmd.Run()
	out := captured{stdout: stdout.kept.String(), stderr: stderr.kept.String()}
	if ctx.Err() != nil {
		return out, ctx.Err()
	}
	if ended, ok := errors.AsType[*exec.ExitError](err); ok {
		out.status, err = statusOf(ended), nil
	}
	if stdout.full || stderr.full {
		err = errOutputTooLarge
	}
	if err != nil {
		return out, fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err)
	}
	return out, nil
}

// replace hands this process over to the program. Where our streams are not the process's own it runs it
// instead.
func (t *tools) replace(ctx context.Context, name string, args []string) error {
	if t.onlyShow {
		return errOnlyEmerge
	}
	t.end()
	if t.stdin != os.Stdin || t.stdout != os.Stdout || t.stderr != os.Stderr {
		return t.show(ctx, name, args)
	}
	path, err := t.find(name)
	if err != nil {
		return err
	}
	env, err := t.env()
	if err != nil {
		return err
	}
	return fmt.Errorf("run %s: %w", path, syscall.Exec(path, append([]string{name}, args...), env))
}

// statusOf is the exit status as a shell shows it.
func statusOf(e *exec.ExitError) int {
	if ws, ok := e.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return e.ExitCode()
}

// limitedBuffer keeps maxOutput bytes and drops the rest, so that whoever writes is never held up.
type limitedBuffer struct {
	kept bytes.Buffer // not embedded: its ReadFrom knows no limit
	full bool
}

func (b *limitedBuffer) Write(p []byte) (int, error) {
	if b.kept.Len()+len(p) > maxOutput {
		b.full = true
		return len(p), nil
	}
	return b.kept.Write(p)
}

// lookupEnv returns a variable's value; of equal names the last counts, as it does for programs that are
// started.
func lookupEnv(environ []string, name string) string {
	for _, e := range slices.Backward(environ) {
		if n, value, ok := strings.Cut(e, "="); ok && n == name {
			return value
		}
	}
	return ""
}
