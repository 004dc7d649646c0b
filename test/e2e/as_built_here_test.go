package e2e

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lantage/test/exactness/compare"
	"lantage/test/lab"
)

// The longest test is in the file whose name is first: Go starts the first of the parallel tests first, the others mostly backwards.

// exactPackages is how many packages TestExact builds: what the rules of buildable leave of the lab's.
const exactPackages = 30

// irreproducible are the places in which two builds of a package differ by themselves.
var irreproducible = map[string][]string{
	"lab-apps/big-1":    {"/usr/share/lab-big/data.sha256: content", "/usr/share/lab-big/data: content"},
	"lab-exact/dated-1": {"/usr/share/lab-dated/built: content"},
}

// TestExact builds each package of the lab three times: twice by the client's own emerge, and once through a builder that
// has another distribution, libraries, USE and CFLAGS, profile, MAKEOPTS, locale, time zone, umask, name and CPU. The third
// differs from the first in nothing but what the first two differ in.
func TestExact(t *testing.T) {
	t.Parallel()
	l := newLab(t, lab.HostSpec{Name: "tower", Foreign: true}, lab.HostSpec{Name: "lappy", Files: map[string]string{
		"make.conf":       clientConf("shout", "lappy") + "FEATURES=\"-sandbox -usersandbox -merge-sync -ipc-sandbox -pid-sandbox\"\n",
		"env/lab":         "LAB_MB=1\nLAB_SLEEP=0\nLAB_NOTE=exact\n",
		"package.env/lab": "*/* lab\n",
	}})
	tower, lappy := l.Host("tower"), l.Host("lappy")
	put(t, lappy, "/usr/src/linux-6.1.7/Makefile", "VERSION = 6\nPATCHLEVEL = 1\nSUBLEVEL = 7\n")
	put(t, lappy, "/usr/src/linux-6.1.7/.config", "CONFIG_LAB=y\n")
	in(t, lappy, nil, "ln", "-s", "linux-6.1.7", "/usr/src/linux").ok(t)
	serveOtherwise(t, tower)
	exactness(t, lappy)
	// What others need to be built: a build with --buildpkgonly merges nothing.
	in(t, lappy, nil, "emerge", "-q1", "--jobs=2", "lab-libs/greet", "lab-libs/slotted:1", "lab-libs/slotted:2", "lab-tools/gen",
		"virtual/linux-sources").ok(t)
	cpvs := buildable(t, lappy)
	args := []string{"-keep", "/var/cache/exactness", "lantage", "--base=client", "--remote=lab-apps/running", "--", "--jobs=2"}
	for _, cpv := range cpvs {
		args = append(args, "="+cpv)
	}
	res := in(t, lappy, nil, "exactness", args...)
	t.Logf("it said:\n%s", res.out)
	if res.code != 0 {
		t.Errorf("exit status %d; lantage said:\n%s", res.code, in(t, lappy, nil, "cat", "/var/cache/exactness/builder.log").out)
	}

	rows := compare.Compare(readBinpkgs(t, lappy, "here"), readBinpkgs(t, lappy, "again"), readBinpkgs(t, lappy, "builder"))
	var built []string
	own := map[string][]string{}
	for _, r := range rows {
		if !r.Exact() {
			t.Errorf("%s differs, and the exit status was %d", r.CPV, res.code)
		}
		built = append(built, r.CPV)
		for _, d := range r.Own {
			own[r.CPV] = append(own[r.CPV], d.Place)
		}
	}
	if diff := cmp.Diff(cpvs, built); diff != "" || len(built) != exactPackages {
		t.Errorf("%d packages were built, want %d (-want +got):\n%s", len(built), exactPackages, diff)
	}
	if diff := cmp.Diff(irreproducible, own); diff != "" {
		t.Errorf("irreproducible by themselves (-want +got):\n%s", diff)
	}
}

// exactness puts the program of `make exactness` on a host.
func exactness(t *testing.T, h *lab.Host) {
	t.Helper()
	build := exec.Command("go", "build", "-o", h.Path("/usr/local/bin/exactness"), "lantage/test/exactness")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building exactness: %v\n%s", err, out)
	}
}

func readBinpkgs(t *testing.T, h *lab.Host, round string) map[string]*compare.Package {
	t.Helper()
	all, err := compare.ReadDir(h.Path("/var/cache/exactness/" + round))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// serveOtherwise starts a daemon on a builder on which all is otherwise than on a client, and on one CPU.
func serveOtherwise(t *testing.T, h *lab.Host) {
	t.Helper()
	const own = "USE=\"-shout\"\nCFLAGS=\"-O3 -DMARK=tower\"\nMAKEOPTS=\"-j9\"\nFEATURES=\"nostrip\"\n"
	put(t, h, "/etc/portage/make.conf", own)
	put(t, h, "/etc/portage/profile/make.defaults", own+"LAB_TARGETS=\"red\"\n")
	put(t, h, "/etc/portage/bashrc", "export LAB_BASHRC=tower\n")
	serveBy(t, h, "sh", "-c", `
sed 's/^model name.*/model name : Other/; s/ avx[^ ]*//g' /proc/cpuinfo >/tmp/cpuinfo && mount --bind /tmp/cpuinfo /proc/cpuinfo
export USE=-shout CFLAGS=-O3 MAKEOPTS=-j9 FEATURES=nostrip LC_ALL=de_DE.UTF-8 TZ=Asia/Tokyo
umask 077
exec taskset -c 0 lantage serve --bases=auto`)
}

// serveBy starts a daemon with this command, which becomes lantage, and waits until it is ready.
func serveBy(t *testing.T, h *lab.Host, name string, args ...string) *daemon {
	t.Helper()
	d := daemonBy(t, h, h.Command(context.Background(), name, args...))
	d.log.wait(t, "ready for jobs")
	return d
}

// labEbuild is what Portage says of an ebuild.
type labEbuild struct {
	CPV, CP                                                            string
	Visible                                                            bool
	SLOT, PROPERTIES, RESTRICT, REQUIRED_USE, DEPEND, BDEPEND, RDEPEND string
}

// askPortage prints all ebuilds, the oldest version of each package first.
const askPortage = `
import json, portage
db = portage.db["/"]["porttree"].dbapi
keys = ["SLOT", "PROPERTIES", "RESTRICT", "REQUIRED_USE", "DEPEND", "BDEPEND", "RDEPEND"]
for cp in sorted(db.cp_all()):
	visible = set(db.xmatch("match-visible", cp))
	for cpv in db.cp_list(cp):
		print(json.dumps(dict(zip(keys, db.aux_get(cpv, keys)), CPV=str(cpv), CP=cp, Visible=cpv in visible)))
`

// notExact are packages of which three builds cannot be compared.
var notExact = map[string]string{
	"lab-apps/attacker": "does what TestAttacker has it try",
	"lab-apps/facts":    "notes down what is hidden in a build root, as TestClientBase wants it",
	"lab-apps/fetched":  "its source is nowhere",
	"lab-apps/newline":  "can be packaged, but not merged",
	"lab-five/p3":       "does not compile",
}

// depAtom is a package in a dependency, and the "!" of a blocker before it.
var depAtom = regexp.MustCompile(`(!*)[<>=~]*((?:lab-[a-z]+|virtual)/[a-z0-9-]*[a-z0-9])`)

// buildable lists the packages of the lab that one emerge can build at once: of each slot the newest version that is
// visible, but none that asks, cannot be fetched, fails, blocks others, contradicts its REQUIRED_USE, or needs one of these
// or, to be built, itself.
func buildable(t *testing.T, h *lab.Host) []string {
	t.Helper()
	newest := map[string]labEbuild{} // by package and slot
	bdepend := map[string]string{}   // by package
	for line := range strings.Lines(in(t, h, nil, "python3", "-c", askPortage).ok(t).out) {
		var e labEbuild
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		slot, _, _ := strings.Cut(e.SLOT, "/")
		if e.Visible {
			newest[e.CP+":"+slot], bdepend[e.CP] = e, e.BDEPEND
		}
	}
	ok := map[string]bool{} // by package
	for _, e := range newest {
		ok[e.CP] = notExact[e.CP] == "" && !strings.HasPrefix(e.CP, "lab-fail/") && e.PROPERTIES == "" &&
			!strings.Contains(e.RESTRICT, "fetch") && e.REQUIRED_USE == ""
	}
	for changed := true; changed; {
		changed = false
		for _, e := range newest {
			for _, dep := range depAtom.FindAllStringSubmatch(e.DEPEND+" "+e.BDEPEND+" "+e.RDEPEND, -1) {
				if ok[e.CP] && (dep[1] != "" || !ok[dep[2]] || strings.Contains(bdepend[dep[2]], e.CP)) {
					ok[e.CP], changed = false, true
				}
			}
		}
	}
	var cpvs []string
	for _, e := range newest {
		if ok[e.CP] {
			cpvs = append(cpvs, e.CPV)
		}
	}
	slices.Sort(cpvs)
	return cpvs
}
