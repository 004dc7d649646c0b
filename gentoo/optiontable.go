package gentoo

// optionTable has every option and action of emerge(1); tests hold that: one in test/lab reads the page, and one here
// compares it with the parser's table. What acts in the plan needs no word in a build root, where emerge gets the packages
// of the plan by their exact versions.
var optionTable = []setting{
	{Client, "change the package", `--accept-properties --accept-restrict --digest --nodeps`, "go with the job"},

	{
		Plan, "what is in the plan", `--autounmask --autounmask-backtrack --autounmask-keep-keywords --autounmask-keep-masks
		--autounmask-license --autounmask-unrestricted-atoms --autounmask-use --backtrack --changed-deps --changed-slot
		--changed-use --complete-graph --complete-graph-if-new-use --complete-graph-if-new-ver --deep --dynamic-deps --emptytree
		--exclude --ignore-built-slot-operator-deps --ignore-default-opts --ignore-soname-deps --ignore-world
		--implicit-system-deps --newrepo --newuse --noreplace --onlydeps --onlydeps-with-ideps --onlydeps-with-rdeps
		--package-moves --rebuild-exclude --rebuild-if-new-rev --rebuild-if-new-slot --rebuild-if-new-ver --rebuild-if-unbuilt
		--rebuild-ignore --reinstall --reinstall-atoms --root-deps --selective --update --update-if-installed
		--use-ebuild-visibility --with-bdeps --with-bdeps-auto --with-test-deps`,
		"the client's own emerge makes it, and a builder builds exactly that",
	},
	// Those that would refuse what comes from a builder are left out of the merge; see binpkgRefusing.
	{
		Plan, "which binary packages are used", `--binpkg-changed-deps --binpkg-respect-use --binpkg-respect-user-patches --getbinpkg
		--getbinpkg-exclude --getbinpkg-include --nobindeps --quickpkg-direct --quickpkg-direct-root --rebuilt-binaries
		--rebuilt-binaries-timestamp --useoldpkg-atoms --usepkg --usepkg-exclude --usepkg-exclude-live --usepkg-include`,
		"in the plan; what is left to be built, a builder builds",
	},
	{Plan, "the merge", `--buildpkgonly --fail-clean --jobs --jobs-tmpdir-require-free-gb --keep-going --load-average
		--merge-wait-scope --noconfmem --oneshot --select`, "here; a builder has its own numbers of jobs, and always goes on"},
	// A package travels as a binary package, so it is in PKGDIR, whoever asked for that.
	{Plan, "packages that are kept", `--buildpkg --buildpkg-exclude`, "what is built here; all that comes from a builder is kept"},

	// --debug is left out of the plan, and what it adds is for whoever watches a build.
	{Display, "display, questions", `--alert --alphabetical --ask --ask-enter-invalid --changed-deps-report --circular-deps-report
		--color --columns --debug --misspell-suggestions --nospinner --pretend --quiet --quiet-build --quiet-fail
		--quiet-repo-display --quiet-unmerge-warn --read-news --tree --unordered-display --verbose --verbose-conflicts
		--verbose-missing-ebuilds --verbose-slot-rebuilds`, "--pretend is plain emerge"},

	{
		Local, "change the configuration", `--autounmask-continue --autounmask-only --autounmask-write`,
		"where a change is needed, emerge itself makes it, and asks",
	},
	{Local, "other roots, RPMs", `--config-root --pkg-format --prefix --root --sysroot`, "plain emerge, unless the root is /"},
	{Local, "build nothing", `--check-news --clean --config --depclean --depclean-lib-check --deselect --fetch-all-uri --fetchonly
		--fuzzy-search --getbinpkgonly --help --info --list-sets --metadata --moo --prune --rage-clean --regen --regex-search-auto
		--resume --search --search-index --search-similarity --searchdesc --skipfirst --status --sync --sync-submodule --unmerge
		--usepkgonly --version`, "plain emerge"},
}

var optionRows = index(optionTable)

// WhoseOption says who decides about an option of emerge, by its long name.
func WhoseOption(name string) Whose { return whose(optionRows, name) }
