package build

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"lantage/gentoo"
)

// portageGroup owns DISTDIR, as Portage's own installation has it.
const portageGroup = 250

// idRanges hands out the ID ranges of running build roots.
type idRanges struct {
	mu    sync.Mutex
	taken map[int]bool
}

// take returns the first ID of a range that no other job has.
func (r *idRanges) take() (first int, release func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.taken == nil {
		r.taken = make(map[int]bool)
	}
	n := 0
	for r.taken[n] {
		n++
	}
	r.taken[n] = true
	return firstID + n*idsOfJob, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.taken, n)
	}
}

// repoOnBuilder is a repository of the client that the base has too.
type repoOnBuilder struct {
	gentoo.Repo        // as the client has it: Location is where it must be inside
	location    string // where the base has it
	source      string // the same place, on this machine
}

// findRepos matches the client's repositories with the base's, and checks that the job's profile is there.
func findRepos(ctx context.Context, base OwnBase, job Job) ([]repoOnBuilder, error) {
	out, err := base.Query(ctx, "portageq", "repos_config", "/")
	if err != nil {
		return nil, fmt.Errorf("the %s base's Portage does not answer: %w", base.Name(), err)
	}
	have, err := gentoo.ParseReposConfig(string(out))
	if err != nil {
		return nil, err
	}
	layers, err := base.Layers()
	if err != nil {
		return nil, err
	}
	var repos []repoOnBuilder
	for _, want := range job.Repos {
		i := slices.IndexFunc(have, func(r gentoo.Repo) bool { return r.Name == want.Name })
		if i < 0 {
			continue
		}
		location := have[i].Location
		source := filepath.Join(layers[0].Source, location)
		if fi, err := os.Stat(source); err == nil && fi.IsDir() { // repos.conf may name what was never synchronised
			repos = append(repos, repoOnBuilder{want, location, source})
		}
	}
	i := slices.IndexFunc(repos, func(r repoOnBuilder) bool { return r.Name == job.Profile.Repo })
	if i < 0 {
		return nil, &DeclineError{fmt.Sprintf("this builder has no repository %q, which the client's profile %s:%s is in; "+
			"add it there (eselect repository enable %s; emaint sync -r %[1]s)",
			job.Profile.Repo, job.Profile.Repo, job.Profile.Path, job.Profile.Repo)}
	}
	if fi, err := os.Stat(filepath.Join(repos[i].source, "profiles", job.Profile.Path)); err != nil || !fi.IsDir() {
		return nil, &DeclineError{fmt.Sprintf("this builder's repository %q has no profile %q, which is the client's; "+
			"bring it up to date there (emaint sync -r %[1]s)", job.Profile.Repo, job.Profile.Path)}
	}
	return repos, nil
}

// buildable divides the job's packages into those that this builder has ebuilds for and the others, with
// the reason.
func buildable(job Job, repos []repoOnBuilder) (pkgs []Package, declined []PackageReport) {
	decline := func(p Package, format string, args ...any) {
		declined = append(declined, PackageReport{CPV: p.CPV, State: StateDeclined, Text: fmt.Sprintf(format, args...)})
	}
	for _, p := range job.Packages {
		i := slices.IndexFunc(repos, func(r repoOnBuilder) bool { return r.Name == p.Repo })
		if i < 0 {
			decline(p, "the builder has no repository %q", p.Repo)
			continue
		}
		ebuild := filepath.Join(repos[i].source, p.Category, p.Name, p.PF()+".ebuild")
		if _, err := os.Stat(ebuild); err != nil {
			decline(p, "the builder's repository %q has no such version; bring both to the same state (emaint sync -r %[1]s)",
				p.Repo)
			continue
		}
		pkgs = append(pkgs, p)
	}
	return pkgs, declined
}

// adaptOwn is adapt for the bases that the builder has of its own: the client's configuration is put into them, and the
// repositories are shown where the client has them.
func adaptOwn(ctx context.Context, base OwnBase, job Job) (adapted, error) {
	repos, err := findRepos(ctx, base, job)
	if err != nil {
		return adapted{}, err
	}
	if err := agree(job, repos); err != nil {
		return adapted{}, err
	}
	var a adapted
	if a.pkgs, a.declined = buildable(job, repos); len(a.pkgs) == 0 {
		return a, nil
	}
	if a.pkgDir, err = settingsKey(job, base.Name(), repos); err != nil {
		return adapted{}, err
	}
	if err := writeProfile(job, repos); err != nil {
		return adapted{}, err
	}
	a.binds = []bind{{Source: filepath.Join(job.Inputs, insideConfig), Target: insideConfig, IDMap: true}}
	var hidden rootSpec
	hidden.MaskDirs, _ = base.Masks()
	for _, repo := range repos {
		if repo.location != repo.Location || hidden.masked(repo.Location) {
			a.binds = append(a.binds, bind{Source: repo.source, Target: repo.Location, IDMap: true, ReadOnly: true})
		}
	}
	layers, err := base.Layers()
	if err != nil {
		return adapted{}, err
	}
	distDir := filepath.Join(layers[0].Source, insideDistDir)
	if fi, err := os.Stat(distDir); err == nil && fi.IsDir() {
		a.roDistDir = insideDistDir + "-builder"
		a.binds = append(a.binds, bind{Source: distDir, Target: a.roDistDir, IDMap: true, ReadOnly: true})
	}
	return a, nil
}

// agree declines a job whose repositories are in another state here, if it asks for that: what is built would be another
// package than the client's own.
func agree(job Job, repos []repoOnBuilder) error {
	for name, want := range job.Revisions {
		i := slices.IndexFunc(repos, func(r repoOnBuilder) bool { return r.Name == name })
		if i < 0 { // declined package by package
			continue
		}
		have, err := gentoo.RepoRevision(repos[i].source)
		if err != nil {
			return err
		}
		if have != want {
			return &DeclineError{fmt.Sprintf("its repository %q is in another state than this machine's, so it would not build the "+
				"same packages. Bring both to the same state (emaint sync -r %[1]s); or run lantage as root, for a build in a copy "+
				"of this machine's own root; or build on the builder's all the same (--base host)", name)}
		}
	}
	return nil
}

// spec makes the directories of a job's build root and describes it.
func (r *Runner) spec(job Job, base Base, a adapted, first int) (*rootSpec, error) {
	layers, err := base.Layers()
	if err != nil {
		return nil, err
	}
	s := &rootSpec{Dir: job.Dir, FirstID: first, Layers: layers, HostName: job.HostName}
	s.MaskDirs, s.Remove = base.Masks()
	if err := s.prepare(); err != nil {
		return nil, err
	}
	pkgDir, distDir := r.pkgDir(a), filepath.Join(r.StateDir, DistDir)
	if err := makeShared(pkgDir, distDir); err != nil {
		return nil, err
	}
	tmp, err := s.ownDir("tmp", 0o1777)
	if err != nil {
		return nil, err
	}
	logs, err := s.ownDir("logs", 0o755)
	if err != nil {
		return nil, err
	}
	s.Binds = append(a.binds,
		bind{Source: pkgDir, Target: insidePkgDir, IDMap: true},
		bind{Source: distDir, Target: insideDistDir, IDMap: true},
		bind{Source: tmp, Target: insideTmpDir},
		bind{Source: logs, Target: insideLogDir})
	processes, jobs := parallelism(r.Cores, r.Memory)
	s.Files = localFiles()
	s.MakeConf = makeConfTail(processes)
	// Each of the packages that build has make busy already, so the load may well pass the number of cores.
	s.Argv = emergeArgv(a.pkgs, jobs, 2*max(1, r.Cores))
	s.Env = emergeEnv(job.Env, a.roDistDir)
	return s, nil
}

// masked reports whether path lies in a directory that is hidden from the job.
func (s *rootSpec) masked(path string) bool {
	return slices.ContainsFunc(s.MaskDirs, func(dir string) bool {
		return path == dir || strings.HasPrefix(path, dir+"/")
	})
}

// writeProfile completes the client's /etc/portage: the profile as a link to where its repository will be.
func writeProfile(job Job, repos []repoOnBuilder) error {
	dir := filepath.Join(job.Inputs, insideConfig)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	i := slices.IndexFunc(repos, func(r repoOnBuilder) bool { return r.Name == job.Profile.Repo })
	profile := filepath.Join(dir, "make.profile")
	if err := os.RemoveAll(profile); err != nil {
		return err
	}
	return os.Symlink(filepath.Join(repos[i].Location, "profiles", job.Profile.Path), profile)
}

// makeShared makes the directories that outlast a job: PKGDIR, and DISTDIR, which all jobs share.
func makeShared(pkgDir, distDir string) error {
	if err := os.MkdirAll(pkgDir, 0o755); err != nil {
		return err
	}
	if err := os.MkdirAll(distDir, 0o775); err != nil {
		return err
	}
	if err := os.Chmod(distDir, 0o2775); err != nil {
		return err
	}
	return os.Chown(distDir, 0, portageGroup)
}

// localFiles are files of the build root that differ from the base's: names resolve as on this machine
// (whose resolv.conf may be a link to what is not mounted inside), and there are accounts, but no
// passwords.
func localFiles() []plainFile {
	files := []plainFile{
		{"/etc/shadow", 0o640, []byte("root:*:::::::\n")},
		{"/etc/gshadow", 0o640, []byte("root:*::\n")},
	}
	for _, name := range []string{"/etc/resolv.conf", "/etc/hosts"} {
		if data, err := os.ReadFile(name); err == nil {
			files = append(files, plainFile{name, 0o644, data})
		}
	}
	return files
}
