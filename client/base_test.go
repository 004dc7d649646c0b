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

// TestKernelFor: how much of the kernel's sources goes is told by the packages' metadata, or their ebuilds.
func TestKernelFor(t *testing.T) {
	repo := t.TempDir()
	put := func(name, text string) {
		t.Helper()
		file := filepath.Join(repo, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cache := func(pf, text string) { put("metadata/md5-cache/a/"+pf, text) }
	cache("plain-1", "DEPEND=dev-libs/linux-mod\n_eclasses_=multilib\t1\ttoolchain-funcs\t2\n")
	cache("info-1", "_eclasses_=linux-info\t0123\ttoolchain-funcs\t2\n")
	cache("mod-1", "_eclasses_=eapi9-ver\t1\tlinux-info\t2\tlinux-mod-r1\t3\tmultilib\t4\n")
	cache("dep-1", "BDEPEND=app-misc/x virtual/linux-sources sys-apps/y\n")
	cache("stale-1", "DEPEND=x\n")
	put("a/stale/stale-1.ebuild", "inherit linux-mod-r1\n") // the cache is what counts
	put("a/ebuild/ebuild-1.ebuild", "EAPI=8\ninherit flag-o-matic linux-mod-r1\n")
	put("a/asks/asks-1.ebuild", "EAPI=8\ninherit linux-info udev\n")
	put("a/comment/comment-1.ebuild", "EAPI=8\n# inherit linux-mod-r1\n")
	for name, want := range map[string]rootfs.Kernel{
		"plain": rootfs.NoKernel, "info": rootfs.KernelConfig, "mod": rootfs.KernelSources, "dep": rootfs.KernelSources,
		"stale": rootfs.NoKernel, "ebuild": rootfs.KernelSources, "asks": rootfs.KernelConfig, "comment": rootfs.NoKernel,
		"missing": rootfs.NoKernel,
	} {
		pkgs := []gentoo.Package{{CPV: gentoo.CPV{Category: "a", Name: name, Version: "1"}, Repo: "lab"}}
		if got := kernelFor(pkgs, []gentoo.Repo{{Name: "lab", Location: repo}}); got != want {
			t.Errorf("%s: %d, want %d", name, got, want)
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
