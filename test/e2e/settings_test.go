package e2e

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lantage/test/lab"
)

// settingsSet is what is built: a set of the user's own.
var settingsSet = []string{"lab-apps/environ", "lab-apps/fetched", "lab-apps/needsprovided", "lab-apps/patched", "lab-apps/settings"}

// fakeWget is a stand-in for it, since nothing can be downloaded in the lab.
const fakeWget = "#!/bin/sh\nwhile [ \"$1\" != -O ]; do shift; done\necho 'The source of lab-apps/fetched.' >\"$2\"\n"

// clientSettings are the files below /etc/portage, each of which changes one of the packages.
func clientSettings(t *testing.T) map[string]string {
	t.Helper()
	patch, err := os.ReadFile("../../testdata/repos/lab/lab-apps/patched/files/user.patch")
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{
		"make.conf":                           lab.AllSandboxes + "CFLAGS=\"-O1\"\nACCEPT_RESTRICT=\"* -bindist\"\n",
		"patches/lab-apps/patched/user.patch": string(patch),
		"env/note":                            "LAB_NOTE=\"from package.env\"\n",
		"env/nostrip":                         "FEATURES=\"nostrip\"\n",
		"package.env/lab":                     "lab-apps/environ note\nlab-apps/patched nostrip\n",
		"bashrc":                              "[[ ${PN} == environ ]] && LAB_BASHRC=\"from bashrc\"\n",
		"savedconfig/lab-apps/settings-1":     "CONFIG_LAB=y\n",
		"profile/package.use.force":           "lab-apps/settings forced\n",
		"profile/make.defaults":               "LAB_PROFILE=\"the user's\"\n",
		"profile/package.provided":            "lab-libs/elsewhere-1\n",
		"sets/lab":                            strings.Join(settingsSet, "\n") + "\n",
	}
}

// bogus are settings in a client's make.conf that are the builder's: on the client they work, on a builder they must not act.
const bogus = `
PKGDIR="/var/cache/mine/binpkgs"
DISTDIR="/var/cache/mine/distfiles"
PORTAGE_TMPDIR="/var/cache/mine/tmp"
PORTAGE_LOGDIR="/var/cache/mine/log"
EMERGE_LOG_DIR="/var/cache/mine/log"
FETCHCOMMAND="/bin/false \${FILE}"
RESUMECOMMAND="/bin/false \${FILE}"
FETCHCOMMAND_HTTPS="/bin/false \${FILE}"
FETCH_WRAPPER="/bin/false"
PORTAGE_CHECKSUM_FILTER="-*"
CCACHE_DIR="/nowhere/ccache"
FEATURES="${FEATURES} ccache -distlocks keepwork -buildpkg-live"
MAKEOPTS="-j77"
MAKEFLAGS="-j66"
PORTAGE_NICENESS="3"
PORTAGE_IONICE_COMMAND="sh -c 'echo here >/tmp/lab-ionice'"
PORTAGE_SCHEDULING_POLICY="idle"
PORTAGE_LOG_FILTER_FILE_CMD="/root/filter"
http_proxy="http://192.0.2.1:3128/"
EMERGE_DEFAULT_OPTS="--quiet-build=n"
`

// TestSettingsAct: what the client says of packages, in its files, its environment and on the command line, acts on a builder
// as it acts at home, on both bases; what it says of its own machine does not.
func TestSettingsAct(t *testing.T) {
	t.Parallel()
	l := newLab(t, lab.HostSpec{Name: "tower", Builder: true}, lab.HostSpec{Name: "lappy", Files: clientSettings(t)})
	tower, lappy := l.Host("tower"), l.Host("lappy")
	for _, h := range l.Hosts {
		put(t, h, "/usr/local/bin/wget", fakeWget)
		in(t, h, nil, "chmod", "755", "/usr/local/bin/wget").ok(t)
	}
	serve(t, tower, "--bases=client,host")

	env := []string{
		"USE=shout", "CFLAGS=-O1 -ggdb -DFROM_ENVIRONMENT", "FEATURES=test splitdebug compressdebug", "ACCEPT_KEYWORDS=~amd64",
	}
	emerge := []string{"emerge", "-1", "--accept-restrict=bindist", "@lab"}
	in(t, lappy, env, "emerge", append([]string{"--usepkg=n"}, emerge[1:]...)...).ok(t)
	home := installed(t, lappy)
	for name, want := range map[string]string{
		"/usr/share/lab-settings/client": "use: forced shout\ncflags: -O1 -ggdb -DFROM_ENVIRONMENT\n" +
			"profile: the user's\nsavedconfig: CONFIG_LAB=y\ntested: yes\n",
		"/usr/share/lab-needsprovided/note":    "built\n",
		"/usr/share/lab-fetched/fetched-1.txt": "The source of lab-apps/fetched.\n",
	} {
		if text, err := os.ReadFile(lappy.Path(name)); string(text) != want {
			t.Errorf("at home %s says %q (%v), want %q", name, text, err, want)
		}
	}
	in(t, lappy, nil, "patched").ok(t).says(t, "patched: by the user")
	in(t, lappy, nil, "lab-environ").ok(t).says(t, "note: from package.env", "bashrc: from bashrc", "-DFROM_ENVIRONMENT")
	debug := func(name string) bool { _, there := home["/usr/lib/debug/usr/bin/"+name]; return there }
	if !debug("lab-settings.debug") || debug("patched.debug") {
		t.Errorf("at home FEATURES=splitdebug, and nostrip for patched, do not act; there are: %q", slices.Sorted(maps.Keys(home)))
	}

	addTo(t, lappy, "/etc/portage/make.conf", bogus)
	put(t, lappy, "/root/filter", "#!/bin/sh\nexec cat\n")
	in(t, lappy, nil, "sh", "-c", "chmod 755 /root/filter && cd /var/cache && "+
		"mkdir -p mine/binpkgs mine/distfiles mine/tmp mine/log && rm distfiles/fetched*").ok(t)
	// What is compared has been built on the builder, and lies in the client's own PKGDIR.
	for _, base := range []string{"host", "client"} {
		t.Run(base, func(t *testing.T) {
			in(t, lappy, []string{"CLEAN_DELAY=0"}, "emerge", append([]string{"-qC"}, settingsSet...)...).ok(t)
			res := in(t, lappy, env, "lantage", append([]string{"--no-fallback", "--base=" + base}, emerge...)...).ok(t)
			for _, cp := range settingsSet {
				res.says(t, cp+"-1 built in")
			}
			if diff := cmp.Diff(home, installed(t, lappy)); diff != "" {
				t.Errorf("what was built on the builder differs (-at home +there):\n%s", diff)
			}
			in(t, lappy, nil, "ls", "/var/cache/mine/binpkgs/lab-apps").ok(t).says(t, "settings")
			in(t, lappy, nil, "cat", "/usr/share/lab-settings/builder").ok(t).
				says(t, "makeopts: -j", "tmpdir: /var/tmp\n", "ccache:  1\n", "features: distlocks \n",
					"nice: 10\n", "policy: 0\n", "ionice: \n", "proxy: \n", "user: portage portage\n").
				saysNot(t, "77", "66", "mine", "nowhere", "192.0.2.1", "here")
		})
	}

	// Without --nodeps the builder merges the tool first, as emerge does at home.
	t.Run("nodeps", func(t *testing.T) {
		lantage(t, lappy, "--no-fallback", "--base=host", "--remote=tooled", "emerge", "-1", "--nodeps", "lab-apps/tooled").ok(t).
			says(t, "lab-apps/tooled-1 built in").saysNot(t, "lab-tools/gen")
		in(t, lappy, nil, "cat", "/usr/share/lab-tooled/tool").ok(t).says(t, "tool: none")
	})
}

var contentsRE = regexp.MustCompile(`(?m)^(obj|sym) (.*?)(?: ([0-9a-f]{32}))? \d+$`)

// installed are the files of the set as the VDB has them: path to kind and MD5. What notes down what is the builder's is left
// out.
func installed(t *testing.T, h *lab.Host) map[string]string {
	t.Helper()
	files := make(map[string]string)
	for _, cp := range settingsSet {
		text, err := os.ReadFile(filepath.Join(h.Path("/var/db/pkg"), cp+"-1", "CONTENTS"))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range contentsRE.FindAllStringSubmatch(string(text), -1) {
			if m[2] != "/usr/share/lab-settings/builder" {
				files[m[2]] = m[1] + " " + m[3]
			}
		}
	}
	if len(files) < len(settingsSet) {
		t.Fatalf("the VDB has %q", files)
	}
	return files
}
