package gentoo

import "strings"

// featureTable has everything that make.conf(5) and Portage know as FEATURES; a test in test/lab reads the page and holds
// that. A name of the client's acts as the client says. The others stand as they are added to the client's in a build root,
// with a minus where they are off.
var featureTable = []setting{
	{Client, "what is installed, and how", `splitdebug compressdebug dedupdebug installsources nostrip xattr nodoc noinfo noman
		binpkg-docompress binpkg-dostrip fixlafiles sfperms strict-keepdir suidctl`, ""},
	{Client, "checks", `multilib-strict qa-unresolved-soname-deps strict stricter`, "with them a package may fail, as it would at home"},
	{Client, "tests", `test test-fail-continue`, ""},
	// They decide whether a build that writes or looks where it should not fails, who runs it (some test suites and configure
	// scripts ask), and whether it may download.
	{Client, "as whom, and where, a build runs", `home-dir-template-copy network-sandbox network-sandbox-proxy sandbox userpriv
		usersandbox`, ""},
	{Client, "digests, mirrors", `assume-digests digest force-mirror`, ""},
	{Client, "merging what others need", `case-insensitive-fs chflags config-protect-if-modified merge-use-vdb preserve-libs
		protect-owned unmerge-orphans`, "in the build root as at home"},

	// buildpkg-live: without it a live ebuild has no binary package.
	{Builder, "results", `buildpkg buildpkg-live binpkg-multi-instance pkgdir-index-trusted -buildpkg-proactive -buildsyspkg
		-compress-index`, "each package that is built becomes a binary package"},
	// A job fetches in parallel, so that fetching has to be locked. userfetch: downloads need no root.
	{Builder, "fetching", `distlocks userfetch parallel-fetch -skiprocheck -mirror -lmirror`, "each job has a DISTDIR of its own"},
	// merge-wait protects a system that is in use while packages are merged into it, and nobody uses the build root; with
	// ebuild-locks phases that run as root still come one after the other.
	{Builder, "merging into the build root", `ebuild-locks parallel-install -merge-wait -merge-sync -collision-protect
		-downgrade-backup -unmerge-backup`, "it is thrown away; the client's own merge looks for collisions"},
	// The build root has PID and IPC namespaces of its own, around all of the job, and nothing can be mounted in it, so that Portage
	// must not try (build/syscalls.go). SELinux is the kernel's, and labels are given where the package is merged.
	{
		Builder, "the kernel", `-ipc-sandbox -mount-sandbox -pid-sandbox -cgroup -selinux -sesandbox -fakeroot -unprivileged`,
		"the build root has its own namespaces; labels are given where a package is merged",
	},
	{Builder, "compiler caches, other machines", `-ccache -distcc -distcc-pump -icecream -jobserver-token`, ""},
	{Builder, "logs, temporary files", `binpkg-logs unmerge-logs -clean-logs -compress-build-logs -split-log -split-elog -keepwork
		-keeptemp -noclean -fail-clean -noauto`, ""},

	{Off, "binary packages of others, signatures", `-getbinpkg -binpkg-signing -binpkg-request-signature -binpkg-ignore-signature
		-gpg-keepalive -sign -webrsync-gpg`, "a builder has nobody's keys"},
	{Off, "display", `-candy -news notitles -observability -python-trace -unknown-features-filter -unknown-features-warn
		-warn-on-large-env`, ""},
	{Off, "debug tarballs", `-packdebug`, "no binary package carries them, wherever it is built"},
	{Off, "synchronising", `-metadata-transfer -usersync`, "no part of a job"},
}

var features = index(featureTable)

// WhoseFeature says who decides about one of FEATURES.
func WhoseFeature(name string) Whose { return whose(features, name) }

// BuilderFeatures is what is added to the client's FEATURES in a build root. The variable is incremental: what comes later
// wins, over package.env too, if it stands in the environment.
func BuilderFeatures() string {
	return strings.Join(append(names(featureTable, Builder), names(featureTable, Off)...), " ")
}
