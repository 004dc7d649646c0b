package gentoo

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseReposConfig(t *testing.T) {
	text, err := os.ReadFile("testdata/repos_config") // portageq repos_config of 3.0.82
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseReposConfig(string(text))
	if err != nil {
		t.Fatal(err)
	}
	want := []Repo{
		{
			Name: "gentoo", Location: "/var/db/repos/gentoo", Masters: []string{}, Priority: -1000, Main: true,
			SyncType: "rsync", SyncURI: "rsync://rsync.gentoo.org/gentoo-portage",
		},
		{Name: "lab", Location: "/var/db/repos/lab", Masters: []string{"gentoo"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, bad := range []string{
		"[-x]\nlocation = /x", "[x\nlocation = /x", "location = /x", "[x]\nlocation = relative",
		"[x]\npriority = 1",
		"[x]\nlocation = /x\npriority = high", "[x]\nnonsense",
	} {
		if got, err := ParseReposConfig(bad); err == nil || !strings.Contains(err.Error(), "repos.conf") {
			t.Errorf("%q gives %+v, %v", bad, got, err)
		}
	}
}

func TestProfileParents(t *testing.T) {
	dir := t.TempDir()
	etc := filepath.Join(dir, "etc", "portage")
	gentoo, lab := filepath.Join(dir, "repos", "gentoo"), filepath.Join(dir, "repos", "gentoo", "lab")
	for _, d := range []string{
		etc, filepath.Join(gentoo, "profiles", "default", "amd64"), filepath.Join(lab, "profiles", "tiny"),
		filepath.Join(dir, "elsewhere"),
	} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	linked := filepath.Join(dir, "linked")
	if err := os.Symlink(gentoo, linked); err != nil {
		t.Fatal(err)
	}
	repos := []Repo{
		{Name: "gone", Location: filepath.Join(dir, "gone")},
		{Name: "gentoo", Location: linked},
		{Name: "lab", Location: lab},
	}
	makeProfile := filepath.Join(etc, "make.profile")
	for _, c := range []struct{ link, parent, want, err string }{
		{link: "../../repos/gentoo/profiles/default/amd64", want: "gentoo:default/amd64"},
		{link: linked + "/profiles/default/amd64/", want: "gentoo:default/amd64"},
		{link: lab + "/profiles/tiny", want: "lab:tiny"}, // a repository inside another
		{parent: "# comment\n\ngentoo:default/amd64 # this\nlab:tiny\n", want: "gentoo:default/amd64 lab:tiny"},
		{parent: "../../../repos/gentoo/lab/profiles/tiny\n", want: "lab:tiny"},
		{err: "eselect profile set"},
		{link: "../../repos/gentoo/profiles/default/gone", err: "repos/gentoo/profiles/default/gone"},
		{link: filepath.Join(dir, "elsewhere"), err: "in no repository"},
		{link: linked + "/profiles", err: "in no repository"},
		{parent: "nowhere:default", err: `"nowhere"`},
		{parent: "gentoo:default/gone", err: "default/gone"},
		{parent: "gentoo:../../elsewhere", err: "in no repository"},
		{parent: "\n", err: "names no profile"},
		{parent: "-", err: "parent file"},
	} {
		if err := os.RemoveAll(makeProfile); err != nil {
			t.Fatal(err)
		}
		var err error
		switch {
		case c.link != "":
			err = os.Symlink(c.link, makeProfile)
		case c.parent == "-":
			err = os.Mkdir(makeProfile, 0o755)
		case c.parent != "":
			err = errors.Join(os.Mkdir(makeProfile, 0o755),
				os.WriteFile(filepath.Join(makeProfile, "parent"), []byte(c.parent), 0o644))
		}
		if err != nil {
			t.Fatal(err)
		}
		got, err := ProfileParents(etc, repos)
		if c.err != "" {
			text := fmt.Sprint(err)
			if err == nil || !strings.Contains(text, c.err) || !strings.Contains(text, "make.profile") {
				t.Errorf("%+v: %v, %v", c, got, err)
			}
			continue
		}
		if err != nil || strings.Trim(fmt.Sprint(got), "[]") != c.want {
			t.Errorf("%+v: %v, %v", c, got, err)
		}
	}
	_, err := ProfileParents(filepath.Join(dir, "nothing"), repos)
	if !errors.Is(err, ErrNoProfile) {
		t.Errorf("no /etc/portage: %v", err)
	}
}

func TestUserEnvironment(t *testing.T) {
	got := UserEnvironment([]string{
		"USE=-nls debug", "PATH=/bin", "CFLAGS=-O2 -pipe", "MAKEOPTS=-j9", "LAB_TARGETS=one", "SECRET=x",
		"ODD_EXPAND=1",
		"FEATURES=test", "PKGDIR=/x", "ROOT=/y", "CPU_FLAGS_X86=avx", "LDFLAGS_x86=", "L10N=de",
		"ACCEPT_KEYWORDS=~amd64",
		"PORTAGE_TMPDIR=/t", "broken", "XFLAGS=1", "HOME=/root", "RUSTFLAGS=-C opt-level=3",
		"EMERGE_DEFAULT_OPTS=-a", "=x",
		"SSH_AUTH_SOCK=/s", "LD_PRELOAD=/evil.so", "FETCHCOMMAND_HTTPS=x", "http_proxy=x", "GOAMD64=v3", "CCACHE_DIR=/c",
	}, "ODD_EXPAND", "ROOT")
	want := []string{
		"ACCEPT_KEYWORDS=~amd64", "CFLAGS=-O2 -pipe", "CPU_FLAGS_X86=avx", "FEATURES=test", "GOAMD64=v3", "L10N=de",
		"LAB_TARGETS=one",
		"LDFLAGS_x86=", "ODD_EXPAND=1", "RUSTFLAGS=-C opt-level=3", "USE=-nls debug",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestUseExpandVariables holds that each USE_EXPAND variable of ::gentoo is sent.
func TestUseExpandVariables(t *testing.T) {
	f, err := os.Open("testdata/Packages")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	index, err := ReadIndex(f)
	if err != nil {
		t.Fatal(err)
	}
	names := strings.Fields(index.Header["USE_EXPAND"])
	if len(names) < 30 {
		t.Fatalf("only %d variables in the index", len(names))
	}
	for _, name := range names {
		if WhoseVariable(name) != Client {
			t.Errorf("USE_EXPAND variable %s would not be sent", name)
		}
	}
}

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"plain\ttext\n":                          "plain\ttext\n",
		"naïve 日本 €":                             "naïve 日本 €",
		"\x1b[31;01mred\x1b[39;49;00m":           "red",
		"a\x1b]0;title\x07b":                     "ab",
		"a\x1b]8;;http://x\x1b\\b":               "ab",
		"a\x1bcb":                                "ab",
		"a\x1b":                                  "a^[",
		"a\x1b[":                                 "a",
		"\x1b\x1b[31m[31m":                       "^[[31m",
		"a\rb\bc\x00d\x7f":                       "a^Mb^Hc^@d^?",
		"\u009b31m":                              "\ufffd31m",
		"\x9b31m\xff":                            "\ufffd31m\ufffd",
		"\u202eevil\u2066":                       "\ufffdevil\ufffd",
		"\x1bPdata\x1b\\x":                       "x",
		"\x1b]0;never ends\nnext line is intact": "\nnext line is intact",
	} {
		got := Printable(in)
		if got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
		if again := Printable(got); again != got {
			t.Errorf("%q again becomes %q", got, again)
		}
	}
}

func FuzzPrintable(f *testing.F) {
	f.Add("\x1b[31mred\x1b[0m \x9b \u202e")
	f.Fuzz(func(t *testing.T, s string) {
		out := Printable(s)
		for _, r := range out {
			if r < 0x20 && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0 || r == 0x202e {
				t.Errorf("%q becomes %q", s, out)
			}
		}
		if again := Printable(out); again != out {
			t.Errorf("%q becomes %q and then %q", s, out, again)
		}
	})
}
