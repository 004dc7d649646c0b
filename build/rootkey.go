package build

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"slices"
	"strings"

	"lantage/gentoo"
)

// rootReader reads the list of a client's root once, for what a job must know of it: which ebuilds are there, and the build
// settings key. Of the root it hashes what changes a build: the configuration, the environment that packages install for
// others (env.d), the repositories with all their files, and which builds of which packages are installed, which stands
// for all that packages have put into /usr.
type rootReader struct {
	repos []gentoo.Repo
	want  map[string]Package // by the path of the ebuild

	found map[Package]bool
	sum   hash.Hash
}

func (r *rootReader) visit(f RootFile) error {
	if r.found == nil {
		r.found = make(map[Package]bool)
	}
	if r.sum == nil {
		r.sum = sha256.New()
	}
	if p, ok := r.want[f.Path]; ok {
		r.found[p] = true
	}
	if r.counts(f.Path) {
		fmt.Fprintf(r.sum, "%q %x %q\n", f.Path, f.Sum, f.Target)
	}
	return nil
}

// counts reports whether a file is part of the key.
func (r *rootReader) counts(p string) bool {
	if rest, ok := strings.CutPrefix(p, "etc/portage/"); ok {
		top, _, _ := strings.Cut(rest, "/")
		return !checkedByPortage[top] && top != "sets" && top != "sets.conf" // this PKGDIR is the client's alone
	}
	if rest, ok := strings.CutPrefix(p, "var/db/pkg/"); ok {
		parts := strings.Split(rest, "/")
		return len(parts) == 3 && parts[2] == "BUILD_TIME"
	}
	return strings.HasPrefix(p, "etc/env.d/") || p == "etc/make.conf" || slices.ContainsFunc(r.repos, func(repo gentoo.Repo) bool {
		return strings.HasPrefix(p, below(repo.Location)+"/")
	})
}

// key is the build settings key of a job on this root.
func (r *rootReader) key(job Job) (string, error) {
	if r.sum == nil {
		r.sum = sha256.New()
	}
	hashEnv(r.sum, job)
	fmt.Fprintf(r.sum, "host name %q\n", job.HostName)
	if err := hashResolved(r.sum, job.Inputs); err != nil {
		return "", err
	}
	return fmt.Sprintf("%x", r.sum.Sum(nil)[:16]), nil
}
