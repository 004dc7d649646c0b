package gentoo

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// RepoRevision says which state the ebuild repository in dir is in, as far as it counts for pkgs ("category/name"): in
// words that are equal on two machines where the repositories are.
//
//	commit HASH    git's HEAD, where the files that count are as it has them; or that of which a server made this copy
//	               (metadata/timestamp.commit): the two agree
//	synced DATE    a copy that a server made then (metadata/timestamp.chk)
//	contents HASH  the names, types, execute bits and contents of the files that count
//
// What counts are the packages' own directories and all that packages have in common (commonParts). To look at a whole
// repository would take ten times as long.
func RepoRevision(ctx context.Context, dir string, pkgs []string) (string, error) {
	parts := slices.Concat(commonParts, pkgs)
	slices.Sort(parts)
	parts = slices.Compact(parts)
	if _, err := os.Lstat(filepath.Join(dir, ".git")); err == nil {
		if commit, ok := cleanCommit(ctx, dir, parts); ok {
			return commitWord + commit, nil
		}
	} else if state, ok := syncStamp(dir); ok {
		return state, nil
	}
	return contentsOf(ctx, dir, parts, describing)
}

const (
	commitWord   = "commit "
	syncedWord   = "synced "
	contentsWord = "contents "
)

// commonParts are what the packages of a repository, and of those that have it as a master, are built with.
var commonParts = []string{"eclass", "licenses", "metadata/install-qa-check.d", "metadata/layout.conf", "profiles"}

// describing does not count: it is made by tools, for people, of what the packages say. Some sync it, some do not.
const describing = "profiles/use.local.desc"

var commitRE = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)

// syncStamp reads what a server that made the copy in dir says of it.
func syncStamp(dir string) (state string, ok bool) {
	text, err := os.ReadFile(filepath.Join(dir, "metadata/timestamp.commit")) // HASH, seconds, date
	if fields := strings.Fields(string(text)); err == nil && len(fields) > 0 && commitRE.MatchString(fields[0]) {
		return commitWord + fields[0], true
	}
	text, err = os.ReadFile(filepath.Join(dir, "metadata/timestamp.chk"))
	if date := strings.TrimSpace(Printable(string(text))); err == nil && date != "" {
		line, _, _ := strings.Cut(date, "\n")
		return syncedWord + line[:min(len(line), maxStamp)], true
	}
	return "", false
}

// maxStamp is more than any date has.
const maxStamp = 100

// RepoContents is the state of a whole repository by its contents alone, but for what is below the names in leftOut.
func RepoContents(ctx context.Context, dir string, leftOut ...string) (string, error) {
	return contentsOf(ctx, dir, []string{"."}, leftOut...)
}

// OnlyContents reports whether a state of RepoRevision's stands for no more of a repository than was looked at.
func OnlyContents(state string) bool { return strings.HasPrefix(state, contentsWord) }

// ShortRevision is a state of RepoRevision's as people compare it.
func ShortRevision(state string) string {
	word, rest, ok := strings.Cut(state, " ")
	if ok && word+" " != syncedWord {
		rest = rest[:min(len(rest), 10)]
	}
	return strings.TrimSpace(word + " " + rest)
}

func contentsOf(ctx context.Context, dir string, parts []string, leftOut ...string) (string, error) {
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil { // parts may be missing, a repository may not
		return "", err
	}
	files, err := listParts(ctx, dir, parts, leftOut...)
	if err != nil {
		return "", err
	}
	if err := sumFiles(ctx, dir, files, sha256.New, false); err != nil {
		return "", err
	}
	all := sha256.New()
	for _, f := range files {
		fmt.Fprintf(all, "%q %s %x\n", f.name, f.mode, f.sum)
	}
	return contentsWord + hex.EncodeToString(all.Sum(nil)), nil
}
