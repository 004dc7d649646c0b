package compare

import (
	"fmt"
	"maps"
	"slices"
)

// Difference is one place in which two builds of a package differ.
type Difference struct {
	Place string // "metadata USE", "environment PATH", "/usr/bin/x: mode"
	A, B  string // what each has there
}

// nothing is what one has that has nothing at a place.
const nothing = "(nothing)"

func (d Difference) String() string {
	a, b := window(d.A, d.B)
	return fmt.Sprintf("%s: %s, %s", d.Place, a, b)
}

// Diff lists what two builds of a package differ in, in the order of the places.
func Diff(a, b *Package) []Difference {
	var list []Difference
	places := maps.Clone(a.facts)
	maps.Copy(places, b.facts)
	for _, place := range slices.Sorted(maps.Keys(places)) {
		va, vb := a.at(place), b.at(place)
		rule := ruleFor(place)
		switch {
		case va == vb, rule != nil && rule.normal == nil:
		case rule != nil && rule.normal(va) == rule.normal(vb):
		default:
			list = append(list, Difference{place, va, vb})
		}
	}
	return list
}

func (p *Package) at(place string) string {
	if v, ok := p.facts[place]; ok {
		return v
	}
	return nothing
}

// window cuts two long values to where they differ.
func window(a, b string) (string, string) {
	const before, width = 20, 100
	if len(a) <= width && len(b) <= width {
		return fmt.Sprintf("%q", a), fmt.Sprintf("%q", b)
	}
	i := 0
	for i < min(len(a), len(b)) && a[i] == b[i] {
		i++
	}
	cut := func(s string) string {
		from, to := max(0, i-before), min(len(s), i+width-before)
		text := fmt.Sprintf("%q", s[min(from, to):to])
		if from > 0 {
			text = "…" + text
		}
		if to < len(s) {
			text += "…"
		}
		return text
	}
	return cut(a), cut(b)
}
