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
		{file: "[serve]\nmax-jobs = 'x'", want: "--max-jobs"},
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

func TestHelpNamesTheFile(t *testing.T) {
	var out bytes.Buffer
	if err := run(context.Background(), []string{"lantage", "--help"}, &out, &out); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "/etc/lantage/lantage.toml") {
		t.Errorf("%s", &out)
	}
}
