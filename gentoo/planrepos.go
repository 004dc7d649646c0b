package gentoo

import (
	"maps"
	"path/filepath"
)

// PlanRepos are the repositories that decide what becomes of a plan, by name, with the packages ("category/name") that come
// from each: those of pkgs, those of the profiles and of all their parents, and the masters of these.
func PlanRepos(pkgs []Package, profiles []Profile, repos []Repo) map[string][]string {
	needed := make(map[string][]string)
	for _, p := range pkgs {
		needed[p.Repo] = append(needed[p.Repo], p.Category+"/"+p.Name)
	}
	for p := range ancestors(profiles, repos) {
		if _, ok := needed[p.Repo]; !ok {
			needed[p.Repo] = nil
		}
	}
	with := maps.Clone(needed)
	for _, r := range repos {
		if _, ok := needed[r.Name]; ok {
			for _, master := range r.Masters {
				with[master] = needed[master]
			}
		}
	}
	return with
}

// ancestors are profiles, and all their parents. What is missing Portage will complain about.
func ancestors(profiles []Profile, repos []Repo) map[Profile]bool {
	seen := make(map[Profile]bool)
	var visit func([]Profile)
	visit = func(profiles []Profile) {
		for _, p := range profiles {
			if seen[p] {
				continue
			}
			seen[p] = true
			for _, r := range repos {
				if r.Name == p.Repo {
					parents, _ := readParents(filepath.Join(r.Location, "profiles", p.Path), repos)
					visit(parents)
				}
			}
		}
	}
	visit(profiles)
	return seen
}

// IsOverlay reports whether a repository is this machine's own: one that is neither the main one nor synced from anywhere.
func (r Repo) IsOverlay() bool { return !r.Main && r.SyncType == "" && r.SyncURI == "" }
