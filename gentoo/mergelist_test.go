package gentoo

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files of merge lists, and README's tables, anew")

// TestMergeListGoldens reads what a real emerge 3.0.82 wrote (p-*: its display code, see
// mergelist-forms.py). Text without any list has no golden file.
func TestMergeListGoldens(t *testing.T) {
	files, err := filepath.Glob("testdata/mergelist/*.txt")
	if err != nil || len(files) < 100 {
		t.Fatalf("%d captures: %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			list, err := ParseMergeList(string(text))
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			if len(list.Packages)+len(list.Blocks) > 0 || list.Total != nil {
				data, err := json.MarshalIndent(list, "", " ")
				if err != nil {
					t.Fatal(err)
				}
				got = string(data) + "\n"
			}
			compareGolden(t, strings.TrimSuffix(file, ".txt")+".json", got)
		})
	}
}

func compareGolden(t *testing.T, file, got string) {
	t.Helper()
	want, err := os.ReadFile(file)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	if got == string(want) {
		return
	}
	if !*update {
		t.Errorf("%s (-golden +now):\n%s", file, cmp.Diff(string(want), got))
		return
	}
	if got == "" {
		err = os.Remove(file)
	} else {
		err = os.WriteFile(file, []byte(got), 0o644)
	}
	if err != nil {
		t.Error(err)
	}
}

// TestMergeListCounts checks the goldens themselves against a count of lines that knows nothing of the
// parser.
func TestMergeListCounts(t *testing.T) {
	files, _ := filepath.Glob("testdata/mergelist/*.txt")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		plain := stripEscapes(string(text))
		list, err := ParseMergeList(plain)
		if err != nil {
			t.Errorf("%s without escape sequences: %v", file, err)
			continue
		}
		kinds := map[Kind]int{}
		for _, p := range list.Packages {
			kinds[p.Kind]++
		}
		for kind, word := range kindWords {
			if want := strings.Count("\n"+plain, "\n["+word+" "); kind != KindUnknown && kinds[kind] != want {
				t.Errorf("%s: %d of %s read, %d lines there", file, kinds[kind], kind, want)
			}
		}
		if want := strings.Count("\n"+plain, "\n[blocks "); len(list.Blocks) < want {
			t.Errorf("%s: %d blocks read, %d lines there", file, len(list.Blocks), want)
		}
	}
}

func TestMergeListLine(t *testing.T) {
	tests := map[string]Package{
		`[ebuild     U #] app/x-1.0_rc2-r3:2/2.1::lab [0.9:0::lab, 1:2/2.0::my-repo] to /mnt/a b/ ` +
			`USE="a (b%*) {-c*}" 1,234 KiB`: {
			Kind: KindEbuild, CPV: CPV{"app", "x", "1.0_rc2-r3"}, Slot: "2", SubSlot: "2.1", Repo: "lab",
			Root: "/mnt/a b/", Flags: Flags{Upgrade: true, Mask: "#"}, Size: 1234,
			Use: []UseFlag{
				{Name: "a", Enabled: true},
				{Name: "b", Enabled: true, New: true, Changed: true, Forced: true},
				{Name: "c", Changed: true, Forced: true},
			},
			Old: []OldVersion{{"0.9", "0", "", "lab"}, {"1", "2", "2.0", "my-repo"}},
		},
		`[binary IN F   ] app/foo-bar-1-2::lab  LAB_TARGETS="one -two" L10N="-de sr@latin" 0 KiB [0=>?]`: {
			Kind: KindBinary, CPV: CPV{"app", "foo-bar", "1"}, BuildID: 2, Repo: "lab",
			Flags: Flags{Interactive: true, New: true, FetchManually: true},
			Use: []UseFlag{
				{Name: "one", Group: "LAB_TARGETS", Enabled: true},
				{Name: "two", Group: "LAB_TARGETS"},
				{Name: "de", Group: "L10N"},
				{Name: "sr@latin", Group: "L10N", Enabled: true},
			},
		},
		`[binary  rR    ] app/foo-1-r1`: {
			Kind: KindBinary, CPV: CPV{"app", "foo", "1-r1"},
			Flags: Flags{ForceReinstall: true, Reinstall: true},
		},
		`[ebuild     UD] app/foo-1 [2]`: {
			Kind: KindEbuild, CPV: CPV{"app", "foo", "1"}, Flags: Flags{Downgrade: true},
			Old: []OldVersion{{Version: "2"}},
		},
		`[nomerge       ]     app/foo-1`: {Kind: KindNomerge, CPV: CPV{"app", "foo", "1"}, Depth: 4},
		"[ebuild  N     ] app/foo-1::gentoo  1\u202f234\u202f567 KiB": {
			Kind: KindEbuild, CPV: CPV{"app", "foo", "1"}, Repo: "gentoo", Flags: Flags{New: true}, Size: 1234567,
		},
		`[binary  N     ] app/foo   [1.0-7:0/3::lab]   to /mnt/root/ 5 KiB`: {
			Kind: KindBinary, CPV: CPV{"app", "foo", "1.0"}, BuildID: 7, Slot: "0", SubSlot: "3", Repo: "lab",
			Root: "/mnt/root/", Flags: Flags{New: true}, Size: 5,
		},
	}
	for line, want := range tests {
		list, err := ParseMergeList(line + "\n")
		if err != nil {
			t.Error(err)
			continue
		}
		want.Line = line
		if diff := cmp.Diff([]Package{want}, list.Packages); diff != "" {
			t.Errorf("%s (-want +got):\n%s", line, diff)
		}
	}
}

func TestMergeListErrors(t *testing.T) {
	for _, line := range []string{
		"[ebuild  N     ] app/foo",                           // no version
		"[ebuild  N     ] foo-1",                             // no category
		"[ebuild  N     ]app/foo-1",                          // no space
		"[ebuild  N     ] app/foo-1 surprise",                // unknown text
		"[ebuild  N     ] app/foo-1 [1",                      // old version not closed
		"[ebuild  N     ] app/foo-1 [abc]",                   // no version
		"[ebuild  N     ] app/foo-1:::lab",                   // no slot
		"[ebuild  N     ] app/foo-1::-lab",                   // no repository
		"[ebuild  N     ] app/foo-1  USE=\"a b",              // not closed
		"[ebuild  N     ] app/foo-1  USE=\"a b%%\"",          // no flag
		"[ebuild  N     ] app/foo-1  USE=\"(a}\"",            // no flag
		"[ebuild  N     ] app/foo-1  1.x KiB",                // no size
		"[ebuild  N     ] app/foo-1-2",                       // a BUILD_ID on an ebuild
		"[ebuild  N     ] ../foo-1",                          // no category
		"[ebuild  Q     ] app/foo-1",                         // unknown mark
		"[ebuild N      ] app/foo-1",                         // mark in the wrong place
		"[ebuild  N      x] app/foo-1",                       // more marks than known
		"[ebuild] app/foo-1:",                                // no slot
		"[ebuild",                                            // cut
		"[ebuild  N     app/foo-1",                           // not closed
		"[nomerge   N   ] app/foo-1",                         // marks on a nomerge
		"[upgrade  N     ] app/foo-1",                        // unknown kind
		"[remote] app/foo-1",                                 // unknown kind
		"[blocks B      ] app/foo",                           // no explanation
		"[blocks X      ] app/foo (is hard blocking a/b-1)",  // unknown mark
		"[\x1b[32mebuild\x1b[0m  N     ] app/foo",            // as the first, in colour
		"Total: 1 package (1 new), Size of downloads: 0 KiB", // no package was read
		" N     app/foo 1 surprise",
	} {
		list, err := ParseMergeList("noise\n\n" + line + "\nnoise\n")
		var parseError *ParseError
		if !errors.As(err, &parseError) {
			t.Errorf("%q gives %+v and error %v", line, list, err)
			continue
		}
		if parseError.Line != 3 || !strings.Contains(err.Error(), Printable(line)) || parseError.Reason == "" {
			t.Errorf("%q: the error does not show line 3: %v", line, err)
		}
	}
}

func TestMergeListNoise(t *testing.T) {
	for _, line := range []string{
		"", "[ Results for search key : man ]", "[labhost] Local copy of remote index is up-to-date",
		"[lab]", "[DEFAULT]",
		" * IMPORTANT: 1 news items need reading for repository 'gentoo'.", "!!! binrepos.conf is missing",
		`(dependency required by "a/b-1" [ebuild])`, "[my host] Local copy of remote index",
		"  (a/b-1:0/0::lab, ebuild)",
		"       app/foo 1", "https://example.org/a/foo-1.tar.gz", "rc=0", " [0] /var/db/repos/gentoo",
		"ebuild  N     ] a/b-1",
	} {
		list, err := ParseMergeList(line)
		if err != nil || len(list.Packages)+len(list.Blocks) > 0 {
			t.Errorf("%q is noise, but gives %+v, %v", line, list, err)
		}
	}
}

func TestMergeListTotal(t *testing.T) {
	const one = "[ebuild  N     ] app/foo-1\n"
	const two = "[binary  N     ] app/bar-1-1\n[nomerge       ] app/x-1\n[uninstall     ] app/y-1\n"
	for text, ok := range map[string]bool{
		one + two + "Total: 2 packages (2 new, 1 binary, 1 uninstall), Size of downloads: 0 KiB\n":     true,
		one + two + "Total: 3 packages (3 new, 1 binary), Size of downloads: 0 KiB\n":                  false,
		one + two + "Total: 2 packages (2 new), Size of downloads: 0 KiB\n":                            false,
		one + "Total: 2 packages (2 new), Size of downloads: 0 KiB\n":                                  false,
		"Total: 0 packages, Size of downloads: 0 KiB\n":                                                true,
		one + "Total: 1 package (1 new), Size of downloads: 12.345 KiB\n" + one + "Total: 0 packages,": true,
		one + "Total: 1 package (1 new), Size of downloads: 0 KiB\n" + two +
			"Total: 2 packages (1 new, 1 binary), Size of downloads: 0 KiB\n": false,
	} {
		if _, err := ParseMergeList(text); (err == nil) != ok {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestBuildsAndAtoms(t *testing.T) {
	list, err := ParseMergeList(`[ebuild  N     ] app/b-1::lab
[binary  N     ] app/c-1-3::lab
[nomerge       ] app/d-1::lab
[uninstall     ] app/e-1::__unknown__
[ebuild   R    ] app/a-1-r1::other
[ebuild  N     ] app/f-1
 N     app/g 1-2
`)
	if err != nil {
		t.Fatal(err)
	}
	var atoms []string
	for _, p := range list.Builds() {
		atoms = append(atoms, p.Atom())
	}
	want := []string{"=app/b-1::lab", "=app/a-1-r1::other", "=app/f-1", "=app/g-1"}
	if diff := cmp.Diff(want, atoms); diff != "" {
		t.Error(diff)
	}
	if got := list.Packages[3].Atom(); got != "=app/e-1" {
		t.Errorf("a package of an unknown repository is %s", got)
	}
}

func FuzzParseMergeList(f *testing.F) {
	files, _ := filepath.Glob("testdata/mergelist/*.txt")
	for _, file := range files {
		if text, err := os.ReadFile(file); err == nil {
			f.Add(string(text))
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		list, err := ParseMergeList(text)
		if err != nil {
			var parseError *ParseError
			if !errors.As(err, &parseError) || Printable(parseError.Text) != parseError.Text {
				t.Errorf("%q: %v", text, err)
			}
			return
		}
		lines := 0
		for line := range strings.SplitSeq(text, "\n") {
			if openRE.MatchString(stripEscapes(line)) {
				lines++
			}
		}
		if n := len(list.Packages) + len(list.Blocks); n < lines {
			t.Errorf("%q has %d list lines, but %d were read", text, lines, n)
		}
		for _, p := range list.Packages {
			if _, _, err := ParseExactAtom(p.Atom()); err != nil {
				t.Errorf("%q: %v", text, err)
			}
		}
	})
}
