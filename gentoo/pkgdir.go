package gentoo

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
)

// Reasons why PKGDIR cannot take a binpkg. Errors of PkgDir wrap them.
var (
	ErrNoSpace    = errors.New("no space left")
	ErrReadOnly   = errors.New("the file system is read-only")
	ErrPermission = errors.New("not allowed to write")
	// ErrMismatch says that what came is not what was declared. Nothing of it is left.
	ErrMismatch = errors.New("size or SHA-256 is not what was declared")
)

const (
	// maxBuildID is more than any machine builds of one version.
	maxBuildID = 1_000_000
	// maxRaces bounds how often another process may take the name that an Add has chosen.
	maxRaces = 1000
)

// PkgDir is a directory of binpkgs, Portage's PKGDIR. Nothing that a name says leads out of it.
//
// A binpkg is written under a pending name in its own directory, hashed on the way, synced, and gets its
// name only when size and hash are right. Portage looks only at names that end in .tbz2, .xpak and
// .gpkg.tar (binarytree._populate_local), so pending files are invisible to it. After Add, Portage still
// does not know the binpkg until its index is renewed (emaint --fix binhost).
type PkgDir struct {
	root *os.Root
}

// OpenPkgDir opens PKGDIR and creates it where it is missing, as emerge does.
func OpenPkgDir(dir string) (*PkgDir, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, diskError(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, diskError(err)
	}
	return &PkgDir{root}, nil
}

// Close closes the directory.
func (p *PkgDir) Close() error { return p.root.Close() }

// Add stores one binpkg of cpv that a builder calls rel, with the declared size in bytes and SHA-256, and
// returns the name below PKGDIR under which it lies afterwards. Either a complete, synced binpkg is visible
// or nothing is.
//
// No binpkg that is there is ever replaced. If rel is taken by the same contents, that file is kept; if by
// other contents, the binpkg gets the next free BUILD_ID in its file name. Portage allows that: it checks
// the file name against PF only, takes the BUILD_ID that it shows from the metadata inside, and tells
// binpkgs apart by BUILD_ID, size, BUILD_TIME and mtime together.
//
// check, if there is one, is given the complete file before it becomes visible; with an error nothing does, and Add
// returns that error.
func (p *PkgDir) Add(
	cpv CPV, rel string, size int64, sum [sha256.Size]byte, r io.Reader, check func(io.ReaderAt) error,
) (string, error) {
	if err := ValidBinpkgPath(rel, cpv); err != nil {
		return "", err
	}
	dir := path.Dir(rel)
	if err := p.root.MkdirAll(dir, 0o755); err != nil {
		return "", p.addError(rel, err)
	}
	pending, err := p.createPending(dir)
	if err != nil {
		return "", p.addError(rel, err)
	}
	defer pending.cleanup()
	if err := pending.fill(size, sum, r); err != nil {
		return "", p.addError(rel, err)
	}
	if check != nil {
		if err := check(pending.file); err != nil {
			return "", err
		}
	}
	name, err := p.commit(cpv, rel, pending, sum)
	if err != nil {
		return "", p.addError(rel, err)
	}
	return name, nil
}

// commit gives a complete pending file its name.
func (p *PkgDir) commit(cpv CPV, rel string, pending *pendingFile, sum [sha256.Size]byte) (string, error) {
	name := rel
	for range maxRaces {
		err := p.place(pending.name, name)
		if err == nil {
			return name, p.syncDirs(path.Dir(name))
		}
		if !errors.Is(err, fs.ErrExist) {
			return "", err
		}
		if same, err := p.hasSum(name, sum); err != nil {
			return "", err
		} else if same {
			return name, nil
		}
		if name, err = p.FreeName(cpv, multiInstanceExt(rel)); err != nil {
			return "", err
		}
		if err := p.root.MkdirAll(path.Dir(name), 0o755); err != nil {
			return "", err
		}
	}
	return "", fmt.Errorf("%s: %w", name, fs.ErrExist)
}

// place gives a pending file its name by a hard link, which, unlike rename, never replaces a file that
// appeared a moment ago. File systems without links get the rename.
func (p *PkgDir) place(pending, name string) error {
	err := p.root.Link(pending, name)
	if !errors.Is(err, syscall.EPERM) && !errors.Is(err, syscall.EOPNOTSUPP) {
		return err
	}
	if _, err := p.root.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
		return fs.ErrExist
	}
	return p.root.Rename(pending, name)
}

// FreeName returns the binpkg-multi-instance name of cpv with the BUILD_ID after the highest one in its
// directory; ext is ".gpkg.tar" or ".xpak". Portage reads that layout whatever FEATURES says.
// Another process may take the name before its use; Add copes with that.
func (p *PkgDir) FreeName(cpv CPV, ext string) (string, error) {
	dir, err := p.root.Open(cpv.CP())
	if errors.Is(err, fs.ErrNotExist) {
		return binpkgPath(cpv, 1, ext), nil
	}
	if err != nil {
		return "", diskError(err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return "", diskError(err)
	}
	taken, highest := map[int]bool{}, 0
	for _, name := range names {
		id, ok := strings.CutPrefix(name, cpv.PF()+"-")
		id, _, _ = strings.Cut(id, ".")
		if n, isID := parseBuildID(id); ok && isID {
			taken[n] = true
			if n < maxBuildID { // a builder's odd number must not use up all that follow
				highest = max(highest, n)
			}
		}
	}
	free := highest + 1
	for taken[free] {
		free++
	}
	return binpkgPath(cpv, free, ext), nil
}

// hasSum reports whether a file has this SHA-256.
func (p *PkgDir) hasSum(name string, sum [sha256.Size]byte) (bool, error) {
	f, err := p.root.Open(name)
	if err != nil {
		return false, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return false, err
	}
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return false, err
	}
	return bytes.Equal(h.Sum(nil), sum[:]), nil
}

// syncDirs makes the names in dir, and dir's own name, survive a power cut.
func (p *PkgDir) syncDirs(dir string) error {
	for {
		d, err := p.root.Open(dir)
		if err != nil {
			return err
		}
		err = d.Sync()
		d.Close()
		if err != nil {
			return err
		}
		if dir == "." {
			return nil
		}
		dir = path.Dir(dir)
	}
}

// addError says which binpkg could not be stored, where, and what was kept.
func (p *PkgDir) addError(rel string, err error) error {
	return fmt.Errorf("binpkg %s was not stored in %s: %w", rel, p.root.Name(), diskError(err))
}

// diskError adds the sentinel that a caller can act on.
func diskError(err error) error {
	for errno, sentinel := range map[syscall.Errno]error{
		syscall.ENOSPC: ErrNoSpace, syscall.EDQUOT: ErrNoSpace, syscall.EFBIG: ErrNoSpace,
		syscall.EROFS: ErrReadOnly, syscall.EACCES: ErrPermission, syscall.EPERM: ErrPermission,
	} {
		if errors.Is(err, errno) {
			return fmt.Errorf("%w: %w", sentinel, err)
		}
	}
	return err
}

// pendingName returns a new name for a pending file in dir.
func pendingName(dir string) string { return dir + "/" + pendingPrefix + rand.Text() + pendingSuffix }
