package build

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// keptCapabilities are those that root inside has, over what belongs to the job's own namespaces. All others are out of reach for
// good, since a job makes no user namespaces either.
var keptCapabilities = []int{
	// Files of many owners, with the modes and capabilities that they have on the client, put in place by one root.
	unix.CAP_CHOWN, unix.CAP_DAC_OVERRIDE, unix.CAP_FOWNER, unix.CAP_FSETID, unix.CAP_SETFCAP,
	// Portage's own user for builds and downloads, and ends of them.
	unix.CAP_SETUID, unix.CAP_SETGID, unix.CAP_KILL, unix.CAP_SYS_CHROOT,
	// FEATURES=network-sandbox: unshare(CLONE_NEWNET|CLONE_NEWUTS), a host name, and lo (portage/process.py). SYS_ADMIN opens much
	// else; deniedCalls closes it again.
	unix.CAP_SYS_ADMIN, unix.CAP_NET_ADMIN,
	// Test suites in that network.
	unix.CAP_NET_BIND_SERVICE,
}

// niceness is how much a job's processes give way to others of the builder, at least.
const niceness = 10

// maskedInside are parts of /proc and /sys that tell of the machine, or act on it, and that builds do not read: what container
// engines mask, and what tells the machine's serial numbers and mounts.
var maskedInside = []string{
	"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/key-users", "/proc/keys", "/proc/kmsg", "/proc/kpagecgroup",
	"/proc/kpagecount", "/proc/kpageflags", "/proc/latency_stats", "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats",
	"/sys/devices/virtual/dmi", "/sys/devices/virtual/powercap", "/sys/firmware", "/sys/fs", "/sys/hypervisor",
	"/sys/kernel/boot_params", "/sys/kernel/debug", "/sys/kernel/notes", "/sys/kernel/security", "/sys/kernel/tracing", "/sys/kernel/vmcoreinfo",
}

// readOnlyInside are parts of /proc that are settings.
var readOnlyInside = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}

// maskKernel hides maskedInside and makes readOnlyInside so.
func maskKernel(*rootSpec) error {
	for _, path := range maskedInside {
		fi, err := os.Stat(path)
		if os.IsNotExist(err) {
			continue
		}
		if err == nil && fi.IsDir() {
			err = unix.Mount("tmpfs", path, "tmpfs", unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "nr_inodes=1,mode=555")
		} else if err == nil {
			err = unix.Mount("/dev/null", path, "", unix.MS_BIND, "")
		}
		if err != nil {
			return &os.PathError{Op: "hide", Path: path, Err: err}
		}
	}
	for _, path := range readOnlyInside {
		err := unix.Mount(path, path, "", unix.MS_BIND, "")
		if err == nil {
			err = unix.Mount("", path, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
		}
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return &os.PathError{Op: "make read-only", Path: path, Err: err}
		}
	}
	return nil
}

// limitNamespaces lets the job make no user namespace, in which it would have all capabilities again, and no more processes than it
// may have; since Linux 6.14 a PID namespace has a limit of its own. Without CAP_SYS_RESOURCE, and with /proc/sys read-only, that stays.
func limitNamespaces(spec *rootSpec) error {
	const pidMax = "/proc/sys/kernel/pid_max"
	if n := spec.Limits.processCeiling(); n > 0 {
		text, err := os.ReadFile(pidMax)
		n += reservedPIDs
		if now, err2 := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64); err == nil && err2 == nil && n < now {
			_ = os.WriteFile(pidMax, strconv.AppendUint(nil, n, 10), 0) // refused before 6.14: it is the builder's
		}
	}
	return ignoreMissing(os.WriteFile("/proc/sys/user/max_user_namespaces", []byte("0"), 0))
}

// reservedPIDs is the kernel's RESERVED_PIDS: once it has been through all numbers, it gives out no lower ones.
const reservedPIDs = 300

// setLimits sets what the kernel limits for each process or user, with the builder's privileges.
func setLimits(l Limits) error {
	limits := []struct {
		which int
		value uint64
	}{
		// A core dump would go where the builder's core_pattern says. With 1 none is made, for a program that takes them neither (core(5));
		// with 0 that program is run.
		{unix.RLIMIT_CORE, 1},
		{unix.RLIMIT_NPROC, l.processCeiling()},
	}
	for _, limit := range limits {
		if limit.value == 0 {
			continue
		}
		var now unix.Rlimit
		err := unix.Getrlimit(limit.which, &now)
		if err == nil {
			err = unix.Setrlimit(limit.which, &unix.Rlimit{Cur: limit.value, Max: limit.value})
		}
		if err != nil && (now.Max >= limit.value || !errors.Is(err, unix.EPERM)) {
			return fmt.Errorf("cannot set resource limit %d: %w", limit.which, err)
		}
	}
	return nil
}

// confine takes from the calling thread, and so from what it runs, all that a build does not need. It holds from the next program on:
// until then the thread keeps its capabilities.
func confine(*rootSpec) error {
	for c := 0; ; c++ {
		if slices.Contains(keptCapabilities, c) {
			continue
		}
		err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(c), 0, 0, 0)
		if err == unix.EINVAL { // the kernel knows no more
			break
		}
		if err != nil {
			return fmt.Errorf("cannot drop capability %d: %w", c, err)
		}
	}
	if err := beNice(); err != nil {
		return fmt.Errorf("cannot be nice: %w", err)
	}
	// ioprio_set(2). Schedulers without priorities take no notice, and kernels without block devices do not know it.
	const whoProcess, classIdle = 1, 3 << 13
	_, _, errno := unix.Syscall(unix.SYS_IOPRIO_SET, whoProcess, 0, classIdle)
	if errno != 0 && errno != unix.ENOSYS {
		return fmt.Errorf("cannot give way to others' I/O: %w", errno)
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("cannot give up new privileges: %w", err)
	}
	// The wish to die with the parent belongs to the thread that was started with it, and ends when another one runs a program.
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("cannot ask to end with the parent: %w", err)
	}
	if err := scopeSockets(); err != nil {
		return err
	}
	return filterCalls()
}

// scopeSockets takes abstract Unix sockets of the builder (its owner's desktop, say) out of reach, which belong to the network that a
// job shares in the phases that fetch. Kernels before 6.12, and those without Landlock, cannot.
func scopeSockets() error {
	fd, errno := socketScope()
	switch errno {
	case 0:
		defer unix.Close(fd)
		_, _, errno = unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(fd), 0, 0)
	case unix.ENOSYS, unix.EOPNOTSUPP, unix.E2BIG, unix.EINVAL:
		errno = 0
	}
	if errno != 0 {
		return fmt.Errorf("cannot keep the builder's abstract sockets out: %w", errno)
	}
	return nil
}

// socketScope makes a Landlock rule set (landlock(7)) that knows only that.
func socketScope() (fd int, errno syscall.Errno) {
	attr := unix.LandlockRulesetAttr{Scoped: unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET}
	size := unsafe.Offsetof(attr.Scoped) + unsafe.Sizeof(attr.Scoped) // what came later is not for every kernel
	r, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), size, 0)
	return int(r), errno
}

// keptMask is keptCapabilities as /proc/PID/status has them.
func keptMask() uint64 {
	var mask uint64
	for _, c := range keptCapabilities {
		mask |= 1 << c
	}
	return mask
}

// beNice leaves a daemon's jobs as nice as the daemon, where somebody made that nicer: they could not be less.
func beNice() error {
	now, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
	if err != nil || 20-now >= niceness { // the system call's value is not the library's: getpriority(2)
		return err
	}
	return unix.Setpriority(unix.PRIO_PROCESS, 0, niceness)
}
