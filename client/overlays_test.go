package client

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lantage/archive"
	"lantage/gentoo"
	"lantage/wire"
)

// packed are the bytes of the inputs.
func packed(t *testing.T, in inputs) []byte {
	t.Helper()
	in.warn = t.Logf
	file, size, err := in.pack(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	data, err := io.ReadAll(io.NewSectionReader(file, 0, size))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// members are the files of inputs, with their contents, and its links, with "-> " and where they lead.
func members(t *testing.T, data []byte) map[string]string {
	t.Helper()
	got := map[string]string{}
	r := archive.NewReader(bytes.NewReader(data), archive.Limits{})
	for {
		h, err := r.Next()
		if err == io.EOF {
			return got
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, twice := got[h.Name]; twice {
			t.Errorf("%s is there twice", h.Name)
		}
		switch h.Typeflag {
		case tar.TypeReg:
			b, _ := io.ReadAll(r)
			got[h.Name] = string(b)
		case tar.TypeSymlink:
			got[h.Name] = "-> " + h.Linkname
		}
	}
}

// TestInputsAreTheSame: the same configuration is the same bytes, whatever order its files were made in, when, and by whom.
func TestInputsAreTheSame(t *testing.T) {
	names := []string{
		"etc/portage/package.use/a", "etc/portage/package.use/b", "etc/portage/patches/a/b/1.patch", "etc/portage/bashrc",
		"repo/shared/x", "mine/a/b/b-1.ebuild", "mine/profiles/repo_name",
	}
	pack := func(order []string, when time.Time, owner int) []byte {
		m := newMachine(t)
		for _, name := range order {
			m.write(name, "of "+name)
		}
		link(t, "../../../repo/shared", m.path("etc/portage/patches/more"))
		for _, name := range order {
			if err := errors.Join(os.Chtimes(m.path(name), when, when), os.Lchown(m.path(name), owner, owner)); err != nil {
				t.Fatal(err)
			}
		}
		return packed(t, inputs{root: m.dir, repos: []string{m.path("repo")}, overlays: []overlay{{"mine", m.path("mine")}}})
	}
	first := pack(names, time.Unix(1e9, 5), 0)
	slices.Reverse(names)
	second := pack(names, time.Unix(1.5e9, 0), 1000)
	if !bytes.Equal(first, second) {
		t.Errorf("the inputs differ (-first +second):\n%s", cmp.Diff(members(t, first), members(t, second)))
	}
	if len(members(t, first)) < len(names) {
		t.Errorf("files are missing: %v", members(t, first))
	}
}

// TestProfileDirectory: a make.profile that is a directory travels, with parents that mean the same elsewhere.
func TestProfileDirectory(t *testing.T) {
	m := newMachine(t)
	if err := os.Remove(m.path("etc/portage/make.profile")); err != nil {
		t.Fatal(err)
	}
	m.write("etc/portage/make.profile/parent", m.path("repo/profiles/default")+"\nlab:extra\n")
	m.write("etc/portage/make.profile/make.defaults", "X=1\n")
	m.write("etc/portage/make.profile/package.use/x", "a/b c\n")
	m.write("repo/profiles/extra/eapi", "8\n")
	repos := []gentoo.Repo{{Name: "lab", Location: m.path("repo")}}
	profiles, err := gentoo.ProfileParents(m.path("etc/portage"), repos)
	if err != nil {
		t.Fatal(err)
	}
	got := members(t, packed(t, inputs{root: m.dir, repos: []string{m.path("repo")}, profiles: profiles}))
	want := map[string]string{
		"etc/portage/make.conf":                  "CFLAGS=-O2\n",
		"etc/portage/make.profile/parent":        "lab:default\nlab:extra\n",
		"etc/portage/make.profile/make.defaults": "X=1\n", "etc/portage/make.profile/package.use/x": "a/b c\n",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("inputs (-want +got):\n%s", diff)
	}
	_, msg := (&Emerge{}).newJob(t.Context(), &system{profiles: profiles, repos: repos}, &plan{}, &builder{base: "host"})
	if msg.Profile != (wire.Profile{Repo: "lab", Path: "default"}) || !slices.Equal(msg.Parents, []wire.Profile{{Repo: "lab", Path: "extra"}}) {
		t.Errorf("the job has the profile %v and the parents %v", msg.Profile, msg.Parents)
	}
}

// TestOverlays: a repository goes to the builder if only this machine has it and the plan depends on it, and not otherwise; of
// what does not go the builder's must be in the same state.
func TestOverlays(t *testing.T) {
	m := newMachine(t)
	for name, text := range map[string]string{
		"mine/a/b/b-1.ebuild": "EAPI=8\n", "mine/profiles/repo_name": "mine\n", "mine/.git/config": "secret\n",
		"mine/a/b/b-1.ebuild~": "", "master/eclass/x.eclass": "x\n", "unused/a/b/b-1.ebuild": "EAPI=8\n",
		"synced/a/c/c-1.ebuild": "EAPI=8\n",
	} {
		m.write(name, text)
	}
	link(t, "b-1.ebuild", m.path("mine/a/b/b-2.ebuild"))
	link(t, "/var/db/repos/lab/eclass/y.eclass", m.path("mine/y.eclass"))
	if err := syscall.Mkfifo(m.path("mine/fifo"), 0o644); err != nil {
		t.Fatal(err)
	}
	sys := &system{
		configRoot: m.dir, profiles: []gentoo.Profile{{Repo: "lab", Path: "default"}},
		repos: []gentoo.Repo{
			{Name: "lab", Location: m.path("repo"), Main: true},
			{Name: "mine", Location: m.path("mine"), Masters: []string{"lab", "master"}},
			{Name: "master", Location: m.path("master")},
			{Name: "unused", Location: m.path("unused")},
			{Name: "synced", Location: m.path("synced"), SyncType: "git"},
		},
	}
	p := &plan{send: []gentoo.Package{
		{CPV: gentoo.CPV{Category: "a", Name: "b", Version: "1"}, Repo: "mine"},
		{CPV: gentoo.CPV{Category: "a", Name: "c", Version: "1"}, Repo: "synced"},
	}}
	var out buffer
	e := &Emerge{Stdout: &out, Stderr: &out}
	have := func(e *Emerge, base string) (sent []overlay, states string) {
		sent, msg := e.newJob(t.Context(), sys, p, &builder{base: base})
		for _, r := range msg.Repos {
			word, _, _ := strings.Cut(r.Revision, " ")
			states += " " + r.Name + ":" + word
		}
		return sent, states
	}
	sent, states := have(e, "host")
	if want := []overlay{{"mine", m.path("mine")}, {"master", m.path("master")}}; !slices.Equal(sent, want) {
		t.Errorf("sent are %v, want %v", sent, want)
	}
	if want := " lab:contents mine: master: unused: synced:contents"; states != want {
		t.Errorf("states are%s, want%s", states, want)
	}
	got := members(t, packed(t, inputs{root: m.dir, overlays: sent}))
	want := map[string]string{
		"etc/portage/make.conf": "CFLAGS=-O2\n", "repos/master/eclass/x.eclass": "x\n",
		"repos/mine/a/b/b-1.ebuild": "EAPI=8\n", "repos/mine/a/b/b-2.ebuild": "-> b-1.ebuild", "repos/mine/profiles/repo_name": "mine\n",
		"repos/mine/y.eclass": "-> /var/db/repos/lab/eclass/y.eclass",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("inputs (-want +got):\n%s", diff)
	}

	if sent, states := have(&Emerge{IgnoreRevisions: true}, "/srv/stage3"); len(sent) != 2 || states != " lab: mine: master: unused: synced:" {
		t.Errorf("with --ignore-revisions %v are sent, and the states are%s", sent, states)
	}
	if sent, states := have(e, wire.BaseClient); sent != nil || strings.Contains(states, "contents") {
		t.Errorf("for base client %v are sent, and the states are%s", sent, states)
	}
	if out.String() != "" {
		t.Errorf("it says: %s", out.String())
	}
	link(t, "../../elsewhere", m.path("mine/a/out"))
	sent, states = have(e, "host")
	if len(sent) != 1 || !strings.Contains(states, " mine:contents") {
		t.Errorf("with a link that leads out of it %v are sent, and the states are%s", sent, states)
	}
	wantContains(t, out.String(), "mine is not sent", "a/out leads out of it, to ../../elsewhere")
	if err := os.RemoveAll(m.path("repo")); err != nil {
		t.Fatal(err)
	}
	if _, states := have(e, "host"); !strings.Contains(states, " lab:unknown") {
		t.Errorf("the states are%s", states)
	}
	wantContains(t, out.String(), "The state of the repository lab cannot be told")
}

// TestOverlayBounds: what is too much, or cannot be read, is not sent, and does not take the place of what can.
func TestOverlayBounds(t *testing.T) {
	dir := t.TempDir()
	put := func(name string, size int64) {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		f, err := os.Create(file)
		if err == nil {
			err = errors.Join(f.Truncate(size), f.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	put("half/x", maxOverlayBytes/2+1)
	put("half/.git/x", maxOverlayBytes)
	for i := range maxOverlayFiles + 1 {
		put(fmt.Sprintf("many/%d/%d", i%100, i), 0)
	}
	put("small/x", 1)
	var room overlayRoom
	for _, c := range []struct{ name, why string }{
		{"half", ""}, {"half", "too large"}, {"many", "too many files"}, {"gone", "no such file"}, {"small", ""},
	} {
		err := room.measure(t.Context(), filepath.Join(dir, c.name))
		if (err == nil) != (c.why == "") || err != nil && !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s: %v, want %q", c.name, err, c.why)
		}
	}
	if want := (overlayRoom{files: 2, bytes: maxOverlayBytes/2 + 2}); room != want {
		t.Errorf("taken are %v, want %v", room, want)
	}
}
