package client

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lantage/gentoo"
	"lantage/wire"
)

// TestSplit: what is built here is told from the merge list, the metadata, the ebuild and the user's wishes.
func TestSplit(t *testing.T) {
	repo := t.TempDir()
	known := map[gentoo.CPV]facts{}
	pkg := func(name, ebuild string, f facts) {
		t.Helper()
		cpv := gentoo.CPV{Category: "lab", Name: name, Version: "1"}
		known[cpv] = f
		dir := filepath.Join(repo, "lab", name)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name+"-1.ebuild"), []byte(ebuild), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	live := facts{Properties: []string{"live"}}
	pkg("plain", "# uname -r is not asked for\nsrc_compile() { uname -m; }\npkg_postinst() {\n\tkernel_is -lt $(uname -r)\n}\n"+
		"src_install() {\n\tuse x && ewarn \"You run $(uname -r)\"\n\techo $(uname -r)\n\t[[ y ]] || die \"not for $(uname -r)\"\n}\n", facts{})
	pkg("asks", "", facts{Properties: []string{"interactive"}})
	pkg("net", "EGIT_REPO_URI=\"https://example.org/x.git\"\n", live)
	pkg("disk", "\tEGIT_REPO_URI=\"file:///home/me/x\"\n", live)
	pkg("list", "EGIT_REPO_URI=(\n\t'/home/me/y'\n)\n", live)
	pkg("override", "EGIT_REPO_URI=\"https://example.org/x.git\"\n", facts{Properties: []string{"live"}, Live: []string{"/home/me/z"}})
	pkg("kernel", "src_compile() { emake KV=$(uname -r); }\n", facts{})
	pkg("written", "src_install() {\n\techo $(uname -r) > x\n}\n", facts{})
	pkg("document", "src_install() {\n\tcat <<-EOF >x\n\t\tKV=$(uname -r)\n\tEOF\n}\n", facts{})
	pkg("pretend", "pkg_pretend() {\n\t[[ $(uname -r) == 6* ]] || die\n}\n", facts{})
	pkg("outside", "KV=$(uname -r)\n", facts{})
	pkg("running", "pkg_setup() { get_running_version; }\n", facts{})
	pkg("slotted", "", facts{Slot: "2/5"})
	list, err := gentoo.ParseMergeList(strings.Join([]string{
		"[ebuild  N     ] lab/plain-1::lab 0 KiB",
		"[ebuild IN     ] lab/talks-1::lab 0 KiB",
		"[ebuild  N F   ] lab/missing-1::lab 0 KiB",
		"[ebuild  N f   ] lab/byhand-1::lab 0 KiB",
		"[ebuild  N     ] lab/noname-1 0 KiB",
		"[ebuild  N     ] lab/elsewhere-1::lab to /mnt/ 0 KiB",
		"[binary  N     ] lab/binary-1-2::lab 0 KiB",
		"[uninstall     ] lab/old-1::lab",
		"[nomerge       ] lab/parent-1::lab",
		"[ebuild   R    ] lab/plain-1::lab to /mnt/ 0 KiB",
		"[ebuild     U  ] lab/second-2::other [1::lab] 0 KiB",
		"[ebuild  N     ] lab/asks-1::lab 0 KiB",
		"[ebuild  N     ] lab/net-1::lab 0 KiB",
		"[ebuild  N     ] lab/disk-1::lab 0 KiB",
		"[ebuild  N     ] lab/list-1::lab 0 KiB",
		"[ebuild  N     ] lab/override-1::lab 0 KiB",
		"[ebuild  N     ] lab/kernel-1::lab 0 KiB",
		"[ebuild  N     ] lab/running-1::lab 0 KiB",
		"[ebuild  N     ] lab/written-1::lab 0 KiB",
		"[ebuild  N     ] lab/document-1::lab 0 KiB",
		"[ebuild  N     ] lab/pretend-1::lab 0 KiB",
		"[ebuild  N     ] lab/outside-1::lab 0 KiB",
		"[ebuild  N     ] lab/slotted-1::lab 0 KiB",
		"[ebuild  N     ] lab/mine-1::lab 0 KiB",
		"[ebuild IN     ] lab/forced-1::lab 0 KiB",
		"[ebuild  N     ] lab/forced-1::lab to /mnt/ 0 KiB",
		"[ebuild  N     ] lab/odd-1::lab 0 KiB",
		"[ebuild  N     ] lab/broken-1::lab 0 KiB",
	}, "\n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range list.Builds() {
		if _, ok := known[p.CPV]; !ok && p.Name != "odd" {
			known[p.CPV] = facts{}
		}
		if p.Name == "broken" {
			known[p.CPV] = facts{Error: "KeyError: 'x'"}
		}
	}
	h, err := (&Emerge{Local: []string{"lab/slotted:2", "*/mine"}, Remote: []string{"forced", "mine"}}).newHome()
	if err != nil {
		t.Fatal(err)
	}
	h.repos, h.facts = []gentoo.Repo{{Name: "lab", Location: repo}}, known
	send, stay := h.split(list)
	var got []string
	for _, p := range send {
		got = append(got, "send "+p.Atom())
	}
	for _, s := range stay {
		got = append(got, "stay "+s.CPV.String()+": "+s.why)
	}
	want := []string{
		"send =lab/plain-1::lab", "send =lab/byhand-1::lab", "send =lab/second-2::other", "send =lab/net-1::lab", "send =lab/forced-1::lab",
		"stay lab/talks-1: it asks questions while it builds",
		"stay lab/missing-1: its sources have to be downloaded by hand, and are missing",
		"stay lab/noname-1: its repository has no name",
		"stay lab/elsewhere-1: it is for another root than /",
		"stay lab/plain-1: it is for another root than /",
		"stay lab/asks-1: it asks questions while it builds",
		"stay lab/disk-1: its sources are on this machine: file:///home/me/x",
		"stay lab/list-1: its sources are on this machine: /home/me/y",
		"stay lab/override-1: its sources are on this machine: /home/me/z",
		"stay lab/kernel-1: it asks for the kernel that runs here",
		"stay lab/running-1: it asks for the kernel that runs here",
		"stay lab/written-1: it asks for the kernel that runs here",
		"stay lab/document-1: it asks for the kernel that runs here",
		"stay lab/pretend-1: it asks for the kernel that runs here",
		"stay lab/outside-1: it asks for the kernel that runs here",
		"stay lab/slotted-1: you want it so (--local lab/slotted:2)",
		"stay lab/mine-1: you want it so (--local */mine)",
		"stay lab/forced-1: it is for another root than /",
		"stay lab/odd-1: Portage does not tell how it would be built, so that what comes could not be compared",
		"stay lab/broken-1: Portage does not tell how it would be built, so that what comes could not be compared: KeyError: 'x'",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := (&Emerge{Local: []string{">=lab/a-1"}}).newHome(); err == nil || !strings.Contains(err.Error(), "--local") {
		t.Errorf("a range of versions: %v", err)
	}
}

// TestForBuilder: what is built against the kernel's sources needs a copy of them.
func TestForBuilder(t *testing.T) {
	module := gentoo.Package{CPV: gentoo.CPV{Category: "a", Name: "module", Version: "1"}}
	plain := gentoo.Package{CPV: gentoo.CPV{Category: "a", Name: "plain", Version: "1"}}
	for base, want := range map[string]int{"client": 2, "host": 1, "": 1} {
		p := &plan{
			send:  []gentoo.Package{module, plain},
			facts: map[gentoo.CPV]facts{module.CPV: {Inherited: []string{"linux-mod-r1"}}},
		}
		here, moved := p.forBuilder(&builder{base: base, hello: wire.Hello{Distfiles: true}})
		if len(here.send) != want || len(moved) != 2-want || len(here.stay) != 2-want {
			t.Errorf("base %q: %v are sent, %v moved", base, here.send, moved)
		}
		if len(p.send) != 2 || len(p.stay) != 0 {
			t.Errorf("base %q: for the next builder %v are left, %v stay", base, p.send, p.stay)
		}
	}
}

// TestOnlyTiny: packages with nothing to fetch and nothing to compile are no reason to ask a builder.
func TestOnlyTiny(t *testing.T) {
	for name, c := range map[string]struct {
		facts facts
		want  bool
	}{
		"virtual":          {facts{Phases: []string{"-"}}, true},
		"account":          {facts{Phases: []string{"install", "postinst", "preinst"}}, true},
		"compiles":         {facts{Phases: []string{"compile", "install"}}, false},
		"default phases":   {facts{Phases: []string{"-"}, Distfiles: []gentoo.Distfile{{Name: "x"}}}, false},
		"live":             {facts{Phases: []string{"-"}, Properties: []string{"live"}}, false},
		"works in a setup": {facts{Phases: []string{"setup"}}, false},
	} {
		cpv := gentoo.CPV{Category: "a", Name: "b", Version: "1"}
		p := &plan{send: []gentoo.Package{{CPV: cpv}}, facts: map[gentoo.CPV]facts{cpv: c.facts}}
		if got := p.onlyTiny(&home{}); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
		all, _ := gentoo.ParsePattern("*/*")
		if p.onlyTiny(&home{remote: []gentoo.Pattern{all}}) {
			t.Errorf("%s: --remote has no effect", name)
		}
	}
	p := &plan{send: []gentoo.Package{{CPV: gentoo.CPV{Category: "a", Name: "unknown", Version: "1"}}}}
	if p.onlyTiny(&home{}) {
		t.Error("a package of which nothing is known is taken for a tiny one")
	}
}
