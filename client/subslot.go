package client

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"lantage/gentoo"
	"lantage/wire"
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

// unusable says of a binpkg what it was built against that this machine has not got, or "".
func unusable(path, vdb string, planned slotSet) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return "", err
	}
	why := ""
	err = gentoo.ReadBinpkg(f, fi.Size(), func(file gentoo.BinpkgFile) error {
		if file.Part != gentoo.BinpkgMetadata || !strings.HasSuffix(file.Name, "DEPEND") || why != "" {
			return nil
		}
		text, err := io.ReadAll(file.Reader)
		for _, d := range gentoo.BuiltSlots(string(text)) {
			here := slotSet{d.CP: slices.Clone(planned[d.CP])}
			here.installed(vdb, d.CP)
			if why == "" && !here.has(d) {
				why = fmt.Sprintf("it was built against %s:%s/%s, and this machine has %s", d.CP, d.Slot, d.SubSlot,
					cmp.Or(strings.Join(here[d.CP], " and "), "none"))
			}
		}
		return err
	})
	return why, err
}

// reject takes back what arrived and is of no use here, because the builder's libraries are others.
func (e *Emerge) reject(b *builder, p *plan, o *outcome) {
	if b.base == wire.BaseClient {
		return
	}
	planned := slotSet{}
	for _, pkg := range p.list.Packages {
		if pkg.Kind == gentoo.KindEbuild || pkg.Kind == gentoo.KindBinary {
			planned.add(pkg.CP(), pkg.Slot, pkg.SubSlot)
		}
	}
	o.arrived = slices.DeleteFunc(o.arrived, func(a arrival) bool {
		path := filepath.Join(o.pkgdir, a.path)
		why, err := unusable(path, "/var/db/pkg", planned)
		if err != nil || why == "" { // what cannot be read here, emerge judges
			return false
		}
		if err := os.Remove(path); err != nil {
			e.warn("%s is of no use here, and cannot be removed: %v", a.cpv, err)
		}
		o.failed = append(o.failed, failure{cpv: a.cpv, state: wire.StateDeclined, text: fmt.Sprintf(
			"%s (base %s). In a copy of this machine's own root it can be built: lantage --base client emerge …",
			why, cmp.Or(b.base, "host"))})
		return true
	})
}
