package build

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// TestCallFilter runs the filter as the kernel would, for calls in all of the ABIs in which a program can make them.
func TestCallFilter(t *testing.T) {
	const eperm, enosys = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM), unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
	for _, goarch := range []string{"amd64", "arm64", "386", "arm"} {
		vm, err := bpf.NewVM(callFilter(goarch))
		if err != nil {
			t.Fatal(goarch, err)
		}
		answer := func(id arch.AuditArch, number int) uint32 {
			data := make([]byte, 64)
			binary.BigEndian.PutUint32(data, uint32(number)) // what a VM takes for its own order
			binary.BigEndian.PutUint32(data[4:], uint32(id))
			n, err := vm.Run(data)
			if err != nil {
				t.Fatal(goarch, err)
			}
			return uint32(n)
		}
		for _, abi := range callABIs(goarch) {
			for name, want := range map[string]uint32{
				"mount": eperm, "umount2": eperm, "move_mount": eperm, "open_tree_attr": eperm, "setns": eperm, "bpf": eperm, "keyctl": eperm,
				"kexec_load": eperm, "finit_module": eperm, "open_by_handle_at": eperm, "io_uring_setup": eperm, "clock_settime": eperm,
				"ptrace": unix.SECCOMP_RET_ALLOW, "unshare": unix.SECCOMP_RET_ALLOW, "clone3": unix.SECCOMP_RET_ALLOW,
				"sethostname": unix.SECCOMP_RET_ALLOW, "personality": unix.SECCOMP_RET_ALLOW, "execve": unix.SECCOMP_RET_ALLOW,
			} {
				number, known := abi.SyscallNames[name]
				if !known {
					t.Errorf("%s has no %s", abi.Name, name)
				}
				if got := answer(abi.ID, number|abi.SeccompMask); got != want {
					t.Errorf("on %s, %s of %s is answered with %#x, want %#x", goarch, name, abi.Name, got, want)
				}
			}
		}
		if got := answer(0x1234, 39); got != enosys {
			t.Errorf("on %s a call of an unknown ABI is answered with %#x", goarch, got)
		}
	}
	if callABIs("riscv64") != nil {
		t.Error("there is no table for riscv64; if there is one now, use it")
	}
}

// TestDeniedCallsAreKnown: a name that no table has would be denied to nobody.
func TestDeniedCallsAreKnown(t *testing.T) {
	for _, d := range deniedCalls {
		for name := range strings.FieldsSeq(d.names) {
			_, amd64 := arch.X86_64.SyscallNames[name]
			_, i386 := arch.I386.SyscallNames[name]
			if !amd64 && !i386 {
				t.Errorf("%s: there is no system call %s", d.why, name)
			}
		}
	}
}
