package client

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"lantage/gentoo"
)

// portageSaying are tools with a Python that runs this script of the shell in place of portage.py.
func portageSaying(t *testing.T, script string) (*machine, *tools) {
	m := newMachine(t)
	m.write("bin/python3", "#!/bin/sh\n"+script)
	tl := &tools{environ: []string{"FAKE=" + m.dir, "PATH=" + m.path("bin") + ":/usr/bin:/bin"}}
	t.Cleanup(tl.end)
	return m, tl
}

const saysVariables = `echo '!!! something'; echo '{"variables": {"CHOST": "x", "CFLAGS": "a\\nb"}}'; `

// TestPortageAnswers: the variables are read, and later the lines about packages, whatever Portage says between them.
func TestPortageAnswers(t *testing.T) {
	m, tl := portageSaying(t, saysVariables+`read -r asked; echo "$3" "$asked" >"$FAKE/asked"; cat "$FAKE/facts.out"; exec sleep 100`)
	line, err := json.Marshal(map[string]any{"cpv": "lab/a-1", "slot": "0", "use": []string{"x"}, "distfiles": []any{
		map[string]any{"name": "a.tar", "size": 3, "sha512": "ab", "blake2b": "cd"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	m.write("facts.out", "!!! something\n"+string(line)+"\n")
	vars, err := tl.load(t.Context(), "CHOST", "CFLAGS")
	if err != nil || len(vars) != 2 || vars["CHOST"] != "x" || vars["CFLAGS"] != "a\nb" {
		t.Fatalf("%v, %v", vars, err)
	}
	list, err := gentoo.ParseMergeList("[ebuild  N     ] lab/a-1::lab 0 KiB\n[ebuild  N     ] lab/b-1 0 KiB\n" +
		"[ebuild  N     ] lab/c-1::lab to /mnt/ 0 KiB\n")
	if err != nil {
		t.Fatal(err)
	}
	got, err := queryFacts(t.Context(), tl, list.Builds())
	if err != nil {
		t.Fatal(err)
	}
	f := got[gentoo.CPV{Category: "lab", Name: "a", Version: "1"}]
	if len(got) != 1 || f.Slot != "0" || !slices.Equal(f.Use, []string{"x"}) || len(f.Distfiles) != 1 || f.Distfiles[0].BLAKE2B != "cd" {
		t.Errorf("%+v", got)
	}
	if asked := m.read("asked"); asked != "CHOST CFLAGS lab/a-1::lab\n" {
		t.Errorf("asked for %q", asked)
	}
}

// TestPortageFails: whatever keeps Portage from answering is said, with its own words.
func TestPortageFails(t *testing.T) {
	for script, want := range map[string]string{
		"exit 77":                                             "no Python",
		"echo 'KeyError: lab' >&2; exit 1":                    "KeyError: lab",
		"echo 'killed' >&2; kill -9 $$":                       "killed",
		"echo '{\"variables\": 1}'; exec sleep 100":           "cannot unmarshal",
		"echo 'half' >&2; printf '{\"variables\": {'; exit 0": "half",
		"exec yes": "more than 64 MiB",
	} {
		_, tl := portageSaying(t, script)
		if _, err := tl.load(t.Context(), "CHOST"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", script, err, want)
		}
	}
	for script, want := range map[string]string{
		"read -r asked; echo 'KeyError: lab' >&2; exit 1": "KeyError: lab",
		"exit 0":                                 "ends without an answer",
		"read -r asked; echo '{\"cpv\"'; exit 0": "what Portage says of a package",
		"read -r asked; exec yes":                "more than 64 MiB",
	} {
		_, tl := portageSaying(t, saysVariables+script)
		if _, err := tl.load(t.Context(), "CHOST"); err != nil {
			t.Fatal(err)
		}
		list, err := gentoo.ParseMergeList("[ebuild  N     ] lab/a-1::lab 0 KiB\n")
		if err != nil {
			t.Fatal(err)
		}
		if got, err := queryFacts(t.Context(), tl, list.Builds()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v, want %q", script, got, err, want)
		}
	}
}

// TestPortageEnds: what is not asked any more does not stay, and an interrupt does not wait for an answer.
func TestPortageEnds(t *testing.T) {
	_, tl := portageSaying(t, saysVariables+"exec sleep 100")
	if _, err := tl.load(t.Context(), "CHOST"); err != nil {
		t.Fatal(err)
	}
	tl.end()
	if state := tl.portage.cmd.ProcessState; state == nil || state.Success() {
		t.Errorf("it has ended as %v", state)
	}
	tl.end()

	_, tl = portageSaying(t, saysVariables+"exec sleep 100")
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := tl.load(ctx, "CHOST"); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(50*time.Millisecond, cancel)
	if _, err := tl.portage.ask(ctx, []string{"lab/a-1::lab"}); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}
