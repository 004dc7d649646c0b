package e2e

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lantage/test/lab"
)

// foreignPair is a lab of a builder "tower" that is not Gentoo and a client "lappy", with the builder serving.
func foreignPair(t *testing.T, clientFiles map[string]string) (l *lab.Lab, tower, lappy *lab.Host) {
	t.Helper()
	l = newLab(t, lab.HostSpec{Name: "tower", Foreign: true}, lab.HostSpec{Name: "lappy", Files: clientFiles})
	serve(t, l.Host("tower"), "--bases=auto")
	return l, l.Host("tower"), l.Host("lappy")
}

// ownOverlay makes a repository that only this client has, with a profile of its own, and chooses that profile.
func ownOverlay(t *testing.T, h *lab.Host) {
	t.Helper()
	const repo = "/var/db/repos/mine/"
	put(t, h, "/etc/portage/repos.conf/mine.conf", "[mine]\nlocation = "+repo+"\nauto-sync = no\n")
	put(t, h, repo+"profiles/repo_name", "mine\n")
	put(t, h, repo+"profiles/categories", "lab-mine\n")
	put(t, h, repo+"metadata/layout.conf",
		"masters = lab\nprofile-formats = portage-2\nthin-manifests = true\nsign-manifests = false\n")
	put(t, h, repo+"profiles/laptop/eapi", "8\n")
	put(t, h, repo+"profiles/laptop/parent", "lab:default\n")
	put(t, h, repo+"profiles/laptop/make.defaults", "LAB_TARGETS=\"-green blue red\"\nLAB_PROFILE=\"laptop\"\n")
	put(t, h, repo+"lab-mine/own/own-1.ebuild", `EAPI=8
DESCRIPTION="Links greet, and notes down the profile's variable"
S="${WORKDIR}"
SLOT="0"
KEYWORDS="amd64 arm64"
DEPEND="lab-libs/greet:="
RDEPEND="${DEPEND}"
BDEPEND="lab-tools/gen"

src_compile() {
	echo '#include <greet.h>
	#include <stdio.h>
	int main(void) { return printf("own: %d, profile %s\n", greet_version(), LAB_PROFILE) < 0; }' > own.c
	"${CHOST}-gcc" ${CFLAGS} ${LDFLAGS} -DLAB_PROFILE="\"${LAB_PROFILE}\"" -o lab-own own.c -lgreet || die
}

src_install() {
	dobin lab-own
}
`)
	in(t, h, nil, "ln", "-sfn", "../../var/db/repos/mine/profiles/laptop", "/etc/portage/make.profile").ok(t)
}

// emerging is a line of emerge that merges a package; with "binary" nothing was built for it.
var emerging = regexp.MustCompile(`(?m)^>>> Emerging (binary )?\(\d+ of \d+\) (\S+)::`)

// binariesOnly stops the test unless exactly these packages were built on the builder, and were merged from binary
// packages.
func binariesOnly(t *testing.T, r result, cpvs ...string) {
	t.Helper()
	r.ok(t).saysNot(t, "Compiling source in /var/tmp/portage", "Going on")
	var merged []string
	for _, m := range emerging.FindAllStringSubmatch(r.out, -1) {
		if m[1] == "" {
			t.Errorf("%s was built here", m[2])
		}
		merged = append(merged, m[2])
	}
	slices.Sort(merged)
	slices.Sort(cpvs)
	if diff := cmp.Diff(cpvs, merged); diff != "" {
		t.Errorf("merged (-want +got):\n%s", diff)
	}
	for _, cpv := range cpvs {
		r.says(t, cpv+" built in")
	}
	if t.Failed() {
		t.Fatalf("it said:\n%s", r.out)
	}
}

// TestClientBase is the acceptance of base client: the builder is not Gentoo, has libraries and tools of the same names,
// and nothing of it is in what it builds.
func TestClientBase(t *testing.T) {
	t.Parallel()
	l, tower, lappy := foreignPair(t, map[string]string{
		"make.conf":    clientConf("shout", "lappy"),
		"package.mask": ">=lab-libs/greet-2\n",
	})
	before := upper(t, l)
	ownOverlay(t, lappy)
	put(t, lappy, "/usr/share/lab-local/note", "of the client\n")
	put(t, lappy, "/usr/src/linux-6.1.7/Makefile", "VERSION = 6\nPATCHLEVEL = 1\nSUBLEVEL = 7\n")
	put(t, lappy, "/usr/src/linux-6.1.7/.config", "CONFIG_LAB=y\n")
	in(t, lappy, nil, "ln", "-s", "linux-6.1.7", "/usr/src/linux").ok(t)
	in(t, lappy, nil, "emerge", "-q1", "=lab-libs/greet-1", "=lab-apps/hello-1.0", "lab-tools/gen").ok(t)
	put(t, lappy, "/var/lib/portage/world", "lab-apps/generated\nlab-apps/hello\nlab-apps/targets\nlab-mine/own\n")

	t.Run("world update", func(t *testing.T) {
		res := lantage(t, lappy, "emerge", "-uDN", "@world")
		res.says(t, "base client")
		binariesOnly(t, res, "lab-apps/generated-1", "lab-apps/hello-1.1", "lab-apps/targets-1", "lab-mine/own-1")
		in(t, lappy, nil, "hello").ok(t).says(t, "hello: 1.1", "greet: 1", "shout: on", "-DMARK=lappy")
		in(t, lappy, nil, "scanelf", "-qn", "/usr/bin/hello").ok(t).says(t, "libgreet.so.1")
		in(t, lappy, nil, "generated").ok(t).says(t, "generated: 1").saysNot(t, "foreign")
		in(t, lappy, nil, "lab-own").ok(t).says(t, "own: 1, profile laptop")
		in(t, lappy, nil, "cat", "/usr/share/lab-targets/targets").ok(t).says(t, "blue red").saysNot(t, "green")
		in(t, lappy, nil, "cat", "/var/db/pkg/lab-apps/hello-1.1/RDEPEND").ok(t).says(t, "lab-libs/greet:0/1=")
		in(t, lappy, nil, "emerge", "--color=n", "-1", "--usepkgonly", "--binpkg-respect-use=y",
			"lab-apps/generated", "lab-apps/hello", "lab-apps/targets", "lab-mine/own").ok(t).says(t, ">>> Emerging binary (4 of 4)")
	})
	t.Run("the library's sub-slot changes", func(t *testing.T) {
		put(t, lappy, "/etc/portage/package.mask", "")
		binariesOnly(t, lantage(t, lappy, "emerge", "-uDN", "@world"), "lab-libs/greet-2", "lab-apps/hello-1.1", "lab-mine/own-1")
		in(t, lappy, nil, "hello").ok(t).says(t, "greet: 2")
		in(t, lappy, nil, "lab-own").ok(t).says(t, "own: 2, profile laptop")
	})
	t.Run("facts", func(t *testing.T) { clientFacts(t, lappy) })
	t.Run("kernel sources", func(t *testing.T) {
		const makefile = "usr/src/linux-6.1.7/Makefile"
		if _, err := os.Lstat(filepath.Join(newestCopy(t, tower), makefile)); !os.IsNotExist(err) {
			t.Errorf("kernel sources were copied, and nothing needs them (%v)", err)
		}
		binariesOnly(t, lantage(t, lappy, "emerge", "-1", "lab-apps/module"), "virtual/linux-sources-3", "lab-apps/module-1")
		in(t, lappy, nil, "cat", "/usr/share/lab-module/kernel").ok(t).says(t, "6.1.7\nCONFIG_LAB=y")
		if _, err := os.Lstat(filepath.Join(newestCopy(t, tower), makefile)); err != nil {
			t.Error(err)
		}
	})
	if diff := cmp.Diff(before, upper(t, l)); diff != "" {
		t.Errorf("the builder's own files changed (-before +after):\n%s", diff)
	}
}

// clientFacts compares what a package sees of the root that it is built in on the builder with what it sees at home.
func clientFacts(t *testing.T, lappy *lab.Host) {
	t.Helper()
	put(t, lappy, "/root/secret", "LAB-SECRET of root\n")
	put(t, lappy, "/home/larry/secret", "LAB-SECRET of larry\n")
	const ebuild, image = "/var/db/repos/lab/lab-apps/facts/facts-1.ebuild", "/var/tmp/portage/lab-apps/facts-1/image"
	in(t, lappy, nil, "ebuild", ebuild, "install").ok(t)
	const facts, secrets = "/usr/share/lab-facts/facts", "/usr/share/lab-facts/secrets"
	home := in(t, lappy, nil, "cat", image+facts).ok(t)
	in(t, lappy, nil, "cat", image+secrets).ok(t).says(t, "read /root/secret", "has /home/larry/secret") // it looks
	in(t, lappy, nil, "ebuild", ebuild, "clean").ok(t)

	binariesOnly(t, lantage(t, lappy, "emerge", "-1", "lab-apps/facts"), "lab-apps/facts-1")
	there := in(t, lappy, nil, "cat", facts).ok(t).saysNot(t, "foreign")
	if diff := difference(strings.Split(home.out, "\n"), strings.Split(there.out, "\n")); diff != "" {
		t.Errorf("the root is another one (- at home, + on the builder):\n%s", diff)
	}
	if seen := in(t, lappy, nil, "cat", secrets).ok(t).out; seen != "" {
		t.Errorf("seen by a build:\n%s", seen)
	}
}

// upper describes all that is the builder's own in the root of "tower": nothing of it may change.
func upper(t *testing.T, l *lab.Lab) map[string]string {
	t.Helper()
	d, err := lab.DigestDir(filepath.Join(l.Dir, "tower", "upper"), "/")
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// installedOnly makes greet-2 an installed package of a builder, whose /usr is read-only.
const installedOnly = `set -e
ebuild /var/db/repos/lab/lab-libs/greet/greet-2.ebuild install
cd /var/tmp/portage/lab-libs/greet-2
mkdir -p /usr/local/lib /usr/local/include /var/db/pkg/lab-libs
cp -a image/usr/lib/. /usr/local/lib
cp -a image/usr/include/. /usr/local/include
cp -a build-info /var/db/pkg/lab-libs/greet-2
echo 1 > /var/db/pkg/lab-libs/greet-2/COUNTER
: > /var/db/pkg/lab-libs/greet-2/CONTENTS
ebuild /var/db/repos/lab/lab-libs/greet/greet-2.ebuild clean`

// TestHostBaseSubSlot: what a builder builds against its own libraries is not what the client can use where they have other
// sub-slots. That is said, and so is the base that knows no such thing.
func TestHostBaseSubSlot(t *testing.T) {
	t.Parallel()
	_, tower, lappy := pair(t, nil)
	in(t, tower, nil, "sh", "-c", installedOnly).ok(t)
	in(t, lappy, nil, "emerge", "-q1", "=lab-libs/greet-1").ok(t)
	serve(t, tower, "--bases=auto")
	lantage(t, lappy, "--base", "host", "emerge", "-1", "lab-apps/hello").
		says(t, "base host", "lab-apps/hello-1.1", "lab-libs/greet", "--base client")
	// Whatever was made of that, the client is again what it was; and what base host has built is not reused.
	in(t, lappy, []string{"CLEAN_DELAY=0"}, "emerge", "-qC", "lab-apps/hello", "lab-libs/greet")
	in(t, lappy, nil, "sh", "-c", "rm -rf /var/cache/binpkgs/* && emaint --fix binhost && emerge -q1 =lab-libs/greet-1").ok(t)
	res := lantage(t, lappy, "--base", "client", "emerge", "-1", "lab-apps/hello")
	res.says(t, "base client")
	binariesOnly(t, res, "lab-apps/hello-1.1")
	in(t, lappy, nil, "hello").ok(t).says(t, "greet: 1")
	in(t, lappy, nil, "test", "!", "-e", "/var/db/pkg/lab-libs/greet-2").ok(t)
}

// TestSecondClient: what two clients have in common is on the builder's disk once, and neither sees the other's.
func TestSecondClient(t *testing.T) {
	t.Parallel()
	l := newLab(t, lab.HostSpec{Name: "tower", Foreign: true},
		lab.HostSpec{Name: "red", Files: map[string]string{"make.conf": clientConf("shout", "red")}},
		lab.HostSpec{Name: "blue", Files: map[string]string{"make.conf": clientConf("-shout", "blue")}})
	tower, red, blue := l.Host("tower"), l.Host("red"), l.Host("blue")
	const big, key = "/usr/share/lab-local/big", "/usr/local/share/key"
	for _, h := range []*lab.Host{red, blue} {
		put(t, h, big, strings.Repeat("The same on both.\n", 1<<20))
		put(t, h, key, "also the same\n")
		in(t, h, nil, "chmod", "600", key).ok(t)
		in(t, h, nil, "touch", "-d", "2026-01-02 03:04:05.678901234", big, key).ok(t)
	}
	put(t, red, "/usr/local/share/red", "LAB-SECRET of red\n")
	in(t, red, nil, "chmod", "600", "/usr/local/share/red").ok(t)
	serve(t, tower, "--bases=auto")

	binariesOnly(t, lantage(t, red, "emerge", "-1", "lab-apps/hello"), "lab-libs/greet-2", "lab-apps/hello-1.1")
	in(t, red, nil, "hello").ok(t).says(t, "shout: on", "-DMARK=red")
	first, usedFirst := newestCopy(t, tower), used(t, tower)
	binariesOnly(t, lantage(t, blue, "emerge", "-1", "lab-apps/hello", "lab-apps/facts"),
		"lab-libs/greet-2", "lab-apps/hello-1.1", "lab-apps/facts-1")
	in(t, blue, nil, "hello").ok(t).says(t, "shout: off", "-DMARK=blue")

	all := copies(t, tower)
	i := slices.IndexFunc(all, func(dir string) bool { return filepath.Dir(filepath.Dir(dir)) != filepath.Dir(filepath.Dir(first)) })
	if i < 0 {
		t.Fatalf("both clients' copy is %s", first)
	}
	second := all[i]
	if more := used(t, tower) - usedFirst; more > usedFirst/8 {
		t.Errorf("the first copy uses %d KiB, the second %d KiB more", usedFirst, more)
	}
	if !sameFile(t, first+big, second+big) {
		t.Errorf("%s is on the disk twice", big)
	}
	if sameFile(t, first+key, second+key) {
		t.Errorf("%s, which not everybody may read, is shared", key)
	}
	if _, err := os.Lstat(second + "/usr/local/share/red"); !os.IsNotExist(err) {
		t.Errorf("the second client's copy has the first one's file (%v)", err)
	}
	seen := in(t, blue, nil, "cat", "/usr/share/lab-facts/secrets").ok(t)
	if seen.out != "" {
		t.Errorf("seen by the second client's job:\n%s", seen.out)
	}

	lantage(t, tower, "gc", "--forget=red").ok(t)
	if left := copies(t, tower); slices.ContainsFunc(left, func(dir string) bool {
		_, err := os.Lstat(dir + "/usr/local/share/red")
		return err == nil
	}) || len(left) == 0 {
		t.Errorf("after gc --forget=red there are %q", left)
	}
	if found := marked(t, tower, "LAB-SECRET of red"); found != "" {
		t.Errorf("of the client that was forgotten there is left:\n%s", found)
	}
	lantage(t, blue, "sync").ok(t)
}

// TestDeclined: a client whose compiler does not run on the builder, or whose Portage is in a prefix, is told so, and
// builds by itself.
func TestDeclined(t *testing.T) {
	t.Parallel()
	_, _, lappy := foreignPair(t, nil)
	t.Run("gcc dies", func(t *testing.T) {
		in(t, lappy, nil, "sh", "-c", `cd /usr/bin && echo 'int main(void) { __builtin_trap(); }' > /tmp/ill.c &&
			gcc -o /tmp/ill /tmp/ill.c &&
			name=$(basename "$(ls -d *-pc-linux-gnu-gcc)") && mv "$name" kept-gcc && cp /tmp/ill "$name"`).ok(t)
		// A package that is built without a compiler: this client has none now.
		res := lantage(t, lappy, "emerge", "-1", "lab-apps/targets").ok(t)
		res.says(t, "gcc", "Going on")
		if !regexp.MustCompile(`(?i)illegal instruction|SIGILL`).MatchString(res.out) {
			t.Errorf("it does not say what gcc died of; it said:\n%s", res.out)
		}
		in(t, lappy, nil, "ls", "/var/db/pkg/lab-apps").ok(t).says(t, "targets-1")
		in(t, lappy, nil, "sh", "-c", `cd /usr/bin && mv kept-gcc "$(basename "$(ls -d *-pc-linux-gnu-gcc)")"`).ok(t)
	})
	t.Run("prefix", func(t *testing.T) {
		in(t, lappy, nil, "sh", "-c", `mkdir -p /prefix/etc /prefix/var/db/pkg /prefix/var/lib/portage /prefix/var/tmp/portage \
			/prefix/var/cache && cp -a /etc/portage /prefix/etc && ln -s /usr /bin /prefix && ln -s /var/db/repos /prefix/var/db &&
			ln -sfn /var/db/repos/lab/profiles/default /prefix/etc/portage/make.profile`).ok(t)
		in(t, lappy, []string{"PORTAGE_OVERRIDE_EPREFIX=/prefix"}, "lantage", "emerge", "-1", "lab-five/p1").ok(t).
			says(t, "EPREFIX", "/prefix", "Going on").saysNot(t, "built in")
		in(t, lappy, nil, "ls", "/prefix/var/db/pkg/lab-five").ok(t).says(t, "p1-1")
	})
}

// rootsDir is where a builder keeps the copies of its clients' roots.
const rootsDir = "/var/lib/lantage/roots"

// copies are the whole copies of clients' roots that a builder has, as this machine sees them, those that are served first.
func copies(t *testing.T, tower *lab.Host) (dirs []string) {
	t.Helper()
	top := tower.Path(rootsDir)
	err := filepath.WalkDir(top, func(path string, e fs.DirEntry, err error) error {
		if os.IsNotExist(err) {
			return nil
		}
		if err != nil || !e.IsDir() {
			return err
		}
		if _, err := os.Lstat(filepath.Join(path, "usr/bin/env")); err == nil {
			dirs = append(dirs, path)
			return filepath.SkipDir
		}
		if e.Name() == "objects" || strings.Count(strings.TrimPrefix(path, top), "/") > 4 {
			return filepath.SkipDir
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortStableFunc(dirs, func(a, b string) int { return btoi(!served(a)) - btoi(!served(b)) })
	return dirs
}

// served reports whether a copy is the one that jobs are built on; an older one stays for a moment, until the newer is on disk.
func served(dir string) bool {
	generation := filepath.Dir(dir)
	current, _ := os.ReadFile(filepath.Join(filepath.Dir(generation), "current"))
	return filepath.Base(generation) == "gen-"+strings.TrimSpace(string(current))
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func newestCopy(t *testing.T, tower *lab.Host) string {
	t.Helper()
	all := copies(t, tower)
	if len(all) == 0 {
		t.Fatal("the builder has no copy of a client's root")
	}
	return all[0]
}

func sameFile(t *testing.T, a, b string) bool {
	t.Helper()
	x, err := os.Lstat(a)
	if err != nil {
		t.Fatal(err)
	}
	y, err := os.Lstat(b)
	if err != nil {
		t.Fatal(err)
	}
	return os.SameFile(x, y)
}

// used is how many KiB the copies take on a builder's disk.
func used(t *testing.T, tower *lab.Host) int {
	t.Helper()
	out := in(t, tower, nil, "sh", "-c", "mkdir -p "+rootsDir+" && du -sk "+rootsDir).ok(t).out
	n, err := strconv.Atoi(strings.Fields(out)[0])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// marked lists the files below a builder's state directory that contain a text.
func marked(t *testing.T, tower *lab.Host, text string) string {
	t.Helper()
	return in(t, tower, nil, "grep", "-rlsaF", "--", text, "/var/lib/lantage").out
}
