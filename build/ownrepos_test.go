package build

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lantage/gentoo"
)

// ownBase is a base in a directory whose Portage says that it has the repositories below repos/.
type ownBase struct {
	DirBase
	names []string
}

func (ownBase) Name() string { return "own" }

func (b ownBase) Query(context.Context, ...string) ([]byte, error) {
	var text strings.Builder
	for _, name := range b.names {
		fmt.Fprintf(&text, "[%s]\nlocation = /repos/%[1]s\n", name)
	}
	return []byte(text.String()), nil
}

// ownRepos is a client and a builder with the repository lab in the same state.
func ownRepos(t *testing.T) (job Job, base ownBase) {
	t.Helper()
	base = ownBase{DirBase{t.TempDir()}, []string{"lab", "base"}}
	job = Job{
		Inputs: t.TempDir(), Profile: gentoo.Profile{Repo: "lab", Path: "default"}, Packages: []Package{{cpv(t, "a/one-1"), "lab"}},
		Repos:     []gentoo.Repo{{Name: "lab", Location: "/var/db/repos/lab"}, {Name: "base", Location: "/repos/base"}},
		Revisions: map[string]string{},
	}
	put(t, filepath.Join(base.Dir, "repos/lab/a/one/one-1.ebuild"), "EAPI=8\n")
	put(t, filepath.Join(base.Dir, "repos/lab/a/two/two-1.ebuild"), "EAPI=8\n")
	put(t, filepath.Join(base.Dir, "repos/lab/eclass/x.eclass"), "x\n")
	put(t, filepath.Join(base.Dir, "repos/lab/profiles/default/eapi"), "8\n")
	put(t, filepath.Join(base.Dir, "repos/base/eclass/y.eclass"), "y\n")
	for name, pkgs := range map[string][]string{"lab": {"a/one"}, "base": nil} {
		state, err := gentoo.RepoRevision(t.Context(), filepath.Join(base.Dir, "repos", name), pkgs)
		if err != nil {
			t.Fatal(err)
		}
		job.Revisions[name] = state
	}
	put(t, filepath.Join(job.Inputs, insideConfig, "make.conf"), "")
	return job, base
}

// TestAgree: a job is declined unless the builder's repositories are in the client's states, and told which is not.
func TestAgree(t *testing.T) {
	for name, c := range map[string]struct {
		change func(t *testing.T, j *Job, b *ownBase)
		says   []string // nothing: the job is taken
	}{
		"the same":        {change: func(*testing.T, *Job, *ownBase) {}},
		"another package": {change: func(t *testing.T, _ *Job, b *ownBase) { put(t, b.Dir+"/repos/lab/a/two/two-1.ebuild", "EAPI=7\n") }},
		"an eclass": {
			func(t *testing.T, _ *Job, b *ownBase) { put(t, b.Dir+"/repos/lab/eclass/x.eclass", "y\n") },
			[]string{
				`its repository "lab" is in another state (contents `, ") than this machine's (contents ", "emaint sync -r lab on both",
				"--base client", "--ignore-revisions",
			},
		},
		"an eclass, and it does not matter": {
			change: func(t *testing.T, j *Job, b *ownBase) {
				put(t, b.Dir+"/repos/lab/eclass/x.eclass", "y\n")
				j.Revisions = nil
			},
		},
		"a master": {
			func(t *testing.T, _ *Job, b *ownBase) { put(t, b.Dir+"/repos/base/eclass/y.eclass", "z\n") },
			[]string{`its repository "base" is in another state`},
		},
		"no such master": {
			func(_ *testing.T, _ *Job, b *ownBase) { b.names = []string{"lab"} },
			[]string{`no repository "base"`, "emaint sync -r base"},
		},
		"the client's state is unknown": {
			func(_ *testing.T, j *Job, _ *ownBase) { j.Revisions["lab"] = "unknown" }, []string{"this machine's (unknown)"},
		},
		"a second profile": {
			func(_ *testing.T, j *Job, _ *ownBase) { j.Parents = []gentoo.Profile{{Repo: "base", Path: "gone"}} },
			[]string{`repository "base" has no profile "gone"`},
		},
		"a second profile of a repository that is not there": {
			func(_ *testing.T, j *Job, _ *ownBase) { j.Parents = []gentoo.Profile{{Repo: "gone", Path: "x"}} },
			[]string{`no repository "gone"`, "gone:x"},
		},
		"the client's own": {
			change: func(t *testing.T, j *Job, _ *ownBase) {
				put(t, filepath.Join(j.Inputs, "repos/lab/a/one/one-1.ebuild"), "EAPI=8\n")
				put(t, filepath.Join(j.Inputs, "repos/lab/profiles/default/eapi"), "8\n")
				j.Revisions["lab"] = "contents 0"
			},
		},
	} {
		job, base := ownRepos(t)
		c.change(t, &job, &base)
		_, err := adaptOwn(t.Context(), base, job)
		if len(c.says) == 0 {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if _, ok := errors.AsType[*DeclineError](err); !ok {
			t.Errorf("%s: %v is not a refusal", name, err)
			continue
		}
		if n := len(err.Error()); n > 300 { // a client shows one line
			t.Errorf("%s: the reason has %d bytes, and its end would not be seen", name, n)
		}
		for _, text := range c.says {
			if !strings.Contains(err.Error(), text) {
				t.Errorf("%s: it does not say %q, but: %v", name, text, err)
			}
		}
	}
}

// TestSentRepository: what came with the job is shown where the client has it, above the builder's own, and is part of the key
// by all its contents.
func TestSentRepository(t *testing.T) {
	adapt := func(change func(j *Job)) adapted {
		t.Helper()
		job, base := ownRepos(t)
		put(t, filepath.Join(job.Inputs, "repos/mine/b/own/own-1.ebuild"), "EAPI=8\n")
		job.Repos = append(job.Repos, gentoo.Repo{Name: "mine", Location: "/home/larry/mine"})
		job.Packages = append(job.Packages, Package{cpv(t, "b/own-1"), "mine"})
		change(&job)
		a, err := adaptOwn(t.Context(), base, job)
		if err != nil {
			t.Fatal(err)
		}
		for i := range a.binds { // the directories are others each time
			a.binds[i].Source = strings.TrimPrefix(strings.TrimPrefix(a.binds[i].Source, job.Inputs), base.Dir)
		}
		return a
	}
	a := adapt(func(*Job) {})
	if len(a.pkgs) != 2 || len(a.declined) != 0 {
		t.Errorf("built are %v, declined %v", a.pkgs, a.declined)
	}
	shown := map[string]bind{}
	for _, b := range a.binds {
		shown[b.Target] = b
	}
	if got, want := shown["/home/larry/mine"], (bind{"/repos/mine", "/home/larry/mine", true, true}); got != want {
		t.Errorf("shown is %+v, want %+v", got, want)
	}
	if got := shown["/var/db/repos/lab"]; got.Source != "/repos/lab" || !got.ReadOnly {
		t.Errorf("of the builder's own repository there is %+v", got)
	}
	if again := adapt(func(*Job) {}); again.pkgDir != a.pkgDir {
		t.Error("the key differs without a reason")
	}
	for name, change := range map[string]func(j *Job){
		"a file":          func(j *Job) { put(t, filepath.Join(j.Inputs, "repos/mine/b/own/own-1.ebuild"), "EAPI=7\n") },
		"another package": func(j *Job) { put(t, filepath.Join(j.Inputs, "repos/mine/b/x/x-1.ebuild"), "EAPI=7\n") },
		"metadata":        func(j *Job) { put(t, filepath.Join(j.Inputs, "repos/mine/metadata/md5-cache/b/own-1"), "x\n") },
		"the place":       func(j *Job) { j.Repos[2].Location = "/usr/include" },
		"one of two profiles": func(j *Job) {
			put(t, filepath.Join(j.Inputs, insideConfig, "make.profile/make.defaults"), "CFLAGS=-O1\n")
		},
	} {
		if adapt(change).pkgDir == a.pkgDir {
			t.Errorf("%s does not change the key", name)
		}
	}
	stamped := func(text string) string {
		return adapt(func(j *Job) {
			put(t, filepath.Join(j.Inputs, "repos/mine/metadata/timestamp.commit"), strings.Repeat("0", 40)+"\n")
			put(t, filepath.Join(j.Inputs, "repos/mine/b/own/own-1.ebuild"), text)
		}).pkgDir
	}
	if stamped("EAPI=7\n") == stamped("EAPI=8\n") {
		t.Error("a stamp of the client's hides what it sends")
	}
	linked := adapt(func(j *Job) {
		dir := filepath.Join(j.Inputs, "repos/mine/b/own/")
		if err := errors.Join(os.Remove(dir+"/own-1.ebuild"), os.Symlink("/etc/shadow", dir+"/own-1.ebuild")); err != nil {
			t.Fatal(err)
		}
	})
	if len(linked.pkgs) != 2 {
		t.Errorf("an ebuild that is a link is declined: %v", linked.declined)
	}
	missing := adapt(func(j *Job) { j.Packages[1].Version = "2" })
	if len(missing.declined) != 1 {
		t.Errorf("a version that was not sent is not declined, but: %v", missing.pkgs)
	}
}

// TestKeyOfRepositories: of a repository that only its contents tell the state of, all of them count, whichever packages a job has.
func TestKeyOfRepositories(t *testing.T) {
	job, base := ownRepos(t)
	key := func(change func(j *Job)) string {
		t.Helper()
		j := job
		change(&j)
		a, err := adaptOwn(t.Context(), base, j)
		if err != nil {
			t.Fatal(err)
		}
		return a.pkgDir
	}
	first := key(func(*Job) {})
	if key(func(j *Job) { j.Packages, j.Revisions = []Package{{cpv(t, "a/two-1"), "lab"}}, nil }) != first {
		t.Error("jobs of other packages have another key, and share nothing")
	}
	put(t, filepath.Join(base.Dir, "repos/lab/a/two/two-1.ebuild"), "EAPI=7\n")
	if key(func(*Job) {}) == first {
		t.Error("a package that the job may need, and does not name, does not change the key")
	}
}

func TestWriteProfile(t *testing.T) {
	job, base := ownRepos(t)
	repos, err := findRepos(t.Context(), base, job)
	if err != nil {
		t.Fatal(err)
	}
	profile := filepath.Join(job.Inputs, insideConfig, "make.profile")
	if err := os.Symlink("/etc", profile); err != nil { // whatever a client sends
		t.Fatal(err)
	}
	if err := writeProfile(job, repos); err != nil {
		t.Fatal(err)
	}
	if target, err := os.Readlink(profile); target != "/var/db/repos/lab/profiles/default" {
		t.Errorf("it leads to %q, %v", target, err)
	}
	if err := os.Remove(profile); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(profile, "parent"), "lab:default\n")
	if err := writeProfile(job, repos); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(filepath.Join(profile, "parent")); string(text) != "lab:default\n" {
		t.Errorf("the client's directory is %q, %v", text, err)
	}
}
