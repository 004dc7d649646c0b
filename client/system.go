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
	vars        map[string]string // others that portageq was asked for: CC, CXX, flagVariables and reposVariable
	flags       flagsOf
}

// reposVariable has the repositories in the form of `portageq repos_config`, less those that are not there, which emerge takes no
// ebuilds from either.
const reposVariable = "PORTAGE_REPOSITORIES"

// querySystem asks Portage for what the arguments, the plan and the job depend on: all at once, because it takes its time to start.
func querySystem(ctx context.Context, t *tools) (*system, error) {
	out, err := portageq(ctx, t, append([]string{
		"envvar", "-v", "CHOST", "PKGDIR", "DISTDIR", "EPREFIX", "PORTAGE_CONFIGROOT",
		"EMERGE_DEFAULT_OPTS", "USE_EXPAND", "CC", "CXX", "FEATURES", "BINPKG_GPG_SIGNING_KEY", "BINPKG_GPG_SIGNING_GPG_HOME", "BINPKG_FORMAT",
		reposVariable,
	}, flagVariables...)...)
	if err != nil {
		return nil, err
	}
	vars, err := parseAssignments(out)
	if err != nil {
		return nil, fmt.Errorf("portageq envvar: %w", err)
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
		return nil, fmt.Errorf("portageq does not tell CHOST and PKGDIR (CHOST=%q, PKGDIR=%q); "+
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

// portageq runs a query. Its exit status is 1 where a variable is not set, so that only an empty answer is a
// failure.
func portageq(ctx context.Context, t *tools, args ...string) (string, error) {
	out, err := t.capture(ctx, "portageq", args)
	if err == nil && out.status != 0 && strings.TrimSpace(out.stdout) == "" {
		err = fmt.Errorf("portageq %s failed:\n%s", strings.Join(args, " "), strings.TrimSpace(out.stderr))
	}
	return out.stdout, err
}

// parseAssignments reads NAME=value lines as `portageq envvar -v` writes them: the value bare, or quoted as
// Python's shlex.quote does it, so that it may have several lines.
func parseAssignments(text string) (map[string]string, error) {
	vars := map[string]string{}
	for text != "" {
		name, rest, ok := strings.Cut(text, "=")
		if !ok || strings.ContainsAny(name, " '\"\n") {
			line, _, _ := strings.Cut(text, "\n")
			return nil, fmt.Errorf("%q is not NAME=value", line)
		}
		var value strings.Builder
		for rest != "" && rest[0] != '\n' {
			if quote := rest[0]; quote == '\'' || quote == '"' {
				inside, after, closed := strings.Cut(rest[1:], string(quote))
				if !closed {
					return nil, fmt.Errorf("the value of %s has no closing quotation mark", name)
				}
				value.WriteString(inside)
				rest = after
				continue
			}
			end := strings.IndexAny(rest, "'\"\n")
			if end < 0 {
				end = len(rest)
			}
			value.WriteString(rest[:end])
			rest = rest[end:]
		}
		vars[name] = value.String()
		text = strings.TrimPrefix(rest, "\n")
	}
	return vars, nil
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
