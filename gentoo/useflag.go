package gentoo

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// UseFlag is one flag of USE="…" or of a USE_EXPAND variable in a merge list.
type UseFlag struct {
	Name    string
	Group   string `json:",omitempty"` // the USE_EXPAND variable (ABI_X86); empty for USE itself
	Enabled bool   `json:",omitempty"`
	Changed bool   `json:",omitempty"` // "*": other than installed; of a removed flag: it was on
	New     bool   `json:",omitempty"` // "%": the installed version did not have it
	Forced  bool   `json:",omitempty"` // in ( ) or { }: forced, masked, or otherwise not for the user to set
	Removed bool   `json:",omitempty"` // "(-x%)": only the installed version has it
}

// A flag with its marks; names by PMS 3.1.4, with dots, which some USE_EXPAND values had.
var useFlagRE = regexp.MustCompile(`^([({]?)(-?)([A-Za-z0-9][A-Za-z0-9+_@.-]*)(%?)(\*?)([)}]?)$`)

// readUse takes the NAME="…" groups from the end of a line and returns what stands before them.
func (p *Package) readUse(s string) (rest, reason string) {
	for {
		m := useGroupRE.FindStringSubmatch(s)
		if m == nil {
			slices.Reverse(p.Use)
			return s, ""
		}
		s = strings.TrimRight(strings.TrimSuffix(s, m[0]), " ")
		group := m[1]
		if group == "USE" {
			group = ""
		}
		words := strings.Fields(m[2])
		for _, word := range slices.Backward(words) {
			flag, ok := parseUseFlag(word)
			if !ok {
				return "", fmt.Sprintf("%q is not a USE flag", word)
			}
			flag.Group = group
			p.Use = append(p.Use, flag)
		}
	}
}

func parseUseFlag(s string) (UseFlag, bool) {
	m := useFlagRE.FindStringSubmatch(s)
	if m == nil || !slices.Contains([]string{"", "()", "{}"}, m[1]+m[6]) {
		return UseFlag{}, false
	}
	f := UseFlag{Name: m[3], Enabled: m[2] == "", New: m[4] != "", Changed: m[5] != "", Forced: m[1] != ""}
	if f.Forced && f.New && !f.Enabled {
		// Portage gives a forced flag that is new and disabled no "%", so this one has left IUSE.
		f = UseFlag{Name: f.Name, Removed: true, Changed: f.Changed}
	}
	return f, true
}
