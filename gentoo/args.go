package gentoo

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// Args is a command line of emerge, understood as emerge 3.0.83 understands it. The booleans are what holds
// after the last option of each kind.
type Args struct {
	Action string // "sync", "unmerge", …; empty for installing, which is what Lantage is for
	Err    error  // emerge does not accept this command line; Local tells to let it say so

	Ask, Quiet, Verbose, Debug         bool
	Pretend, FetchOnly, BuildPkgOnly   bool
	Oneshot, OnlyDeps, Nodeps          bool
	KeepGoing, Resume                  bool
	UsePkg, UsePkgOnly                 bool
	GetBinpkg, GetBinpkgOnly, BuildPkg bool
	IgnoreDefaultOpts                  bool

	options     []usedOption
	targets     []string
	hasDefaults bool
}

// ParseArgs reads the arguments of emerge, without its name. It never fails as such: see Args.Err.
func ParseArgs(args []string) Args {
	var a Args
	a.options, a.targets, a.Err = parseWords(args)
	a.Pretend = a.has("--pretend")
	a.Ask = a.on("--ask") && !a.Pretend
	a.Quiet, a.Verbose, a.Debug = a.on("--quiet"), a.on("--verbose"), a.has("--debug")
	a.FetchOnly = a.has("--fetchonly") || a.has("--fetch-all-uri")
	a.BuildPkgOnly, a.BuildPkg = a.has("--buildpkgonly"), a.on("--buildpkg")
	a.OnlyDeps, a.Nodeps = a.has("--onlydeps"), a.has("--nodeps")
	a.Oneshot = !a.on("--select") && (a.has("--oneshot") || a.value("--select") == "n")
	a.KeepGoing = a.on("--keep-going")
	a.Resume = a.has("--resume") || a.has("--skipfirst")
	a.UsePkg, a.UsePkgOnly = a.on("--usepkg"), a.on("--usepkgonly")
	a.GetBinpkg, a.GetBinpkgOnly = a.on("--getbinpkg"), a.on("--getbinpkgonly")
	a.IgnoreDefaultOpts = a.has("--ignore-default-opts")
	a.Action = a.action()
	return a
}

// ParseArgsWithDefaults reads args after EMERGE_DEFAULT_OPTS, as emerge does unless --ignore-default-opts
// is given. PretendArgs and MergeArgs then hold the default options and say --ignore-default-opts, so that
// a flag among them that cannot be negated (--tree, --columns) does no harm. The error is about
// defaultOpts.
func ParseArgsWithDefaults(args []string, defaultOpts string) (Args, error) {
	if ParseArgs(args).IgnoreDefaultOpts {
		return ParseArgs(args), nil
	}
	defaults, err := SplitWords(defaultOpts)
	if err != nil {
		return Args{}, fmt.Errorf("EMERGE_DEFAULT_OPTS: %w", err)
	}
	a := ParseArgs(append(defaults, args...))
	a.hasDefaults = true
	return a, nil
}

// Targets returns what emerge is to work on: atoms, sets, files.
func (a Args) Targets() []string { return slices.Clone(a.targets) }

// Local reports whether the command must go to the local emerge as it is, since it builds nothing or is
// about this machine only, and why.
//
// --buildpkgonly is not local: it compiles, and its results belong into PKGDIR like all others; the client
// then leaves out the merge.
func (a Args) Local() (reason string, ok bool) {
	switch {
	case a.Err != nil:
		return a.Err.Error(), true
	case a.Action != "":
		return "--" + a.Action + " builds nothing", true
	case a.Pretend:
		return "--pretend builds nothing", true
	case a.FetchOnly:
		return "--fetchonly builds nothing", true
	case a.Resume:
		return "--resume continues a list of this machine", true
	case a.UsePkgOnly || a.GetBinpkgOnly:
		return "only binary packages are to be used", true
	case a.on("--autounmask-only"):
		return "--autounmask-only builds nothing", true
	case len(a.targets) == 0:
		return "no package is named", true
	case a.has("--tree") && a.has("--columns"): // PretendArgs drops both, so the plan would not show it
		return "emerge does not accept --tree with --columns", true
	}
	if strings.Contains(a.value("--pkg-format"), "rpm") {
		return "--pkg-format asks for RPMs, which a builder does not make", true
	}
	for _, o := range []string{"--root", "--sysroot", "--prefix", "--config-root"} {
		if v := a.value(o); v != "" && path.Clean(v) != "/" {
			return o + " is about another root than /", true
		}
	}
	return "", false
}

// Options that change the form of the merge list, or ask.
const (
	asking       = "--ask --ask-enter-invalid --alert --read-news"
	formChanging = `--alphabetical --color --columns --debug --nospinner --pretend --quiet
		--quiet-repo-display --tree --unordered-display --verbose`
)

// PretendArgs returns the same command for planning: emerge prints its merge list in the one form that
// ParseMergeList reads best, asks nothing and does nothing.
func (a Args) PretendArgs() []string {
	return a.words(asking+" "+formChanging, "--pretend", "--verbose=y", "--color=n")
}

// Options that would keep emerge from merging the results: each would compile again what has just come from
// a builder.
const binpkgRefusing = `--binpkg-respect-use --nobindeps --usepkg --usepkg-exclude --usepkg-exclude-live
	--usepkg-include`

// MergeArgs returns the same command for merging the results from PKGDIR: without questions, with --usepkg
// and --binpkg-respect-use=y. Extra options, with their arguments after "=", come before these.
//
// emerge leaves build-time dependencies out as soon as --usepkg is given. Where the planned command had
// them (it has by default) --with-bdeps=y keeps them, so that what is merged is what was shown and
// confirmed; an extra --with-bdeps=n does without them.
//
// With only it is --usepkgonly, for a plan of which every package came, built in this machine's own root. A binpkg is bound
// to the sub-slots that it was built against. Where a newer slot of one could be had, emerge would with --usepkg prefer to
// compile that, and the package anew, although the plan, of ebuilds, was content with what is installed.
func (a Args) MergeArgs(only bool, extra ...string) []string {
	extra = slices.Clone(extra)
	said := slices.ContainsFunc(extra, func(s string) bool { return strings.HasPrefix(s, "--with-bdeps") })
	if !said && !a.has("--with-bdeps") && a.value("--with-bdeps-auto") != "n" && !a.UsePkg && !a.GetBinpkg {
		extra = append(extra, "--with-bdeps=y")
	}
	usepkg := "--usepkg=y"
	if only {
		usepkg = "--usepkgonly=y"
	}
	extra = append(extra, "--ask=n", usepkg, "--binpkg-respect-use=y")
	return a.words(asking+" "+binpkgRefusing, extra...)
}

// words returns the options that are not in drop, then extra, then the targets. The last of extra must not
// be one that takes the next word as its argument.
func (a Args) words(drop string, extra ...string) []string {
	var out []string
	if a.hasDefaults && !a.IgnoreDefaultOpts {
		out = append(out, "--ignore-default-opts")
	}
	for _, u := range keep(a.options, drop) {
		out = append(out, u.word())
	}
	out = append(out, extra...)
	return append(out, a.targets...)
}

func keep(options []usedOption, drop string) []usedOption {
	dropped := strings.Fields(drop)
	return slices.DeleteFunc(slices.Clone(options), func(u usedOption) bool {
		return slices.Contains(dropped, u.name)
	})
}

// CleanDefaultOpts returns EMERGE_DEFAULT_OPTS without what asks or changes the form of the merge list. The
// rest is kept, under its long names and quoted as emerge splits it.
func CleanDefaultOpts(s string) (string, error) {
	words, err := SplitWords(s)
	if err != nil {
		return "", fmt.Errorf("EMERGE_DEFAULT_OPTS: %w", err)
	}
	options, targets, err := parseWords(words)
	if err != nil {
		return "", fmt.Errorf("EMERGE_DEFAULT_OPTS: %w", err)
	}
	var out []string
	for _, u := range keep(options, asking+" "+formChanging) {
		out = append(out, shellQuote(u.word()))
	}
	for _, t := range targets {
		out = append(out, shellQuote(t))
	}
	return strings.Join(out, " "), nil
}

// has reports whether an option is there at all.
func (a Args) has(name string) bool {
	return slices.ContainsFunc(a.options, func(u usedOption) bool { return u.name == name })
}

// value returns the argument of the last use of an option, "" if there is none.
func (a Args) value(name string) string {
	for _, u := range slices.Backward(a.options) {
		if u.name == name {
			return u.value
		}
	}
	return ""
}

// on reports whether a yes-or-no option ends up as yes.
func (a Args) on(name string) bool {
	v := a.value(name)
	return v == "True" || v == "y"
}

func (a Args) action() string {
	for _, name := range strings.Fields(actionOptions) {
		if a.has(name) {
			return strings.TrimPrefix(name, "--")
		}
	}
	if a.has("--searchdesc") {
		return "search"
	}
	if a.on("--deselect") {
		return "deselect"
	}
	return ""
}
