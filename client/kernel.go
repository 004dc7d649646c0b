package client

import (
	"os"
	"path/filepath"
	"regexp"

	"lantage/gentoo"
	"lantage/rootfs"
)

// What tells that a package looks up the kernel's configuration, or is built against its sources: its metadata (md5-dict
// cache of the repository) or, where there is no cache, its ebuild.
var kernelSigns = []struct {
	level            rootfs.Kernel
	metadata, ebuild *regexp.Regexp
}{
	{
		rootfs.KernelSources,
		regexp.MustCompile(`(?m)^(_eclasses_=(.*\t)?linux-mod(-r1)?\t|[A-Z]*DEPEND=(.* )?[^ ]*virtual/linux-sources)`),
		regexp.MustCompile(`(?m)^[^#\n]*(\binherit\b.*\blinux-mod\b|virtual/linux-sources)`),
	},
	{
		rootfs.KernelConfig,
		regexp.MustCompile(`(?m)^_eclasses_=(.*\t)?linux-info\t`),
		regexp.MustCompile(`(?m)^[^#\n]*\binherit\b.*\blinux-info\b`),
	},
}

// kernelFor is how much of the kernel's sources the packages of a plan need.
func kernelFor(pkgs []gentoo.Package, repos []gentoo.Repo) rootfs.Kernel {
	most := rootfs.NoKernel
	for _, p := range pkgs {
		for _, r := range repos {
			if r.Name == p.Repo {
				most = max(most, kernelOf(p.CPV, r.Location))
			}
		}
	}
	return most
}

func kernelOf(cpv gentoo.CPV, repo string) rootfs.Kernel {
	metadata, err := os.ReadFile(filepath.Join(repo, "metadata/md5-cache", cpv.Category, cpv.PF()))
	cached := err == nil
	ebuild, _ := os.ReadFile(filepath.Join(repo, cpv.CP(), cpv.PF()+".ebuild"))
	for _, sign := range kernelSigns {
		if cached && sign.metadata.Match(metadata) || !cached && sign.ebuild.Match(ebuild) {
			return sign.level
		}
	}
	return rootfs.NoKernel
}
