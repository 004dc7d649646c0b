package client

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"lantage/gentoo"
)

// A binpkg that comes from a builder must be the one that this machine would have built. What it records of itself is
// compared with what Portage says here, before it gets its name in PKGDIR.

// proof is what the binpkgs of a job must be.
type proof struct {
	facts   map[gentoo.CPV]facts
	repos   []gentoo.Repo
	planned slotSet // what is merged with them
	vdb     string
	bound   bool // they may be bound to other libraries than this machine's: the base is not a copy of it

	// natives are the words that stand in the place of native flags in what a builder is given.
	natives map[string]bool

	eclasses map[string]*flagScript // by name; nil for one that cannot be read
	config   string                 // etc/portage
	bashrc   string                 // what bash reads there for each package, and of the profile

	recorded map[gentoo.CPV]map[string]string // what those that fit say of themselves, of the keys that were compared
}

// newProof prepares the comparison of a plan's binpkgs.
func newProof(p *plan, sys *system, bound bool) *proof {
	pr := &proof{
		facts: p.facts, repos: sys.repos, planned: slotSet{}, vdb: "/var/db/pkg", bound: bound, natives: sys.flags.natives,
		config: filepath.Join(sys.configRoot, "etc/portage"), bashrc: sys.flags.bashrc,
		eclasses: map[string]*flagScript{}, recorded: map[gentoo.CPV]map[string]string{},
	}
	for _, pkg := range p.list.Packages {
		if pkg.Kind == gentoo.KindEbuild || pkg.Kind == gentoo.KindBinary {
			pr.planned.add(pkg.CP(), pkg.Slot, pkg.SubSlot)
		}
	}
	return pr
}

// unfitError says why a binpkg is kept out of PKGDIR.
type unfitError struct {
	text    string
	foreign bool // it is right, but for another machine's libraries
}

func (e *unfitError) Error() string { return e.text }

// check compares one binpkg, which is to have this name in PKGDIR, with what it must be. The error is a *unfitError.
func (pr *proof) check(cpv gentoo.CPV, name string, r io.ReaderAt, size int64) error {
	got, err := gentoo.ReadBinpkgMetadata(name, r, size)
	if err != nil {
		return &unfitError{text: fmt.Sprintf("it is no binary package that could be read: %v", err)}
	}
	want, err := pr.expect(cpv)
	if err != nil {
		return &unfitError{text: err.Error()}
	}
	var wrong []string
	recorded := map[string]string{}
	for _, x := range want {
		value := got[x.key]
		if !x.fits(value) {
			wrong = append(wrong, x.difference(value))
		}
		if value != "" && !x.isEbuild() {
			recorded[x.key] = value
		}
	}
	if len(wrong) > 0 {
		return &unfitError{text: "it is not what this machine would have built: " + strings.Join(wrong, "; ")}
	}
	if pr.bound {
		if why := pr.unusable(got); why != "" {
			return &unfitError{why, true}
		}
	}
	pr.recorded[cpv] = recorded
	return nil
}

// expected is what one key of a binpkg's metadata must be.
type expected struct {
	key, value string
	how        comparison
	natives    map[string]bool // words that stand for the native flags in value, if there are any
}

// comparison is how a recorded value is compared with the expected one.
type comparison int

const (
	exactly   comparison = iota // word by word
	anyOrder                    // the same words
	machineOf                   // no other -march, -mcpu and -mtune: the ebuild itself changes other flags, or takes some away
)

// recordedVariables are those that a binpkg records as they were at the end of its build.
var recordedVariables = []string{"ASFLAGS", "CFLAGS", "CXXFLAGS", "LDFLAGS", "LIBCFLAGS", "LIBCXXFLAGS"}

// expect lists what a package's binpkg must record.
func (pr *proof) expect(cpv gentoo.CPV) ([]expected, error) {
	f, ok := pr.facts[cpv]
	if !ok {
		return nil, errors.New("this machine's Portage does not know it")
	}
	list := []expected{
		{key: "CATEGORY", value: cpv.Category, how: exactly},
		{key: "PF", value: cpv.PF(), how: exactly},
		{key: "SLOT", value: f.Slot, how: exactly},
		{key: "repository", value: f.Repo, how: exactly},
		{key: "EAPI", value: f.EAPI, how: exactly},
		{key: "USE", value: strings.Join(f.Use, " "), how: anyOrder},
		{key: "CHOST", value: f.Vars["CHOST"], how: exactly},
		{key: "CBUILD", value: cmp.Or(f.Vars["CBUILD"], f.Vars["CHOST"]), how: exactly},
	}
	if target := f.Vars["CTARGET"]; target != "" {
		list = append(list, expected{key: "CTARGET", value: target, how: exactly})
	}
	text, err := ebuild(pr.repos, cpv, f.Repo)
	if err != nil {
		return nil, fmt.Errorf("its ebuild cannot be read here: %w", err)
	}
	list = append(list, expected{key: cpv.PF() + ".ebuild", value: strings.TrimSuffix(text, "\n")})
	if ownMachineRE.MatchString(text) { // a package for another machine than this, such as those of crossdev
		list = slices.DeleteFunc(list, func(x expected) bool { return slices.Contains([]string{"CHOST", "CBUILD", "CTARGET"}, x.key) })
	}
	changes, judged := pr.changes(f, text)
	for i, v := range recordedVariables {
		bit := flagSet(1) << i
		if !judged || changes.machine&bit != 0 {
			continue
		}
		x := expected{key: v, value: f.Vars[v], how: exactly}
		if changes.some&bit != 0 {
			x.how = machineOf
		}
		if len(gentoo.FindNativeIn(x.value)) > 0 {
			x.natives = pr.natives
		}
		list = append(list, x)
	}
	return list, nil
}

// ownMachineRE finds in an ebuild that it is for another machine than this.
var ownMachineRE = regexp.MustCompile(`\b(CHOST|CBUILD|CTARGET)=`)

// changes says which of its recorded flags a package's build may change, there as it would here. Of flags that are changed only
// the machine that the code is for is compared, and where that is changed, nothing. Where it cannot be known, nothing is judged.
func (pr *proof) changes(f facts, ebuild string) (c flagChanges, judged bool) {
	eclasses := map[string]*flagScript{}
	for _, name := range f.Inherited {
		if _, known := pr.eclasses[name]; !known {
			pr.eclasses[name] = nil
			if text := eclass(pr.repos, name); text != "" {
				pr.eclasses[name] = parseFlagScript(text)
			}
		}
		if eclasses[name] = pr.eclasses[name]; eclasses[name] == nil {
			return c, false
		}
	}
	own := packageBashrcs(pr.config, f)
	if sourcesRE.MatchString(own) || readsUnknown(pr.bashrc) {
		return c, false // what it reads is not known
	}
	hooks := []*flagScript{parseFlagScript(pr.bashrc), parseFlagScript(own)}
	return changesOf(parseFlagScript(ebuild), eclasses, hooks), true
}

// sourcesRE finds that a text for bash has another one read. Names without variables at the beginning of a line are followed
// (sourceRE).
var sourcesRE = regexp.MustCompile(`(?m)(?:^|;|&&|\|\||\{|\b(?:then|do|else)\b)[ \t]*(?:source|\.)[ \t]+[^\s#]`)

func readsUnknown(bashrc string) bool {
	return len(sourcesRE.FindAllString(bashrc, -1)) > len(sourceRE.FindAllString(bashrc, -1))
}

// packageBashrcs are the files that bash reads for one package (portage(5): /etc/portage/env; __source_env_files in Portage's
// ebuild.sh).
func packageBashrcs(config string, f facts) string {
	var all strings.Builder
	for _, name := range f.ownEnv() {
		text, _ := os.ReadFile(filepath.Join(config, "env", name))
		all.Write(text)
		all.WriteByte('\n')
	}
	return all.String()
}

// fits reports whether a recorded value is what was expected.
func (x expected) fits(got string) bool {
	a, b := strings.Fields(got), strings.Fields(x.value)
	if x.natives != nil {
		if len(gentoo.FindNativeIn(got)) > 0 {
			return false
		}
		a, b = withoutNatives(a, x.natives), withoutNatives(b, x.natives)
	}
	switch x.how {
	case anyOrder:
		slices.Sort(a)
		slices.Sort(b)
	case machineOf:
		return machineFits(a, b)
	case exactly:
		if x.isEbuild() {
			return got == x.value
		}
	}
	return slices.Equal(a, b)
}

func (x expected) isEbuild() bool { return strings.HasSuffix(x.key, ".ebuild") }

// difference says, for people, how a recorded value is another than the expected one.
func (x expected) difference(got string) string {
	switch {
	case x.isEbuild():
		return "its ebuild is another than this machine's"
	case x.how == anyOrder && got != "":
		return fmt.Sprintf("%s there has %s, and here %s", x.key, shownValue(lessWords(got, x.value)), shownValue(lessWords(x.value, got)))
	}
	here := shownValue(x.value)
	if x.natives != nil {
		here += fmt.Sprintf(" (resolved to %s)", shownValue(strings.Join(slices.Sorted(maps.Keys(x.natives)), " ")))
	}
	return fmt.Sprintf("%s is %s there, and %s here", x.key, shownValue(got), here)
}

// lessWords returns the words of a that are not in b.
func lessWords(a, b string) string {
	without := strings.Fields(b)
	return strings.Join(slices.DeleteFunc(strings.Fields(a), func(w string) bool { return slices.Contains(without, w) }), " ")
}

// withoutNatives leaves out native flags, and what they were resolved to: which compiler was asked depends on the file that
// they are in, and how it is tuned on what stands beside them there.
func withoutNatives(words []string, natives map[string]bool) []string {
	return slices.DeleteFunc(slices.Clone(words), func(w string) bool {
		return natives[w] || w == "--param" || len(gentoo.FindNativeIn(w)) > 0
	})
}

// machineFits reports whether the flags of a binpkg say no other machine than the expected ones, of each kind the last, which is
// what counts. They may say none: strip-flags and its like take flags away.
func machineFits(got, want []string) bool {
	for _, kind := range []string{"-march=", "-mcpu=", "-mtune="} {
		last := func(words []string) string {
			for _, w := range slices.Backward(words) {
				if strings.HasPrefix(w, kind) {
					return w
				}
			}
			return ""
		}
		if there := last(got); there != "" && there != last(want) {
			return false
		}
	}
	return true
}

// shownValue is a value for people.
func shownValue(value string) string {
	if value == "" {
		return "nothing"
	}
	return fmt.Sprintf("%q", oneLine(value, 300))
}
