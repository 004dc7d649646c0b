package build

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
)

// process is a running build root.
type process struct {
	started <-chan error // nil once emerge runs, else why the build root could not be made
	done    <-chan struct{}
	code    int   // the exit code of what ran, valid after done
	err     error // a fault of this machine, valid after done
}

// start makes the build root that spec describes and runs spec.Argv in it with its output in the file
// output. When ctx ends, or the job passes one of its limits, all of it is killed. After done no process and no mount of it is left.
func (r *Runner) start(ctx context.Context, spec *rootSpec, output *os.File) *process {
	started, done := make(chan error, 1), make(chan struct{})
	p := &process{started: started, done: done}
	go func() {
		// The children die with the thread that started them (prctl(2), PR_SET_PDEATHSIG), so this one is
		// kept.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(done)
		p.code, p.err = r.limited(ctx, spec, output, started)
	}()
	return p
}

// limited is run within the job's limits.
func (r *Runner) limited(ctx context.Context, spec *rootSpec, output *os.File, started chan<- error) (int, error) {
	spec.Limits = r.Limits.on(spec.Dir)
	group, err := r.groups.forJob(filepath.Base(spec.Dir), spec.Limits)
	if err != nil {
		err = fmt.Errorf("cannot make a control group: %w", err)
		started <- err
		return 0, err
	}
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	writes := []string{spec.Dir}
	for _, b := range spec.Binds {
		if b.IDMap && !b.ReadOnly && !insideOne([]string{spec.Dir}, b.Source) {
			writes = append(writes, b.Source)
		}
	}
	newWatch(spec.Limits, r.groups, group, spec.FirstID, []string{output.Name(), filepath.Join(spec.Dir, "logs")}, writes).run(ctx, end)
	code, err := run(ctx, spec, output, group, started)
	over, _ := errors.AsType[*LimitError](context.Cause(ctx))
	if killed := group.exceeded(); over == nil && killed != nil { // faster than the watch has looked
		over, _ = errors.AsType[*LimitError](killed)
	}
	if err := group.remove(); err != nil {
		r.Logger.Warn("a control group could not be removed", "error", err)
	}
	if over != nil {
		return 0, over
	}
	return code, err
}

func run(ctx context.Context, spec *rootSpec, output *os.File, group *cgroup, started chan<- error) (int, error) {
	fail := func(err error) (int, error) { started <- err; return 0, err }
	specFile, err := spec.file()
	if err != nil {
		return fail(err)
	}
	defer specFile.Close()
	readyRead, readyWrite, err := os.Pipe()
	if err != nil {
		return fail(err)
	}
	defer readyRead.Close()
	attr := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS, Setpgid: true}
	if group != nil {
		attr.UseCgroupFD, attr.CgroupFD = true, int(group.file.Fd())
	}
	cmd := child("setup", attr, specFile, readyWrite)
	cmd.Stdout, cmd.Stderr = output, output
	err = cmd.Start()
	readyWrite.Close()
	if err != nil {
		if errors.Is(err, syscall.EPERM) {
			err = fmt.Errorf("cannot make a mount namespace: %w; lantage serve must run as root", err)
		}
		return fail(err)
	}
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Signal(syscall.SIGTERM) })
	defer stop()
	text, _ := io.ReadAll(io.LimitReader(readyRead, 64<<10))
	if len(text) > 0 {
		err = errors.New(string(text))
	}
	started <- err
	waitErr := cmd.Wait()
	if err != nil {
		return 0, err
	}
	if exit, ok := errors.AsType[*exec.ExitError](waitErr); ok {
		return exitCode(exit.Sys().(syscall.WaitStatus)), nil
	}
	return 0, waitErr
}
