package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

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
		case f.Name != "help" && f.Name != "host": // which is the environment's, and builders the file's
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

// Resolve returns what the file says of a flag. Those commands that work on a builder's state directory have it from the table of
// serve, too, so that it is said once.
func (s settings) Resolve(_ *kong.Context, parent *kong.Path, flag *kong.Flag) (any, error) {
	for _, name := range flag.Envs {
		if _, set := os.LookupEnv(name); set {
			return nil, nil
		}
	}
	values, table := s.values, ""
	if parent.Command != nil {
		table = parent.Command.Name
		values = s.table(table)
	}
	value := values[flag.Name]
	if value == nil && flag.Name == "state-dir" {
		table, value = "serve", s.table("serve")[flag.Name]
	}
	if value == nil {
		return nil, nil
	}
	checked, want := settingFor(flag.Target.Type(), value)
	if want != "" {
		key := flag.Name
		if table != "" {
			key += " in [" + table + "]"
		}
		return nil, &settingError{fmt.Sprintf("%s: %s is %v; it should be %s", s.file, key, value, want)}
	}
	return checked, nil
}

func (s settings) table(name string) map[string]any {
	values, _ := s.values[name].(map[string]any)
	return values
}

// A settingError is about a configuration file and not about the command line.
type settingError struct{ text string }

func (e *settingError) Error() string { return e.text }

// settingFor makes a value of a file fit for a flag of this type, or says what it should be.
func settingFor(t reflect.Type, value any) (fit any, want string) {
	text, isText := value.(string)
	number, isNumber := value.(int64)
	switch {
	case t == reflect.TypeFor[time.Duration]():
		if _, err := time.ParseDuration(text); err != nil && value != int64(0) {
			return nil, `a time with its unit, such as "90m"`
		}
	case t.Kind() == reflect.Bool:
		if _, ok := value.(bool); !ok {
			return nil, "true or false"
		}
	case t.Kind() == reflect.String && isNumber: // a port, or a name of digits
		return strconv.FormatInt(number, 10), ""
	case t.Kind() == reflect.String && !isText:
		return nil, "a text in quotation marks"
	case t.Kind() == reflect.Slice:
		list, isList := value.([]any)
		if !isList {
			list = []any{value}
		}
		for _, one := range list {
			if _, ok := one.(string); !ok {
				return nil, `a list of texts, such as ["one", "two"]`
			}
		}
	case t.Kind() == reflect.Int || t.Kind() == reflect.Int64:
		if !isNumber {
			return nil, "a whole number"
		}
	}
	return value, ""
}
