package build

import (
	"fmt"
	"slices"
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
//
// nodeps is the client's: it wants the packages built with what is there, without what they ask for.
func emergeArgv(pkgs []Package, nodeps bool, jobs, load int) []string {
	argv := []string{
		"/usr/bin/emerge", "--ignore-default-opts", "--oneshot", "--buildpkg", "--usepkg", "--binpkg-respect-use=y",
		"--getbinpkg=n", "--keep-going", "--ask=n", "--autounmask=n", "--quiet-build=y", "--color=n",
		"--jobs-tmpdir-require-free-gb=0",
		fmt.Sprintf("--jobs=%d", jobs), fmt.Sprintf("--load-average=%d", load),
	}
	if nodeps {
		argv = append(argv, "--nodeps")
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

// fetchCommand is how a build root fetches: with wget, as Portage's own default does, or with curl, since a client that
// has set another command need not have wget.
const (
	fetchCommand  = fetchWith + `exec wget ` + wgetOptions + `; fi; exec curl ` + curlOptions + `' ` + fetchWhat
	resumeCommand = fetchWith + `exec wget -c ` + wgetOptions + `; fi; exec curl -C - ` + curlOptions + `' ` + fetchWhat

	fetchWith   = `/bin/sh -c 'if command -v wget >/dev/null; then `
	wgetOptions = `-t 3 -T 60 -U "Portage (Gentoo, gentoo.org) distfile-fetch" -O "$0" "$1"`
	curlOptions = `-fL --retry 2 --connect-timeout 60 -o "$0" "$1"`
	fetchWhat   = `"${DISTDIR}/${FILE}" "${URI}"`
	fetchRsync  = `rsync -LtvP "${URI}" "${DISTDIR}/${FILE}"`
)

// proxies are variables of the daemon's environment that tell how this machine reaches the network. RSYNC_PROXY and the first
// three are in make.conf(5).
var proxies = []string{"http_proxy", "https_proxy", "ftp_proxy", "RSYNC_PROXY", "all_proxy", "no_proxy"}

// rootEnv is what a build root has for the variables that gentoo's table says are the builder's, whatever the client's files
// say. An empty value is Portage's default of the variable, or turns it off. What has no effect by itself is left out, since
// much of this is recorded in the binary package.
func rootEnv(dist distDirs, getenv func(string) string) []string {
	env := []string{
		"PKGDIR=" + insidePkgDir, "DISTDIR=" + insideDistDir, "PORTAGE_RO_DISTDIRS=" + strings.Join(dist.readOnly, " "), "PORTAGE_TMPDIR=" + insideTmpDir,
		"ROOT=/", "SYSROOT=/", "PORTAGE_CONFIGROOT=/", "EMERGE_DEFAULT_OPTS=",

		"PORTAGE_LOGDIR=" + insideLogDir, "EMERGE_LOG_DIR=" + insideLogDir, "PORTAGE_LOG_FILE_SEP=:",
		"PORTAGE_LOG_FILTER_FILE_CMD=", "PORTAGE_LOGDIR_CLEAN=", "PORTAGE_ELOG_SYSTEM=",

		"PORTAGE_BINHOST=", "PORTAGE_BINPKG_FORMAT=tar",
		"FETCH_WRAPPER=", "PORTAGE_CHECKSUM_FILTER=", "PORTAGE_FETCH_CHECKSUM_TRY_MIRRORS=5", "PORTAGE_FETCH_RESUME_MIN_SIZE=350K",
		"PORTAGE_SSH_OPTS=",

		"CCACHE_DISABLE=1",
		"PORTAGE_NICENESS=0", "PORTAGE_IONICE_COMMAND=", // all of the job is nice: confine.go
		"PORTAGE_USERNAME=portage", "PORTAGE_GRPNAME=portage",
		"CLEAN_DELAY=0", "EMERGE_WARNING_DELAY=0",
	}
	env = append(env, "FETCHCOMMAND="+dist.fetch+fetchCommand, "RESUMECOMMAND="+dist.fetch+resumeCommand)
	for _, protocol := range gentoo.FetchProtocols() { // a command for one wins over that for all
		fetch, resume := fetchCommand, resumeCommand
		if protocol == "RSYNC" {
			fetch, resume = fetchRsync, fetchRsync
		}
		env = append(env, "FETCHCOMMAND_"+protocol+"="+dist.fetch+fetch, "RESUMECOMMAND_"+protocol+"="+dist.fetch+resume)
	}
	for _, name := range proxies {
		always := gentoo.WhoseVariable(name) == gentoo.Builder && !slices.Contains(gentoo.SeenByBuilds(), name)
		if value := getenv(name); value != "" || always {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// emergeEnv is the environment of the job's emerge: the client's variables, then what this builder decides; getenv is its own
// environment. Variables of the environment win over make.conf and package.env.
func emergeEnv(job Job, dist distDirs, getenv func(string) string) []string {
	features := gentoo.BuilderFeatures()
	var env []string
	for _, v := range job.Env {
		if f, ok := strings.CutPrefix(v, "FEATURES="); ok {
			features = f + " " + features
			continue
		}
		env = append(env, v)
	}
	env = append(env, baseEnv()...)
	for _, name := range job.Clear {
		env = append(env, name+"=")
	}
	return gentoo.LastOfEach(append(append(env, "FEATURES="+features), rootEnv(dist, getenv)...))
}

// makeConfTail is appended to the client's make.conf. MAKEOPTS belongs there and not in the environment, so
// that a package.env with MAKEOPTS=-j1 for one package still acts.
func makeConfTail(processes int) string {
	return fmt.Sprintf("\n# Appended by lantage for this builder.\nMAKEOPTS=\"-j%d\"\n", processes)
}
