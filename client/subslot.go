package client

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"lantage/gentoo"
)

// A binpkg records the sub-slots of the libraries that it was built against. Where this machine has, and will have, other
// ones, emerge would refuse it, and silently compile it and what else it takes here. Only a base that is not a copy of this
// machine's root can have other libraries.

// slotSet are the slots, as slot/sub-slot, of packages by category/name.
type slotSet map[string][]string

func (s slotSet) add(cp, slot, sub string) {
	slot = cmp.Or(slot, "0")
	s[cp] = append(s[cp], slot+"/"+cmp.Or(sub, slot))
}

// has reports whether a package can be used that was built against this one.
func (s slotSet) has(d gentoo.SlotDep) bool { return slices.Contains(s[d.CP], d.Slot+"/"+d.SubSlot) }

// installed reads the slots of a package from the VDB.
func (s slotSet) installed(vdb, cp string) {
	dirs, _ := filepath.Glob(filepath.Join(vdb, cp+"-*"))
	for _, dir := range dirs {
		cpv, err := gentoo.ParseCPV(filepath.Join(filepath.Dir(cp), filepath.Base(dir)))
		if err != nil || cpv.CP() != cp {
			continue
		}
		if text, err := os.ReadFile(filepath.Join(dir, "SLOT")); err == nil {
			slot, sub, _ := strings.Cut(strings.TrimSpace(string(text)), "/")
			s.add(cp, slot, sub)
		}
	}
}

// unusable says of a binpkg, by its metadata, what it was built against that this machine has not got, or "".
func (pr *proof) unusable(metadata map[string]string) string {
	for _, key := range []string{"RDEPEND", "DEPEND", "BDEPEND", "IDEPEND", "PDEPEND"} {
		for _, d := range gentoo.BuiltSlots(metadata[key]) {
			here := slotSet{d.CP: slices.Clone(pr.planned[d.CP])}
			here.installed(pr.vdb, d.CP)
			if !here.has(d) {
				return fmt.Sprintf("it was built against %s:%s/%s, and this machine has %s", d.CP, d.Slot, d.SubSlot,
					cmp.Or(strings.Join(here[d.CP], " and "), "none"))
			}
		}
	}
	return ""
}
