package gentoo

import (
	"bufio"
	"fmt"
	"path"
	"strconv"
	"strings"
)

// Repo is one ebuild repository of a machine, from repos.conf; portage(5).
type Repo struct {
	Name     string
	Location string   // absolute path on that machine
	Masters  []string // names of the repositories that it builds on
	Priority int
	Main     bool   // the one that repos.conf calls main-repo
	SyncType string // rsync, git, …; empty where it is not synced
	SyncURI  string
}

// ParseReposConfig reads the output of `portageq repos_config /`, or PORTAGE_REPOSITORIES: every repository with all defaults filled
// in, in the ini form of repos.conf. Repositories come in the order of the text. An empty text is no error
// and has none.
func ParseReposConfig(text string) ([]Repo, error) {
	var repos []Repo
	mainRepo, section := "", ""
	lines := bufio.NewScanner(strings.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' || line[0] == ';' {
			continue
		}
		if name, ok := strings.CutPrefix(line, "["); ok {
			section, ok = strings.CutSuffix(name, "]")
			if !ok || section != "DEFAULT" && !ValidRepoName(section) {
				return nil, fmt.Errorf("repos.conf, line %d: %q is not a repository", n, Printable(line))
			}
			if section != "DEFAULT" {
				repos = append(repos, Repo{Name: section})
			}
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok || section == "" {
			return nil, fmt.Errorf("repos.conf, line %d: %q is not key = value", n, Printable(line))
		}
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		if section == "DEFAULT" {
			if key == "main-repo" {
				mainRepo = value
			}
			continue
		}
		if err := repos[len(repos)-1].set(key, value); err != nil {
			return nil, fmt.Errorf("repos.conf, line %d, repository %s: %w", n, section, err)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("repos.conf: %w", err)
	}
	for i := range repos {
		repos[i].Main = repos[i].Name == mainRepo
		if repos[i].Location == "" {
			return nil, fmt.Errorf("repos.conf: repository %s has no location", repos[i].Name)
		}
	}
	return repos, nil
}

func (r *Repo) set(key, value string) error {
	switch key {
	case "location":
		if !path.IsAbs(value) {
			return fmt.Errorf("location %q is not an absolute path", Printable(value))
		}
		r.Location = path.Clean(value)
	case "masters":
		r.Masters = strings.Fields(value)
	case "priority":
		n, err := strconv.Atoi(value)
		if err != nil {
			return fmt.Errorf("priority %q is not a number", Printable(value))
		}
		r.Priority = n
	case "sync-type":
		r.SyncType = value
	case "sync-uri":
		r.SyncURI = value
	}
	return nil
}
