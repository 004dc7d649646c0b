package gentoo

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Profile names a profile without saying where a repository lies: "gentoo:default/linux/amd64/23.0". That
// is also how a make.profile/parent file writes it.
type Profile struct {
	Repo string // name of the repository
	Path string // below its profiles directory
}

// String returns "repository:path".
func (p Profile) String() string { return p.Repo + ":" + p.Path }

// ErrNoProfile is the error of ProfileParents where make.profile does not exist.
var ErrNoProfile = errors.New("no profile is selected")

const selectProfile = "choose one with `eselect profile list` and `eselect profile set`"

// ProfileParents returns the profiles that etcPortage/make.profile stands for (portage(5)): one where it is a link into the
// profiles directory of one of repos, one for each line of its parent file where it is a directory of its own.
//
// Such a directory is a profile itself and may hold more than its parents; it travels with the rest of /etc/portage, so only
// its parent file has to be free of paths of this machine.
func ProfileParents(etcPortage string, repos []Repo) ([]Profile, error) {
	link := filepath.Join(etcPortage, "make.profile")
	info, err := os.Lstat(link)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s does not exist; %s", ErrNoProfile, link, selectProfile)
	}
	if err != nil {
		return nil, err
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		target, err := os.Readlink(link)
		if err != nil {
			return nil, err
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(etcPortage, target)
		}
		profile, err := profileOf(target, repos)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", link, err)
		}
		return []Profile{profile}, nil
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("%s is neither a link nor a directory; %s", link, selectProfile)
	}
	return readParents(link, repos)
}

// readParents reads the parent file of a make.profile directory.
func readParents(dir string, repos []Repo) ([]Profile, error) {
	file := filepath.Join(dir, "parent")
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("%s is a directory without a readable parent file: %w", dir, err)
	}
	var parents []Profile
	for line := range strings.Lines(string(data)) {
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		profile, err := parentLine(dir, line, repos)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		parents = append(parents, profile)
	}
	if len(parents) == 0 {
		return nil, fmt.Errorf("%s names no profile", file)
	}
	return parents, nil
}

func parentLine(dir, line string, repos []Repo) (Profile, error) {
	name, rest, hasColon := strings.Cut(line, ":")
	if !hasColon || strings.Contains(name, "/") {
		if !filepath.IsAbs(line) {
			line = filepath.Join(dir, line)
		}
		return profileOf(line, repos)
	}
	for _, r := range repos {
		if r.Name == name {
			return profileOf(filepath.Join(r.Location, "profiles", rest), repos)
		}
	}
	return Profile{}, fmt.Errorf("there is no repository %q (in %q)", Printable(name), Printable(line))
}

// profileOf finds the repository that holds a profile directory. Links on the way are followed, since
// Portage does.
func profileOf(dir string, repos []Repo) (Profile, error) {
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return Profile{}, fmt.Errorf("the profile %s cannot be found (%w); is its repository synced? If so, %s",
			dir, err, selectProfile)
	}
	if info, err := os.Stat(real); err != nil || !info.IsDir() {
		return Profile{}, fmt.Errorf("%s is not a profile directory; %s", dir, selectProfile)
	}
	best, bestRoot := Profile{}, ""
	for _, r := range repos {
		root, err := filepath.EvalSymlinks(filepath.Join(r.Location, "profiles"))
		if err != nil || len(root) <= len(bestRoot) {
			continue // not there, or a repository around the one already found
		}
		if rel, ok := strings.CutPrefix(real, root+"/"); ok {
			best, bestRoot = Profile{r.Name, rel}, root
		}
	}
	if best.Repo == "" {
		return Profile{}, fmt.Errorf("the profile %s is in no repository of repos.conf", dir)
	}
	return best, nil
}
