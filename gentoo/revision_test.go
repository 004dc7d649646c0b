package gentoo

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// testRepo is an ebuild repository in a directory of its own.
type testRepo struct {
	t   *testing.T
	dir string
}

// newTestRepo makes a repository with two packages and an eclass.
func newTestRepo(t *testing.T) testRepo {
	t.Helper()
	r := testRepo{t, t.TempDir()}
	for name, text := range map[string]string{
		"a/one/one-1.ebuild": "EAPI=8\n", "a/one/files/fix.patch": "fix\n", "a/two/two-1.ebuild": "EAPI=8\n",
		"eclass/x.eclass": "x\n", "profiles/repo_name": "lab\n", "licenses/L": "may\n", "metadata/layout.conf": "masters =\n",
	} {
		r.write(name, text)
	}
	return r
}

func (r testRepo) write(name, text string) {
	r.t.Helper()
	file := filepath.Join(r.dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		r.t.Fatal(err)
	}
}

func (r testRepo) remove(name string) {
	r.t.Helper()
	if err := os.RemoveAll(filepath.Join(r.dir, name)); err != nil {
		r.t.Fatal(err)
	}
}

// state is the state for a plan that has a/one.
func (r testRepo) state() string {
	r.t.Helper()
	s, err := RepoRevision(r.t.Context(), r.dir, []string{"a/one"})
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

// commit commits all of the repository, with a git that no settings of this machine change.
func (r testRepo) commit() string {
	r.t.Helper()
	r.git("init", "-q")
	r.git("add", "-A", "-f")
	r.git("-c", "user.name=lab", "-c", "user.email=lab@example.org", "commit", "-q", "--allow-empty", "-m", "x")
	return strings.TrimSpace(r.git("rev-parse", "HEAD"))
}

func (r testRepo) git(args ...string) string {
	r.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = r.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null"}
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Fatalf("git %q: %v\n%s", args, err, out)
	}
	return string(out)
}

// changes are what makes another repository of newTestRepo's, for a plan that has a/one, and what does not.
var changes = []struct {
	name   string
	counts bool
	change func(testRepo)
}{
	{"an ebuild", true, func(r testRepo) { r.write("a/one/one-1.ebuild", "EAPI=7\n") }}, // as long as before
	{"a new ebuild", true, func(r testRepo) { r.write("a/one/one-2.ebuild", "EAPI=8\n") }},
	{"a missing patch", true, func(r testRepo) { r.remove("a/one/files/fix.patch") }},
	{"an eclass", true, func(r testRepo) { r.write("eclass/x.eclass", "y\n") }},
	{"a new eclass", true, func(r testRepo) { r.write("eclass/y.eclass", "y\n") }},
	{"a profile", true, func(r testRepo) { r.write("profiles/default/make.defaults", "USE=y\n") }},
	{"a license", true, func(r testRepo) { r.write("licenses/L", "not\n") }},
	{"masters", true, func(r testRepo) { r.write("metadata/layout.conf", "masters = x\n") }},
	{"an execute bit", true, func(r testRepo) { must(r.t, os.Chmod(filepath.Join(r.dir, "a/one/files/fix.patch"), 0o755)) }},
	{"a link instead of a file", true, func(r testRepo) {
		r.remove("eclass/x.eclass")
		must(r.t, os.Symlink("x\n", filepath.Join(r.dir, "eclass/x.eclass")))
	}},
	{"a time", false, func(r testRepo) {
		must(r.t, os.Chtimes(filepath.Join(r.dir, "eclass/x.eclass"), time.Time{}, time.Unix(1, 0)))
	}},
	{"another package", false, func(r testRepo) { r.write("a/two/two-1.ebuild", "EAPI=7\n") }},
	{"a new category", false, func(r testRepo) { r.write("b/three/three-1.ebuild", "EAPI=7\n") }},
	{"a cache", false, func(r testRepo) { r.write("metadata/md5-cache/a/one-1", "x\n") }},
	{"a list of flags for people", false, func(r testRepo) { r.write("profiles/use.local.desc", "a/one:x - X\n") }},
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestRevisionByContents(t *testing.T) {
	first := newTestRepo(t).state()
	if !OnlyContents(first) {
		t.Errorf("the state is %q", first)
	}
	for _, c := range changes {
		r := newTestRepo(t)
		c.change(r)
		if again := r.state(); (again != first) != c.counts {
			t.Errorf("%s: the state %q becomes %q", c.name, first, again)
		}
	}
}

func TestRevisionByGit(t *testing.T) {
	for _, c := range changes {
		r := newTestRepo(t)
		head := r.commit()
		if got := r.state(); got != "commit "+head {
			t.Fatalf("the state is %q, HEAD is %s", got, head)
		}
		c.change(r)
		switch got := r.state(); {
		case !c.counts && got != "commit "+head:
			t.Errorf("%s: the state is %q", c.name, got)
		case c.counts:
			other := newTestRepo(t) // no git there
			c.change(other)
			if want := other.state(); got != want {
				t.Errorf("%s: the state is %q; by contents %q", c.name, got, want)
			}
		}
		if next := r.commit(); r.state() != "commit "+next {
			t.Errorf("%s, committed: the state is %q", c.name, r.state())
		}
	}
}

// TestRevisionAsksGitAlone: what others can set for git changes nothing.
func TestRevisionAsksGitAlone(t *testing.T) {
	r := newTestRepo(t)
	head := r.commit()
	r.git("pack-refs", "--all")
	r.git("repack", "-adq")
	ran := filepath.Join(t.TempDir(), "ran")
	r.git("update-index", "--assume-unchanged", "eclass/x.eclass")
	r.git("config", "core.fsmonitor", "touch "+ran)
	r.git("config", "status.showUntrackedFiles", "no")
	t.Setenv("GIT_DIR", "/nowhere")
	t.Setenv("GIT_INDEX_FILE", "/nowhere")
	if got := r.state(); got != "commit "+head {
		t.Errorf("the state is %q", got)
	}
	if os.Geteuid() == 0 {
		must(t, filepath.WalkDir(r.dir, func(p string, _ os.DirEntry, err error) error {
			must(t, err)
			return os.Lchown(p, 1234, 1234)
		}))
		for dir := r.dir; dir != os.TempDir() && len(dir) > 1; dir = filepath.Dir(dir) {
			must(t, os.Chmod(dir, 0o755))
		}
		if got := r.state(); got != "commit "+head {
			t.Errorf("of another owner's, the state is %q", got)
		}
	}
	r.write("eclass/x.eclass", "y\n")
	if got := r.state(); !OnlyContents(got) {
		t.Errorf("a file that git was told to take as unchanged has changed, and the state is %q", got)
	}
	r.write("eclass/x.eclass", "x\n")
	if _, err := os.Stat(ran); err == nil {
		t.Error("a program of the repository's settings ran")
	}
	t.Setenv("PATH", t.TempDir())
	if got := r.state(); !OnlyContents(got) {
		t.Errorf("without git the state is %q", got)
	}
}

// TestRevisionByTrees: of what is as committed git lists nothing, and what must be listed comes out the same, whichever hash it has.
func TestRevisionByTrees(t *testing.T) {
	real, err := exec.LookPath("git")
	must(t, err)
	bin := t.TempDir()
	log := filepath.Join(bin, "log")
	must(t, os.WriteFile(filepath.Join(bin, "git"), []byte("#!/bin/sh\necho \"$*\" >>"+log+"\nexec "+real+" \"$@\"\n"), 0o755))
	listed := func(r testRepo) bool {
		t.Helper()
		must(t, os.WriteFile(log, nil, 0o644))
		if got := r.state(); !strings.HasPrefix(got, "commit ") {
			t.Errorf("the state is %q", got)
		}
		text, err := os.ReadFile(log)
		must(t, err)
		return strings.Contains(string(text), "ls-tree")
	}
	for _, format := range []string{"sha1", "sha256"} {
		r := newTestRepo(t)
		// Names that come in another order as directories than as files.
		for _, name := range []string{"eclass/a.eclass", "eclass/a/x", "eclass/a0", "a/one-more/x", "a/one2/x", "a/one/files/b/c", "a/one/files-x"} {
			r.write(name, name)
		}
		must(t, os.Chmod(filepath.Join(r.dir, "eclass/a0"), 0o755))
		must(t, os.Symlink("a0", filepath.Join(r.dir, "eclass/link")))
		must(t, os.MkdirAll(filepath.Join(r.dir, "eclass/empty"), 0o755)) // git knows no such
		r.git("init", "-q", "--object-format="+format)
		r.commit()
		t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
		if listed(r) {
			t.Errorf("%s: git has listed files", format)
		}
		must(t, os.WriteFile(log, nil, 0o644))
		got, err := RepoRevision(t.Context(), r.dir, []string{"a/one", "a/one2", "a/none"})
		text, _ := os.ReadFile(log)
		if err != nil || OnlyContents(got) || strings.Contains(string(text), "ls-tree") {
			t.Errorf("%s: of packages with names alike the state is %q, %v; asked was\n%s", format, got, err, text)
		}
		r.write("profiles/use.local.desc", "made by tools\n")
		r.commit()
		if !listed(r) {
			t.Errorf("%s: what does not count is in the commit, and git has listed nothing", format)
		}
		r.write("eclass/a/x", "y")
		if got := r.state(); !OnlyContents(got) {
			t.Errorf("%s: with a changed file the state is %q", format, got)
		}
	}
}

func TestRevisionBySync(t *testing.T) {
	r := newTestRepo(t)
	head := r.commit()
	r.remove(".git")
	r.write("metadata/timestamp.chk", "Thu, 26 Nov 2026 07:15:01 +0000\n")
	if got := r.state(); got != "synced Thu, 26 Nov 2026 07:15:01 +0000" {
		t.Errorf("the state is %q", got)
	}
	r.write("metadata/timestamp.commit", head+" 1795677301 2026-11-26T07:15:01+00:00\n")
	if got := r.state(); got != "commit "+head {
		t.Errorf("a copy of the commit %s has the state %q", head, got)
	}
	edited := newTestRepo(t)
	edited.write("metadata/timestamp.commit", head+"\n")
	edited.commit()
	edited.write("eclass/x.eclass", "y\n")
	if got := edited.state(); !OnlyContents(got) {
		t.Errorf("of a git repository with a stamp, and a file that was edited, the state is %q", got)
	}
	r.write("metadata/timestamp.commit", "no hash\n")
	r.write("metadata/timestamp.chk", "\x1b[2J"+strings.Repeat("x", 9999))
	if got := r.state(); len(got) > 200 || strings.Contains(got, "\x1b") {
		t.Errorf("the state is %q", got)
	}
	r.write("metadata/timestamp.chk", "\n")
	if got := r.state(); !OnlyContents(got) {
		t.Errorf("with empty stamps the state is %q", got)
	}
}

// TestRevisionOfLinkedParts: what a part that is a link leads to counts.
func TestRevisionOfLinkedParts(t *testing.T) {
	r := newTestRepo(t)
	must(t, os.Rename(filepath.Join(r.dir, "eclass"), filepath.Join(r.dir, "shared")))
	must(t, os.Symlink("shared", filepath.Join(r.dir, "eclass")))
	first := r.state()
	r.write("shared/x.eclass", "y\n")
	if r.state() == first {
		t.Error("a changed file behind the link does not change the state")
	}
	head := r.commit()
	if got := r.state(); got == "commit "+head {
		t.Error("git's word is taken for files that it was not asked for")
	}
	must(t, os.Symlink("nowhere", filepath.Join(r.dir, "metadata/install-qa-check.d")))
	r.state()
}

func TestRepoContents(t *testing.T) {
	contents := func(r testRepo, leftOut ...string) string {
		t.Helper()
		s, err := RepoContents(t.Context(), r.dir, leftOut...)
		must(t, err)
		return s
	}
	r := newTestRepo(t)
	r.write("metadata/timestamp.chk", "now\n")
	first := contents(r)
	r.commit()
	if contents(r) == first || contents(r, ".git") != first {
		t.Error("what is left out counts, or what is not does not")
	}
	r.write("a/two/two-1.ebuild", "EAPI=7\n")
	if contents(r, ".git") == first {
		t.Error("a changed file does not change the state")
	}
	if got, err := RepoContents(t.Context(), filepath.Join(r.dir, "nowhere")); err == nil {
		t.Errorf("a repository that is not there has the state %q", got)
	}
	if got, err := RepoRevision(t.Context(), filepath.Join(r.dir, "nowhere"), nil); err == nil {
		t.Errorf("a repository that is not there has the state %q", got)
	}
}

func TestShortRevision(t *testing.T) {
	for state, want := range map[string]string{
		"commit 0123456789abcdef": "commit 0123456789",
		"contents 0123":           "contents 0123",
		"synced Thu, 26 Nov 2026": "synced Thu, 26 Nov 2026",
		"unknown":                 "unknown", "": "",
	} {
		if got := ShortRevision(state); got != want {
			t.Errorf("%q becomes %q, want %q", state, got, want)
		}
	}
}

// TestGitRunsAsTheOwner: what a repository's own settings can have git run is not run by root for others.
func TestGitRunsAsTheOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can be somebody else")
	}
	r := newTestRepo(t)
	r.write(".git/HEAD", "x\n")
	r.write("bin/git", "#!/bin/sh\n/usr/bin/id -u >>"+r.dir+"/seen\n/usr/bin/env >>"+r.dir+"/seen\n")
	r.write("seen", "")
	must(t, os.Chmod(filepath.Join(r.dir, "bin/git"), 0o755))
	must(t, os.Chmod(filepath.Join(r.dir, "seen"), 0o666))
	must(t, os.Chown(filepath.Join(r.dir, ".git"), 1234, 1234))
	for dir := r.dir; dir != os.TempDir() && len(dir) > 1; dir = filepath.Dir(dir) {
		must(t, os.Chmod(dir, 0o755))
	}
	t.Setenv("PATH", filepath.Join(r.dir, "bin"))
	t.Setenv("GIT_DIR", "/nowhere")
	r.state()
	seen, err := os.ReadFile(filepath.Join(r.dir, "seen"))
	if err != nil || !strings.HasPrefix(string(seen), "1234\n") || strings.Contains(string(seen), "GIT_DIR") {
		t.Errorf("git ran as, and with: %v\n%s", err, seen)
	}
}
