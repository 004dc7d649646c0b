package gentoo

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestPlanRepos(t *testing.T) {
	r := newTestRepo(t)
	for _, name := range []string{"gentoo", "lab", "base", "mine", "master", "unused"} {
		r.write(name+"/profiles/repo_name", name+"\n")
	}
	r.write("mine/profiles/laptop/parent", "lab:default\n../other\n")
	r.write("mine/profiles/other/parent", "mine:laptop # in a circle\n")
	r.write("lab/profiles/default/parent", "base:plain\n")
	r.write("base/profiles/plain/eapi", "8\n")
	repo := func(name string, masters ...string) Repo {
		return Repo{Name: name, Location: r.dir + "/" + name, Masters: masters}
	}
	repos := []Repo{
		repo("gentoo"), repo("lab", "gentoo"), repo("base"), repo("mine", "master", "lab"), repo("master", "unused"), repo("unused"),
	}
	pkg := func(cpv, repo string) Package {
		c, err := ParseCPV(cpv)
		if err != nil {
			t.Fatal(err)
		}
		return Package{CPV: c, Repo: repo}
	}
	got := PlanRepos([]Package{pkg("a/one-1", "mine"), pkg("a/two-2", "mine"), pkg("b/x-1", "lab")}, []Profile{{"mine", "laptop"}}, repos)
	want := map[string][]string{"mine": {"a/one", "a/two"}, "lab": {"b/x"}, "base": nil, "gentoo": nil, "master": nil}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestIsOverlay(t *testing.T) {
	repos, err := ParseReposConfig(`[DEFAULT]
main-repo = gentoo
[gentoo]
location = /var/db/repos/gentoo
[guru]
location = /var/db/repos/guru
sync-type = git
sync-uri = https://example.org/guru.git
[mine]
location = /var/db/repos/mine
auto-sync = no
sync-type =
`)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []bool{false, false, true} {
		if got := repos[i].IsOverlay(); got != want {
			t.Errorf("%s: %t", repos[i].Name, got)
		}
	}
}
