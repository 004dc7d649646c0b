package client

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"lantage/gentoo"
)

// facts are what this machine's Portage says of a package that it would build itself.
type facts struct {
	CPV, Repo  string
	Error      string            // why Portage does not tell the rest
	Portage    string            // version
	EAPI, Slot string            // the slot with its sub-slot, as the ebuild has it
	Use        []string          // all that are on, as a binpkg records them
	Vars       map[string]string // of factVariables those that are set, with package.env and the environment

	Env []string // files in etc/portage/env that package.env names for it; nil where Portage does not tell

	Inherited  []string // eclasses, also those of eclasses
	Phases     []string // that the ebuild defines, less their prefix; "-" for none
	Properties []string
	Restrict   []string
	Depend     string   // DEPEND and BDEPEND
	Live       []string // where the user has a live ebuild take its sources from

	Distfiles []gentoo.Distfile
}

// factVariables are the variables of a package that its binpkg records, and those that say what its code needs of a CPU.
const factVariables = "ASFLAGS CBUILD CFLAGS CHOST CPPFLAGS CTARGET CXXFLAGS FCFLAGS FEATURES FFLAGS GOAMD64 LDFLAGS " +
	"LIBCFLAGS LIBCXXFLAGS RUSTFLAGS"

// queryFacts asks Portage about packages of a plan.
func queryFacts(ctx context.Context, t *tools, pkgs []gentoo.Package) (map[gentoo.CPV]facts, error) {
	found := make(map[gentoo.CPV]facts, len(pkgs))
	var names []string
	for _, p := range pkgs {
		if gentoo.ValidRepoName(p.Repo) && p.Root == "" {
			names = append(names, p.CPV.String()+"::"+p.Repo)
		}
	}
	lines, err := t.portage.ask(ctx, names)
	if err != nil {
		return nil, err
	}
	for _, line := range lines {
		var f facts
		if err := json.Unmarshal(line, &f); err != nil {
			return nil, fmt.Errorf("what Portage says of a package: %w", err)
		}
		cpv, err := gentoo.ParseCPV(f.CPV)
		if err != nil {
			return nil, err
		}
		found[cpv] = f
	}
	return found, nil
}

// ownEnv are the names that files in etc/portage/env may have to be this package's own.
func (f facts) ownEnv() []string {
	cpv, err := gentoo.ParseCPV(f.CPV)
	if err != nil {
		return nil
	}
	slot, _, _ := strings.Cut(f.Slot, "/")
	return slices.Compact([]string{cpv.CP(), cpv.CP() + ":" + slot, cpv.Category + "/" + cpv.P(), cpv.String()})
}

// inherits reports whether a package has one of these eclasses.
func (f facts) inherits(eclasses ...string) bool {
	return slices.ContainsFunc(eclasses, func(e string) bool { return slices.Contains(f.Inherited, e) })
}

// tiny reports whether there is nothing to fetch and nothing to compile, as with virtual packages and accounts.
func (f facts) tiny() bool {
	return len(f.Distfiles) == 0 && !slices.Contains(f.Properties, "live") &&
		!slices.ContainsFunc(f.Phases, func(phase string) bool {
			return slices.Contains([]string{"unpack", "prepare", "configure", "compile", "test", "setup"}, phase)
		})
}

// ebuild is the text of a package's ebuild on this machine.
func ebuild(repos []gentoo.Repo, cpv gentoo.CPV, repo string) (string, error) {
	i := slices.IndexFunc(repos, func(r gentoo.Repo) bool { return r.Name == repo })
	if i < 0 {
		return "", fmt.Errorf("there is no repository %q", repo)
	}
	text, err := os.ReadFile(filepath.Join(repos[i].Location, cpv.CP(), cpv.PF()+".ebuild"))
	return string(text), err
}

// eclass is the text of an eclass: of the first of these repositories that has it. Which one Portage takes depends on the
// repository of the ebuild; equal names in two repositories do the same things.
func eclass(repos []gentoo.Repo, name string) string {
	for _, r := range repos {
		if text, err := os.ReadFile(filepath.Join(r.Location, "eclass", name+".eclass")); err == nil {
			return string(text)
		}
	}
	return ""
}
