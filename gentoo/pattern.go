package gentoo

import (
	"fmt"
	"path"
	"regexp"
	"strings"
)

// Pattern says which packages are meant, as a line of /etc/portage/package.* does, without ranges of versions and USE
// flags: category/name with wildcards, or a name alone; =category/name-version; a slot or a repository behind.
type Pattern struct {
	category, name string // path.Match patterns
	version        string // exact; empty for any
	slot, repo     string // empty for any
	text           string
}

var patternRE = regexp.MustCompile(`^(=)?(?:([A-Za-z0-9+_.*-]+)/)?([A-Za-z0-9+_.*-]+)(?::([A-Za-z0-9+_.-]+))?(?:::([A-Za-z0-9_-]+))?$`)

// ParsePattern reads a pattern.
func ParsePattern(s string) (Pattern, error) {
	m := patternRE.FindStringSubmatch(s)
	bad := fmt.Errorf("%q is not understood: say category/name, where either may have * in it, a name alone, "+
		"or =category/name-version; then, if you like, :slot and ::repository", s)
	if m == nil {
		return Pattern{}, bad
	}
	p := Pattern{category: m[2], name: m[3], slot: m[4], repo: m[5], text: s}
	if m[1] == "" {
		if p.category == "" {
			p.category = "*"
		}
		return p, nil
	}
	cpv, err := ParseCPV(p.category + "/" + p.name)
	if err != nil {
		return Pattern{}, bad
	}
	p.name, p.version = cpv.Name, cpv.Version
	return p, nil
}

// String returns the pattern as it was written.
func (p Pattern) String() string { return p.text }

// Matches reports whether a package is meant. Its slot must be known where the pattern has one.
func (p Pattern) Matches(cpv CPV, slot, repo string) bool {
	category, _ := path.Match(p.category, cpv.Category)
	name, _ := path.Match(p.name, cpv.Name)
	slot, _, _ = strings.Cut(slot, "/")
	return category && name && (p.version == "" || p.version == cpv.Version) &&
		(p.slot == "" || p.slot == slot) && (p.repo == "" || p.repo == repo)
}
