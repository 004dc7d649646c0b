package client

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"lantage/gentoo"
)

// system is what Portage says of this machine.
type system struct {
	chost       string
	pkgdir      string
	distdir     string
	eprefix     string // EPREFIX: not empty in a Prefix installation
	configRoot  string // PORTAGE_CONFIGROOT
	defaultOpts string // EMERGE_DEFAULT_OPTS
	repos       []gentoo.Repo
	profiles    []gentoo.Profile // that make.profile stands for
	signing     signing
	env         []string          // the Portage variables of the user's environment
	vars        map[string]string // others that Portage was asked for: CC, CXX, flagVariables and reposVariable
	flags       flagsOf
}

// reposVariable has the repositories in the form of `portageq repos_config`, less those that are not there, which emerge takes no
// ebuilds from either.
const reposVariable = "PORTAGE_REPOSITORIES"

// querySystem asks Portage for what the arguments, the plan and the job depend on. Portage stays loaded, to be asked about the plan,
// until t ends it.
func querySystem(ctx context.Context, t *tools) (*system, error) {
	vars, err := t.load(ctx, append([]string{
		"CHOST", "PKGDIR", "DISTDIR", "EPREFIX", "PORTAGE_CONFIGROOT", "EMERGE_DEFAULT_OPTS", "USE_EXPAND", "CC", "CXX",
		"FEATURES", "BINPKG_GPG_SIGNING_KEY", "BINPKG_GPG_SIGNING_GPG_HOME", "BINPKG_FORMAT", reposVariable,
	}, flagVariables...)...)
	if err != nil {
		return nil, err
	}
	s := &system{
		chost: vars["CHOST"], pkgdir: vars["PKGDIR"], distdir: vars["DISTDIR"], eprefix: vars["EPREFIX"], configRoot: vars["PORTAGE_CONFIGROOT"],
		defaultOpts: vars["EMERGE_DEFAULT_OPTS"], vars: vars,
		signing: signing{
			vars["FEATURES"], vars["BINPKG_GPG_SIGNING_KEY"], vars["BINPKG_GPG_SIGNING_GPG_HOME"], vars["BINPKG_FORMAT"],
		},
		env: gentoo.UserEnvironment(gentoo.LastOfEach(t.environ), strings.Fields(vars["USE_EXPAND"])...),
	}
	if s.configRoot == "" {
		s.configRoot = "/"
	}
	if s.chost == "" || !filepath.IsAbs(s.pkgdir) {
		return nil, fmt.Errorf("no CHOST and PKGDIR of Portage's (CHOST=%q, PKGDIR=%q); "+
			"is a profile selected?", s.chost, s.pkgdir)
	}
	if s.eprefix != "" {
		return nil, fmt.Errorf("this is a Prefix installation (EPREFIX=%s), which Lantage does not serve: no builder has that path",
			s.eprefix)
	}
	return s, nil
}

// noCopy says why this machine's root cannot be copied for a build, or "".
func (s *system) noCopy() string {
	if s.configRoot != "/" {
		return fmt.Sprintf("the configuration is in another root than / (PORTAGE_CONFIGROOT=%s)", s.configRoot)
	}
	return ""
}

// readRepos reads what a builder has to know besides, the repositories and the profile.
func (s *system) readRepos() (err error) {
	if s.repos, err = gentoo.ParseReposConfig(s.vars[reposVariable]); err != nil {
		return err
	}
	s.profiles, err = gentoo.ProfileParents(filepath.Join(s.configRoot, "etc/portage"), s.repos)
	return err
}

func (s *system) repoLocations() []string {
	var dirs []string
	for _, r := range s.repos {
		dirs = append(dirs, r.Location)
	}
	return dirs
}

// errChangesConfig is a plan that needs a change of the configuration, where emerge itself would make it.
var errChangesConfig = errors.New("the plan needs a change of the configuration")

// changesNeeded is what emerge says then of USE flags, keywords, masks and licences: "The following USE changes are …".
const changesNeeded = "changes are necessary to proceed"

// makePlan has emerge say what it would do. An exit status other than 0 is decisive even where a list was
// printed: then emerge's words are passed on, and its status is the error's.
func makePlan(ctx context.Context, t *tools, args gentoo.Args) (*plan, error) {
	out, err := t.capture(ctx, "emerge", args.PretendArgs(), "NO_COLOR=1", "NOCOLOR=true")
	if err != nil {
		return nil, err
	}
	if out.status != 0 && args.MayChangeConfig() && strings.Contains(out.stdout+out.stderr, changesNeeded) {
		return nil, errChangesConfig
	}
	if out.status != 0 {
		fmt.Fprint(t.stdout, out.stdout)
		fmt.Fprint(t.stderr, out.stderr)
		return nil, exit(out.status)
	}
	list, err := gentoo.ParseMergeList(out.stdout)
	if err != nil {
		return nil, err
	}
	return &plan{shown: listText(out.stdout), warnings: out.stderr, list: list, nodeps: args.Nodeps}, nil
}

// ownRepos are the locations of the repositories that only this machine has.
func (s *system) ownRepos() []string {
	var dirs []string
	for _, r := range s.repos {
		if r.IsOverlay() {
			dirs = append(dirs, r.Location)
		}
	}
	return dirs
}
