package daemon

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lantage/build"
	"lantage/gentoo"
	"lantage/wire"
)

var self = wire.Hello{Name: "tower", CHOST: "x86_64-pc-linux-gnu", Bases: []string{"host"}}

func TestCheckJob(t *testing.T) {
	m := jobOf(1, "a/one-1.2-r3")
	m.Env, m.Base = []string{"USE=a b\nc", "CFLAGS_x86=-O2"}, "host"
	m.Parents, m.Repos[0].Revision = []wire.Profile{{Repo: "gentoo", Path: "x"}}, "commit 01"
	got, err := checkJob(m, self)
	if err != nil {
		t.Fatal(err)
	}
	want := build.Job{
		ID: m.ID, Base: "host", Env: m.Env,
		Parents: []gentoo.Profile{{Repo: "gentoo", Path: "x"}}, Revisions: map[string]string{"gentoo": "commit 01"},
		Profile:  gentoo.Profile{Repo: "gentoo", Path: "default/linux/amd64/23.0"},
		Packages: []build.Package{{CPV: cpv("a/one-1.2-r3"), Repo: "gentoo"}},
		Repos:    []gentoo.Repo{{Name: "gentoo", Location: "/var/db/repos/gentoo"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("job (-want +got):\n%s", diff)
	}
}

// TestCheckJobRefuses breaks one rule at a time. The error must name the field.
func TestCheckJobRefuses(t *testing.T) {
	long := strings.Repeat("x", 2000)
	tests := []struct {
		field string
		spoil func(*wire.Job)
	}{
		{"id", func(m *wire.Job) { m.ID = "" }},
		{"id", func(m *wire.Job) { m.ID = strings.Repeat("A", 32) }},
		{"id", func(m *wire.Job) { m.ID = "../../../../../../../../../../xx" }},
		{"id", func(m *wire.Job) { m.ID += "\n" }},
		{"client", func(m *wire.Job) { m.Client = "" }},
		{"client", func(m *wire.Job) { m.Client = long }},
		{"client", func(m *wire.Job) { m.Client = "a\x1b[2J" }},
		{"client", func(m *wire.Job) { m.Client = "a\nb" }},
		{"chost", func(m *wire.Job) { m.CHOST = "" }},
		{"chost", func(m *wire.Job) { m.CHOST = "x86 64" }},
		{"packages", func(m *wire.Job) { m.Packages = nil }},
		{"packages", func(m *wire.Job) { m.Packages = make([]wire.Package, maxPackages+1) }},
		{"packages[1]", func(m *wire.Job) { m.Packages = append(m.Packages, m.Packages[0]) }},
		{"packages[0]", func(m *wire.Job) { m.Packages[0].CPV = "a/one" }},
		{"packages[0]", func(m *wire.Job) { m.Packages[0].CPV = "--help" }},
		{"packages[0]", func(m *wire.Job) { m.Packages[0].CPV = "=a/one-1" }},
		{"packages[0]", func(m *wire.Job) { m.Packages[0].CPV = "../one-1" }},
		{"packages[0]", func(m *wire.Job) { m.Packages[0].Repo = "other" }},
		{"packages[0]", func(m *wire.Job) { m.Packages[0].Repo = "" }},
		{"profile", func(m *wire.Job) { m.Profile.Repo = "other" }},
		{"profile", func(m *wire.Job) { m.Profile.Path = "" }},
		{"profile", func(m *wire.Job) { m.Profile.Path = "." }},
		{"profile", func(m *wire.Job) { m.Profile.Path = "/etc" }},
		{"profile", func(m *wire.Job) { m.Profile.Path = "../../etc" }},
		{"profile", func(m *wire.Job) { m.Profile.Path = "a/../b" }},
		{"profile", func(m *wire.Job) { m.Profile.Path = "a\x00b" }},
		{"profile", func(m *wire.Job) { m.Profile.Path = long }},
		{"profile", func(m *wire.Job) { m.Parents = []wire.Profile{{Repo: "gentoo", Path: "../x"}} }},
		{"profile", func(m *wire.Job) { m.Parents = []wire.Profile{{Repo: "other", Path: "x"}} }},
		{"parents", func(m *wire.Job) { m.Parents = make([]wire.Profile, maxParents+1) }},
		{"repos[0]", func(m *wire.Job) { m.Repos[0].Revision = "commit \x1b[2J" }},
		{"repos[0]", func(m *wire.Job) { m.Repos[0].Revision = long }},
		{"repos", func(m *wire.Job) { m.Repos = nil }},
		{"repos", func(m *wire.Job) { m.Repos = make([]wire.Repo, maxRepos+1) }},
		{"repos[1]", func(m *wire.Job) { m.Repos = append(m.Repos, m.Repos[0]) }},
		{"repos[0]", func(m *wire.Job) { m.Repos[0].Name = "-x" }},
		{"repos[0]", func(m *wire.Job) { m.Repos[0].Name = "" }},
		{"repos[0]", func(m *wire.Job) { m.Repos[0].Location = "var/db" }},
		{"repos[0]", func(m *wire.Job) { m.Repos[0].Location = "" }},
		{"repos[0]", func(m *wire.Job) { m.Repos[0].Location = "/" }},
		{"repos[0]", func(m *wire.Job) { m.Repos[0].Location = "/var/../etc" }},
		{"repos[0]", func(m *wire.Job) { m.Repos[0].Location = "/var/db/" }},
		{"repos[0]", func(m *wire.Job) { m.Repos[0].Location = "/var/\x1b" }},
		{"repos[0]", func(m *wire.Job) { m.Repos[0].Location = "/" + long }},
		{"env[0]", func(m *wire.Job) { m.Env = []string{"PATH=/x"} }},
		{"env[0]", func(m *wire.Job) { m.Env = []string{"PKGDIR=/x"} }},
		{"env[0]", func(m *wire.Job) { m.Env = []string{"LD_PRELOAD=/x"} }},
		{"env[0]", func(m *wire.Job) { m.Env = []string{"USE"} }},
		{"env[0]", func(m *wire.Job) { m.Env = []string{"=x"} }},
		{"env[0]", func(m *wire.Job) { m.Env = []string{"USE=a\x00b"} }},
		{"env[1]", func(m *wire.Job) { m.Env = []string{"USE=a", "USE=b"} }},
		{"env", func(m *wire.Job) { m.Env = make([]string, maxEnv+1) }},
		{"env", func(m *wire.Job) { m.Env = []string{"USE=" + strings.Repeat("x", maxEnvBytes)} }},
	}
	for i, tt := range tests {
		m := jobOf(1, "a/one-1")
		tt.spoil(&m)
		_, err := checkJob(m, self)
		if !errors.Is(err, &wire.Error{Code: wire.CodeBadRequest}) {
			t.Errorf("%d: %s: error %v, want a bad request", i, tt.field, err)
		} else if !strings.HasPrefix(err.Error(), "the job is refused: "+tt.field) {
			t.Errorf("%d: the error does not name %s: %v", i, tt.field, err)
		} else if len(err.Error()) > 5000 {
			t.Errorf("%d: the error has %d bytes", i, len(err.Error()))
		}
	}
}

func TestCheckJobDeclines(t *testing.T) {
	for want, spoil := range map[string]func(*wire.Job){
		"tower builds for x86_64-pc-linux-gnu and this machine is aarch64-unknown-linux-gnu": func(m *wire.Job) {
			m.CHOST = "aarch64-unknown-linux-gnu"
		},
		`tower does not offer the base "client", but: host`: func(m *wire.Job) { m.Base = "client" },
	} {
		m := jobOf(1, "a/one-1")
		spoil(&m)
		_, err := checkJob(m, self)
		if !errors.Is(err, &wire.Error{Code: wire.CodeDeclined}) || err.Error() != want {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}

// TestLargestJobFits: the largest job that is let in has an end that can be sent, whatever its packages say.
func TestLargestJobFits(t *testing.T) {
	m := jobOf(1)
	for i := range maxPackages {
		name := fmt.Sprintf("a/%0*d-1", maxNames/maxPackages-4, i)
		m.Packages = append(m.Packages, wire.Package{CPV: name, Repo: "gentoo"})
	}
	if _, err := checkJob(m, self); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", "short", strings.Repeat("\x01", 1000)} {
		done := wire.Done{Outcome: wire.OutcomeCancelled, Text: strings.Repeat("\x01", 1<<20)}
		for _, p := range m.Packages {
			done.Packages = append(done.Packages, wire.PackageResult{
				CPV: p.CPV, State: wire.StateSkipped, Phase: head(text, 20), Text: text,
			})
		}
		r := newRig(t, 1)
		p := r.dial()
		if err := p.conn.Send(wire.TypeDone, fitting(done)); err != nil {
			t.Errorf("with the text %.5q: %v", text, err)
		}
		receive(t, p.err)
	}
	m.Packages[0].CPV += "1"
	if _, err := checkJob(m, self); err == nil {
		t.Error("a job with longer names was let in")
	}
	small := fitting(wire.Done{
		Text: "x" + strings.Repeat("y", maxDoneText), Packages: []wire.PackageResult{{Text: "why"}},
	})
	if strings.Contains(small.Text, "x") || small.Packages[0].Text != "why" {
		t.Error("the end of a text is what matters, and what fits is not cut")
	}
}
