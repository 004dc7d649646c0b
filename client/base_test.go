package client

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lantage/gentoo"
	"lantage/rootfs"
	"lantage/wire"
)

// TestBaseFor: what a job is built on follows from what is asked for, what the builder offers, and what this machine is. The
// tests run as root.
func TestBaseFor(t *testing.T) {
	hello := func(chost string, bases ...string) wire.Hello {
		return wire.Hello{CHOST: chost, Arch: "x86_64", Bases: bases}
	}
	here := &system{chost: testCHOST, configRoot: "/"}
	for name, c := range map[string]struct {
		want  string
		hello wire.Hello
		sys   *system
		base  string
		why   string
	}{
		"the builder's choice":            {"", hello(testCHOST, "client", "host"), here, "", ""},
		"auto":                            {"auto", hello(testCHOST, "client", "host"), here, "client", ""},
		"auto, not Gentoo":                {"auto", hello("", "client"), here, "client", ""},
		"auto, an older builder":          {"auto", hello(testCHOST, "host"), here, "host", ""},
		"auto, only a stage3":             {"auto", hello(testCHOST, "/srv/stage3"), here, "/srv/stage3", ""},
		"auto, another configuration":     {"auto", hello(testCHOST, "client", "host"), &system{chost: testCHOST, configRoot: "/x"}, "host", ""},
		"auto, nothing for that":          {"auto", hello("", "client"), &system{chost: testCHOST, configRoot: "/x"}, "", "PORTAGE_CONFIGROOT=/x"},
		"auto, another machine":           {"auto", hello("x", "client"), &system{chost: "riscv64-unknown-linux-gnu", configRoot: "/"}, "", "do not run there"},
		"client":                          {"client", hello("other", "client", "host"), here, "client", ""},
		"client, not offered":             {"client", hello(testCHOST, "host"), here, "", "does not offer the base client"},
		"host":                            {"host", hello(testCHOST, "client", "host"), here, "host", ""},
		"host, another CHOST":             {"host", hello("aarch64-unknown-linux-gnu", "host"), here, "host", "it builds for aarch64"},
		"host, not offered":               {"host", hello("", "client"), here, "", "does not offer the base host, but: client"},
		"a directory that it has not got": {"/x", hello(testCHOST, "client", "/y"), here, "", "does not offer the base /x"},
	} {
		base, why := (&Emerge{Base: c.want}).baseFor(c.hello, c.sys)
		if (why == "") != (c.why == "") || !strings.Contains(why, c.why) || why == "" && base != c.base {
			t.Errorf("%s: %q, %q; want %q, %q", name, base, why, c.base, c.why)
		}
	}
}

// TestOtherCompiler: flags that this machine's gcc gives for native ones are for bases with that version of it. A copy of this
// machine's root has it.
func TestOtherCompiler(t *testing.T) {
	const fourteen, fifteen = "gcc (Gentoo 14.3.0 p8) 14.3.0", "x86_64-pc-linux-gnu-gcc (Gentoo 15.2.1_p20260214 p5) 15.2.1 20260214"
	const why = "its compiler is gcc 14, and gcc 15 of this machine says what your native flags mean (-march=native)"
	for name, c := range map[string]struct {
		base, here, there, why string
	}{
		"another":                   {"host", fifteen, fourteen, why},
		"another, auto":             {"auto", fifteen, fourteen, why},
		"the same":                  {"host", fourteen, fourteen, ""},
		"nothing native":            {"host", "", fourteen, ""},
		"it does not say":           {"host", fifteen, "", ""},
		"a word that is no version": {"host", fifteen, "gcc of my own", ""},
	} {
		sys := &system{chost: testCHOST, configRoot: "/x", flags: flagsOf{compiler: c.here, means: []string{"-march=native is resolved", "rust is"}}}
		hello := wire.Hello{CHOST: testCHOST, Arch: "x86_64", Bases: []string{"client", "host"}, Compiler: c.there}
		_, got := (&Emerge{Base: c.base}).baseFor(hello, sys)
		if !strings.HasPrefix(got, c.why) || (got == "") != (c.why == "") {
			t.Errorf("%s: %q", name, got)
		}
	}
	if isRoot() {
		sys := &system{chost: testCHOST, configRoot: "/", flags: flagsOf{compiler: fifteen}}
		hello := wire.Hello{CHOST: testCHOST, Arch: "x86_64", Bases: []string{"client", "host"}, Compiler: fourteen}
		if base, got := (&Emerge{Base: "auto"}).baseFor(hello, sys); base != "client" || got != "" {
			t.Errorf("with a copy: %q, %q", base, got)
		}
	}
}

// TestKernelFor: how much of the kernel's sources goes is told by the packages' metadata.
func TestKernelFor(t *testing.T) {
	for name, c := range map[string]struct {
		facts facts
		want  rootfs.Kernel
	}{
		"plain":                 {facts{Depend: "dev-libs/linux-mod", Inherited: []string{"multilib", "toolchain-funcs"}}, rootfs.NoKernel},
		"looks it up":           {facts{Inherited: []string{"linux-info", "toolchain-funcs"}}, rootfs.KernelConfig},
		"module":                {facts{Inherited: []string{"eapi9-ver", "linux-info", "linux-mod-r1", "multilib"}}, rootfs.KernelSources},
		"depends":               {facts{Depend: " app-misc/x virtual/linux-sources sys-apps/y"}, rootfs.KernelSources},
		"depends, of a version": {facts{Depend: "modules? ( >=virtual/linux-sources-3 )"}, rootfs.KernelSources},
		"blocks":                {facts{Depend: "!virtual/linux-sources"}, rootfs.NoKernel},
		"nothing known":         {facts{}, rootfs.NoKernel},
	} {
		cpv := gentoo.CPV{Category: "a", Name: "b", Version: "1"}
		if got := kernelFor([]gentoo.Package{{CPV: cpv}}, map[gentoo.CPV]facts{cpv: c.facts}); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

// TestSlotSet: a binpkg can be used where what it was built against is installed, or planned.
func TestSlotSet(t *testing.T) {
	vdb := t.TempDir()
	for name, slot := range map[string]string{"lab-libs/greet-1": "0/1\n", "lab-libs/greet-extra-2": "0/2\n", "lab-libs/plain-1": "0\n"} {
		if err := os.MkdirAll(filepath.Join(vdb, name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(vdb, name, "SLOT"), []byte(slot), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s := slotSet{}
	s.installed(vdb, "lab-libs/greet")
	s.installed(vdb, "lab-libs/plain")
	s.add("lab-libs/new", "", "")
	for d, want := range map[gentoo.SlotDep]bool{
		{CP: "lab-libs/greet", Slot: "0", SubSlot: "1"}: true,
		{CP: "lab-libs/greet", Slot: "0", SubSlot: "2"}: false, // that is greet-extra's
		{CP: "lab-libs/plain", Slot: "0", SubSlot: "0"}: true,
		{CP: "lab-libs/new", Slot: "0", SubSlot: "0"}:   true,
		{CP: "lab-libs/none", Slot: "0", SubSlot: "0"}:  false,
	} {
		if s.has(d) != want {
			t.Errorf("%+v: %v, want %v", d, !want, want)
		}
	}
}
