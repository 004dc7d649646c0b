package client

import (
	"os"
	"regexp"
	"slices"

	"lantage/gentoo"
	"lantage/rootfs"
)

// linuxSourcesRE finds virtual/linux-sources in what a package depends on.
var linuxSourcesRE = regexp.MustCompile(`(^|[\s(])[^\s(!]*virtual/linux-sources`)

// kernelFor is how much of the kernel's sources the packages of a plan need.
func kernelFor(pkgs []gentoo.Package, known map[gentoo.CPV]facts) rootfs.Kernel {
	most := rootfs.NoKernel
	for _, p := range pkgs {
		most = max(most, kernelOf(known[p.CPV]))
	}
	return most
}

// kernelOf tells from a package's metadata whether it is built against the kernel's sources, or looks up its configuration.
func kernelOf(f facts) rootfs.Kernel {
	switch {
	case f.inherits("linux-mod", "linux-mod-r1"), linuxSourcesRE.MatchString(f.Depend):
		return rootfs.KernelSources
	case f.inherits("linux-info"):
		return rootfs.KernelConfig
	}
	return rootfs.NoKernel
}

var (
	// runningKernelRE finds in a line of an ebuild that it asks for the kernel that runs, which on a builder is another.
	runningKernelRE = regexp.MustCompile(`\bget_running_version\b|\buname\s+-[a-z]*[rv]`)
	// messageRE is what a line tells people, to its end. What echo prints may go into a file.
	messageRE = regexp.MustCompile(`(?:^|[;&|{(]|\b(?:then|else|do))[ \t]*(?:(?:elog|einfon?|ewarn|eqawarn|eerror|die)\b.*|echo\b[^>|]*)$`)
)

// wantsRunningKernel reports whether a package is built for the kernel that runs. What it only says to people, or looks at once it is
// built, concerns no build.
func wantsRunningKernel(ebuild string) bool {
	asks := func(lines []gentoo.ScriptLine) bool {
		return slices.ContainsFunc(lines, func(l gentoo.ScriptLine) bool {
			return runningKernelRE.MatchString(messageRE.ReplaceAllString(l.Text, ""))
		})
	}
	script := gentoo.ParseScript(ebuild)
	for name, body := range script.Functions {
		if (!isLatePhase(name) || name == "pkg_pretend") && asks(body) { // pkg_pretend may end the build
			return true
		}
	}
	return asks(script.Rest)
}

// hasKernelSources reports whether there are sources of a kernel, with its configuration. Without them ebuilds look at the
// kernel that runs.
func hasKernelSources() bool {
	return slices.ContainsFunc([]string{"/usr/src/linux/.config", "/usr/src/linux/include/config/auto.conf"}, func(p string) bool {
		_, err := os.Stat(p)
		return err == nil
	})
}
