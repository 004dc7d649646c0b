package main

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"lantage/client"
)

// TestLayers holds who may import whom: the table of ARCHITECTURE.md.
func TestLayers(t *testing.T) {
	allowed := map[string][]string{
		"lantage":           {"lantage/build", "lantage/client", "lantage/daemon", "lantage/trust"},
		"lantage/client":    {"lantage/archive", "lantage/discovery", "lantage/gentoo", "lantage/rootfs", "lantage/trust", "lantage/wire"},
		"lantage/daemon":    {"lantage/archive", "lantage/build", "lantage/discovery", "lantage/gentoo", "lantage/rootfs", "lantage/trust", "lantage/wire"},
		"lantage/build":     {"lantage/gentoo"},
		"lantage/wire":      nil,
		"lantage/gentoo":    nil,
		"lantage/archive":   nil,
		"lantage/discovery": nil,
		"lantage/trust":     nil,
		"lantage/rootfs":    nil,
	}
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		may, ours := allowed[fields[0]]
		if !ours {
			if !strings.HasPrefix(fields[0], "lantage/test/") {
				t.Errorf("package %s has no row in the table of layers", fields[0])
			}
			continue
		}
		seen++
		for _, imported := range fields[1:] {
			if strings.HasPrefix(imported, "lantage") && !slices.Contains(may, imported) {
				t.Errorf("%s imports %s", fields[0], imported)
			}
		}
	}
	if seen != len(allowed) {
		t.Errorf("%d of the %d packages in the table exist", seen, len(allowed))
	}
}

// TestPackageComments: every package says what it is for.
func TestPackageComments(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}}|{{.Doc}}`, "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		if path, doc, _ := strings.Cut(strings.TrimSpace(line), "|"); doc == "" {
			t.Errorf("package %s has no comment", path)
		}
	}
}

func TestExitStatus(t *testing.T) {
	for _, c := range []struct {
		err    error
		status int
		text   string
	}{
		{nil, 0, ""},
		{errors.New("it broke"), 1, "lantage: it broke\n"},
		{&client.ExitError{Code: 13}, 13, ""},
		{&client.ExitError{Code: 4, Err: errors.New("no builder")}, 4, "lantage: no builder\n"},
	} {
		var stderr bytes.Buffer
		if got := exitStatus(c.err, &stderr); got != c.status || stderr.String() != c.text {
			t.Errorf("exitStatus(%v) = %d, %q; want %d, %q", c.err, got, stderr.String(), c.status, c.text)
		}
	}
}

func TestCommandLine(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string // in what is printed, or in the error
	}{
		{[]string{"lantage", "version"}, "lantage " + version},
		{[]string{"lantage", "--help"}, "emerge [<args> ...]"},
		{[]string{"lantaged", "--help"}, "--state-dir"},
		{[]string{"lantage", "--help"}, "--show-inputs"},
		{[]string{"lantage", "--frobnicate"}, "lantage --help"},
		{[]string{"lantage"}, "lantage --help"},
	} {
		var out bytes.Buffer
		if err := run(context.Background(), c.args, &out, &out); err != nil {
			out.WriteString(err.Error())
		}
		if !strings.Contains(out.String(), c.want) {
			t.Errorf("%q prints %q, without %q", c.args, out.String(), c.want)
		}
	}
}

// TestAsked: what people type first is answered, with the command's own flags before those of all.
func TestAsked(t *testing.T) {
	for _, c := range []struct {
		args string
		want []string // in this order
	}{
		{"help", []string{"Usage: lantage <command>", "list-builders"}},
		{"help gc", []string{"Usage: lantage gc", "--dry-run", "Flags of all commands", "--builder"}},
		{"gc --help", []string{"Usage: lantage gc", "--dry-run", "Flags of all commands", "--builder"}},
		{"--version", []string{"lantage " + version}},
		{"help emerge", []string{"Usage: lantage <command>"}},
	} {
		var out bytes.Buffer
		if err := run(t.Context(), append([]string{"lantage"}, strings.Fields(c.args)...), &out, &out); err != nil {
			t.Errorf("%s: %v", c.args, err)
		}
		rest := out.String()
		for _, part := range c.want {
			var found bool
			if _, rest, found = strings.Cut(rest, part); !found {
				t.Errorf("%s does not say %q there:\n%s", c.args, part, &out)
			}
		}
	}
}

// TestAskedOfLantaged: the daemon's name has them, too.
func TestAskedOfLantaged(t *testing.T) {
	for args, want := range map[string]string{"--version": "lantage " + version, "help": "--listen", "--help": "--listen"} {
		var out bytes.Buffer
		if err := run(t.Context(), []string{"/usr/bin/lantaged", args}, &out, &out); err != nil || !strings.Contains(out.String(), want) {
			t.Errorf("lantaged %s: %v\n%s", args, err, &out)
		}
	}
}

// TestMisplacedFlag: a flag of ours after the word emerge is named, and nothing is done. Emerge has none of that name.
func TestMisplacedFlag(t *testing.T) {
	for args, want := range map[string]string{
		"emerge -1 x --no-fallback":            "--no-fallback is lantage's own flag",
		"emerge --base=host x":                 "--base is lantage's own flag",
		"emerge x --builder tower":             "--builder is lantage's own flag",
		"emerge --quiet --verbose=y -- --base": "",
	} {
		var out bytes.Buffer
		t.Setenv("PATH", t.TempDir())
		err := run(t.Context(), append([]string{"lantage"}, strings.Fields(args)...), &out, &out)
		if want == "" {
			want = "emerge was not found"
		} else if exitStatus(err, &out) != 2 {
			t.Errorf("%s: %v, want the exit status 2", args, err)
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", args, err, want)
		}
	}
	emerges, err := os.ReadFile("gentoo/argtable.go")
	if err != nil {
		t.Fatal(err)
	}
	parser, err := newParser(&cli{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range parser.Model.Flags {
		if f.Name != "help" && f.Name != "verbose" && regexp.MustCompile(`--`+f.Name+`\b[^-]`).Match(emerges) {
			t.Errorf("emerge has --%s, too", f.Name)
		}
	}
}

// TestServeNumbers: numbers that mean nothing are refused, by their flags' names.
func TestServeNumbers(t *testing.T) {
	for _, flag := range []string{"max-jobs=0", "max-waiting=-1", "max-connections=0", "job-time=-5m", "job-memory=-1", "keep-free=-1"} {
		name, _, _ := strings.Cut(flag, "=")
		var out bytes.Buffer
		if err := run(t.Context(), []string{"lantage", "serve", "--" + flag}, &out, &out); err == nil || !strings.Contains(err.Error(), "--"+name+" is less than") {
			t.Errorf("--%s: %v", flag, err)
		}
	}
}

// Of emerge's arguments only one is ours, and only where emerge would take it for an option.
func TestWithoutShowInputs(t *testing.T) {
	for _, c := range []struct {
		args, rest []string
		found      bool
	}{
		{[]string{"-1", "a/b"}, []string{"-1", "a/b"}, false},
		{[]string{"--show-inputs", "-1", "a/b"}, []string{"-1", "a/b"}, true},
		{[]string{"-1", "a/b", "--show-inputs"}, []string{"-1", "a/b"}, true},
		{[]string{"-1", "--", "--show-inputs"}, []string{"-1", "--", "--show-inputs"}, false},
		{[]string{"--show-inputs=y"}, []string{"--show-inputs=y"}, false},
	} {
		if rest, found := withoutShowInputs(c.args); !slices.Equal(rest, c.rest) || found != c.found {
			t.Errorf("%q: %q, %t", c.args, rest, found)
		}
	}
}

// TestSecurityPage: each test that SECURITY.md names is there.
func TestSecurityPage(t *testing.T) {
	page, err := os.ReadFile("SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]bool{}
	err = filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if d != nil && d.IsDir() && strings.HasPrefix(path, ".") && path != "." {
			return fs.SkipDir // the lab's roots, git's files
		}
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range regexp.MustCompile(`(?m)^func (Test\w+)\(t `).FindAllSubmatch(text, -1) {
			tests[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`(Test\\w+)`").FindAllSubmatch(page, -1)
	if len(named) < 30 {
		t.Errorf("SECURITY.md names %d tests", len(named))
	}
	for _, m := range named {
		if !tests[string(m[1])] {
			t.Errorf("SECURITY.md names %s, and there is no such test", m[1])
		}
	}
}
