package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// TestConfigFile: flag, then environment, then file; what cannot be meant is refused.
func TestConfigFile(t *testing.T) {
	for _, c := range []struct {
		file, env string
		args      []string
		want      string // the settings, or part of the error
	}{
		{file: "", want: "[] [] [] 1 1m"},
		{file: "builders = ['tower', '192.0.2.7:9000']\ndomains = ['example.org']", want: "[tower 192.0.2.7:9000] [example.org] [] 1 1m"},
		{file: "[serve]\nmax-jobs = 3\ninterface = ['eth0', 'eth1']", want: "[] [] [eth0 eth1] 3 1m"},
		{file: "[serve]\nmax-jobs = 3", args: []string{"serve", "--max-jobs=4"}, want: "[] [] [] 4 1m"},
		{file: "port = '9'", env: "8", want: "[] [] [] 1 8"},
		{file: "port = '9'", env: "8", args: []string{"--port=7", "serve"}, want: "[] [] [] 1 7"},
		{file: "port = '9'", want: "[] [] [] 1 9"},
		{file: "bilders = ['tower']", want: `unknown key "bilders"; there are`},
		{file: "[serve]\nbuilders = ['tower']", want: `unknown key "builders" in [serve]; there are`},
		{file: "[bilders]\n", want: `unknown key "bilders"`},
		{file: "show-inputs = true", want: `"show-inputs" would have every run do that`},
		{file: "[sync]\nforget = true", want: `"forget" would have every run do that`},
		{file: "builders = ['tower'\n", want: "line 1"},
		{file: "[serve]\nmax-jobs = 'x'", want: "lantage.toml: max-jobs in [serve] is x; it should be a whole number"},
		{file: "[serve]\nmax-jobs = 2.5", want: "max-jobs in [serve] is 2.5; it should be a whole number"},
		{file: "[serve]\njob-time = 5", want: `job-time in [serve] is 5; it should be a time with its unit, such as "90m"`},
		{file: "[serve]\njob-time = '90m'\njob-silence = 0", want: "[] [] [] 1 1m"},
		{file: "[serve]\nlisten = true", want: "listen in [serve] is true; it should be a text in quotation marks"},
		{file: "port = 9", want: "[] [] [] 1 9"},
		{file: "builders = 'tower'", want: "[tower] [] [] 1 1m"},
		{file: "builders = [1]", want: "builders is [1]; it should be a list of texts"},
		{file: "verbose = 1", want: "verbose is 1; it should be true or false"},
		{file: "host = 'tower'", want: `unknown key "host"`},
	} {
		path := filepath.Join(t.TempDir(), "lantage.toml")
		if err := os.WriteFile(path, []byte(c.file), 0o644); err != nil {
			t.Fatal(err)
		}
		if c.env != "" {
			t.Setenv("LANTAGE_PORT", c.env)
		} else {
			os.Unsetenv("LANTAGE_PORT")
		}
		var g cli
		args := c.args
		if args == nil {
			args = []string{"serve"}
		}
		got := ""
		parser, err := newParser(&g, []string{path}, kong.Exit(func(int) {}))
		if err == nil {
			_, err = parser.Parse(args)
		}
		if err != nil {
			got = err.Error()
		} else {
			port := g.Port
			if port == "" {
				port = "1m"
			}
			got = fmt.Sprint(g.Builders, " ", g.Domains, " ", g.Serve.Interface, " ", g.Serve.MaxJobs, " ", port)
		}
		if !strings.Contains(got, c.want) {
			t.Errorf("%q, LANTAGE_PORT=%s, %q: %s, want %s", c.file, c.env, c.args, got, c.want)
		}
	}
}

// TestOneStateDir: what works on the daemon's state directory finds the one that the file gives the daemon.
func TestOneStateDir(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lantage.toml")
	if err := os.WriteFile(path, []byte("[serve]\nstate-dir = '/big/lantage'\n[gc]\nstate-dir = '/old'\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	var g cli
	for command, c := range map[string]struct {
		dir  *string
		want string
	}{
		"serve": {&g.Serve.StateDir, "/big/lantage"}, "pair": {&g.Pair.StateDir, "/big/lantage"}, "doctor": {&g.Doctor.StateDir, "/big/lantage"},
		"trust list": {&g.Trust.StateDir, "/big/lantage"}, "gc": {&g.GC.StateDir, "/old"}, "gc --state-dir=/x": {&g.GC.StateDir, "/x"},
	} {
		parser, err := newParser(&g, []string{path}, kong.Exit(func(int) {}))
		if err == nil {
			_, err = parser.Parse(strings.Fields(command))
		}
		if err != nil || *c.dir != c.want {
			t.Errorf("%s: %q, %v; want %q", command, *c.dir, err, c.want)
		}
	}
}

func TestHelpNamesTheFile(t *testing.T) {
	var out bytes.Buffer
	if err := run(context.Background(), []string{"lantage", "--help"}, &out, &out); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "/etc/lantage/lantage.toml") {
		t.Errorf("%s", &out)
	}
}
