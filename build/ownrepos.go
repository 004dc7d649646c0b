package build

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"lantage/gentoo"
)

// insideRepos is where in a job's inputs the repositories are that only the client has.
const insideRepos = "repos"

// sentRepo finds a repository that came with a job.
func sentRepo(job Job, name string) (dir string, ok bool) {
	dir = filepath.Join(job.Inputs, insideRepos, name)
	info, err := os.Lstat(dir)
	return dir, err == nil && info.IsDir()
}

// has reports whether a file is there. A link of a repository that came with a job means a place in the build root, so it is
// not followed on this machine: whether it leads anywhere Portage will say.
func (r repoOnBuilder) has(name string) bool {
	root, err := os.OpenRoot(r.source)
	if err != nil {
		return false
	}
	defer root.Close()
	if r.location != "" {
		_, err := os.Stat(filepath.Join(r.source, name))
		return err == nil
	}
	_, err = root.Lstat(name)
	return !errors.Is(err, fs.ErrNotExist)
}

// hasProfile likewise, of a profile.
func (r repoOnBuilder) hasProfile(path string) bool {
	dir := filepath.Join("profiles", path)
	if r.location == "" {
		return r.has(dir)
	}
	info, err := os.Stat(filepath.Join(r.source, dir))
	return err == nil && info.IsDir()
}

func indexOnBuilder(repos []repoOnBuilder, name string) int {
	return slices.IndexFunc(repos, func(r repoOnBuilder) bool { return r.Name == name })
}

// checkProfiles declines a job of which a profile is missing.
func checkProfiles(job Job, repos []repoOnBuilder) error {
	for _, p := range append([]gentoo.Profile{job.Profile}, job.Parents...) {
		i := indexOnBuilder(repos, p.Repo)
		if i < 0 {
			return &DeclineError{fmt.Sprintf("this builder has no repository %q, which the client's profile %s is in; "+
				"add it there (eselect repository enable %[1]s; emaint sync -r %[1]s)", p.Repo, p)}
		}
		if !repos[i].hasProfile(p.Path) {
			return &DeclineError{fmt.Sprintf("this builder's repository %q has no profile %q, which is the client's; "+
				"bring it up to date there (emaint sync -r %[1]s)", p.Repo, p.Path)}
		}
	}
	return nil
}

// writeProfile completes the client's /etc/portage: the profile as a link to where its repository will be. A profile that is a
// directory came with the rest.
func writeProfile(job Job, repos []repoOnBuilder) error {
	dir := filepath.Join(job.Inputs, insideConfig)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	profile := filepath.Join(dir, "make.profile")
	if info, err := os.Lstat(profile); err == nil && info.IsDir() {
		return nil
	}
	if err := os.RemoveAll(profile); err != nil {
		return err
	}
	location := repos[indexOnBuilder(repos, job.Profile.Repo)].Location
	return os.Symlink(filepath.Join(location, "profiles", job.Profile.Path), profile)
}

// packagesOf are the packages of a job that come from a repository, as gentoo.RepoRevision takes them.
func packagesOf(job Job, repo string) (names []string) {
	for _, p := range job.Packages {
		if p.Repo == repo {
			names = append(names, p.Category+"/"+p.Name)
		}
	}
	return names
}

// agree declines a job whose repositories are in another state here, if it asks for that: what is built would be another
// package than the client's own.
func agree(ctx context.Context, job Job, repos []repoOnBuilder) error {
	for _, want := range job.Repos {
		state, asked := job.Revisions[want.Name]
		i := indexOnBuilder(repos, want.Name)
		switch {
		case !asked || i >= 0 && repos[i].location == "": // the client's own is used
			continue
		case i < 0 && len(packagesOf(job, want.Name)) > 0: // declined package by package
			continue
		case i < 0:
			return &DeclineError{fmt.Sprintf("this builder has no repository %q, which others of this machine's are built on; "+
				"add it there (eselect repository enable %[1]s; emaint sync -r %[1]s)", want.Name)}
		}
		have, err := gentoo.RepoRevision(ctx, repos[i].source, packagesOf(job, want.Name))
		if err != nil {
			return fmt.Errorf("the state of the repository %q: %w", want.Name, err)
		}
		if have != state {
			return &DeclineError{fmt.Sprintf("its repository %q is in another state (%s) than this machine's (%s): sync both "+
				"(emaint sync -r %[1]s on both), or build in a copy of this machine's root (--base client, as root), or on the "+
				"builder's all the same (--ignore-revisions)",
				want.Name, gentoo.ShortRevision(have), gentoo.ShortRevision(state))}
		}
	}
	return nil
}

// keyOf is what the build settings key has of a repository. Where only its contents tell its state they all count, so that jobs
// of other packages have the same key. Of one that a client sent every file counts, and no stamp in it.
func (r repoOnBuilder) keyOf(ctx context.Context, job Job) (string, error) {
	if r.location == "" {
		return gentoo.RepoContents(ctx, r.source)
	}
	state, err := gentoo.RepoRevision(ctx, r.source, packagesOf(job, r.Name))
	if err == nil && gentoo.OnlyContents(state) {
		state, err = gentoo.RepoContents(ctx, r.source, ".git")
	}
	return state, err
}
