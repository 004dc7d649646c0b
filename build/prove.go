package build

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// prove tries what must fail in a build root, each time anew and with what a job has: a kernel or a mount table that surprised us
// must stop the job, not be found out later.
func prove(spec *rootSpec) error {
	if err := proveState(); err != nil {
		return err
	}
	for _, a := range attempts {
		if a.try() == nil {
			return errors.New(a.what)
		}
	}
	for _, path := range maskedInside {
		if err := proveMasked(path); err != nil {
			return err
		}
	}
	for _, dir := range spec.MaskDirs {
		if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 && !spec.bound(dir) {
			return fmt.Errorf("%s can be seen", dir)
		}
	}
	for _, file := range spec.Remove {
		if unix.Access(file, unix.R_OK) == nil && !spec.writes(file) {
			return fmt.Errorf("%s can be read", file)
		}
	}
	if _, err := os.Lstat(spec.Dir); err == nil {
		return fmt.Errorf("%s, the builder's own state, can be seen", spec.Dir)
	}
	return nil
}

// proveState compares what the kernel says of this process with what it must say.
func proveState() error {
	var fs unix.Statfs_t
	if err := unix.Statfs("/", &fs); err != nil || fs.Type != unix.OVERLAYFS_SUPER_MAGIC {
		return fmt.Errorf("/ is not the overlay (type %#x, %v)", fs.Type, err)
	}
	status, err := processStatus("/proc/self/status")
	if err != nil {
		return err
	}
	if os.Getpid() != 1 || status["NSpid"] != "1" {
		return errors.New("it sees the builder's processes")
	}
	if err := proveCapabilities(status); err != nil {
		return err
	}
	if status["NoNewPrivs"] != "1" {
		return errors.New("setuid programs give it new privileges")
	}
	if filtersCalls() && status["Seccomp"] != "2" {
		return errors.New("its system calls are not filtered")
	}
	nodes, err := os.ReadDir("/dev")
	for _, n := range nodes {
		if n.Type()&os.ModeDevice != 0 && !slices.Contains(deviceNodes, n.Name()) {
			return fmt.Errorf("there is a device /dev/%s", n.Name())
		}
	}
	return err
}

// proveCapabilities looks at all sets of them that are in a process's status.
func proveCapabilities(status map[string]string) error {
	for set, value := range status {
		if !strings.HasPrefix(set, "Cap") {
			continue
		}
		if has, err := strconv.ParseUint(value, 16, 64); err != nil || has&^keptMask() != 0 {
			return fmt.Errorf("it has capabilities that it must not have (%s: %s)", set, value)
		}
	}
	return nil
}

// processStatus reads the lines of a /proc/PID/status (proc_pid_status(5)).
func processStatus(file string) (map[string]string, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	status := make(map[string]string)
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if name, value, ok := strings.Cut(lines.Text(), ":"); ok {
			status[name] = strings.TrimSpace(value)
		}
	}
	return status, nil
}

// attempts are what must fail. An attempt that returns nil has worked.
var attempts = []struct {
	what string
	try  func() error
}{
	{"device nodes can be made", func() error { return unix.Mknod("/run/lantage-probe", unix.S_IFBLK|0o600, 1<<8) }},
	{"file systems can be mounted", func() error { return unix.Mount("tmpfs", "/run", "tmpfs", 0, "") }},
	{"the builder's network settings can be mounted", func() error { return unix.Mount("sysfs", "/run", "sysfs", 0, "") }},
	{"what hides can be taken away", func() error { return unix.Unmount("/proc/keys", unix.MNT_DETACH) }},
	{"what is read-only can be made writable", func() error { return unix.Mount("", "/sys", "", unix.MS_REMOUNT|unix.MS_BIND, "") }},
	{"mounts can be copied", func() error {
		fd, err := unix.OpenTree(unix.AT_FDCWD, "/run", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
		return closing(fd, err)
	}},
	{"file systems can be made", func() error { return closing(unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)) }},
	{"the root can be changed for another", func() error { return unix.PivotRoot("/", "/") }},
	{"other namespaces can be entered", func() error {
		fd, err := unix.Open("/proc/self/ns/uts", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.Setns(fd, unix.CLONE_NEWUTS)
	}},
	{"user namespaces can be made, with all capabilities in them", func() error {
		hold := child("hold", &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER})
		if err := hold.Start(); err != nil {
			return err
		}
		return hold.Wait()
	}},
	{"the kernel's keys can be reached", func() error {
		_, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, true)
		return err
	}},
	{"programs can be put into the kernel", func() error { return denied(unix.SYS_BPF) }},
	{"the machine can be measured", func() error { return denied(unix.SYS_PERF_EVENT_OPEN) }},
	{"io_uring can be used", func() error { return denied(unix.SYS_IO_URING_SETUP) }},
	{"page faults can be handled", func() error { return denied(unix.SYS_USERFAULTFD) }},
	{"files can be opened without their directories", func() error { return denied(unix.SYS_OPEN_BY_HANDLE_AT) }},
	{"kernel modules can be loaded", func() error { return denied(unix.SYS_FINIT_MODULE) }},
	{"another kernel can be loaded", func() error { return denied(unix.SYS_KEXEC_LOAD) }},
	{"the kernel's log can be read", func() error { return denied(unix.SYS_SYSLOG) }},
	{"the clock can be set", func() error { return denied(unix.SYS_CLOCK_SETTIME) }},
	{"settings of the kernel can be written", func() error {
		return closing(unix.Open("/proc/sys/user/max_user_namespaces", unix.O_WRONLY|unix.O_CLOEXEC, 0))
	}},
	{"the machine can be asked to do things", func() error {
		return closing(unix.Open("/proc/sysrq-trigger", unix.O_WRONLY|unix.O_CLOEXEC, 0))
	}},
}

func closing(fd int, err error) error {
	if err == nil {
		unix.Close(fd)
	}
	return err
}

// denied makes a system call with arguments that make no sense. EPERM means that the kernel did not look at them; where no calls are
// filtered, any failure has to do.
func denied(call uintptr) error {
	const bad = ^uintptr(0)
	_, _, errno := unix.Syscall6(call, bad, bad, bad, bad, bad, bad)
	if errno == 0 || filtersCalls() && errno != unix.EPERM {
		return nil
	}
	return errno
}

// proveMasked fails if there is something at a path that has to be empty.
func proveMasked(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	if _, err := f.ReadDir(1); err == nil {
		return fmt.Errorf("%s can be seen", path)
	}
	if _, err := f.Read(make([]byte, 1)); err == nil || errors.Is(err, unix.EAGAIN) {
		return fmt.Errorf("%s can be read", path)
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

// writes reports whether the job has a file of its own at path.
func (s *rootSpec) writes(path string) bool {
	return slices.ContainsFunc(s.Files, func(f plainFile) bool { return f.Path == path })
}
