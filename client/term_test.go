package client

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWrapped(t *testing.T) {
	const long = "Builder: tower (10.77.0.1), 2 cores, load 0.32, no job running (the one that is known); base client"
	for _, c := range []struct {
		text  string
		width int
		want  string
	}{
		{long, 0, long},
		{long, 200, long},
		{long, 80, "Builder: tower (10.77.0.1), 2 cores, load 0.32, no job running (the one that is\n  known); base client"},
		{long, 40, "Builder: tower (10.77.0.1), 2 cores,\n  load 0.32, no job running (the one\n  that is known); base client"},
		{"one\ntwo three\n", 5, "one\ntwo\n  three\n"},
		{"\n  tar -xzf a.tar.gz -C /var/cache/binpkgs", 10, "\n  tar -xzf a.tar.gz -C /var/cache/binpkgs"},
		{"a-word-that-is-too-long", 10, "a-word-that-is-too-long"},
		{"a a-word-that-is-too-long b", 10, "a\n  a-word-that-is-too-long\n  b"},
		{"fünf föhn", 9, "fünf föhn"},
		{"x", 1, "x"},
		{"", 1, ""},
		{"x y", 1, "x\n  y"},
	} {
		if diff := cmp.Diff(c.want, wrapped(c.text, c.width)); diff != "" {
			t.Errorf("%d columns (-want +got):\n%s", c.width, diff)
		}
		if got := strings.Fields(wrapped(c.text, c.width)); !cmp.Equal(got, strings.Fields(c.text)) && len(c.text) > 0 {
			t.Errorf("%d columns: other words: %q", c.width, got)
		}
	}
}

// What emerge says fits the terminal; in a pipe a line stays a line.
func TestSayFits(t *testing.T) {
	const text = "tower (10.77.0.1): it declines this job: the client's gcc does not run here."
	for _, terminal := range []bool{false, true} {
		var out, err buffer
		e := &Emerge{Stdout: &out, Stderr: &err, Environ: []string{"COLUMNS=60"}, terminal: func(any) bool { return terminal }}
		e.say("%s", text)
		e.warn("%s", text)
		want := text + "\n"
		if terminal {
			want = "tower (10.77.0.1): it declines this job: the client's gcc\n  does not run here.\n"
		}
		if out.String() != want || err.String() != want {
			t.Errorf("terminal %v: %q and %q", terminal, out.String(), err.String())
		}
	}
}
