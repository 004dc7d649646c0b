package gentoo

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Both goldens come from Portage's own code; the scripts beside them made them.
const (
	optionGolden = "testdata/emerge-options-3.0.83.json"
	parseGolden  = "testdata/emerge-parse-3.0.83.json"
)

func readJSON(t *testing.T, name string, v any) {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, v); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// goldenOption is one option as emerge-options.py writes it.
type goldenOption struct {
	Action, Short, Alias, Default string
	Choices, Optional             []string
}

func TestOptionTable(t *testing.T) {
	var want map[string]goldenOption
	readJSON(t, optionGolden, &want)
	got := map[string]goldenOption{}
	for name, o := range emergeOptions {
		g := goldenOption{Action: "store_true", Choices: o.choices, Alias: optionAliases[name]}
		if o.short != 0 {
			g.Short = string(rune(o.short))
		}
		if o.argument {
			g.Action = "store"
		}
		if o.repeats {
			g.Action = "append"
		}
		if o.optional() {
			for _, word := range []string{"y", "n", "4", "2.5", "rdeps", "text", "json"} {
				if o.apart(word) {
					g.Optional = append(g.Optional, word)
				}
			}
		}
		if name == "--regex-search-auto" {
			g.Default = "y" // about searches only; the table does not need it
		}
		got[name] = g
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the table differs from emerge's (-emerge +table):\n%s", diff)
	}
}

// TestOptionRows holds that each option that the parser knows has a row that says whose it is, and no others have.
func TestOptionRows(t *testing.T) {
	for name := range emergeOptions {
		if _, alias := optionAliases[name]; !alias && WhoseOption(name) == Unknown {
			t.Errorf("option %s has no row", name)
		}
	}
	for name := range optionRows {
		if _, ok := emergeOptions[name]; !ok {
			t.Errorf("the parser does not know option %s", name)
		}
	}
}

func TestArgsEnvironment(t *testing.T) {
	env := []string{"ACCEPT_RESTRICT=* -fetch", "FEATURES=test", "USE=x"}
	for line, want := range map[string][]string{
		"x":                                    env,
		"--accept-restrict=-bindist x":         {"FEATURES=test", "USE=x", "ACCEPT_RESTRICT=-bindist"},
		"--accept-properties=-live --digest x": {"ACCEPT_RESTRICT=* -fetch", "USE=x", "ACCEPT_PROPERTIES=-live", "FEATURES=test digest"},
		"--accept-properties a --accept-properties=b x": {env[0], env[1], env[2], "ACCEPT_PROPERTIES=b"},
	} {
		if diff := cmp.Diff(want, ParseArgs(strings.Fields(line)).Environment(env)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", line, diff)
		}
	}
}

func TestMayChangeConfig(t *testing.T) {
	for line, want := range map[string]bool{
		"x": false, "-a x": true, "-a --autounmask=n x": false, "--autounmask-write x": true, "-a --autounmask-write=n x": false,
		"--autounmask-continue=y x": true, "--autounmask x": false, "-ap x": false,
	} {
		if got := ParseArgs(strings.Fields(line)).MayChangeConfig(); got != want {
			t.Errorf("%q: %v", line, got)
		}
	}
}

func TestParseArgsLikeEmerge(t *testing.T) {
	var lines []struct {
		Line   string
		Words  []string
		Parsed map[string]any
	}
	readJSON(t, parseGolden, &lines)
	if len(lines) < 100 {
		t.Fatalf("only %d command lines in the golden", len(lines))
	}
	for _, l := range lines {
		a := ParseArgs(l.Words)
		if (a.Err != nil) != (l.Parsed == nil) {
			t.Errorf("%s: error %v, emerge's result %v", l.Line, a.Err, l.Parsed)
			continue
		}
		if a.Err != nil {
			continue
		}
		if diff := cmp.Diff(l.Parsed, asParsed(a)); diff != "" {
			t.Errorf("%s (-emerge +ours):\n%s", l.Line, diff)
		}
		// What is said in long form must mean the same.
		again := asParsed(ParseArgs(a.words("", "--color=n")))
		want := asParsed(a)
		want["color"] = "n"
		if diff := cmp.Diff(want, again); diff != "" {
			t.Errorf("%s, said again as %q:\n%s", l.Line, a.words(""), diff)
		}
	}
}

// asParsed brings Args into the form of the golden.
func asParsed(a Args) map[string]any {
	m := map[string]any{}
	m["positional-args"] = anySlice(a.targets)
	for _, u := range a.options {
		name := strings.TrimPrefix(u.name, "--")
		switch o := emergeOptions[u.name]; {
		case o.repeats:
			values, _ := m[name].([]any)
			m[name] = append(values, u.value)
		case o.argument:
			m[name] = u.value
		default:
			m[name] = true
		}
	}
	return m
}

func anySlice(s []string) []any {
	out := []any{}
	for _, v := range s {
		out = append(out, v)
	}
	return out
}

func TestLocal(t *testing.T) {
	local := []string{
		"", "-p cat/pkg", "--pretend cat/pkg", "-avp @world", "--sync", "--search x", "-s x", "-S x",
		"-C cat/pkg",
		"--unmerge cat/pkg", "--depclean", "-c", "--prune", "-P", "--info", "--version", "-V", "--help", "-h",
		"--config cat/pkg", "--list-sets", "--check-news", "--regen", "--metadata", "--resume", "-r",
		"--skipfirst",
		"--fetchonly cat/pkg", "-f cat/pkg", "--fetch-all-uri cat/pkg", "-F cat/pkg", "--moo", "--status",
		"--rage-clean cat/pkg", "--clean cat/pkg", "--deselect cat/pkg", "-W cat/pkg",
		"--root=/mnt/x cat/pkg",
		"--sysroot /mnt/x cat/pkg", "--prefix=/opt cat/pkg", "--config-root=/x cat/pkg", "--nosuch cat/pkg",
		"cat/pkg -- -v", "-K cat/pkg", "-G cat/pkg", "--autounmask-only cat/pkg", "-uD",
		"--ask=maybe cat/pkg", "-t --columns cat/pkg", "--pkg-format=rpm cat/pkg",
	}
	for _, line := range local {
		reason, ok := ParseArgs(strings.Fields(line)).Local()
		if !ok || reason == "" {
			t.Errorf("%q: local %v, reason %q", line, ok, reason)
		}
	}
	for _, line := range []string{
		"cat/pkg", "-auvDN @world", "-B cat/pkg", "-1 =cat/pkg-1", "--root=/ cat/pkg", "--root // cat/pkg",
		"--deselect=n cat/pkg", "-k cat/pkg", "-K --usepkgonly=n cat/pkg", "-o cat/pkg", "./x.ebuild", "--pkg-format tar cat/pkg",
	} {
		if reason, ok := ParseArgs(strings.Fields(line)).Local(); ok {
			t.Errorf("%q must be offloaded, but is local: %s", line, reason)
		}
	}
}

func TestErrorsSayWhatToType(t *testing.T) {
	for line, want := range map[string]string{
		"--verb x": "--verbose, --verbose-conflicts", "--nosuch x": `"--nosuch"`, "--root": "--root needs an argument",
		"--ask=maybe x": `"maybe"`, "-1z x": "-z", "--pretend=y x": "takes no argument",
	} {
		if err := ParseArgs(strings.Fields(line)).Err; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v does not say %s", line, err, want)
		}
	}
}

func TestAskIsWhatHoldsLast(t *testing.T) {
	for line, want := range map[string]bool{
		"-a x/y": true, "x/y --ask": true, "-a --ask=n x/y": false, "--ask=n -a x/y": true, "-a n x/y": false,
		"-ap x/y": false, "x/y": false,
	} {
		if got := ParseArgs(strings.Fields(line)).Ask; got != want {
			t.Errorf("%q: Ask = %v", line, got)
		}
	}
	for line, want := range map[string]bool{
		"-1 x/y": true, "--select=n x/y": true, "-1w x/y": false, "x/y": false,
	} {
		if got := ParseArgs(strings.Fields(line)).Oneshot; got != want {
			t.Errorf("%q: Oneshot = %v", line, got)
		}
	}
}

func TestPretendArgs(t *testing.T) {
	for line, want := range map[string]string{
		"-auvDN @world":                   "--deep --update --newuse --pretend --verbose=y --color=n @world",
		"-at --columns -q -A --color=y x": "--pretend --verbose=y --color=n x",
		"-j4 --exclude a/b -X c/d x":      "--jobs=4 --exclude=a/b --exclude=c/d --pretend --verbose=y --color=n x",
		"--jobs x -- y":                   "--jobs --pretend --verbose=y --color=n x y",
		"-d --quiet-repo-display -1 x":    "--oneshot --pretend --verbose=y --color=n x",
	} {
		if got := strings.Join(ParseArgs(strings.Fields(line)).PretendArgs(), " "); got != want {
			t.Errorf("%q:\n got %s\nwant %s", line, got, want)
		}
	}
}

func TestMergeArgs(t *testing.T) {
	const end = "--ask=n --usepkg=y --binpkg-respect-use=y"
	for line, want := range map[string]string{
		"-auvDN @world":                  "--deep --verbose --update --newuse --with-bdeps=y " + end + " @world",
		"-a --usepkg=n x":                "--with-bdeps=y " + end + " x",
		"-ak x":                          end + " x", // planned without build-time dependencies, too
		"--with-bdeps=n x":               "--with-bdeps=n " + end + " x",
		"--with-bdeps-auto=n x":          "--with-bdeps-auto=n " + end + " x",
		"--usepkg-exclude a/b -b x":      "--buildpkg --with-bdeps=y " + end + " x",
		"--binpkg-respect-use=n -1 -q x": "--oneshot --quiet --with-bdeps=y " + end + " x",
		"--usepkg-include a/b x":         "--with-bdeps=y " + end + " x",
		"--nobindeps -t x":               "--tree --with-bdeps=y " + end + " x",
	} {
		if got := strings.Join(ParseArgs(strings.Fields(line)).MergeArgs(false), " "); got != want {
			t.Errorf("%q:\n got %s\nwant %s", line, got, want)
		}
	}
	got := strings.Join(ParseArgs([]string{"x"}).MergeArgs(false, "--with-bdeps=n", "--quiet-build=y"), " ")
	if want := "--with-bdeps=n --quiet-build=y " + end + " x"; got != want {
		t.Errorf("with extra options: got %s, want %s", got, want)
	}
	got = strings.Join(ParseArgs([]string{"-1", "x"}).MergeArgs(true), " ")
	if want := "--oneshot --with-bdeps=y --ask=n --usepkgonly=y --binpkg-respect-use=y x"; got != want {
		t.Errorf("of binary packages alone: got %s, want %s", got, want)
	}
}

func TestParseArgsWithDefaults(t *testing.T) {
	a, err := ParseArgsWithDefaults([]string{"-1", "cat/pkg"}, `--ask --tree --jobs=3 --exclude "a/b c/d"`)
	if err != nil {
		t.Fatal(err)
	}
	if !a.Ask || !a.Oneshot {
		t.Errorf("Ask %v, Oneshot %v", a.Ask, a.Oneshot)
	}
	want := []string{
		"--ignore-default-opts", "--jobs=3", "--exclude=a/b c/d", "--oneshot",
		"--pretend", "--verbose=y", "--color=n", "cat/pkg",
	}
	if diff := cmp.Diff(want, a.PretendArgs()); diff != "" {
		t.Error(diff)
	}
	a, err = ParseArgsWithDefaults([]string{"--ignore-default-opts", "cat/pkg"}, "--ask --jobs=3")
	if err != nil || a.Ask || slices.Contains(a.PretendArgs(), "--jobs=3") {
		t.Errorf("--ignore-default-opts: %v, Ask %v, %q", err, a.Ask, a.PretendArgs())
	}
	_, err = ParseArgsWithDefaults(nil, `--ask "`)
	if err == nil || !strings.Contains(err.Error(), "DEFAULT_OPTS") {
		t.Errorf("an open quotation mark gives %v", err)
	}
}

func TestCleanDefaultOpts(t *testing.T) {
	for in, want := range map[string]string{
		"": "",
		"--ask --verbose --tree --jobs=4 --quiet-build": "--jobs=4 --quiet-build",
		"-avj --load-average 3.5 --quiet --columns":     "--jobs --load-average=3.5",
		`--exclude "sys-kernel/* dev-lang/rust" -a`:     `'--exclude=sys-kernel/* dev-lang/rust'`,
		`--accept-restrict='-it'"'"'s "quoted"'`:        `'--accept-restrict=-it'"'"'s "quoted"'`,
	} {
		got, err := CleanDefaultOpts(in)
		if err != nil || got != want {
			t.Errorf("%s:\n got %s (%v)\nwant %s", in, got, err, want)
		}
		if again, err := CleanDefaultOpts(got); err != nil || again != got {
			t.Errorf("%s cleaned again: %s (%v)", got, again, err)
		}
	}
	for _, in := range []string{`"`, `'a`, `\`, "--nosuch", "--color"} {
		if got, err := CleanDefaultOpts(in); err == nil {
			t.Errorf("%s gives %q and no error", in, got)
		}
	}
}

func TestShellSplit(t *testing.T) {
	for in, want := range map[string][]string{
		` a  b	c ` + "\n": {"a", "b", "c"},
		`a"b c"d 'e f'`:   {"ab cd", "e f"},
		`"" ''`:           {"", ""},
		`"a\"b\\c\d"`:     {`a"b\c\d`},
		`'a\'b`:           {`a\b`},
		`a\ b \"`:         {"a b", `"`},
	} {
		got, err := SplitWords(in)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", in, err, diff)
		}
	}
}

func FuzzParseArgs(f *testing.F) {
	f.Add("-auvDN\x00@world")
	f.Add("--jobs\x004\x00-X\x00a/b\x00--\x00-x")
	f.Fuzz(func(t *testing.T, line string) {
		a := ParseArgs(strings.Split(line, "\x00"))
		if a.Err != nil {
			return
		}
		again := ParseArgs(a.words(""))
		if len(a.targets) == 0 && (again.Err != nil || len(again.targets) != 0) {
			t.Errorf("%q said again: %v, %q", line, again.Err, again.targets)
		}
		again = ParseArgs(a.MergeArgs(false))
		if again.Err != nil || !again.UsePkg || again.Ask || !slices.Equal(again.targets, a.targets) {
			t.Errorf("%q as merge %q: %+v", line, a.MergeArgs(false), again)
		}
	})
}
