package build

import (
	"fmt"
	"strings"

	"lantage/gentoo"
)

// Where a job finds its own directories inside the build root: the usual places, so that nobody's scripts
// are surprised.
const (
	insidePkgDir  = "/var/cache/binpkgs"
	insideDistDir = "/var/cache/distfiles"
	insideTmpDir  = "/var/tmp"
	insideLogDir  = "/var/log/portage"
	insideConfig  = "/etc/portage"
)

// memoryPerProcess is what one compiler may need; C++ is what the figure is for.
const memoryPerProcess = 2 << 30

// parallelism says how many compilers make may start and how many packages emerge may build at once.
func parallelism(cores int, memory int64) (processes, jobs int) {
	processes = max(1, min(cores, int(memory/memoryPerProcess)))
	return processes, min(max(processes/2, min(processes, 2)), 8)
}

// emergeArgv is the one emerge run of a job. --oneshot --buildpkg and not --buildpkgonly: what a package
// needs from an earlier one, and missing build dependencies, have to be merged into the build root. Options
// whose default a client's configuration could change are said explicitly.
func emergeArgv(pkgs []Package, jobs, load int) []string {
	argv := []string{
		"/usr/bin/emerge", "--ignore-default-opts", "--oneshot", "--buildpkg", "--usepkg", "--binpkg-respect-use=y",
		"--getbinpkg=n", "--keep-going", "--ask=n", "--autounmask=n", "--quiet-build=y", "--color=n",
		"--jobs-tmpdir-require-free-gb=0",
		fmt.Sprintf("--jobs=%d", jobs), fmt.Sprintf("--load-average=%d", load),
	}
	for _, p := range pkgs {
		argv = append(argv, gentoo.ExactAtom(p.CPV, p.Repo))
	}
	return argv
}

// planFirst is the script that runs the emerge of its arguments for a job all of whose packages lie in PKGDIR already, built
// with the same settings. Their merge into the build root would only be thrown away, so emerge says first what it would do.
// If it would compile nothing, the plan is all that is wanted of it. Both are one process of the build root, because its
// overlays are volatile: they cannot be mounted a second time.
const planFirst = `plan=` + insideLogDir + "/" + planName + `
if "$@" --pretend >$plan.part 2>&1 && ! grep -q '^\[ebuild' $plan.part; then
	mv $plan.part $plan
	exit 0
fi
exec "$@"`

// planName is the file in the log directory with the plan of a job for which nothing had to be compiled.
const planName = "cached.plan"

// cachedArgv is emerge's command line, with planFirst before it.
func cachedArgv(emerge []string) []string {
	return append([]string{"/bin/sh", "-c", planFirst, "sh"}, emerge...)
}

// baseEnv is the environment of every command of Portage.
func baseEnv() []string {
	return []string{
		"HOME=/root", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8",
		"TERM=dumb", "NO_COLOR=1", "NOCOLOR=true",
	}
}

// builderFeatures are the FEATURES that are about the machine that builds, or need set-up there. The
// variable is incremental: these come after the client's. merge-wait protects a system that is in use while packages are
// merged into it, and the build root has PID and IPC namespaces of its own.
const builderFeatures = "buildpkg binpkg-multi-instance distlocks -distcc -distcc-pump -ccache -icecream -getbinpkg " +
	"-binpkg-signing -binpkg-request-signature -candy -news -notitles -split-log -compress-build-logs " +
	"-clean-logs -merge-sync -merge-wait parallel-install -ipc-sandbox -pid-sandbox -keepwork -keeptemp -noclean -buildsyspkg -unmerge-backup -downgrade-backup -webrsync-gpg"

// emergeEnv is the environment of the job's emerge: the client's variables, then what this builder decides.
// Variables of the environment win over make.conf.
func emergeEnv(client []string, roDistDirs ...string) []string {
	features := builderFeatures
	var env []string
	for _, v := range client {
		if f, ok := strings.CutPrefix(v, "FEATURES="); ok {
			features = f + " " + builderFeatures
			continue
		}
		env = append(env, v)
	}
	env = append(env, baseEnv()...) // of equal names the last counts
	return append(env,
		"FEATURES="+features, "PKGDIR="+insidePkgDir, "DISTDIR="+insideDistDir, "PORTAGE_RO_DISTDIRS="+strings.Join(roDistDirs, " "),
		"PORTAGE_TMPDIR="+insideTmpDir, "PORTAGE_LOGDIR="+insideLogDir, "EMERGE_LOG_DIR="+insideLogDir,
		"EMERGE_DEFAULT_OPTS=", "PORTAGE_ELOG_SYSTEM=", "PORTAGE_NICENESS=10", "PORTAGE_BINHOST=",
		"PORTAGE_LOG_FILE_SEP=:", "CLEAN_DELAY=0", "EMERGE_WARNING_DELAY=0",
	)
}

// makeConfTail is appended to the client's make.conf. MAKEOPTS belongs there and not in the environment, so
// that a package.env with MAKEOPTS=-j1 for one package still acts. PORTAGE_NICENESS keeps a desktop that is
// busy with other things usable; a limit of the load would rather starve the builds.
func makeConfTail(processes int) string {
	return fmt.Sprintf("\n# Appended by lantage for this builder.\nMAKEOPTS=\"-j%d\"\n", processes)
}
