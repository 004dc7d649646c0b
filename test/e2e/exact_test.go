package e2e

import (
	"context"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"lantage/test/exactness/compare"
	"lantage/test/lab"
)

// labEbuild is what Portage says of an ebuild.
type labEbuild struct {
	CPV, CP                                              string
	Visible                                              bool
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

// depAtom is a package that a dependency names, with the blocker before it.
var depAtom = regexp.MustCompile(`(!*)[<>=~]*((?:lab-[a-z]+|virtual)/[a-z0-9-]*[a-z0-9])`)

// notExact are the packages that are of no use here though they can be built.
var notExact = map[string]string{
	"lab-apps/facts":   "notes down what is hidden from a build, beside what is not: TestClientBase",
	"lab-apps/newline": "can be packaged, but not merged",
	"lab-apps/probe":   "notes down what a build root does not let it do: TestBuildRoot",
	"lab-five/p3":      "does not compile",
}

// buildable lists the lab's packages that one emerge can build at once: of each slot the newest version that is visible,
// but those that ask, cannot be fetched, fail, block others, or need such a package or themselves.
func buildable(t *testing.T, h *lab.Host) (cpvs []string) {
	t.Helper()
	newest := map[string]labEbuild{}
	for line := range strings.Lines(in(t, h, nil, "python3", "-c", askPortage).ok(t).out) {
		var e labEbuild
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		slot, _, _ := strings.Cut(e.SLOT, "/")
		if e.Visible {
			newest[e.CP+":"+slot] = e
		}
	}
	packages := map[string]bool{} // by name, those that can be built
	for _, e := range newest {
		packages[e.CP] = notExact[e.CP] == "" && !strings.HasPrefix(e.CP, "lab-fail/") && e.PROPERTIES == "" &&
			!strings.Contains(e.RESTRICT, "fetch") && e.REQUIRED_USE == ""
	}
	for again := true; again; {
		again = false
		for _, e := range newest {
			for _, m := range depAtom.FindAllStringSubmatch(e.DEPEND+" "+e.BDEPEND+" "+e.RDEPEND, -1) {
				circle := slices.ContainsFunc([]labEbuild{newest[m[2]+":0"]}, func(n labEbuild) bool { return strings.Contains(n.BDEPEND, e.CP) })
				if packages[e.CP] && (m[1] != "" || !packages[m[2]] || circle) {
					packages[e.CP], again = false, true
				}
			}
		}
	}
	for _, e := range newest {
		if packages[e.CP] {
			cpvs = append(cpvs, e.CPV)
		}
	}
	slices.Sort(cpvs)
	return cpvs
}

func TestExact(t *testing.T) {
	t.Parallel()
	l := newLab(t, lab.HostSpec{Name: "tower", Foreign: true}, lab.HostSpec{Name: "lappy", Files: map[string]string{
		"make.conf":       clientConf("shout", "lappy") + "MAKEOPTS=\"-j3\"\n",
		"env/lab":         "LAB_MB=1\nLAB_SLEEP=0\nLAB_NOTE=exact\n",
		"package.env/lab": "*/* lab\n",
	}})
	tower, lappy := l.Host("tower"), l.Host("lappy")
	_ = tower
	put(t, lappy, "/usr/src/linux-6.1.7/Makefile", "VERSION = 6\nPATCHLEVEL = 1\nSUBLEVEL = 7\n")
	put(t, lappy, "/usr/src/linux-6.1.7/.config", "CONFIG_LAB=y\n")
	in(t, lappy, nil, "ln", "-s", "linux-6.1.7", "/usr/src/linux").ok(t)
	now := time.Now()
	lapped := func(what string) { t.Logf("%s: %v", what, time.Since(now)); now = time.Now() }
	// What others need to be built.
	in(t, lappy, nil, "emerge", "-q1", "--jobs=2", "lab-libs/greet", "lab-libs/slotted:1", "lab-libs/slotted:2", "lab-tools/gen", "virtual/linux-sources").ok(t)
	lapped("deps")
	cpvs := buildable(t, lappy)
	lapped("buildable")
	t.Logf("%d: %q", len(cpvs), cpvs)
	var atoms []string
	for _, cpv := range cpvs {
		atoms = append(atoms, "="+cpv)
	}
	serveForeign(t, tower)
	args := append([]string{"--oneshot", "--buildpkgonly", "--usepkg=n", "--keep-going", "--jobs=2", "--quiet-build=y"}, atoms...)
	var builds []map[string]*compare.Package
	for _, round := range []struct{ dir, name string }{{"/var/cache/1", "emerge"}, {"/var/cache/2", "emerge"}, {"/var/cache/3", "lantage"}} {
		a := args
		if round.name == "lantage" {
			a = append([]string{"--no-fallback", "emerge"}, args...)
		}
		res := in(t, lappy, []string{"PKGDIR=" + round.dir}, round.name, a...)
		lapped(round.dir)
		if res.code != 0 {
			t.Errorf("%d: %s", res.code, res.out)
		}
		all, err := compare.ReadDir(lappy.Path(round.dir))
		if err != nil {
			t.Fatal(err)
		}
		lapped("read")
		builds = append(builds, all)
	}
	var out strings.Builder
	exact, err := compare.Print(&out, compare.Compare(builds[0], builds[1], builds[2]))
	if err != nil {
		t.Fatal(err)
	}
	t.Log(out.String())
	if !exact {
		t.Error("not exact")
	}
}

func serveForeign(t *testing.T, h *lab.Host) {
	d := &daemon{t: t, log: newWatched(), done: make(chan struct{})}
	d.cmd = h.Command(context.Background(), "sh", "-c", `umask 077; ulimit -c 0
export USE=-shout CFLAGS=-O3 LANG=de_DE.UTF-8 LC_ALL=de_DE.UTF-8 TZ=Asia/Tokyo MAKEOPTS=-j9 FEATURES=nostrip
exec taskset -c 0 lantage serve --bases=auto`)
	d.cmd.Stdout, d.cmd.Stderr = d.log, d.log
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { d.err = d.cmd.Wait(); d.log.end(); close(d.done) }()
	t.Cleanup(func() { d.stop(15) })
	d.log.wait(t, "ready for jobs")
}
