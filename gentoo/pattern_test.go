package gentoo

import "testing"

func TestPattern(t *testing.T) {
	icu := CPV{"dev-libs", "icu", "75.1-r2"}
	for _, c := range []struct {
		pattern string
		want    bool
	}{
		{"dev-libs/icu", true},
		{"icu", true},
		{"dev-libs/*", true},
		{"*/icu", true},
		{"*/*", true},
		{"dev-libs/icu:0", true},
		{"dev-libs/icu::gentoo", true},
		{"dev-libs/icu:0::gentoo", true},
		{"=dev-libs/icu-75.1-r2", true},
		{"=dev-libs/icu-75.1-r2:0::gentoo", true},
		{"*/ic*", true},
		{"dev-libs/icu-layoutex", false},
		{"dev-python/*", false},
		{"ic", false},
		{"=dev-libs/icu-75.1", false},
		{"dev-libs/icu:76", false},
		{"dev-libs/icu::overlay", false},
	} {
		p, err := ParsePattern(c.pattern)
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		if got := p.Matches(icu, "0/75.1", "gentoo"); got != c.want {
			t.Errorf("%q matches %s: %v", c.pattern, icu, got)
		}
		if p.String() != c.pattern {
			t.Errorf("%q is shown as %q", c.pattern, p)
		}
	}
	for _, bad := range []string{"", ">=dev-libs/icu-75", "dev-libs/", "/icu", "=icu-75", "=dev-libs/icu", "@world", "a/b/c", "a b", "dev-libs/icu[nls]"} {
		if p, err := ParsePattern(bad); err == nil {
			t.Errorf("%q is understood as %v", bad, p)
		}
	}
}
