package build

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"lantage/gentoo"
)

// Open opens the result's file. It was written by the job, so it is opened below its directory only, never
// through a link, and must still be a regular file.
func (r Result) Open() (*os.File, error) {
	root, err := os.OpenRoot(r.Dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return openRegular(root, r.Path)
}

// results finds the binpkgs of a job in its PKGDIR and says once of each that it is there.
type results struct {
	dir    string // PKGDIR on the builder
	before map[string]bool
	wanted map[gentoo.CPV]bool
	found  map[gentoo.CPV]Result
	trust  func(reused bool) error // whether the base is still what it was when the job began
	emit   func(Event)
	ended  func() error // why nobody waits for results any more
}

func newResults(ctx context.Context, dir string, pkgs []Package, trust func(reused bool) error, emit func(Event)) *results {
	r := &results{
		dir: dir, before: make(map[string]bool), wanted: make(map[gentoo.CPV]bool),
		found: make(map[gentoo.CPV]Result), trust: trust, emit: emit, ended: ctx.Err,
	}
	for _, p := range pkgs {
		r.wanted[p.CPV] = true
		for _, name := range r.instances(p.CPV) {
			r.before[name] = true
		}
	}
	return r
}

// instances lists the binpkgs of a CPV as paths below PKGDIR, the newest BUILD_ID last.
func (r *results) instances(cpv gentoo.CPV) []string { return Instances(r.dir, cpv) }

// Instances lists the binpkgs of a CPV in a PKGDIR as paths below it, by BUILD_ID. With binpkg-multi-instance, which every
// job has, they are category/name/PF-BUILD_ID with the suffix of their format (portage(5), PKGDIR).
func Instances(pkgDir string, cpv gentoo.CPV) []string {
	entries, err := os.ReadDir(filepath.Join(pkgDir, cpv.CP()))
	if err != nil {
		return nil
	}
	ids := map[string]int{}
	var names []string
	for _, e := range entries {
		if id, ok := buildID(e.Name(), cpv.PF()); ok {
			name := path.Join(cpv.CP(), e.Name())
			ids[name] = id
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(a, b string) int { return ids[a] - ids[b] })
	return names
}

// complete reports whether there was a binpkg of every package of the job when it began. Whether emerge would use them, only
// emerge knows.
func (r *results) complete() bool {
	for cpv := range r.wanted {
		if len(r.instances(cpv)) == 0 {
			return false
		}
	}
	return true
}

// instance is the path below PKGDIR of the binpkg with this BUILD_ID, or "".
func (r *results) instance(cpv gentoo.CPV, id int) string {
	for _, name := range r.instances(cpv) {
		if n, ok := buildID(path.Base(name), cpv.PF()); ok && n == id {
			return name
		}
	}
	return ""
}

// buildID takes the BUILD_ID out of a binpkg's file name.
func buildID(name, pf string) (int, bool) {
	rest, ok := strings.CutPrefix(name, pf+"-")
	if !ok {
		return 0, false
	}
	for _, suffix := range []string{".gpkg.tar", ".xpak"} {
		if id, ok := strings.CutSuffix(rest, suffix); ok {
			n, err := strconv.Atoi(id)
			return n, err == nil && n > 0
		}
	}
	return 0, false
}

// built looks for the binpkg that the job has made of a package.
func (r *results) built(cpv gentoo.CPV) {
	if !r.wanted[cpv] {
		return
	}
	names := r.instances(cpv)
	if len(names) == 0 {
		return
	}
	if newest := names[len(names)-1]; !r.before[newest] {
		r.add(cpv, newest, false)
	}
}

// reused takes the binpkg that emerge says it merges, by its path in the build root.
func (r *results) reused(cpv gentoo.CPV, inside string) {
	rel, err := filepath.Rel(insidePkgDir, inside)
	if err == nil && filepath.IsLocal(rel) {
		r.add(cpv, rel, r.before[rel])
	}
}

// add hashes a binpkg and declares it, once for each package of the job.
func (r *results) add(cpv gentoo.CPV, rel string, reused bool) {
	if _, known := r.found[cpv]; known || !r.wanted[cpv] {
		return
	}
	if err := r.trust(reused); err != nil {
		r.emit(Event{Kind: EventNote, CPV: cpv, Text: err.Error()})
		return
	}
	res := Result{CPV: cpv, Dir: r.dir, Path: rel, Reused: reused}
	switch err := res.hash(r.ended); {
	case r.ended() != nil: // it stays in PKGDIR
		return
	case err != nil:
		r.emit(Event{Kind: EventNote, CPV: cpv, Text: fmt.Sprintf("the binpkg of %s cannot be read: %v", cpv, err)})
		return
	}
	r.found[cpv] = res
	r.emit(Event{Kind: EventResult, CPV: cpv, Result: &res})
}

// hasHoles reports whether a file takes less of the disk than its size. Such a file can be as large as a job likes, whatever its limits.
func hasHoles(fi os.FileInfo) bool {
	const small = 64 << 10 // may lie in an inode
	st, ok := fi.Sys().(*syscall.Stat_t)
	return ok && fi.Size() > small && st.Blocks*512 < fi.Size()-small
}

// hash fills in size and SHA-256, unless the job is cancelled meanwhile.
func (r *Result) hash(ended func() error) error {
	f, err := r.Open()
	if err != nil {
		return err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	if hasHoles(fi) {
		return errors.New("it has holes, as no such file has")
	}
	sum := sha256.New()
	r.Size, err = io.Copy(sum, untilEnded{f, ended})
	sum.Sum(r.SHA256[:0])
	return err
}

// untilEnded reads until ended says why not any more.
type untilEnded struct {
	io.Reader
	ended func() error
}

func (r untilEnded) Read(p []byte) (int, error) {
	if err := r.ended(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}

// state is the state of a package whose work is over.
func (r *results) state(cpv gentoo.CPV) State {
	if res, ok := r.found[cpv]; ok && res.Reused {
		return StateReused
	}
	return StateBuilt
}
