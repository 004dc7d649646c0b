package client

import (
	"cmp"
	"errors"
	"fmt"
	"io"
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

	// resolved turns flags as they are configured into what compilers were given for them; nil: they are the same.
	resolved func(string) string

	eclasses map[string]string // texts, by name
}

// newProof prepares the comparison of a plan's binpkgs.
func newProof(p *plan, repos []gentoo.Repo, bound bool) *proof {
	pr := &proof{facts: p.facts, repos: repos, planned: slotSet{}, vdb: "/var/db/pkg", bound: bound, eclasses: map[string]string{}}
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

// check compares one binpkg with what it must be. The error is a *unfitError.
func (pr *proof) check(cpv gentoo.CPV, r io.ReaderAt, size int64) error {
	got, err := gentoo.ReadBinpkgMetadata(r, size)
	if err != nil {
		return &unfitError{text: fmt.Sprintf("it is no binary package that could be read: %v", err)}
	}
	want, err := pr.expect(cpv)
	if err != nil {
		return &unfitError{text: err.Error()}
	}
	var wrong []string
	for _, x := range want {
		if !x.fits(got[x.key]) {
			wrong = append(wrong, x.difference(got[x.key]))
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
	return nil
}

// expected is what one key of a binpkg's metadata must be.
type expected struct {
	key, value string
	how        comparison
}

// comparison is how a recorded value is compared with the expected one.
type comparison int

const (
	exactly   comparison = iota // word by word
	anyOrder                    // the same words
	machineOf                   // the same -march, -mcpu and -mtune: the ebuild itself changes other flags
)

// flagVariables are those that a binpkg records as they were at the end of its build.
var flagVariables = []string{"ASFLAGS", "CFLAGS", "CXXFLAGS", "LDFLAGS", "LIBCFLAGS", "LIBCXXFLAGS"}

// expect lists what a package's binpkg must record.
func (pr *proof) expect(cpv gentoo.CPV) ([]expected, error) {
	f, ok := pr.facts[cpv]
	if !ok {
		return nil, errors.New("this machine's Portage does not know it")
	}
	list := []expected{
		{"CATEGORY", cpv.Category, exactly},
		{"PF", cpv.PF(), exactly},
		{"SLOT", f.Slot, exactly},
		{"repository", f.Repo, exactly},
		{"EAPI", f.EAPI, exactly},
		{"USE", strings.Join(f.Use, " "), anyOrder},
		{"CHOST", f.Vars["CHOST"], exactly},
		{"CBUILD", cmp.Or(f.Vars["CBUILD"], f.Vars["CHOST"]), exactly},
	}
	if target := f.Vars["CTARGET"]; target != "" {
		list = append(list, expected{"CTARGET", target, exactly})
	}
	text, err := ebuild(pr.repos, cpv, f.Repo)
	if err != nil {
		return nil, fmt.Errorf("its ebuild cannot be read here: %w", err)
	}
	list = append(list, expected{cpv.PF() + ".ebuild", strings.TrimSuffix(text, "\n"), exactly})
	how, judged := pr.freedom(f, text)
	for _, v := range flagVariables {
		if judged {
			list = append(list, expected{v, pr.resolve(f.Vars[v]), how})
		}
	}
	return list, nil
}

func (pr *proof) resolve(flags string) string {
	if pr.resolved == nil {
		return flags
	}
	return pr.resolved(flags)
}

var (
	ownFlagsRE = regexp.MustCompile(`\b(ASFLAGS|CFLAGS|CXXFLAGS|LDFLAGS|LIBCFLAGS|LIBCXXFLAGS)\+?=|\b(append|filter|replace|strip)-[a-z-]*flags\b`)
	ownMarchRE = regexp.MustCompile(`\bmarch|\bmcpu|\bmtune|replace-cpu-flags|strip-unsupported-flags`)
)

// freedom says how far the recorded flags of a package can be compared. They are what was left at the end of its build:
// many ebuilds, eclasses and bashrc files add flags or take some away, there as they would here. Then only the machine that
// the code is for is compared, and where that is changed as well, nothing is.
func (pr *proof) freedom(f facts, ebuild string) (how comparison, judged bool) {
	texts := []string{ebuild, bashrcs(f)}
	for _, name := range f.Inherited {
		if name == "flag-o-matic" { // only functions to be called
			continue
		}
		if _, known := pr.eclasses[name]; !known {
			pr.eclasses[name] = eclass(pr.repos, name)
		}
		texts = append(texts, pr.eclasses[name])
	}
	for _, text := range texts {
		if ownMarchRE.MatchString(text) {
			return 0, false
		}
		if ownFlagsRE.MatchString(text) {
			how = machineOf
		}
	}
	return how, true
}

// bashrcs are the texts that bash reads before each phase of a package on this machine (portage(5): bashrc, env/).
func bashrcs(f facts) string {
	cpv, _ := gentoo.ParseCPV(f.CPV)
	var all strings.Builder
	for _, name := range []string{
		"bashrc", "env/" + cpv.Category + "/" + cpv.Name, "env/" + cpv.Category + "/" + cpv.PF(),
		"env/" + cpv.Category + "/" + cpv.Name + ":" + f.Slot,
	} {
		_ = filepath.WalkDir(filepath.Join("/etc/portage", name), func(path string, d os.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				text, _ := os.ReadFile(path)
				all.Write(text)
			}
			return nil
		})
	}
	return all.String()
}

// fits reports whether a recorded value is what was expected.
func (x expected) fits(got string) bool {
	a, b := strings.Fields(got), strings.Fields(x.value)
	switch x.how {
	case anyOrder:
		slices.Sort(a)
		slices.Sort(b)
	case machineOf:
		a, b = machineFlags(a), machineFlags(b)
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
	return fmt.Sprintf("%s is %s there, and %s here", x.key, shownValue(got), shownValue(x.value))
}

// lessWords returns the words of a that are not in b.
func lessWords(a, b string) string {
	without := strings.Fields(b)
	return strings.Join(slices.DeleteFunc(strings.Fields(a), func(w string) bool { return slices.Contains(without, w) }), " ")
}

// machineFlags are those flags that say for which machine code is, of each kind the last, which is what counts.
func machineFlags(words []string) []string {
	var list []string
	for _, kind := range []string{"-march=", "-mcpu=", "-mtune="} {
		for _, w := range slices.Backward(words) {
			if strings.HasPrefix(w, kind) {
				list = append(list, w)
				break
			}
		}
	}
	return list
}

// shownValue is a value for people.
func shownValue(value string) string {
	if value == "" {
		return "nothing"
	}
	return fmt.Sprintf("%q", oneLine(value, 300))
}
