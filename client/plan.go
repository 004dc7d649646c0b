package client

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"lantage/gentoo"
)

// plan is what emerge would do, and what of it a builder does.
type plan struct {
	shown    string // emerge's own words from the heading of its list on
	warnings string // what emerge said on standard error
	list     *gentoo.MergeList
	facts    map[gentoo.CPV]facts
	send     []gentoo.Package
	stay     []staying
	nodeps   bool // emerge's option, which a builder must hear of
}

// seenByBuilds are the variables of gentoo.SeenByBuilds that this machine sets for some package that a builder builds.
func (p *plan) seenByBuilds() (names []string) {
	for _, name := range gentoo.SeenByBuilds() {
		if slices.ContainsFunc(p.send, func(pkg gentoo.Package) bool { return p.facts[pkg.CPV].Vars[name] != "" }) {
			names = append(names, name)
		}
	}
	return names
}

// nothing reports whether there is nothing to merge or to remove.
func (p *plan) nothing() bool {
	for _, pkg := range p.list.Packages {
		if pkg.Kind != gentoo.KindNomerge {
			return false
		}
	}
	return true
}

// merges returns how many packages would be merged.
func (p *plan) merges() int {
	n := 0
	for _, pkg := range p.list.Packages {
		if pkg.Kind != gentoo.KindNomerge && pkg.Kind != gentoo.KindUninstall {
			n++
		}
	}
	return n
}

const listHeading = "These are the packages that would be merged"

// listText is emerge's output without what stands before the list, such as "Global Updates".
func listText(stdout string) string {
	if i := strings.Index(stdout, listHeading); i >= 0 {
		return "\n" + strings.TrimRight(stdout[i:], "\n") + "\n"
	}
	return stdout
}

var listLineRE = regexp.MustCompile(`(?m)^\[(ebuild|binary|uninstall|blocks)( [^\]\n]*\] +)([^ \n]+)`)

// coloured colours the lines of a merge list much as emerge does: the kind, and the name of the package.
func coloured(text string) string {
	return listLineRE.ReplaceAllStringFunc(text, func(line string) string {
		m := listLineRE.FindStringSubmatch(line)
		colour := "32" // green
		switch m[1] {
		case "binary":
			colour = "35"
		case "uninstall", "blocks":
			colour = "31"
		}
		return fmt.Sprintf("[\x1b[%sm%s\x1b[0m%s\x1b[%sm%s\x1b[0m", colour, m[1], m[2], colour, m[3])
	})
}
