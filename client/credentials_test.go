package client

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lantage/gentoo"
	"lantage/rootfs"
)

// hush is in every secret of this machine's.
const hush = "h3u4s9h"

// secretConfig are files with secrets in /etc/portage and in a repository, with what is sent of each; "" if nothing is.
var secretConfig = map[string][2]string{
	"etc/portage/make.conf": {
		"GENTOO_MIRRORS=\"https://me:" + hush + "@m/\"\nFETCHCOMMAND=\"wget --password=" + hush + " \\\"\\${URI}\\\"\"\n",
		"GENTOO_MIRRORS=\"https://m/\"\nFETCHCOMMAND=\"wget --password= \\\"\\${URI}\\\"\"\n",
	},
	"etc/portage/repos.conf/x.conf": {"[x]\nsync-uri = https://me:" + hush + "@h/x.git\n", "[x]\nsync-uri = https://h/x.git\n"},
	"etc/portage/binrepos.conf":     {"[x]\nsync-uri = https://" + hush + "@h/\n", "[x]\nsync-uri = https://h/\n"},
	"etc/portage/bashrc":            {"export GH_TOKEN=" + hush + "\n", "export GH_TOKEN=\n"},
	"etc/portage/mine":              {"-----BEGIN OPENSSH PRIVATE KEY-----\n" + hush + "\n-----END OPENSSH PRIVATE KEY-----\n", "\n"},
	"etc/portage/gnupg/x":           {hush, ""},
	"etc/portage/sub/repo.key":      {hush, ""},
	"etc/portage/.netrc":            {hush, ""},
	"etc/portage/.ssh/config":       {hush, ""},
	"etc/portage/id_ed25519":        {hush, ""},
	"etc/portage/.git/config":       {hush, ""},
	"etc/portage/package.use/x":     {"a/b c\n", "a/b c\n"},
	"mine/a/b/b-1.ebuild":           {"EGIT_REPO_URI=\"https://me:" + hush + "@h/b.git\"\n", "EGIT_REPO_URI=\"https://h/b.git\"\n"},
	"mine/.git/config":              {"url = https://me:" + hush + "@h/\n", ""},
	"mine/a/b/files/x.key":          {hush, ""},
	"mine/.git-credentials":         {hush, ""},
	"mine/a/b/files/key.pem":        {"-----BEGIN PRIVATE KEY-----\n" + hush, ""}, // sent, and empty
	"mine/binary":                   {"\x00password=x\n", "\x00password=x\n"},
}

// writeSecrets makes these files, and a link to one of them.
func (m *machine) writeSecrets() {
	m.t.Helper()
	for name, text := range secretConfig {
		m.write(name, text[0])
	}
	m.write("repo/shared", "X_PASSWORD="+hush+"\n")
	m.write("repo/shared.key", hush)
	link(m.t, "../../repo/shared", m.path("etc/portage/shared"))
	link(m.t, "../../repo/shared.key", m.path("etc/portage/sharedkey"))
}

// What goes with a job of the base host has no credentials in it, and all the rest.
func TestInputsWithoutCredentials(t *testing.T) {
	m := newMachine(t)
	m.writeSecrets()
	shown := map[string]sentFile{}
	why := map[string]string{}
	got := members(t, packed(t, inputs{
		root: m.dir, repos: []string{m.path("repo")}, overlays: []overlay{{"mine", m.path("mine")}}, warn: t.Logf,
		resolved: map[string][]byte{
			m.path("etc/portage/bashrc"): []byte("# resolved\nexport GH_TOKEN=" + hush + "\n"),
			"/elsewhere":                 []byte("A_TOKEN=" + hush + "\n"),
		},
		sent: func(f sentFile) { shown[f.path] = f },
		left: func(path, reason string) { why[path] = reason },
	}))
	want := map[string]string{
		"etc/portage/shared": "X_PASSWORD=\n", "repos/mine/a/b/files/key.pem": "", "resolved/elsewhere": "A_TOKEN=\n",
	}
	for name, text := range secretConfig {
		if text[1] != "" {
			want[strings.Replace(name, "mine/", "repos/mine/", 1)] = text[1]
		}
	}
	want["etc/portage/bashrc"] = "# resolved\nexport GH_TOKEN=\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("inputs (-want +got):\n%s", diff)
	}
	if len(shown) != len(want) {
		t.Errorf("%d files are shown, and %d are sent: %v", len(shown), len(want), shown)
	}
	for name, note := range map[string]string{
		m.path("etc/portage/make.conf"): rootfs.Blanked, m.path("etc/portage/bashrc"): "native flags written out, " + rootfs.Blanked,
		m.path("etc/portage/package.use/x"): "", m.path("etc/portage/shared"): rootfs.Blanked, "/elsewhere": "native flags written out, " + rootfs.Blanked,
	} {
		if f, ok := shown[name]; !ok || f.note != note {
			t.Errorf("%s: %+v, want the note %q", name, f, note)
		}
	}
	if f := shown[m.path("etc/portage/make.conf")]; f.size != int64(len(secretConfig["etc/portage/make.conf"][1])) {
		t.Errorf("the size of make.conf is said to be %d", f.size)
	}
	for name, reason := range map[string]string{
		"etc/portage/gnupg": "a secret", "etc/portage/.netrc": "a secret", "etc/portage/sub/repo.key": "a secret", "etc/portage/.ssh": "a secret",
		"mine/.git": "Portage does not read it", "etc/portage/make.profile": "the job names the profile", "repo/shared.key": "a secret",
	} {
		if why[m.path(name)] != reason {
			t.Errorf("%s is not sent because %q, want %q", name, why[m.path(name)], reason)
		}
	}
}

func TestSentEnv(t *testing.T) {
	sent, lose := sentEnv([]string{
		"USE=a", "GENTOO_MIRRORS=https://me:" + hush + "@h/", "EXTRA_ECONF=--with-password=" + hush,
		"PORTAGE_REPOSITORIES=[x]\nsync-uri = https://me:" + hush + "@h/\n",
	})
	want := []string{"USE=a", "GENTOO_MIRRORS=https://h/", "EXTRA_ECONF=--with-password=", "PORTAGE_REPOSITORIES=[x]\nsync-uri = https://h/\n"}
	if diff := cmp.Diff(want, sent); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if !slices.Equal(lose, []string{"EXTRA_ECONF"}) {
		t.Errorf("%q lose something that may change a package", lose)
	}
	sys := &system{profiles: []gentoo.Profile{{}}, env: []string{"GENTOO_MIRRORS=https://me:" + hush + "@h/"}}
	for _, base := range []string{"host", "client"} {
		if _, msg := (&Emerge{}).newJob(t.Context(), sys, &plan{}, &builder{base: base}); !slices.Equal(msg.Env, want[1:2]) {
			t.Errorf("the job has %q", msg.Env)
		}
	}
}

// A package that is built from a file that does not leave this machine as it is stays here: a builder would build another one.
func TestSecretInputsStay(t *testing.T) {
	for name, where := range map[string]string{
		"the ebuild":        "mine/a/b/b-1.ebuild",
		"a file of it":      "mine/a/b/files/conf",
		"an eclass":         "mine/eclass/used.eclass",
		"a patch":           "etc/portage/patches/a/b-1/x.patch",
		"its configuration": "etc/portage/savedconfig/a/b",
		"":                  "mine/a/b/b-2.ebuild", // another version
		" ":                 "mine/eclass/unused.eclass",
		"  ":                "etc/portage/patches/a/bc/x.patch",
		"   ":               "etc/portage/package.env",
		"    ":              "repo/a/b/b-1.ebuild", // published
	} {
		m := newMachine(t)
		m.write("mine/a/b/b-1.ebuild", "EAPI=8\n")
		m.write(where, "x\nA_PASSWORD="+hush+"\n")
		h := &home{
			configRoot: m.dir, remote: []gentoo.Pattern{{}},
			repos: []gentoo.Repo{{Name: "mine", Location: m.path("mine")}, {Name: "lab", Location: m.path("repo"), Main: true}},
		}
		pkg := gentoo.Package{CPV: gentoo.CPV{Category: "a", Name: "b", Version: "1"}, Repo: "mine"}
		h.facts = map[gentoo.CPV]facts{pkg.CPV: {Inherited: []string{"used"}}}
		why := h.why(pkg)
		if want := strings.TrimSpace(name) != ""; strings.Contains(why, m.path(where)) != want {
			t.Errorf("%s: %q", where, why)
		}
	}
	m := newMachine(t)
	m.write("mine/a/b/files/x.key", "")
	h := &home{repos: []gentoo.Repo{{Name: "mine", Location: m.path("mine")}}}
	if got := h.secretInput(gentoo.Package{CPV: gentoo.CPV{Category: "a", Name: "b", Version: "1"}, Repo: "mine"}, facts{}); got == "" {
		t.Error("a key in files/ is no reason")
	}
}

// --show-inputs shows what would be sent, without a builder, and neither sends nor merges anything.
func TestShowInputs(t *testing.T) {
	m := newMachine(t)
	m.writeSecrets()
	m.write("distfiles/a.tar", "abc")
	var out buffer
	e := m.emerge("127.0.0.1:1", &out, "--ask", "lab/b")
	e.ShowInputs = true
	e.Environ = append(e.Environ, "GENTOO_MIRRORS=https://me:"+hush+"@h/")
	wantStatus(t, e.Run(t.Context()), 0, &out)
	wantContains(t, out.String(), "Nothing is sent", m.path("etc/portage/make.conf")+"  — "+rootfs.Blanked, "package lab/a-1::lab",
		"environment GENTOO_MIRRORS=https://h/", m.path("etc/portage/gnupg")+"  — a secret", "in all, ", "base host")
	if strings.Contains(out.String(), hush) {
		t.Errorf("it shows secrets:\n%s", &out)
	}
	if calls := m.read("calls"); strings.Contains(calls, "emaint") || strings.Count(calls, "emerge ") != 1 {
		t.Errorf("more than the plan was asked for:\n%s", calls)
	}
	// Where plain emerge would do it all, it does not.
	for _, args := range [][]string{{"--sync"}, {"--unmerge", "lab/b"}} {
		e := m.emerge("127.0.0.1:1", &out, args...)
		e.ShowInputs = true
		if err := e.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "nothing was done") {
			t.Errorf("%q: %v", args, err)
		}
	}
	if calls := m.read("calls"); strings.Count(calls, "emerge ") != 1 {
		t.Errorf("emerge ran:\n%s", calls)
	}
	// Neither would more be shown than would go.
	var said buffer
	e = m.emerge("127.0.0.1:1", &said, "lab/b")
	e.ShowInputs = true
	e.facts = func(_ context.Context, _ *tools, pkgs []gentoo.Package) (map[gentoo.CPV]facts, error) {
		tiny := map[gentoo.CPV]facts{}
		for _, p := range pkgs {
			tiny[p.CPV] = facts{CPV: p.CPV.String(), Phases: []string{"-"}}
		}
		return tiny, nil
	}
	wantStatus(t, e.Run(t.Context()), 0, &said)
	wantContains(t, said.String(), "nothing would leave this machine")
	if strings.Contains(said.String(), "make.conf") || strings.Contains(m.read("calls"), "emaint") {
		t.Errorf("of a plan without anything to build it shows:\n%s", &said)
	}
}
