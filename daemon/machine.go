package daemon

import (
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/cpu"
	"golang.org/x/sys/unix"
)

// machine is what uname -m prints.
func machine() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Machine[:])
}

// cpuLevel is the highest level of the x86-64 psABI (section 3.1.1, micro-architecture levels) that this
// machine has, or "" on others. LAHF, F16C, LZCNT and MOVBE, which package cpu does not tell, came with the
// others of their level.
func cpuLevel() string {
	x := cpu.X86
	v2 := x.HasCX16 && x.HasPOPCNT && x.HasSSE3 && x.HasSSSE3 && x.HasSSE41 && x.HasSSE42
	v3 := v2 && x.HasAVX && x.HasAVX2 && x.HasBMI1 && x.HasBMI2 && x.HasFMA && x.HasOSXSAVE
	v4 := v3 && x.HasAVX512F && x.HasAVX512BW && x.HasAVX512CD && x.HasAVX512DQ && x.HasAVX512VL
	switch {
	case v4:
		return "x86-64-v4"
	case v3:
		return "x86-64-v3"
	case v2:
		return "x86-64-v2"
	case x.HasSSE2: // on other machines package cpu sets nothing
		return "x86-64-v1"
	}
	return ""
}

// memory is this machine's memory in bytes.
func memory() int64 {
	var si syscall.Sysinfo_t
	if err := syscall.Sysinfo(&si); err != nil {
		return 4 << 30
	}
	return int64(si.Totalram) * int64(si.Unit)
}

// DefaultJobMemory is what one job may take of this machine's memory: an eighth stays for whoever sits at it.
func DefaultJobMemory() int64 { return memory() / 8 * 7 }

// loadAverage is the 1-minute load average (proc_loadavg(5)).
func loadAverage() float64 {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(b), " ")
	load, _ := strconv.ParseFloat(first, 64)
	return load
}
