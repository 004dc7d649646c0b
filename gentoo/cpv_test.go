package gentoo

import (
	"strings"
	"testing"
)

func TestParseCPV(t *testing.T) {
	valid := map[string]CPV{
		"sys-apps/acl-2.3.2-r3":            {"sys-apps", "acl", "2.3.2-r3"},
		"a/b-1":                            {"a", "b", "1"},
		"app/c++-lib_x-1.2b_alpha3_p4":     {"app", "c++-lib_x", "1.2b_alpha3_p4"},
		"app/foo-2-bar-1_pre_rc2":          {"app", "foo-2-bar", "1_pre_rc2"},
		"x11.libs+_-/font-misc-1.0z-r0":    {"x11.libs+_-", "font-misc", "1.0z-r0"},
		"app/foo-1-r1x-20240101_p0":        {"app", "foo-1-r1x", "20240101_p0"},
		"_a/_b-0":                          {"_a", "_b", "0"},
		"dev-lang/R-4.4.1":                 {"dev-lang", "R", "4.4.1"},
		"media-fonts/font-adobe-100dpi-1.": {}, // see below
	}
	for s, want := range valid {
		got, err := ParseCPV(s)
		if want == (CPV{}) {
			if err == nil {
				t.Errorf("%q gives %+v", s, got)
			}
			continue
		}
		if err != nil || got != want || got.String() != s {
			t.Errorf("%q: %+v (%s), %v", s, got, got, err)
		}
	}
	for _, s := range []string{
		"", "a", "a/b", "/b-1", "a/-1", "a/b-1/c-1", "../b-1", "./b-1", ".a/b-1", "-a/b-1", "--ask/b-1",
		"+a/b-1",
		"a/-b-1", "a/+b-1", "a/b-", "a/b-1-2", "a/b-1-r1-2", "a/b-1..2", "a/b-1a2", "a/b-1_foo",
		"a/b-1-r", "a/b-1-rx",
		"a/b-1_p-", "a/b-1 ", " a/b-1", "a/b-1\n", "a/b.c-1", "a/b-1::r", "=a/b-1", "a/é-1", "a/b-1*",
		"a b/c-1", "a/b--1",
		"a/b-\x001", "a/" + strings.Repeat("b", 250) + "-1", "@world", "a/b-1:0",
	} {
		if got, err := ParseCPV(s); err == nil {
			t.Errorf("%q gives %+v", s, got)
		}
	}
}

func TestExactAtom(t *testing.T) {
	cpv := CPV{"sys-apps", "acl", "2.3.2-r3"}
	for _, repo := range []string{"", "gentoo", "my-overlay_2"} {
		atom := ExactAtom(cpv, repo)
		got, gotRepo, err := ParseExactAtom(atom)
		if err != nil || got != cpv || gotRepo != repo {
			t.Errorf("%s: %+v %q %v", atom, got, gotRepo, err)
		}
	}
	for _, s := range []string{
		"", "=", "sys-apps/acl-1", ">=sys-apps/acl-1", "~sys-apps/acl-1", "=sys-apps/acl-1*",
		"=sys-apps/acl-1:0",
		"=sys-apps/acl-1::", "=sys-apps/acl-1::a::b", "=sys-apps/acl-1::-a", "=sys-apps/acl-1::a/b",
		"=sys-apps/acl-1::..",
		"=sys-apps/acl-1[x]", "!=sys-apps/acl-1", "@world", "--ask", "==a/b-1", "=a/b-1::a+b",
		"=a/b-1::x-1", "/etc/passwd",
		"=a/b-1::gentoo ", "=a/b-1\n--ask",
	} {
		if cpv, repo, err := ParseExactAtom(s); err == nil {
			t.Errorf("%q gives %+v from %q", s, cpv, repo)
		}
	}
}

func FuzzParseCPV(f *testing.F) {
	f.Add("sys-apps/acl-2.3.2-r3")
	f.Add("a/b-1-2")
	f.Add("../../b-1")
	f.Fuzz(func(t *testing.T, s string) {
		cpv, err := ParseCPV(s)
		if err != nil {
			return
		}
		if cpv.String() != s {
			t.Errorf("%q becomes %q", s, cpv)
		}
		for _, part := range []string{cpv.Category, cpv.Name, cpv.Version, cpv.PF()} {
			if part == "" || strings.ContainsAny(part, "/\x00 \n=:") || strings.HasPrefix(part, "-") ||
				strings.HasPrefix(part, ".") {
				t.Errorf("%q has part %q", s, part)
			}
		}
		got, repo, err := ParseExactAtom(ExactAtom(cpv, "gentoo"))
		if err != nil || got != cpv || repo != "gentoo" {
			t.Errorf("%q as atom: %v", s, err)
		}
	})
}
