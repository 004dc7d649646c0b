package gentoo

import (
	"regexp"
	"slices"
	"strings"
)

// emergeOption is one option of emerge(1) as its parser sees it.
type emergeOption struct {
	short    byte              // 0 where there is none
	argument bool              // takes an argument
	apart    func(string) bool // may stand without argument, and takes the next word only if apart says so
	choices  []string          // allowed arguments; nil for any. "True" stands for a missing one
	repeats  bool              // each use adds to the others, instead of replacing them
}

// optional reports whether the argument may be missing, as in --jobs.
func (o emergeOption) optional() bool { return o.apart != nil }

// Of Portage 3.0.83; TestOptionTable compares all of it with the real one's. Flags cannot be negated: once
// given, in EMERGE_DEFAULT_OPTS too, they hold.
const (
	flagOptions = `--alphabetical --ask-enter-invalid --buildpkgonly --changed-use --columns --debug --digest
		--emptytree --fetch-all-uri --fetchonly --ignore-default-opts --newrepo --newuse --nobindeps
		--noconfmem
		--nodeps --noreplace --nospinner --oneshot --onlydeps --pretend --quiet-repo-display
		--quiet-unmerge-warn --resume --searchdesc --skipfirst --tree --unordered-display --update
		--update-if-installed --verbose-conflicts`
	actionOptions = `--check-news --clean --config --depclean --help --info --list-sets --metadata --moo
		--prune
		--rage-clean --regen --search --status --sync --unmerge --version`
	// --ask, --ask=y, --ask n
	yesNoOptions = `--alert --ask --autounmask --autounmask-continue --autounmask-keep-keywords
		--autounmask-keep-masks --autounmask-only --autounmask-unrestricted-atoms --autounmask-write
		--binpkg-changed-deps --binpkg-respect-use --binpkg-respect-user-patches --buildpkg --changed-deps --changed-deps-report
		--changed-slot --complete-graph --depclean-lib-check --deselect --fail-clean --fuzzy-search
		--getbinpkg
		--getbinpkgonly --ignore-world --keep-going --onlydeps-with-ideps --onlydeps-with-rdeps
		--package-moves --quiet --quiet-build --quiet-fail --read-news --rebuild-if-new-rev
		--rebuild-if-new-slot --rebuild-if-new-ver --rebuild-if-unbuilt --rebuilt-binaries --select
		--selective --use-ebuild-visibility --usepkg --usepkg-exclude-live --usepkgonly --verbose
		--verbose-missing-ebuilds --verbose-slot-rebuilds --with-test-deps`
	// --color=y, --color n, never --color alone
	needYesNoOptions = `--autounmask-backtrack --autounmask-license --autounmask-use --color
		--complete-graph-if-new-use --complete-graph-if-new-ver --dynamic-deps
		--ignore-built-slot-operator-deps --ignore-soname-deps --implicit-system-deps
		--misspell-suggestions --quickpkg-direct --regex-search-auto --search-index --with-bdeps
		--with-bdeps-auto`
	valueOptions = `--accept-properties --accept-restrict --backtrack --config-root --pkg-format --prefix
		--quickpkg-direct-root --rebuilt-binaries-timestamp --root --search-similarity --sysroot`
	repeatedOptions = `--buildpkg-exclude --exclude --getbinpkg-exclude --getbinpkg-include --rebuild-exclude
		--rebuild-ignore --reinstall-atoms --useoldpkg-atoms --usepkg-exclude --usepkg-include`
	shortOptions = `1 --oneshot A --alert B --buildpkgonly C --unmerge D --deep F --fetch-all-uri
		G --getbinpkgonly
		K --usepkgonly N --newuse O --nodeps P --prune S --searchdesc U --changed-use V --version W --deselect
		X --exclude a --ask b --buildpkg c --depclean d --debug e --emptytree f --fetchonly g --getbinpkg
		h --help j --jobs k --usepkg l --load-average n --noreplace o --onlydeps p --pretend q --quiet
		r --resume s --search t --tree u --update v --verbose w --select`
)

var (
	optionAliases = map[string]string{"--cols": "--columns", "--skip-first": "--skipfirst"}

	emergeOptions, longOfShort = makeOptionTable()

	intRE   = regexp.MustCompile(`^\+?[0-9]+$`)
	floatRE = regexp.MustCompile(`^\+?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?$`)
)

func makeOptionTable() (options map[string]emergeOption, longOf map[byte]string) {
	options = map[string]emergeOption{
		"--circular-deps-report":        {argument: true, apart: isReport, choices: []string{"True", "json", "text"}},
		"--deep":                        {argument: true, apart: isInt},
		"--jobs":                        {argument: true, apart: isIntOrYesNo},
		"--jobs-tmpdir-require-free-gb": {argument: true, apart: isInt},
		"--load-average":                {argument: true, apart: isFloat},
		"--merge-wait-scope":            {argument: true, choices: []string{"deep", "none", "system", "toolchain"}},
		"--reinstall":                   {argument: true, choices: []string{"changed-use"}},
		"--root-deps":                   {argument: true, apart: isRdeps, choices: []string{"True", "rdeps"}},
		"--sync-submodule": {
			argument: true, choices: []string{"glsa", "news", "profiles"}, repeats: true,
		},
	}
	add := func(names string, o emergeOption) {
		for _, name := range strings.Fields(names) {
			options[name] = o
		}
	}
	add(flagOptions, emergeOption{})
	add(actionOptions, emergeOption{})
	add(yesNoOptions, emergeOption{argument: true, apart: isYesNo, choices: []string{"True", "n", "y"}})
	add(needYesNoOptions, emergeOption{argument: true, choices: []string{"n", "y"}})
	add(valueOptions, emergeOption{argument: true})
	add(repeatedOptions, emergeOption{argument: true, repeats: true})

	longOf = map[byte]string{}
	for pair := range slices.Chunk(strings.Fields(shortOptions), 2) {
		o := options[pair[1]]
		o.short = pair[0][0]
		options[pair[1]] = o
		longOf[o.short] = pair[1]
	}
	for alias, name := range optionAliases {
		options[alias] = options[name]
	}
	return options, longOf
}

func isInt(s string) bool        { return intRE.MatchString(s) }
func isFloat(s string) bool      { return floatRE.MatchString(s) }
func isYesNo(s string) bool      { return s == "y" || s == "n" }
func isIntOrYesNo(s string) bool { return isInt(s) || isYesNo(s) }
func isRdeps(s string) bool      { return s == "rdeps" }
func isReport(s string) bool     { return s == "text" || s == "json" }
