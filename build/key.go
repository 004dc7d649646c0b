package build

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"lantage/gentoo"
)

// The build settings key names the PKGDIR of a job. It is a hash of everything that changes what is built
// and that Portage does not check by itself when it reuses a binpkg: it checks USE flags and dependencies
// only. The builder computes it from what it will really build with, never from what a client says: clients
// with equal keys share binpkgs.

// checkedByPortage are the parts of /etc/portage that change which packages are built and with which USE
// flags, not how. Other parts, repos.conf for instance, can lead to files anywhere.
var checkedByPortage = map[string]bool{
	"binrepos.conf": true, "package.accept_keywords": true, "package.accept_restrict": true,
	"package.keywords": true, "package.license": true, "package.mask": true, "package.properties": true,
	"package.unmask": true,
	"package.use":    true,
}

// settingsKey computes the key of a job from its inputs and from the repositories as they are on this
// builder.
func settingsKey(ctx context.Context, job Job, base string, repos []repoOnBuilder) (string, error) {
	sum := sha256.New()
	fmt.Fprintf(sum, "2\n%q %q %q\n", base, job.Profile.Repo, job.Profile.Path)
	hashEnv(sum, job)
	for _, r := range repos {
		state, err := r.keyOf(ctx, job)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(sum, "repo %q %q %q\n", r.Name, r.Location, state)
	}
	if err := hashConfig(sum, filepath.Join(job.Inputs, insideConfig)); err != nil {
		return "", err
	}
	if err := hashResolved(sum, job.Inputs); err != nil {
		return "", err
	}
	return fmt.Sprintf("%x", sum.Sum(nil)[:16]), nil
}

// hashEnv hashes what matters of a client's environment and command line.
func hashEnv(sum hash.Hash, job Job) {
	for _, v := range slices.Sorted(slices.Values(job.Env)) {
		if name, _, _ := strings.Cut(v, "="); gentoo.ChangesBuild(name) {
			fmt.Fprintf(sum, "env %q\n", v)
		}
	}
	for _, name := range slices.Sorted(slices.Values(job.Clear)) {
		fmt.Fprintf(sum, "clear %q\n", name)
	}
	if job.Nodeps {
		fmt.Fprintln(sum, "nodeps")
	}
}

// hashConfig hashes the files below an etc/portage that matter, in order of their names.
func hashConfig(sum hash.Hash, dir string) error {
	return fs.WalkDir(os.DirFS(dir), ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			if p == "." && errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		}
		top, _, _ := strings.Cut(p, "/")
		switch {
		case checkedByPortage[top] && d.IsDir():
			return fs.SkipDir
		case checkedByPortage[top] || d.IsDir():
			return nil
		case p == "make.profile": // a link, which is made anew
			return nil
		case d.Type() == fs.ModeSymlink:
			target, err := os.Readlink(filepath.Join(dir, p))
			fmt.Fprintf(sum, "link %q %q\n", p, target)
			return err
		}
		data, err := os.ReadFile(filepath.Join(dir, p))
		if top == "make.conf" {
			data = []byte(strings.Join(statements(string(data)), "\n"))
		}
		fmt.Fprintf(sum, "file %q %x\n", p, sha256.Sum256(data))
		return err
	})
}

// plainAssignment is a statement that Portage cannot read as more than the assignment of one variable.
var plainAssignment = regexp.MustCompile(`^(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)=(?:"[^"\\]*"|'[^'\\]*'|[^\s"'#\\]*)$`)

// statements splits a make.conf (make.conf(5): shell assignments and source lines) into its statements,
// without comments and without those that do not change how a package is built. What is more than a plain assignment stays, as
// does a variable that another statement may use.
func statements(text string) []string {
	var list []string
	var b strings.Builder
	end := func() {
		s := strings.TrimSpace(b.String())
		m := plainAssignment.FindStringSubmatch(s)
		if s != "" && (m == nil || strings.Contains(text, "$"+m[1]) || strings.Contains(text, "${"+m[1]) || gentoo.ChangesBuild(m[1])) {
			list = append(list, s)
		}
		b.Reset()
	}
	var quote, last rune
	comment := false
	for _, r := range text {
		switch {
		case comment && r != '\n':
			continue
		case last == '\\' && quote != '\'':
			b.WriteRune(r)
			last = 0
			continue
		case quote != 0:
			if r == quote {
				quote = 0
			}
		case r == '"' || r == '\'':
			quote = r
		case r == '#' && (last == 0 || last == '\n' || last == ' ' || last == '\t'):
			comment = true
			continue
		case r == '\n':
			comment = false
			end()
		}
		b.WriteRune(r)
		last = r
	}
	end()
	return list
}

// keyLocks lets one job at a time use a PKGDIR: the second of two equal jobs then finds what the first has
// built.
type keyLocks struct {
	mu   sync.Mutex
	held map[string]chan struct{} // closed when released
}

// lock waits for key until done is closed; ok says whether it got it, and waited whether another had it.
func (k *keyLocks) lock(key string, done <-chan struct{}) (unlock func(), waited, ok bool) {
	for ; ; waited = true {
		k.mu.Lock()
		busy := k.held[key]
		if busy == nil {
			if k.held == nil {
				k.held = make(map[string]chan struct{})
			}
			mine := make(chan struct{})
			k.held[key] = mine
			k.mu.Unlock()
			return func() {
				k.mu.Lock()
				delete(k.held, key)
				k.mu.Unlock()
				close(mine)
			}, waited, true
		}
		k.mu.Unlock()
		select {
		case <-busy:
		case <-done:
			return nil, true, false
		}
	}
}
