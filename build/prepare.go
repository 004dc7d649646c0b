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

// repoOnBuilder is a repository of the client that the base has too, or that came with the job.
type repoOnBuilder struct {
	gentoo.Repo        // as the client has it: Location is where it must be inside
	location    string // where the base has it; empty: it came with the job
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
		if source, ok := sentRepo(job, want.Name); ok {
			repos = append(repos, repoOnBuilder{want, "", source})
			continue
		}
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
	return repos, checkProfiles(job, repos)
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
		if !repos[i].has(filepath.Join(p.Category, p.Name, p.PF()+".ebuild")) {
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
	if err := agree(ctx, job, repos); err != nil {
		return adapted{}, err
	}
	var a adapted
	if a.pkgs, a.declined = buildable(job, repos); len(a.pkgs) == 0 {
		return a, nil
	}
	settings, err := jobSettings(job)
	if err != nil {
		return adapted{}, err
	}
	a.key = func(ctx context.Context) (string, error) { return settingsKey(ctx, job, base.Name(), settings, repos) }
	if a.pkgDir, err = a.key(ctx); err != nil {
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
	if err := resolvable(job.Inputs, a.binds[1:]); err != nil {
		return adapted{}, err
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

// spec makes the directories of a job's build root and describes it.
func (r *Runner) spec(job Job, base Base, a adapted, first int) (*rootSpec, error) {
	layers, err := base.Layers()
	if err != nil {
		return nil, err
	}
	s := &rootSpec{Dir: job.Dir, Inputs: job.Inputs, FirstID: first, Layers: layers, HostName: job.HostName}
	s.MaskDirs, s.Remove = base.Masks()
	if err := s.prepare(); err != nil {
		return nil, err
	}
	pkgDir := r.pkgDir(a)
	for _, dir := range []string{pkgDir, filepath.Join(r.StateDir, DistDir)} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
	}
	dist, err := r.distDirs(job, a, s)
	if err != nil {
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
		bind{Source: tmp, Target: insideTmpDir},
		bind{Source: logs, Target: insideLogDir})
	s.Binds = append(s.Binds, dist.binds...)
	memory := r.Memory
	if limit := r.Limits.Memory; limit > 0 && limit < memory*3/4 { // the owner means it
		memory = limit
	}
	processes, jobs := parallelism(r.Cores, memory)
	s.Files = append(localFiles(job.HostName), dist.files...)
	s.MakeConf = makeConfTail(processes)
	// Each of the packages that build has make busy already, so the load may well pass the number of cores.
	s.Argv = emergeArgv(a.pkgs, job.Nodeps, jobs, 2*max(1, r.Cores))
	s.Env = emergeEnv(job, dist, os.Getenv)
	return s, nil
}

// masked reports whether path lies in a directory that is hidden from the job.
func (s *rootSpec) masked(path string) bool {
	return slices.ContainsFunc(s.MaskDirs, func(dir string) bool {
		return path == dir || strings.HasPrefix(path, dir+"/")
	})
}

// localFiles are files of the build root that differ from the base's: names resolve as on this machine
// (whose resolv.conf may be a link to what is not mounted inside), and there are accounts, but no
// passwords.
func localFiles(hostName string) []plainFile {
	files := []plainFile{
		{"/etc/shadow", 0o640, []byte("root:*:::::::\n")},
		{"/etc/gshadow", 0o640, []byte("root:*::\n")},
	}
	for _, name := range []string{"/etc/resolv.conf", "/etc/hosts"} {
		if data, err := os.ReadFile(name); err == nil {
			if name == "/etc/hosts" && hostName != "" {
				data = fmt.Appendf(data, "\n127.0.1.1 %s\n", hostName)
			}
			files = append(files, plainFile{name, 0o644, data})
		}
	}
	return files
}
