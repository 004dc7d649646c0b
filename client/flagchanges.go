package client

import (
	"regexp"
	"slices"
	"strings"

	"lantage/gentoo"
)

// Ebuilds and eclasses add flags and take some away, and a binpkg records what was left. What of that may happen in the build of
// one package is read from their texts: from the phases on, whatever one function calls of the others.

// flagSet is a set of the recorded variables, by their places in recordedVariables.
type flagSet uint8

const allFlags flagSet = 1<<6 - 1

// flagsNamed is the set of some names.
func flagsNamed(names ...string) (set flagSet) {
	for _, name := range names {
		if i := slices.Index(recordedVariables, name); i >= 0 {
			set |= 1 << i
		}
	}
	return set
}

// flagChanges are what a build may do to recorded flags.
type flagChanges struct {
	some    flagSet // something
	machine flagSet // the machine that the code is for
}

// flagChangers are the functions of flag-o-matic.eclass that change flags. Their own texts name no variables.
var flagChangers = func() map[string]flagChanges {
	c, cxx, ld := flagsNamed("CFLAGS"), flagsNamed("CXXFLAGS"), flagsNamed("LDFLAGS")
	m := map[string]flagChanges{
		"append-cflags": {some: c}, "append-cxxflags": {some: cxx}, "append-flags": {some: c | cxx},
		"append-ldflags": {some: ld}, "filter-ldflags": {some: ld},
		"append-cppflags": {}, "append-fflags": {}, "append-lfs-flags": {}, "append-libs": {}, // of variables that are not recorded
		"replace-cpu-flags":     {c | cxx | ld, c | cxx | ld},
		"replace-sparc64-flags": {c | cxx, c | cxx},
	}
	for _, name := range []string{
		"filter-flags", "filter-lfs-flags", "filter-lto", "filter-mfpmath", "replace-flags", "strip-flags", "strip-unsupported-flags",
	} {
		m[name] = flagChanges{some: c | cxx | ld}
	}
	return m
}()

// flagFunction is what one function has to do with flags.
type flagFunction struct {
	script   *flagScript
	changes  flagSet
	local    flagSet  // those that it has of its own, so that what it and what it calls does to them ends with it
	mentions bool     // words for a machine
	words    []string // all names that may be called
	begins   []string // beginnings and ends of names that are put together, as each_ruby_${PHASE}
	ends     []string
}

// flagScript is an ebuild or an eclass.
type flagScript struct {
	functions map[string]*flagFunction
	rest      *flagFunction
}

const (
	flagName = `(ASFLAGS|CFLAGS|CXXFLAGS|LDFLAGS|LIBCFLAGS|LIBCXXFLAGS)`
	declares = `\b(?:export|declare|typeset|readonly)\b`
	options  = `[ \t]+(?:-\w+[ \t]+)*["']?`
)

var (
	// An assignment is one only where a command begins: what follows emake or stands in a sed script is none.
	flagAssignRE = regexp.MustCompile(`(?m)(?:^|;|&&|\|\||[{!)][ \t]|\b(?:then|do|else)[ \t])[ \t]*((?:\w+\+?=[^\s;]*[ \t]+)*\w+\+?=)`)
	flagSetRE    = regexp.MustCompile(`(?:^|[ \t])` + flagName + `\+?=`)
	flagExportRE = regexp.MustCompile(`(?:` + declares + `|\beval\b|\bprintf[ \t]+-v\b|\bread\b)([^;&|\n]*)`)
	flagInWordRE = regexp.MustCompile(`(?:^|[\s"'])` + flagName + `\b(?:\+?=)?`)
	flagUnsetRE  = regexp.MustCompile(`\bunset\b([^;&|\n]*)`)
	flagDefault  = regexp.MustCompile(`\$\{` + flagName + `:?=`)

	// Names that are put together, and the lists that they come from.
	flagDynamicRE = regexp.MustCompile(`(?:` + declares + `|\bprintf[ \t]+-v|\beval)` + options + `(?:export[ \t]+)?["']?\$|\$\{?\w+\}?_?FLAGS\+?=`)
	flagBareRE    = regexp.MustCompile(`(?:^|[\s"'(])` + flagName + `\b`)
	flagListRE    = regexp.MustCompile(`all-flag-vars|(?:^|[\s"'(])\{[A-Z,]+\}FLAGS\b`)

	flagLocalRE   = regexp.MustCompile(`^([ \t]*)local\b([^;&|]*)`)
	localListRE   = regexp.MustCompile(`\blocal` + options + `\$`)
	machineFlagRE = regexp.MustCompile(`-m(?:arch|cpu|tune)=`)
	flagQueryRE   = regexp.MustCompile(`\b(?:is-flagq?|get-flag|filter-flags)\b[^;&|\n]*`)
	nameBeginsRE  = regexp.MustCompile(`(?:^|[\s"'(;])([A-Za-z_][\w.-]{4,})\$`)
	nameEndsRE    = regexp.MustCompile(`\$\{?\w+\}?(_(?:src|pkg)_[a-z]+)`)
	shellWordRE   = regexp.MustCompile(`[A-Za-z0-9_][\w.+-]*`)
)

// parseFlagScript looks at the text of an ebuild or an eclass.
func parseFlagScript(text string) *flagScript {
	parsed := gentoo.ParseScript(text)
	s := &flagScript{functions: map[string]*flagFunction{}}
	for name, body := range parsed.Functions {
		s.functions[name] = newFlagFunction(s, body)
	}
	s.rest = newFlagFunction(s, parsed.Rest)
	s.rest.local = 0
	return s
}

func newFlagFunction(s *flagScript, body []gentoo.ScriptLine) *flagFunction {
	lines := lastingLines(body)
	text := strings.Join(lines, "\n")
	f := &flagFunction{script: s}
	for _, line := range body { // also where it is printed, to be appended as the output of that
		f.mentions = f.mentions || machineFlagRE.MatchString(flagQueryRE.ReplaceAllString(line.Text, ""))
	}
	named := func(re *regexp.Regexp, in string) (set flagSet) {
		for _, m := range re.FindAllStringSubmatch(in, -1) {
			set |= flagsNamed(m[1])
		}
		return set
	}
	f.changes = named(flagDefault, text)
	for _, m := range flagAssignRE.FindAllStringSubmatch(text, -1) {
		f.changes |= named(flagSetRE, m[1])
	}
	for _, m := range flagExportRE.FindAllStringSubmatch(text, -1) {
		for _, word := range flagInWordRE.FindAllStringSubmatch(m[1], -1) {
			if strings.Contains(word[0], "=") || !strings.HasPrefix(m[0], "export") { // `export CFLAGS` changes nothing
				f.changes |= flagsNamed(word[1])
			}
		}
		if flagListRE.MatchString(m[1]) && strings.Contains(m[1], "FLAGS=") {
			f.changes = allFlags
		}
	}
	for _, m := range flagUnsetRE.FindAllStringSubmatch(text, -1) {
		f.changes |= named(flagInWordRE, m[1])
		if flagListRE.MatchString(m[1]) {
			f.changes = allFlags
		}
	}
	lists := flagListRE.MatchString(text)
	if flagDynamicRE.MatchString(text) {
		f.changes |= named(flagBareRE, text)
		if lists {
			f.changes = allFlags
		}
	}
	if lists && localListRE.MatchString(text) { // as cargo.eclass has it, before it takes -flto away
		f.local = allFlags
	}
	for _, line := range lines {
		m := flagLocalRE.FindStringSubmatch(line)
		if m != nil && m[1] == leadingSpace(strings.TrimLeft(text, "\n")) { // not one of some branch
			f.local |= named(flagInWordRE, m[2])
		}
	}
	f.words = shellWordRE.FindAllString(text, -1)
	slices.Sort(f.words)
	f.words = slices.Compact(f.words)
	for _, m := range nameBeginsRE.FindAllStringSubmatch(text, -1) {
		f.begins = append(f.begins, m[1])
	}
	for _, m := range nameEndsRE.FindAllStringSubmatch(text, -1) {
		f.ends = append(f.ends, m[1])
	}
	return f
}

func leadingSpace(line string) string { return line[:len(line)-len(strings.TrimLeft(line, " \t"))] }

// lastingLines are the lines whose effects last: none of here-documents, of subshells that are lines between parentheses, as
// meson.eclass has one, and of lists of arguments, in which NAME=value is none.
func lastingLines(body []gentoo.ScriptLine) []string {
	var lines []string
	for i := 0; i < len(body); i++ {
		line := body[i].Text
		if body[i].Here {
			continue
		}
		trimmed := strings.TrimSpace(line)
		if trimmed == "(" || strings.HasSuffix(trimmed, "=(") {
			end := slices.IndexFunc(body[i+1:], func(l gentoo.ScriptLine) bool {
				return !l.Here && strings.HasPrefix(l.Text, leadingSpace(line)+")")
			})
			if end >= 0 {
				i += end + 1
				continue
			}
		}
		lines = append(lines, line)
	}
	return lines
}

// buildPhases are the phases whose flags are recorded, or that come before.
var buildPhases = []string{
	"pkg_setup", "src_unpack", "src_prepare", "src_configure", "src_compile", "src_test", "src_install",
}

// flagWalk finds what a build may change.
type flagWalk struct {
	functions map[string]*flagFunction
	changes   flagChanges
	seen      map[flagVisit]bool
	touched   map[*flagScript]flagSet // what functions of a script change
	machines  map[*flagScript]bool    // of which some function that is called has words for a machine
}

type flagVisit struct {
	f     *flagFunction
	local flagSet
}

// changesOf says what the build of an ebuild may change. Its eclasses are by name; the hooks are the user's and the profile's texts,
// any function of which Portage may call.
func changesOf(ebuild *flagScript, eclasses map[string]*flagScript, hooks []*flagScript) flagChanges {
	w := flagWalk{
		functions: map[string]*flagFunction{}, seen: map[flagVisit]bool{}, touched: map[*flagScript]flagSet{}, machines: map[*flagScript]bool{},
	}
	for _, e := range eclasses {
		for name, f := range e.functions {
			w.functions[name] = f
		}
	}
	for name, f := range ebuild.functions {
		w.functions[name] = f
	}
	w.visit(ebuild.rest, 0)
	for name, f := range ebuild.functions { // all of them: what calls them may be put together
		if !isLatePhase(name) {
			w.visit(f, 0)
		}
	}
	for eclass, e := range eclasses {
		w.visit(e.rest, 0)
		for _, phase := range buildPhases {
			if f := e.functions[eclass+"_"+phase]; f != nil && ebuild.functions[phase] == nil {
				w.visit(f, 0)
			}
		}
	}
	for _, h := range hooks {
		w.visit(h.rest, 0)
		for _, f := range h.functions {
			w.visit(f, 0)
		}
	}
	for script, set := range w.touched {
		if w.machines[script] {
			w.changes.machine |= set
		}
	}
	return w.changes
}

func (w *flagWalk) visit(f *flagFunction, local flagSet) {
	local |= f.local
	if v := (flagVisit{f, local}); !w.seen[v] {
		w.seen[v] = true
	} else {
		return
	}
	w.add(f.script, flagChanges{some: f.changes &^ local})
	w.machines[f.script] = w.machines[f.script] || f.mentions
	for _, word := range f.words {
		w.call(f, word, local)
	}
	if len(f.begins)+len(f.ends) == 0 {
		return
	}
	isPart := func(name string) bool {
		return slices.ContainsFunc(f.begins, func(part string) bool { return strings.HasPrefix(name, part) }) ||
			slices.ContainsFunc(f.ends, func(part string) bool { return strings.HasSuffix(name, part) })
	}
	for name := range w.functions {
		if isPart(name) {
			w.call(f, name, local)
		}
	}
	for name := range flagChangers {
		if isPart(name) {
			w.call(f, name, local)
		}
	}
}

// call follows a name in a function, if it is one of a function.
func (w *flagWalk) call(f *flagFunction, name string, local flagSet) {
	if c, known := flagChangers[name]; known {
		w.add(f.script, flagChanges{c.some &^ local, c.machine &^ local})
	} else if called := w.functions[name]; called != nil {
		w.visit(called, local)
	}
}

func (w *flagWalk) add(s *flagScript, c flagChanges) {
	w.touched[s] |= c.some
	w.changes.some |= c.some
	w.changes.machine |= c.machine
}

// isLatePhase reports whether a function is a phase that comes after the flags are recorded, or in a process of its own.
func isLatePhase(name string) bool {
	return slices.Contains([]string{
		"pkg_pretend", "pkg_nofetch", "pkg_preinst", "pkg_postinst", "pkg_prerm", "pkg_postrm", "pkg_config", "pkg_info",
	}, name)
}
