package gentoo

import "strings"

// RunsOn reports whether programs of a machine with this CHOST may run on a machine of which uname(2) says this. It goes
// by the names alone: whether a processor has all the instructions of the programs is another question.
func RunsOn(chost, machine string) bool {
	cpu, _, _ := strings.Cut(chost, "-")
	family := func(prefixes ...string) bool {
		for _, p := range prefixes {
			if strings.HasPrefix(cpu, p) {
				return true
			}
		}
		return false
	}
	switch machine {
	case "":
		return false
	case "x86_64":
		return cpu == "x86_64" || len(cpu) == 4 && cpu[0] == 'i' && cpu[2:] == "86"
	case "aarch64":
		return cpu == "aarch64" || family("armv")
	case "ppc64":
		return cpu == "powerpc64" || cpu == "powerpc"
	case "ppc64le":
		return cpu == "powerpc64le"
	case "loongarch64", "riscv64", "s390x":
		return cpu == machine
	}
	return cpu == machine || strings.HasPrefix(machine, "armv") && family("armv")
}
