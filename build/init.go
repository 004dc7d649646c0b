package build

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// initMain is PID 1 of the build root's namespaces. When it ends, the kernel ends every other process of
// the job.
func initMain() (int, error) {
	runtime.LockOSThread()
	spec, err := readSpec(os.NewFile(specFD, "spec"))
	if err != nil {
		return 0, err
	}
	if spec.HostName != "" { // builds write it into what they make
		if err := unix.Sethostname([]byte(spec.HostName)); err != nil {
			return 0, fmt.Errorf("cannot call the build root %q: %w", spec.HostName, err)
		}
	}
	if err := enterRoot(); err != nil {
		return 0, err
	}
	if err := mountInside(); err != nil {
		return 0, err
	}
	if err := pivot(); err != nil {
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
func enterRoot() error {
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

// mountInside mounts what a running system has besides its files. These mounts belong to the job's own user
// namespace.
func mountInside() error {
	for _, m := range []struct {
		fstype, dir, data string
		flags             uintptr
	}{
		{"proc", "proc", "", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
		{"tmpfs", "run", "mode=755", unix.MS_NOSUID | unix.MS_NODEV},
		{"tmpfs", "tmp", "mode=1777", unix.MS_NOSUID | unix.MS_NODEV},
		{"tmpfs", "dev", "mode=755", unix.MS_NOSUID},
	} {
		if err := unix.Mount(m.fstype, m.dir, m.fstype, m.flags, m.data); err != nil {
			return &os.PathError{Op: "mount " + m.fstype, Path: m.dir, Err: err}
		}
	}
	return fillDev("dev")
}

// fillDev makes a /dev with the nodes that programs expect and no other.
func fillDev(dev string) error {
	for _, name := range []string{"null", "zero", "full", "random", "urandom", "tty"} {
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
	if err := unix.Mount("tmpfs", dev+"/shm", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=1777"); err != nil {
		return &os.PathError{Op: "mount tmpfs", Path: "/dev/shm", Err: err}
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
func pivot() error {
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

// prove tries what must fail in a build root, each time anew: a kernel or a mount table that surprised us
// must stop the job, not be found out later.
func prove(spec *rootSpec) error {
	var fs unix.Statfs_t
	if err := unix.Statfs("/", &fs); err != nil || fs.Type != unix.OVERLAYFS_SUPER_MAGIC {
		return fmt.Errorf("/ is not the overlay (type %#x, %v)", fs.Type, err)
	}
	if os.Getpid() != 1 {
		return errors.New("it sees the builder's processes")
	}
	err := unix.Mknod("/run/lantage-probe", unix.S_IFBLK|0o600, 1<<8)
	if err == nil {
		return errors.New("device nodes can be made")
	}
	if err := unix.Mount("sysfs", "tmp", "sysfs", 0, ""); err == nil {
		return errors.New("the builder's network settings can be mounted")
	}
	for _, dir := range spec.MaskDirs {
		entries, err := os.ReadDir(dir)
		if err == nil && len(entries) > 0 && !spec.bound(dir) {
			return fmt.Errorf("%s can be seen", dir)
		}
	}
	if _, err := os.Lstat(spec.Dir); err == nil {
		return fmt.Errorf("%s, the builder's own state, can be seen", spec.Dir)
	}
	return nil
}

// bound reports whether something of the job is mounted below dir.
func (s *rootSpec) bound(dir string) bool {
	for _, b := range s.Binds {
		if rel, err := filepath.Rel(dir, b.Target); err == nil && filepath.IsLocal(rel) {
			return true
		}
	}
	return false
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
