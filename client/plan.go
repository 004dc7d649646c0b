package client

import (
	"fmt"
	"regexp"
	"strings"

	"lantage/gentoo"
)

// plan is what emerge would do, and what of it a builder does.
type plan struct {
	shown    string // emerge's own words from the heading of its list on
	warnings string // what emerge said on standard error
	list     *gentoo.MergeList
	send     []gentoo.Package
	stay     []staying
}

// staying is a package that is built here, and why.
type staying struct {
	gentoo.Package
	why string
}

// split decides which packages of a merge list a builder builds. A package that needs no build (binary,
// uninstall, nomerge) is in neither list.
func split(list *gentoo.MergeList) (send []gentoo.Package, stay []staying) {
	sent := map[string]bool{}
	for _, p := range list.Builds() {
		why := whyStay(p)
		switch {
		case why != "":
			stay = append(stay, staying{p, why})
		case !sent[p.CPV.String()]:
			sent[p.CPV.String()] = true
			send = append(send, p)
		}
	}
	return send, stay
}

// whyStay says why a package has to be built here, or "".
func whyStay(p gentoo.Package) string {
	switch {
	case p.Root != "" && p.Root != "/":
		return "it is for another root than /"
	case p.Interactive:
		return "it asks questions while it builds"
	case p.FetchManually:
		return "its sources have to be downloaded by hand, and are missing"
	case !gentoo.ValidRepoName(p.Repo) || p.Repo == "__unknown__":
		return "its repository has no name"
	}
	return ""
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
