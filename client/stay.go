package client

import (
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"lantage/gentoo"
	"lantage/rootfs"
	"lantage/wire"
)

// staying is a package that is built here, and why.
type staying struct {
	gentoo.Package
	why string
}

// home decides what is built on this machine. It goes by what Portage and the ebuild say of a package, not by its name.
type home struct {
	local, remote []gentoo.Pattern // what the user wants here, or on a builder
	repos         []gentoo.Repo
	configRoot    string
	facts         map[gentoo.CPV]facts
	unresolved    map[string]error // files in etc/portage/env whose native flags are not known
	used          map[string]bool  // those that kept some package here
}

// newHome reads the user's wishes.
func (e *Emerge) newHome() (*home, error) {
	h := &home{used: map[string]bool{}}
	var err error
	if h.local, err = parsePatterns(e.Local); err != nil {
		return nil, fmt.Errorf("--local: %w", err)
	}
	if h.remote, err = parsePatterns(e.Remote); err != nil {
		return nil, fmt.Errorf("--remote: %w", err)
	}
	return h, nil
}

// parsePatterns reads what the user says of packages.
func parsePatterns(words []string) (patterns []gentoo.Pattern, err error) {
	for _, word := range words {
		p, err := gentoo.ParsePattern(word)
		if err != nil {
			return nil, err
		}
		patterns = append(patterns, p)
	}
	return patterns, nil
}

// split decides which packages of a merge list a builder builds. A package that needs no build (binary,
// uninstall, nomerge) is in neither list.
func (h *home) split(list *gentoo.MergeList) (send []gentoo.Package, stay []staying) {
	sent := map[string]bool{}
	for _, p := range list.Builds() {
		why := h.why(p)
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

// why says why a package has to be built here, or "".
func (h *home) why(p gentoo.Package) string {
	switch {
	case p.Root != "" && p.Root != "/":
		return "it is for another root than /"
	case !gentoo.ValidRepoName(p.Repo) || p.Repo == "__unknown__":
		return "its repository has no name"
	}
	f, known := h.facts[p.CPV]
	if i := matching(h.local, p, f); i >= 0 {
		return fmt.Sprintf("you want it so (--local %s)", h.local[i])
	}
	if !known || f.Error != "" {
		return "Portage does not tell how it would be built, so that what comes could not be compared" + prefixed(": ", oneLine(f.Error, 200))
	}
	if name := h.unresolvedEnv(f); name != "" {
		h.used[name] = true
		return gentoo.FirstLine(h.unresolved[name].Error())
	}
	if file := h.secretInput(p, f); file != "" {
		return "there is a password or a key in " + file + ", which does not leave this machine"
	}
	if matching(h.remote, p, f) >= 0 {
		return ""
	}
	switch {
	case p.Interactive || slices.Contains(f.Properties, "interactive"):
		return "it asks questions while it builds"
	case p.FetchManually:
		return "its sources have to be downloaded by hand, and are missing"
	}
	text, _ := ebuild(h.repos, p.CPV, p.Repo) // one that cannot be read, emerge will complain of
	if slices.Contains(f.Properties, "live") {
		if source := localSource(text, f.Live); source != "" {
			return "its sources are on this machine: " + source
		}
	}
	if wantsRunningKernel(text) {
		return "it asks for the kernel that runs here"
	}
	if kernelOf(f) == rootfs.KernelSources && f.inherits("linux-mod", "linux-mod-r1") && !hasKernelSources() {
		return "it is a module for the kernel that runs here, and there are no sources of it in /usr/src/linux"
	}
	return ""
}

// unresolvedEnv is a file in etc/portage/env that a package uses, and that would mean another CPU on a builder, or "".
func (h *home) unresolvedEnv(f facts) string {
	for _, name := range slices.Sorted(maps.Keys(h.unresolved)) {
		if f.Env == nil || slices.Contains(f.Env, name) || slices.Contains(f.ownEnv(), name) {
			return name
		}
	}
	return ""
}

func matching(patterns []gentoo.Pattern, p gentoo.Package, f facts) int {
	return slices.IndexFunc(patterns, func(pattern gentoo.Pattern) bool {
		return pattern.Matches(p.CPV, f.Slot, p.Repo)
	})
}

// liveRE finds in an ebuild where it takes its sources from (the variables of git-r3, subversion, mercurial …).
var liveRE = regexp.MustCompile(`(?m)^\s*(?:export\s+)?E(?:GIT|HG|SVN|BZR|CVS|DARCS|FOSSIL)_(?:REPO_URI|SERVER)=\(?\s*["']?([^"'\s)]+)`)

// localSource is the place on this machine that a live ebuild takes its sources from, or "": the user's own words count
// before the ebuild's.
func localSource(ebuild string, said []string) string {
	for _, m := range liveRE.FindAllStringSubmatch(ebuild, -1) {
		said = append(said, m[1])
	}
	for _, words := range said {
		for word := range strings.FieldsSeq(words) {
			word = strings.TrimPrefix(word, "git+")
			if strings.HasPrefix(word, "file:") || filepath.IsAbs(word) {
				return word
			}
		}
	}
	return ""
}

// forBuilder is the plan as this builder can do it: what it cannot build is built here, and returned with the reasons.
func (p *plan) forBuilder(b *builder) (*plan, []staying) {
	here := *p
	here.send = nil
	var moved []staying
	for _, pkg := range p.send {
		switch {
		case b.base != wire.BaseClient && kernelOf(p.facts[pkg.CPV]) == rootfs.KernelSources:
			moved = append(moved, staying{pkg, "it is built against this machine's kernel, and the builder's base has another"})
		case pkg.FetchedByHand && !b.hello.Distfiles:
			moved = append(moved, staying{pkg, fmt.Sprintf("its sources were downloaded by hand, and the lantage on %v is too old to take them", b)})
		default:
			here.send = append(here.send, pkg)
		}
	}
	here.stay = slices.Concat(p.stay, moved)
	return &here, moved
}

// onlyTiny reports whether no package of the plan has anything to fetch or to compile: to ask a builder takes longer.
func (p *plan) onlyTiny(h *home) bool {
	return !slices.ContainsFunc(p.send, func(pkg gentoo.Package) bool {
		f, known := p.facts[pkg.CPV]
		return !known || !f.tiny() || matching(h.remote, pkg, f) >= 0
	})
}
