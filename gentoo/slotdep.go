package gentoo

import (
	"regexp"
	"strings"
)

// SlotDep is what a binpkg was built against: a package's slot and sub-slot at that time.
type SlotDep struct {
	CP            string // category/name
	Slot, SubSlot string
}

// An atom with a slot operator that Portage has completed with what was there at build time (PMS section 8.3.3):
// >=dev-libs/icu-70:0/76=[abi_x86_64(-)]
var builtSlotRE = regexp.MustCompile(
	`^(?:[<>]=?|=|~)?([A-Za-z0-9+_.-]+/[A-Za-z0-9+_-]+?)(?:-[0-9][^:]*)?:([A-Za-z0-9+_.-]+)/([A-Za-z0-9+_.-]+)=(?:\[.*)?$`)

// BuiltSlots returns the slots in a dependency string of a binpkg, as it is recorded in its metadata, that bind it to what
// it was built against. Blockers bind to nothing.
func BuiltSlots(dependencies string) []SlotDep {
	var list []SlotDep
	for word := range strings.FieldsSeq(dependencies) {
		if m := builtSlotRE.FindStringSubmatch(word); m != nil {
			list = append(list, SlotDep{m[1], m[2], m[3]})
		}
	}
	return list
}
