package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"lantage/test/lab"
)

type host = lab.Host

// tool is where this program lies on each host, for the parts of it that must run there.
const tool = "/root/lantage-bench"

// newLab makes the hosts: tower builds, lappy has Lantage, plain has the same root and does without.
// store takes what is transferred: a client whose PKGDIR is on a real disk (the others' roots are
// overlays that sync nothing) and whose root is read-only, so that it merges nothing.
func newLab(binary string) (*lab.Lab, error) {
	makeConf := fmt.Sprintf("CFLAGS=\"-O2 -pipe\"\nMAKEOPTS=\"-j%d\"\n", runtime.NumCPU())
	files := map[string]string{"make.conf": makeConf}
	l, err := lab.New(context.Background(), lab.Options{Binary: binary, Hosts: []lab.HostSpec{
		{Name: "tower", Builder: true},
		{Name: "store", Builder: true, Files: files},
		{Name: "lappy", Files: files},
		{Name: "plain", Files: files},
	}})
	if err != nil {
		return nil, err
	}
	self, err := os.ReadFile("/proc/self/exe")
	for _, h := range l.Hosts {
		if err == nil {
			err = os.WriteFile(h.Path(tool), self, 0o755)
		}
		if err == nil {
			err = addPackages(h)
		}
	}
	if err != nil {
		_ = l.Close()
		return nil, err
	}
	return l, nil
}

// addPackages adds what is measured with to the host's copy of the lab's repository.
func addPackages(h *host) error {
	const repo = "/var/db/repos/lab/lab-apps"
	texts := map[string]string{"busy": ebuildHead + busyEbuild}
	for _, b := range bigPackages {
		texts[b.name] = ebuildHead + strings.ReplaceAll(bigEbuild, "BLOCKS", strconv.Itoa(b.blocks))
	}
	for name, text := range texts {
		file := h.Path(filepath.Join(repo, name, name+"-1.ebuild"))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

const ebuildHead = `EAPI=8
DESCRIPTION="To measure with"
HOMEPAGE="https://example.org/lab"
S="${WORKDIR}"
LICENSE="AGPL-3"
SLOT="0"
KEYWORDS="amd64 arm64"
RESTRICT="strip"
`

// bigEbuild makes a file that does not compress, quicker than lab-apps/big does: a random block that
// repeats itself where no compressor of binpkgs or of the transfer looks back to.
const bigEbuild = `
src_compile() {
	head -c 50M /dev/urandom > block || die
	local i
	for ((i = 0; i < BLOCKS; i++)); do cat block; done > data || die
}

src_install() {
	dodir /usr/share/lab-"${PN}"
	mv data "${ED}"/usr/share/lab-"${PN}"/ || die
}
`

// busyEbuild compiles C for about ten seconds.
const busyEbuild = `
src_unpack() {
	local f i
	for f in {1..8}; do
		for i in {1..90}; do
			echo "int f${f}_${i}(int *a, int n) { int s = ${i}; for (int i = 0; i < n; i++)" \
				"switch ((a[i] ^ s) % 5) { case 0: s += a[i] * ${i}; break; case 1: a[i] = s << 3; break;" \
				"case 2: s ^= a[(i + ${i}) % n]; break; default: s = s * 31 + i; } return s; }"
		done > ${f}.c
	done
	echo 'int main(void) { return 0; }' > main.c
}

src_compile() {
	emake CC="${CC:-${CHOST}-gcc}" -f - main <<< 'main: 1.o 2.o 3.o 4.o 5.o 6.o 7.o 8.o main.o'
}

src_install() {
	newbin main lab-busy
}
`

// on runs a command on a host to its end and returns what it printed and how long it took.
func on(ctx context.Context, h *host, args ...string) (out string, took time.Duration, err error) {
	began := time.Now()
	b, err := h.Command(ctx, args[0], args[1:]...).CombinedOutput()
	took = time.Since(began)
	if err != nil {
		err = fmt.Errorf("%s on %s: %w; it said:\n%s", strings.Join(args, " "), h.Name, err, b)
	}
	return string(b), took, err
}

func signalTo(cmd *exec.Cmd, sig syscall.Signal) error { return cmd.Process.Signal(sig) }
