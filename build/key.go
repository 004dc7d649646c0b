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

// settingsKey computes the key of a job from its own settings and from the repositories as they are on this builder.
func settingsKey(ctx context.Context, job Job, base, settings string, repos []repoOnBuilder) (string, error) {
	sum := sha256.New()
	fmt.Fprintf(sum, "3\n%q %q %q %s\n", base, job.Profile.Repo, job.Profile.Path, settings)
	for _, r := range repos {
		state, err := r.keyOf(ctx, job)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(sum, "repo %q %q %q\n", r.Name, r.Location, state)
	}
	return fmt.Sprintf("%x", sum.Sum(nil)[:16]), nil
}

// jobSettings is the part of the key that a job brings along, as it came: its build root adds to the files.
func jobSettings(job Job) (string, error) {
	sum := sha256.New()
	hashEnv(sum, job)
	if err := hashConfig(sum, filepath.Join(job.Inputs, insideConfig)); err != nil {
		return "", err
	}
	if err := hashResolved(sum, job.Inputs); err != nil {
		return "", err
	}
	return fmt.Sprintf("%x", sum.Sum(nil)), nil
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
	used, err := usedVariables(dir)
	if err != nil {
		return err
	}
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
			data = []byte(strings.Join(statements(string(data), used), "\n"))
		}
		fmt.Fprintf(sum, "file %q %x\n", p, sha256.Sum256(data))
		return err
	})
}

// usedVariable is the use of a variable in a make.conf, in a file of env/ or in a script.
var usedVariable = regexp.MustCompile(`\$\{?[!#]?([A-Za-z_][A-Za-z0-9_]*)`)

// usedVariables are those that anything below an etc/portage uses: NINJAOPTS="${MAKEOPTS}" makes the builder's variable matter.
func usedVariables(dir string) (map[string]bool, error) {
	used := map[string]bool{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(p string, d fs.DirEntry, err error) error {
		if p == "." && errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(filepath.Join(dir, p))
		for _, m := range usedVariable.FindAllSubmatch(data, -1) {
			used[string(m[1])] = true
		}
		return err
	})
	return used, err
}

// plainStatement is a statement of a make.conf that Portage (portage.util.getconfig, which uses Python's shlex) reads as one
// assignment of this value, or a comment, and as nothing else, with what follows to the end of the line. An unquoted value is of
// characters that are parts of words there: "=" ends a word.
var plainStatement = regexp.MustCompile(
	`^[ \t]*(?:(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)=("[^"\\]*"|'[^'\\]*'|[A-Za-z0-9_./:+,@%-]+))?[ \t]*(?:#[^\n]*)?(?:\n|$)`)

// readAsWritten are the characters with which a text has the same lines for Portage as for us: Python ends them at others, too.
var readAsWritten = regexp.MustCompile(`^[\t\n -~]*$`)

// statements are those of a make.conf (make.conf(5)) that change how a package is built. Who could have one left out that Portage
// acts on would fill the PKGDIR that others are answered from: comments, and assignments of variables that change no build and
// that nothing uses, are left out only of a text that has plain statements alone. Any other is one statement.
func statements(text string, used map[string]bool) []string {
	whole := []string{text}
	if !readAsWritten.MatchString(text) {
		return whole
	}
	var list []string
	for rest := text; rest != ""; {
		m := plainStatement.FindStringSubmatch(rest)
		if m == nil {
			return whole
		}
		rest = rest[len(m[0]):]
		name, value := m[1], m[2]
		if strings.Trim(value, `"'`) == "source" || name == "export" { // commands, wherever they stand
			return whole
		}
		if name != "" && (used[name] || gentoo.ChangesBuild(name)) {
			list = append(list, name+"="+value)
		}
	}
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
