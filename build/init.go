package build

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// initMain is PID 1 of the build root's namespaces. When it ends, the kernel ends every other process of the job. It makes the root
// its own, and then becomes, by the same program started anew, a process that can do no more than its job may: of this one
// threads would be left that can.
func initMain() (int, error) {
	runtime.LockOSThread()
	spec, err := readSpec(specFD)
	if err != nil {
		return 0, err
	}
	if spec.HostName != "" { // builds write it into what they make
		if err := unix.Sethostname([]byte(spec.HostName)); err != nil {
			return 0, fmt.Errorf("cannot call the build root %q: %w", spec.HostName, err)
		}
	}
	for _, step := range []func(*rootSpec) error{enterRoot, mountInside, pivot, limitNamespaces, maskKernel, confine} {
		if err := step(spec); err != nil {
			return 0, err
		}
	}
	for _, fd := range []int{specFD, readyFD} {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0); err != nil {
			return 0, err
		}
	}
	err = unix.Exec("/proc/self/exe", []string{"lantage", "build-root", "confined"}, []string{})
	return 0, fmt.Errorf("cannot go on in the build root: %w", err)
}

// confinedMain is what initMain becomes: it proves that it cannot get out, runs the job's program, and reaps.
func confinedMain() (int, error) {
	runtime.LockOSThread()
	spec, err := readSpec(specFD)
	if err != nil {
		return 0, err
	}
	if err := prove(spec); err != nil {
		return 0, fmt.Errorf("the build root does not isolate, so nothing is run in it: %w", err)
	}
	if len(spec.Argv) == 0 {
		return 0, nil
	}
	return runAndReap(spec)
}

// enterRoot makes the working directory, where setup has mounted the build root, a mount of this namespace
// (pivot_root wants one) and goes there. All is relative to it: root inside may not pass the directories
// above it.
func enterRoot(*rootSpec) error {
	fd, err := unix.OpenTree(unix.AT_FDCWD, ".", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if err != nil {
		return fmt.Errorf("open_tree of the build root: %w", err)
	}
	defer unix.Close(fd)
	if err := unix.MoveMount(fd, "", unix.AT_FDCWD, ".", unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("mounting the build root: %w", err)
	}
	return unix.Fchdir(fd)
}

// memoryDirs are what is in memory in a build root, and which part of the job's memory it may take.
var memoryDirs = []struct {
	dir, mode string
	part      int64
}{{"run", "755", 16}, {"tmp", "1777", 2}, {"dev/shm", "1777", 2}}

// mountInside mounts what a running system has besides its files. These mounts belong to the job's own user
// namespace.
func mountInside(spec *rootSpec) error {
	const plain = unix.MS_NOSUID | unix.MS_NODEV
	if err := unix.Mount("proc", "proc", "proc", plain|unix.MS_NOEXEC, ""); err != nil {
		return &os.PathError{Op: "mount proc", Path: "/proc", Err: err}
	}
	if err := unix.Mount("tmpfs", "dev", "tmpfs", unix.MS_NOSUID, "mode=755,size=1m"); err != nil {
		return &os.PathError{Op: "mount tmpfs", Path: "/dev", Err: err}
	}
	if err := fillDev("dev"); err != nil {
		return err
	}
	for _, m := range memoryDirs {
		options := "mode=" + m.mode
		if spec.Limits.Memory > 0 {
			options += fmt.Sprintf(",size=%d", spec.Limits.Memory/m.part)
		}
		if err := unix.Mount("tmpfs", m.dir, "tmpfs", plain, options); err != nil {
			return &os.PathError{Op: "mount tmpfs", Path: m.dir, Err: err}
		}
	}
	return nil
}

// deviceNodes are what programs expect in /dev.
var deviceNodes = []string{"null", "zero", "full", "random", "urandom", "tty"}

// fillDev makes a /dev with deviceNodes and no other.
func fillDev(dev string) error {
	for _, name := range deviceNodes {
		node := filepath.Join(dev, name)
		f, err := os.Create(node)
		if err != nil {
			return err
		}
		f.Close()
		if err := unix.Mount("/dev/"+name, node, "", unix.MS_BIND, ""); err != nil {
			return &os.PathError{Op: "bind", Path: node, Err: err}
		}
	}
	for _, d := range []string{"pts", "shm"} {
		if err := os.Mkdir(filepath.Join(dev, d), 0o755); err != nil {
			return err
		}
	}
	if err := unix.Mount("devpts", dev+"/pts", "devpts", unix.MS_NOSUID|unix.MS_NOEXEC,
		"newinstance,ptmxmode=0666,mode=0620,gid=5"); err != nil {
		return &os.PathError{Op: "mount devpts", Path: "/dev/pts", Err: err}
	}
	for link, target := range map[string]string{
		"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1",
		"stderr": "/proc/self/fd/2", "ptmx": "pts/ptmx",
	} {
		if err := os.Symlink(target, filepath.Join(dev, link)); err != nil {
			return err
		}
	}
	return nil
}

// pivot makes the working directory the root of this mount namespace and lets go of everything else.
func pivot(*rootSpec) error {
	// The old root is stacked over the new one and taken off again: no directory for it is needed
	// (pivot_root(2), NOTES).
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot_root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("cannot let go of the builder's file systems: %w", err)
	}
	return os.Chdir("/")
}

// runAndReap runs the job's program and, being PID 1, waits for every orphan. It returns the program's exit
// code.
func runAndReap(spec *rootSpec) (int, error) {
	null, err := os.Open("/dev/null")
	if err != nil {
		return 0, err
	}
	p, err := os.StartProcess(spec.Argv[0], spec.Argv, &os.ProcAttr{
		Dir: "/", Env: spec.Env, Files: []*os.File{null, os.Stdout, os.Stderr},
		Sys: &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL},
	})
	if err != nil {
		return 0, fmt.Errorf("cannot run %s in the build root: %w", spec.Argv[0], err)
	}
	syscall.Close(readyFD)
	for {
		var st syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &st, 0, nil)
		switch {
		case err == syscall.EINTR:
		case err != nil:
			return 0, fmt.Errorf("wait: %w", err)
		case pid == p.Pid && (st.Exited() || st.Signaled()):
			return exitCode(st), nil
		}
	}
}
