package gentoo

import (
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// RepoRevision says which state the ebuild repository in dir is in, in words that are equal on two machines exactly
// where the repositories are: its synchronisation stamp, else its git commit, else a hash over the names and contents of
// its files.
func RepoRevision(dir string) (string, error) {
	for _, f := range []string{"metadata/timestamp.commit", "metadata/timestamp.chk"} {
		if b, err := os.ReadFile(filepath.Join(dir, f)); err == nil {
			return strings.TrimSpace(string(b)), nil
		}
	}
	if commit, ok := gitHead(filepath.Join(dir, ".git")); ok {
		return commit, nil
	}
	sum := sha256.New()
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		fmt.Fprintf(sum, "%q %v\n", p[len(dir):], d.Type())
		if !d.Type().IsRegular() {
			return nil
		}
		f, err := os.Open(p)
		if err != nil {
			return err
		}
		defer f.Close()
		content := sha256.New()
		if _, err := io.Copy(content, f); err != nil {
			return err
		}
		fmt.Fprintf(sum, "%x\n", content.Sum(nil))
		return nil
	})
	return fmt.Sprintf("%x", sum.Sum(nil)), err
}

// gitHead reads the commit that a repository is at (gitrepository-layout(5)).
func gitHead(dir string) (string, bool) {
	head, err := os.ReadFile(filepath.Join(dir, "HEAD"))
	if err != nil {
		return "", false
	}
	ref, isRef := strings.CutPrefix(strings.TrimSpace(string(head)), "ref: ")
	if !isRef {
		return ref, true
	}
	if b, err := os.ReadFile(filepath.Join(dir, path.Clean("/"+ref))); err == nil {
		return strings.TrimSpace(string(b)), true
	}
	packed, _ := os.ReadFile(filepath.Join(dir, "packed-refs"))
	for line := range strings.Lines(string(packed)) {
		if commit, name, ok := strings.Cut(strings.TrimSpace(line), " "); ok && name == ref {
			return commit, true
		}
	}
	return "", false
}
