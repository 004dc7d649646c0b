package gentoo

import (
	"fmt"
	"strings"
)

// unknownRepo is what Portage shows for a package whose repository is not recorded; it is no repository to
// ask for.
const unknownRepo = "__unknown__"

// ExactAtom returns the atom that only this version from this repository satisfies: "=cat/pkg-1.2-r3::repo".
// An empty repo gives "=cat/pkg-1.2-r3".
func ExactAtom(cpv CPV, repo string) string {
	if repo == "" {
		return "=" + cpv.String()
	}
	return "=" + cpv.String() + "::" + repo
}

// ParseExactAtom is the inverse of ExactAtom and refuses everything else: ranges, wildcards, slots, USE
// dependencies, sets, file names, options. It is the check of what a peer sends before emerge sees it.
func ParseExactAtom(s string) (cpv CPV, repo string, err error) {
	rest, ok := strings.CutPrefix(s, "=")
	if !ok {
		return CPV{}, "", fmt.Errorf("%q is not an exact atom (=category/package-version::repository)", s)
	}
	name, repo, hasRepo := strings.Cut(rest, "::")
	if cpv, err = ParseCPV(name); err != nil {
		return CPV{}, "", fmt.Errorf("exact atom %q: %w", s, err)
	}
	if hasRepo && !ValidRepoName(repo) {
		return CPV{}, "", fmt.Errorf("exact atom %q: %q is not a repository name", s, repo)
	}
	return cpv, repo, nil
}

// ValidRepoName reports whether s is the name of an ebuild repository (PMS 3.1.5): characters A-Z a-z 0-9 _
// -, no hyphen first, and also valid as a package name.
func ValidRepoName(s string) bool {
	return validPackageName(s) && !strings.Contains(s, "+")
}
