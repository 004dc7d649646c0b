package build

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"unsafe"

	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// deniedCalls are the system calls that fail with EPERM for all processes of a job, whoever they are: what acts on the
// kernel as a whole, or has often been a way into it, and that no build needs. Most are for the builder's own root anyway;
// this is a second wall in front of that. Left alone are ptrace, process_vm_readv and pidfd_getfd, which debuggers, test suites
// and sys-apps/sandbox use (they reach no further than the job's PID namespace and its own IDs), and what is only read or only
// tightens: adjtimex, personality, landlock, seccomp.
var deniedCalls = []struct{ why, names string }{
	// Nothing of Portage's needs these: pid-sandbox and mount-sandbox, which would, are off in a build root (gentoo/features.go).
	// So what hides a part of /proc cannot be taken away, and no file system of the job's making reaches the kernel.
	{"mounts", "mount umount umount2 pivot_root open_tree open_tree_attr move_mount fsopen fsconfig fsmount fspick mount_setattr"},
	{"other namespaces", "setns"},
	{"files past their directories", "open_by_handle_at"},
	{"the kernel itself", "kexec_load kexec_file_load init_module finit_module delete_module create_module reboot syslog"},
	{"programs in the kernel", "bpf perf_event_open io_uring_setup io_uring_enter io_uring_register userfaultfd"},
	{"keys", "add_key request_key keyctl"},
	{"the clock", "settimeofday clock_settime clock_settime64 stime"},
	{"disks, accounting", "swapon swapoff acct quotactl quotactl_fd nfsservctl lookup_dcookie"},
	{"the machine", "iopl ioperm vm86 vm86old vhangup"},
}

// callABIs are the ways in which programs on a machine of this kind make system calls: each numbers them anew, and what is denied
// in one must be in all.
func callABIs(goarch string) []*arch.Info {
	switch goarch {
	case "amd64":
		return []*arch.Info{arch.X86_64, arch.X32, arch.I386}
	case "386":
		return []*arch.Info{arch.I386}
	case "arm64":
		return []*arch.Info{arch.AARCH64, arch.ARM}
	case "arm":
		return []*arch.Info{arch.ARM}
	}
	return nil
}

// filtersCalls reports whether there is a table of system calls for machines of this kind. Elsewhere the capabilities and
// namespaces alone have to hold.
func filtersCalls() bool { return callABIs(runtime.GOARCH) != nil }

// callFilter is the program that the kernel runs for each system call (seccomp(2)). It looks at the number and at nothing else, so
// that the kernel can remember its answers. A call of an ABI that is not in the table does not exist.
func callFilter(goarch string) []bpf.Instruction {
	deny := bpf.RetConstant{Val: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)}
	program := []bpf.Instruction{bpf.LoadAbsolute{Off: 4, Size: 4}} // seccomp_data.arch
	abis := callABIs(goarch)
	for i, abi := range abis {
		if i > 0 && abis[i-1].ID == abi.ID {
			continue // x32: one of x86_64's, told apart by a bit of the number
		}
		block := []bpf.Instruction{bpf.LoadAbsolute{Off: 0, Size: 4}} // seccomp_data.nr
		for _, number := range deniedNumbers(abis, abi.ID) {
			block = append(block, bpf.JumpIf{Cond: bpf.JumpEqual, Val: number, SkipFalse: 1}, deny)
		}
		block = append(block, bpf.RetConstant{Val: unix.SECCOMP_RET_ALLOW})
		program = append(program, bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(abi.ID), SkipTrue: 1}, bpf.Jump{Skip: uint32(len(block))})
		program = append(program, block...)
	}
	return append(program, bpf.RetConstant{Val: unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)})
}

// deniedNumbers are what the denied calls are called in those of the ABIs that the kernel has the same name for.
func deniedNumbers(abis []*arch.Info, id arch.AuditArch) []uint32 {
	var numbers []uint32
	for _, abi := range abis {
		if abi.ID != id {
			continue
		}
		for _, d := range deniedCalls {
			for name := range strings.FieldsSeq(d.names) {
				if n, ok := abi.SyscallNames[name]; ok {
					numbers = append(numbers, uint32(n|abi.SeccompMask))
				}
			}
		}
	}
	slices.Sort(numbers)
	return slices.Compact(numbers)
}

// filterCalls puts the filter over the calling thread and all that it starts. That cannot be undone.
func filterCalls() error {
	if !filtersCalls() {
		return nil
	}
	raw, err := bpf.Assemble(callFilter(runtime.GOARCH))
	if err != nil {
		return err
	}
	program := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		program[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	fprog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&fprog)))
	if errno != 0 {
		return fmt.Errorf("cannot filter system calls: %w; the kernel needs CONFIG_SECCOMP_FILTER", errno)
	}
	return nil
}
