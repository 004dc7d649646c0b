package client

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"lantage/gentoo"
)

// Bounds of what is looked at for compiler flags: more than anybody writes.
const (
	maxFlagFiles = 20_000
	maxFlagFile  = 1 << 20 // bytes; a larger one is no text of flags
	maxFlagBytes = 64 << 20
	maxParents   = 200 // profiles in the chain of one
)

// flagFile is a file of Portage's configuration in which compiler flags may be.
type flagFile struct {
	name string // as its owner knows it
	path string // without links
	text string
	bash bool     // bash reads it, before each phase of a package
	tops []string // names of the files that are not sourced and lead to it: mostly its own
}

// reach is how a file was found.
type reach struct {
	bash bool
	top  string // "" for one that no other sources
}

// use says for what Portage reads a file: for all packages, or for those that have one of these files in etc/portage/env. Else it
// lies there, as make.conf.old may do.
func (f flagFile) use(root string) (all bool, env []string) {
	for _, top := range f.tops {
		below, inside := strings.CutPrefix(top, filepath.Join(root, "etc/portage")+"/")
		first, rest, _ := strings.Cut(below, "/")
		switch {
		case inside && first == "env":
			env = append(env, rest)
		case !inside, f.bash, strings.HasPrefix(first, "package."), slices.Contains([]string{"make.conf", "make.profile", "profile"}, first):
			all = true
		}
	}
	return all, env
}

// flagFiles finds the files of this machine in which Portage finds compiler flags.
type flagFiles struct {
	root  string // where etc/portage is
	repos []gentoo.Repo

	in       inputs // knows what of etc/portage is no configuration
	list     []flagFile
	bytes    int64
	seen     map[string]bool // by path without links
	profiles map[string]bool
}

// notFlags are the parts of /etc/portage that hold no flags, much of which is large. make.profile has its own way.
var notFlags = []string{"patches", "savedconfig", "gnupg", "repos.conf", "repos", "sets", "sets.conf", "binrepos.conf", "make.profile"}

// findFlagFiles returns them all. What cannot be read is passed over: it is Portage, or the packing of the configuration, that
// has something to say of it.
func findFlagFiles(root string, repos []gentoo.Repo) []flagFile {
	f := &flagFiles{root: root, repos: repos, seen: map[string]bool{}, profiles: map[string]bool{}}
	dir, err := filepath.EvalSymlinks(filepath.Join(root, "etc/portage"))
	if err != nil {
		return nil
	}
	f.in.portage = dir
	for _, r := range repos {
		if location, err := filepath.EvalSymlinks(r.Location); err == nil {
			f.in.repos = append(f.in.repos, location)
		}
	}
	f.add(filepath.Join(root, "etc/portage"), 0, reach{})
	f.add(filepath.Join(root, "etc/make.conf"), 0, reach{})
	f.profile(filepath.Join(root, "etc/portage/make.profile"))
	return f.list
}

// add adds a file, or all below a directory, with what their links lead to and what the files source.
func (f *flagFiles) add(name string, depth int, how reach) {
	path, err := filepath.EvalSymlinks(name)
	if err != nil || f.leftOut(path) || depth > 32 {
		return
	}
	rel, _ := filepath.Rel(f.root, name)
	how.bash = how.bash || strings.Contains(rel, "bashrc") // also bashrc.d, which a bashrc reads
	f.take(name, path, depth, how)
}

// leftOut reports whether a file is a part of /etc/portage in which there are no flags, or none that Portage reads.
func (f *flagFiles) leftOut(path string) bool {
	rel, _ := strings.CutPrefix(path, f.in.portage+"/")
	top, _, _ := strings.Cut(rel, "/")
	return slices.Contains(notFlags, top) || f.in.leftOut(path) != ""
}

func (f *flagFiles) take(name, path string, depth int, how reach) {
	top := cmp.Or(how.top, name)
	if f.seen[path] {
		if i := slices.IndexFunc(f.list, func(l flagFile) bool { return l.path == path }); i >= 0 {
			f.list[i].bash = f.list[i].bash || how.bash
			f.list[i].tops = append(f.list[i].tops, top)
		}
		return
	}
	if len(f.seen) >= maxFlagFiles {
		return
	}
	info, err := os.Stat(path)
	if err != nil {
		return
	}
	f.seen[path] = true
	if info.IsDir() {
		if !f.in.mayFollow(path) { // a link to the middle of somewhere else
			return
		}
		entries, _ := os.ReadDir(path)
		for _, e := range entries {
			if !f.leftOut(filepath.Join(path, e.Name())) { // by the name of a link, too: make.profile
				f.add(filepath.Join(name, e.Name()), depth+1, how)
			}
		}
		return
	}
	if !info.Mode().IsRegular() || info.Size() > maxFlagFile || f.bytes+info.Size() > maxFlagBytes {
		return
	}
	f.bytes += info.Size()
	text, err := os.ReadFile(path)
	if err != nil {
		return
	}
	f.list = append(f.list, flagFile{name, path, string(text), how.bash, []string{top}})
	for _, m := range sourceRE.FindAllSubmatch(text, -1) {
		sourced := string(m[1])
		if !filepath.IsAbs(sourced) {
			sourced = filepath.Join(filepath.Dir(path), sourced)
		}
		f.add(sourced, depth+1, reach{how.bash, top})
	}
}

// sourceRE is a line that has a file read, by a name without variables.
var sourceRE = regexp.MustCompile(`(?m)^[ \t]*(?:source|\.)[ \t]+["']?([^\s"'#;$]+)["']?[ \t]*(?:[#;]|$)`)

// profile adds the files of a profile that hold flags, and those of its parents (portage(5)).
func (f *flagFiles) profile(name string) {
	dir, err := filepath.EvalSymlinks(name)
	if err != nil || f.profiles[dir] || len(f.profiles) >= maxParents {
		return
	}
	f.profiles[dir] = true
	for _, file := range []string{"make.defaults", "profile.bashrc", "bashrc"} {
		if path, err := filepath.EvalSymlinks(filepath.Join(dir, file)); err == nil {
			f.take(filepath.Join(name, file), path, 0, reach{bash: file != "make.defaults"})
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, "parent"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return
	}
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line != "" {
			f.profile(f.parent(dir, line))
		}
	}
}

// parent is the directory that a line of a profile's parent file names: a path, or repository:path, in which the repository
// may be left out where it is the profile's own.
func (f *flagFiles) parent(dir, line string) string {
	name, rest, colon := strings.Cut(line, ":")
	switch {
	case filepath.IsAbs(line):
		return line
	case !colon || strings.Contains(name, "/"):
		return filepath.Join(dir, line)
	}
	for _, r := range f.repos {
		location, err := filepath.EvalSymlinks(r.Location)
		if r.Name == name || name == "" && err == nil && within(dir, location) {
			return filepath.Join(r.Location, "profiles", rest)
		}
	}
	return ""
}
