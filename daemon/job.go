package daemon

import (
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"lantage/build"
	"lantage/gentoo"
	"lantage/wire"
)

var (
	idRE       = regexp.MustCompile(`^[0-9a-f]{32}$`)
	processRE  = regexp.MustCompile(`^(PATH|HOME|SHELL|IFS|BASH.*|LD_.*|PYTHON[A-Z]*)$`) // act on any program
	variableRE = regexp.MustCompile(`^[A-Z][A-Za-z0-9_]*$`)
	rootRE     = regexp.MustCompile(`^[0-9a-f]{64}$`)
	hostNameRE = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.-]{0,63}$`) // no longer than Linux takes it
	chostRE    = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*$`)
)

// checkJob turns what a client asks for into what is built. It is the trust border: nothing of a wire.Job is
// used that did not pass here. Errors are *wire.Error; their text names the field. Directories are for the
// caller to fill in.
func checkJob(m wire.Job, self wire.Hello) (build.Job, error) {
	job := build.Job{ID: m.ID, Base: m.Base, Env: m.Env, Clear: m.Clear, Nodeps: m.Nodeps, Profile: gentoo.Profile(m.Profile)}
	for _, p := range m.Parents {
		job.Parents = append(job.Parents, gentoo.Profile(p))
	}
	var err error
	switch {
	case !idRE.MatchString(m.ID):
		return job, bad("id %q is not 32 hexadecimal digits", m.ID)
	case !validText(m.Client, maxText):
		return job, bad("client %q is not a name", m.Client)
	case len(m.CHOST) > maxText || !chostRE.MatchString(m.CHOST):
		return job, bad("chost %q is not a CHOST", m.CHOST)
	case m.Base != "" && !slices.Contains(self.Bases, m.Base):
		return job, wire.Errorf(wire.CodeDeclined, "%s does not offer the base %q, but: %s",
			self.Name, m.Base, strings.Join(self.Bases, ", "))
	case m.Base == "" && len(self.Bases) == 1 && self.Bases[0] == wire.BaseClient:
		return job, wire.Errorf(wire.CodeDeclined, "%s builds in copies of its clients' roots alone (--base %s)",
			self.Name, wire.BaseClient)
	case m.Base == wire.BaseClient && !rootRE.MatchString(m.Root):
		return job, bad("the base %s needs a root", m.Base)
	}
	for i, name := range m.Clear {
		if !slices.Contains(gentoo.SeenByBuilds(), name) || slices.Contains(m.Clear[:i], name) {
			return job, bad("clear: %.40q is not a variable of the builder's that builds see", name)
		}
	}
	if err := checkMachine(m, self); err != nil {
		return job, err
	}
	// On other bases clients with equal settings share binpkgs, and the build root is called as this machine.
	if m.Base == wire.BaseClient && hostNameRE.MatchString(m.Client) {
		job.HostName = m.Client
	}
	job.Revisions = revisions(m)
	if job.Repos, err = checkRepos(m.Repos); err != nil {
		return job, err
	}
	if job.Packages, err = checkPackages(m.Packages, job.Repos); err != nil {
		return job, err
	}
	if len(m.Parents) > maxParents {
		return job, bad("parents: %d of them, at most %d are allowed", len(m.Parents), maxParents)
	}
	for _, p := range append([]wire.Profile{m.Profile}, m.Parents...) {
		if err := checkProfile(p, job.Repos); err != nil {
			return job, err
		}
	}
	return job, checkEnv(m.Env)
}

// revisions are the states that the builder's own repositories must be in. On a copy of the client's root there are none.
func revisions(m wire.Job) map[string]string {
	states := make(map[string]string)
	for _, r := range m.Repos {
		if r.Revision != "" && m.Base != wire.BaseClient {
			states[r.Name] = r.Revision
		}
	}
	if len(states) == 0 {
		return nil
	}
	return states
}

// checkMachine declines jobs for another kind of machine.
func checkMachine(m wire.Job, self wire.Hello) error {
	if m.Base == wire.BaseClient {
		return checkArch(m.CHOST, self)
	}
	if self.CHOST != "" && m.CHOST != self.CHOST {
		return wire.Errorf(wire.CodeDeclined, "%s builds for %s and this machine is %s", self.Name, self.CHOST, m.CHOST)
	}
	return nil
}

// checkArch declines clients whose programs do not run here.
func checkArch(chost string, self wire.Hello) error {
	if gentoo.RunsOn(chost, self.Arch) {
		return nil
	}
	return wire.Errorf(wire.CodeDeclined, "%s is a machine of the kind %s, and programs for %s do not run there",
		self.Name, self.Arch, chost)
}

func bad(format string, args ...any) error {
	return wire.Errorf(wire.CodeBadRequest, "the job is refused: "+format, args...)
}

// validText reports whether s is a word or two for people, on one line.
func validText(s string, limit int) bool {
	return s != "" && len(s) <= limit && gentoo.Printable(s) == s && !strings.ContainsAny(s, "\n\t")
}

func hasRepo(repos []gentoo.Repo, name string) bool {
	return slices.ContainsFunc(repos, func(r gentoo.Repo) bool { return r.Name == name })
}

// checkRepos takes names and locations. A location becomes a place in the build root.
func checkRepos(list []wire.Repo) ([]gentoo.Repo, error) {
	if n := len(list); n == 0 || n > maxRepos {
		return nil, bad("repos: %d of them, 1 to %d are allowed", n, maxRepos)
	}
	var repos []gentoo.Repo
	for i, r := range list {
		switch {
		case !gentoo.ValidRepoName(r.Name):
			return nil, bad("repos[%d]: %q is not a repository name", i, r.Name)
		case hasRepo(repos, r.Name):
			return nil, bad("repos[%d]: %s is there twice", i, r.Name)
		case !validText(r.Location, maxPath), !path.IsAbs(r.Location), path.Clean(r.Location) != r.Location,
			r.Location == "/":
			return nil, bad("repos[%d]: location %q of %s is not an absolute path in its shortest form",
				i, r.Location, r.Name)
		case r.Revision != "" && !validText(r.Revision, maxText):
			return nil, bad("repos[%d]: revision %.40q of %s is not a state of a repository", i, r.Revision, r.Name)
		}
		repos = append(repos, gentoo.Repo{Name: r.Name, Location: r.Location})
	}
	return repos, nil
}

func checkPackages(list []wire.Package, repos []gentoo.Repo) ([]build.Package, error) {
	if n := len(list); n == 0 || n > maxPackages {
		return nil, bad("packages: %d of them, 1 to %d are allowed", n, maxPackages)
	}
	var pkgs []build.Package
	seen, length := make(map[gentoo.CPV]bool), 0
	for i, p := range list {
		cpv, err := gentoo.ParseCPV(p.CPV)
		switch {
		case err != nil:
			return nil, bad("packages[%d]: %v", i, err)
		case seen[cpv]:
			return nil, bad("packages[%d]: %s is there twice", i, cpv)
		case !hasRepo(repos, p.Repo):
			return nil, bad("packages[%d]: the repository %q of %s is not among the job's", i, p.Repo, cpv)
		}
		if length += len(p.CPV); length > maxNames {
			return nil, bad("packages: their names have more than %d bytes", maxNames)
		}
		seen[cpv] = true
		pkgs = append(pkgs, build.Package{CPV: cpv, Repo: p.Repo})
	}
	return pkgs, nil
}

func checkProfile(p wire.Profile, repos []gentoo.Repo) error {
	switch {
	case !hasRepo(repos, p.Repo):
		return bad("profile: the repository %q is not among the job's", p.Repo)
	case !validText(p.Path, maxPath), !filepath.IsLocal(p.Path), path.Clean(p.Path) != p.Path, p.Path == ".":
		return bad("profile: %q is not a path below a repository's profiles directory", p.Path)
	}
	return nil
}

// checkEnv lets through what changes the packages and nothing that Portage knows to be about a machine, such
// as PKGDIR. Which other variables are flags of USE_EXPAND only the client's profile knows; the job cannot do
// more with one that is not than its own bashrc could.
func checkEnv(env []string) error {
	if len(env) > maxEnv {
		return bad("env: %d variables, at most %d are allowed", len(env), maxEnv)
	}
	seen, length := make(map[string]bool), 0
	for i, v := range env {
		name, value, _ := strings.Cut(v, "=")
		switch {
		case !variableRE.MatchString(name) || processRE.MatchString(name) ||
			len(gentoo.UserEnvironment([]string{v}, name)) != 1:
			return bad("env[%d]: %.40q is not a variable of Portage's that changes what is built", i, name)
		case seen[name]:
			return bad("env[%d]: %s is there twice", i, name)
		case strings.Contains(value, "\x00"):
			return bad("env[%d]: %s contains a NUL byte", i, name)
		}
		if length += len(v); length > maxEnvBytes {
			return bad("env: more than %d bytes", maxEnvBytes)
		}
		seen[name] = true
	}
	return nil
}
