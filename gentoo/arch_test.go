package gentoo

import "testing"

func TestRunsOn(t *testing.T) {
	for _, c := range []struct {
		chost, machine string
		want           bool
	}{
		{"x86_64-pc-linux-gnu", "x86_64", true},
		{"i686-pc-linux-gnu", "x86_64", true},
		{"x86_64-pc-linux-gnu", "i686", false},
		{"i686-pc-linux-gnu", "i686", true},
		{"x86_64-gentoo-linux-musl", "x86_64", true},
		{"aarch64-unknown-linux-gnu", "x86_64", false},
		{"aarch64-unknown-linux-gnu", "aarch64", true},
		{"armv7a-unknown-linux-gnueabihf", "aarch64", true},
		{"armv7a-unknown-linux-gnueabihf", "armv7l", true},
		{"powerpc64le-unknown-linux-gnu", "ppc64le", true},
		{"powerpc-unknown-linux-gnu", "ppc64", true},
		{"riscv64-unknown-linux-gnu", "riscv64", true},
		{"x86_64-pc-linux-gnu", "", false},
	} {
		if got := RunsOn(c.chost, c.machine); got != c.want {
			t.Errorf("RunsOn(%q, %q) = %v", c.chost, c.machine, got)
		}
	}
}
