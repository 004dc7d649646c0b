package gentoo

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReadIndex(t *testing.T) {
	f, err := os.Open("testdata/Packages") // written by Portage 3.0.82
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	index, err := ReadIndex(f)
	if err != nil {
		t.Fatal(err)
	}
	if got := index.Header["PROFILE"]; got != "default/linux/amd64/23.0" {
		t.Errorf("PROFILE of the header is %q", got)
	}
	if len(index.Entries) < 8 {
		t.Fatalf("%d entries", len(index.Entries))
	}
	want := IndexEntry{
		CPV: CPV{"lab-misc", "hello", "1.1"}, BuildID: 1, BuildTime: 1795330405, Size: 10240,
		Path: "lab-misc/hello/hello-1.1-1.gpkg.tar", MD5: "fd9db8ffbd50b4f15a6cac75c60e0dde",
		SHA1: "44231e05c8eb9d2d6cf03877638322c809a443a2", Repo: "lab", CHOST: "x86_64-pc-linux-gnu", Slot: "0",
		Use:      []string{"abi_x86_64", "amd64", "elibc_glibc", "kernel_linux", "nls", "shiny"},
		Keywords: "amd64", EAPI: "8",
	}
	if diff := cmp.Diff(want, index.Entries[0]); diff != "" {
		t.Error(diff)
	}
	for _, e := range index.Entries {
		if err := ValidBinpkgPath(e.Path, e.CPV); err != nil {
			t.Error(err)
		}
		if e.Name == "libsub" && (e.Slot != "0" || e.SubSlot != "2") {
			t.Errorf("libsub has slot %s/%s", e.Slot, e.SubSlot)
		}
		if e.Name == "needs-builddep" && e.Depend != "lab-misc/hello" {
			t.Errorf("DEPEND is %q", e.Depend)
		}
	}
}

func TestReadIndexForms(t *testing.T) {
	const head = "CHOST: x\nrepository: inherited\n\n"
	const stanzas = "CPV: a/b-1\n\n\nDESC: no cpv\n\nCPV: a/c-2\nCHOST: y\nREPO: r\njunk"
	index, err := ReadIndex(strings.NewReader(head + stanzas))
	if err != nil {
		t.Fatal(err)
	}
	want := []IndexEntry{
		{CPV: CPV{"a", "b", "1"}, Path: "a/b-1.tbz2", Repo: "inherited", CHOST: "x", Slot: "0", Use: []string{}},
		{CPV: CPV{"a", "c", "2"}, Path: "a/c-2.tbz2", Repo: "r", CHOST: "y", Slot: "0", Use: []string{}},
	}
	if diff := cmp.Diff(want, index.Entries); diff != "" {
		t.Error(diff)
	}
	if index, err := ReadIndex(strings.NewReader("")); err != nil || len(index.Entries) != 0 {
		t.Errorf("an empty index: %+v, %v", index, err)
	}
	for _, stanza := range []string{
		"CPV: ../x-1", "CPV: a/b", "CPV: a/b-1\nPATH: ../../etc/passwd", "CPV: a/b-1\nPATH: /etc/passwd",
		"CPV: a/b-1\nPATH: a/../../b", "CPV: a/b-1\nSIZE: -1", "CPV: a/b-1\nSIZE: many",
		"CPV: a/b-1\nBUILD_ID: 99999999999",
		"CPV: a/b-1\nDESC: " + strings.Repeat("x", maxIndexLine),
	} {
		if index, err := ReadIndex(strings.NewReader(head + stanza + "\n\n")); err == nil {
			t.Errorf("%.50q gives %+v", stanza, index.Entries)
		}
	}
}

func FuzzReadIndex(f *testing.F) {
	if data, err := os.ReadFile("testdata/Packages"); err == nil {
		f.Add(string(data))
	}
	f.Add("A: b\n\nCPV: a/b-1\nPATH: ..\n")
	f.Fuzz(func(t *testing.T, text string) {
		index, err := ReadIndex(strings.NewReader(text))
		if err != nil {
			return
		}
		for _, e := range index.Entries {
			if _, err := ParseCPV(e.String()); err != nil || strings.HasPrefix(e.Path, "/") ||
				strings.Contains("/"+e.Path+"/", "/../") {
				t.Errorf("%q: %s, %v", text, fmt.Sprint(e), err)
			}
		}
	})
}
