package gentoo

import (
	"fmt"
	"regexp"
	"strings"
)

// maxName bounds a category and a PF in bytes: both become file names, and PKGDIR adds a BUILD_ID and a
// suffix.
const maxName = 200

// PMS 3.1.1, 3.1.2 and 3.2. No name may begin with a dot, a plus sign or a hyphen, so none can be read as an
// option or as "." or "..".
var (
	categoryRE = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9+_.-]*$`)
	nameRE     = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9+_-]*$`)
	versionRE  = regexp.MustCompile(`^[0-9]+(\.[0-9]+)*[a-z]?(_(alpha|beta|pre|rc|p)[0-9]*)*(-r[0-9]+)?$`)
	revisionRE = regexp.MustCompile(`-r[0-9]+$`)
)

// CPV is one version of one package: category, package name and version. Version includes the revision
// ("1.2_rc1-r3"). The zero value is no package.
type CPV struct {
	Category, Name, Version string
}

// ParseCPV splits and checks "category/name-version" by PMS chapter 3. What it accepts is safe as a path
// below a directory and as a word of a command line.
func ParseCPV(s string) (CPV, error) {
	category, pf, ok := strings.Cut(s, "/")
	if !ok {
		return CPV{}, fmt.Errorf("%q is not category/package-version: no slash", s)
	}
	if !validCategory(category) {
		return CPV{}, fmt.Errorf("%q: %q is not a category name", s, category)
	}
	name, version, ok := splitPF(pf)
	if !ok {
		return CPV{}, fmt.Errorf("%q: %q is not a package name with a version", s, pf)
	}
	return CPV{category, name, version}, nil
}

// String returns "category/name-version".
func (c CPV) String() string { return c.Category + "/" + c.PF() }

// PF returns "name-version", as ebuilds name it.
func (c CPV) PF() string { return c.Name + "-" + c.Version }

// P returns "name-version" without the revision.
func (c CPV) P() string { return c.Name + "-" + revisionRE.ReplaceAllString(c.Version, "") }

// CP returns "category/name", the package without its version.
func (c CPV) CP() string { return c.Category + "/" + c.Name }

// splitPF splits "name-version". A name never ends in a hyphen and a version (PMS 3.1.2), so there is at
// most one way.
func splitPF(pf string) (name, version string, ok bool) {
	if len(pf) > maxName {
		return "", "", false
	}
	for i := range len(pf) {
		if pf[i] == '-' && versionRE.MatchString(pf[i+1:]) {
			return pf[:i], pf[i+1:], validPackageName(pf[:i])
		}
	}
	return "", "", false
}

func validCategory(s string) bool { return len(s) <= maxName && categoryRE.MatchString(s) }

// validPackageName reports whether s is a package name: the characters, and no version at its end.
func validPackageName(s string) bool {
	if len(s) > maxName || !nameRE.MatchString(s) || strings.HasSuffix(s, "-") {
		return false
	}
	for i := range len(s) {
		if s[i] == '-' && versionRE.MatchString(s[i+1:]) {
			return false
		}
	}
	return true
}

// splitCP splits and checks "category/name".
func splitCP(s string) (category, name string, ok bool) {
	category, name, ok = strings.Cut(s, "/")
	return category, name, ok && validCategory(category) && validPackageName(name)
}
