package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/alecthomas/kong"

	"lantage/client"
)

// configFiles are the configuration files in the order in which they are read; what a later one says counts.
func configFiles() []string {
	files := []string{client.ConfigFile}
	if dir, err := os.UserConfigDir(); err == nil && os.Geteuid() != 0 {
		files = append(files, filepath.Join(dir, "lantage", filepath.Base(client.ConfigFile)))
	}
	return files
}

// settings are a configuration file's: a key for each long flag, and a table for each command with the keys
// of that command's flags. The command line wins over the environment, and the environment over the file.
type settings struct {
	file   string
	values map[string]any
}

// readSettings is the kong.ConfigurationLoader of our files.
func readSettings(r io.Reader) (kong.Resolver, error) {
	s := settings{values: map[string]any{}}
	if f, ok := r.(*os.File); ok {
		s.file = f.Name()
	}
	_, err := toml.NewDecoder(r).Decode(&s.values)
	return s, err
}

// Validate refuses keys that no flag has: a key that is silently without effect is a trap. So is one that turns each run of a
// command into another act, such as show-inputs: flags like that have the tag "act".
func (s settings) Validate(app *kong.Application) error {
	if err := checkKeys(s.values, "", app.Node); err != nil {
		return fmt.Errorf("%s: %w", s.file, err)
	}
	return nil
}

func checkKeys(values map[string]any, table string, node *kong.Node) error {
	tables := map[string]*kong.Node{}
	var known, acts []string
	for _, f := range node.Flags {
		switch {
		case f.Tag.Has("act"):
			acts = append(acts, f.Name)
		case f.Name != "help":
			known = append(known, f.Name)
		}
	}
	for _, c := range node.Children {
		if len(c.Flags) > 0 && !c.Hidden {
			tables[c.Name] = c
		}
	}
	for key, value := range values {
		inner, isTable := value.(map[string]any)
		switch {
		case !isTable && slices.Contains(known, key):
		case isTable && tables[key] != nil:
			if err := checkKeys(inner, key, tables[key]); err != nil {
				return err
			}
		case !isTable && slices.Contains(acts, key):
			return fmt.Errorf("%q would have every run do that; it can only be said on the command line", key)
		default:
			for name := range tables {
				known = append(known, "["+name+"]")
			}
			slices.Sort(known)
			if table != "" {
				table = " in [" + table + "]"
			}
			return fmt.Errorf("unknown key %q%s; there are %s", key, table, strings.Join(known, ", "))
		}
	}
	return nil
}

// Resolve returns what the file says of a flag.
func (s settings) Resolve(_ *kong.Context, parent *kong.Path, flag *kong.Flag) (any, error) {
	for _, name := range flag.Envs {
		if _, set := os.LookupEnv(name); set {
			return nil, nil
		}
	}
	values := s.values
	if parent.Command != nil {
		values, _ = values[parent.Command.Name].(map[string]any)
	}
	return values[flag.Name], nil
}
