package e2e

import (
	"os"
	"runtime"
	"strings"
	"testing"

	"lantage/test/lab"
)

// recordingGCC puts a script in the place of a host's compiler. In a package's build it notes down what it is given, in a file
// that the package then installs. Where the builder tries the compiler before the first job, native flags are not taken.
const recordingGCC = `set -e
cd /usr/bin
gcc=$(ls *-pc-linux-gnu-gcc)
mv "$gcc" kept-gcc
printf '%s\n' '#!/bin/sh' '[ -z "$T" ] || echo "$@" >>"$T/gcc-was-given"' \
	'case "$*" in *native*-o\ hello\ hello.c) echo "native flags" >&2; exit 1;; esac' 'exec /usr/bin/kept-gcc "$@"' >"$gcc"
chmod 755 "$gcc"
cat >/etc/portage/bashrc <<'END'
post_src_install() {
	[[ ! -e ${T}/gcc-was-given ]] || ( insinto /usr/share/lab-gcc; newins "${T}/gcc-was-given" "${PN}" )
}
END`

// sameTarget compares what gcc makes of the recorded flags with what it makes of native ones.
const sameTarget = `f() { "$(ls /usr/bin/*-pc-linux-gnu-gcc)" "$@" -Q --help=target; }
f -march=native >/tmp/native && f $(cat /var/db/pkg/lab-apps/hello-1.1/CFLAGS) >/tmp/recorded && diff /tmp/native /tmp/recorded`

// TestNativeFlags: native means the client's CPU, whatever the builder's is; and what the client's CPU can do and the
// builder's cannot is not built there, unless the user says so.
func TestNativeFlags(t *testing.T) {
	t.Parallel()
	_, tower, lappy := pair(t, map[string]string{
		"make.conf":      "CFLAGS=\"-O1 -march=native -DMARK=lappy\"\nUSE=shout\n",
		"package.env":    "lab-apps/hello tuned.conf\nlab-apps/versions gone.conf\n",
		"env/gone.conf":  "CC=gone-clang\nCFLAGS=\"-march=native\"\n",
		"env/tuned.conf": "# not -mcpu=native\nCFLAGS=\"${CFLAGS} -mtune=native -DTUNED\"\n",
	})
	in(t, lappy, nil, "sh", "-c", recordingGCC).ok(t)
	config := in(t, lappy, nil, "sh", "-c", "cd /etc/portage && find . -type f | sort | xargs sha256sum").ok(t).out
	// Whatever machine runs this, what it has beyond such a CPU is what gcc uses with -march=native.
	cpuinfo := "processor\t: 0\nflags\t\t: fpu lm sse sse2\n"
	if runtime.GOARCH != "amd64" {
		cpuinfo = "processor\t: 0\nFeatures\t: fp\n"
	}
	put(t, tower, "/root/cpuinfo", cpuinfo)
	in(t, tower, nil, "mount", "--bind", "/root/cpuinfo", "/proc/cpuinfo").ok(t)
	// The kernel lets nobody mount a /proc in which more is to be seen than in all that are there: build roots have their own.
	in(t, tower, nil, "mount", "-t", "proc", "proc", "/mnt").ok(t)
	serve(t, tower, "--bases=auto")

	const declined = "it cannot run"
	lantage(t, lappy, "emerge", "-1", "lab-libs/greet").ok(t).
		says(t, declined, "which your CFLAGS ask for", "--ignore-cpu", "Building here").saysNot(t, "built in", "Builder: tower")
	lantage(t, lappy, "--no-fallback", "--base=host", "emerge", "-1", "lab-apps/hello").is(t, 4).says(t, declined)
	if found := copies(t, tower); len(found) > 0 {
		t.Errorf("before it was declined the root was copied to %q", found)
	}

	t.Run("base client", func(t *testing.T) {
		res := lantage(t, lappy, "--ignore-cpu", "emerge", "-1", "lab-apps/hello")
		res.says(t, "base client", "-march=native is resolved on this machine: -march=", "record them",
			"env/gone.conf has -march=native", "no package of this plan uses that file")
		binariesOnly(t, res, "lab-apps/hello-1.1")
		resolvedHello(t, lappy)
		in(t, lappy, nil, "cat", "/usr/share/lab-gcc/hello").ok(t).says(t, "-march=", "-mtune=", "-DTUNED", "-DMARK=lappy").
			saysNot(t, "native")
		in(t, lappy, nil, "cat", "/usr/share/lab-gcc/greet").ok(t).says(t, "-march=native") // built here
	})
	t.Run("base host", func(t *testing.T) {
		res := lantage(t, lappy, "--ignore-cpu", "--base=host", "emerge", "-1", "lab-apps/hello")
		res.says(t, "base host", "-march=native is resolved on this machine: -march=")
		binariesOnly(t, res, "lab-apps/hello-1.1")
		resolvedHello(t, lappy)
	})
	lantage(t, lappy, "emerge", "-1", "lab-apps/versions").ok(t).
		says(t, "is built here: /etc/portage/env/gone.conf has -march=native").saysNot(t, "no package of this plan uses")
	if now := in(t, lappy, nil, "sh", "-c", "cd /etc/portage && find . -type f | sort | xargs sha256sum").ok(t).out; now != config {
		t.Errorf("the client's configuration was\n%s\nand is\n%s", config, now)
	}
}

// resolvedHello checks that the installed hello was built with flags that mean this machine's CPU anywhere, and says so.
func resolvedHello(t *testing.T, lappy *lab.Host) {
	t.Helper()
	text, err := os.ReadFile(lappy.Path("/var/db/pkg/lab-apps/hello-1.1/CFLAGS"))
	if err != nil {
		t.Fatal(err)
	}
	flags := string(text)
	if strings.Contains(flags, "native") || !strings.Contains(flags, "-march=") || !strings.Contains(flags, "-DTUNED") {
		t.Errorf("hello records CFLAGS=%q", flags)
	}
	in(t, lappy, nil, "hello").ok(t).says(t, "-march=", "-DMARK=lappy").saysNot(t, "native")
	in(t, lappy, nil, "sh", "-c", sameTarget).ok(t)
}
