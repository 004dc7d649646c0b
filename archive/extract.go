package archive

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"time"
)

// ExtractOptions says how much of what an archive asks for is done. The zero value is for archives that
// nobody vouches for: default limits, everything owned by the caller, no setuid, no links that lead out.
type ExtractOptions struct {
	Limits Limits

	// Owners gives entries the archive's owner numbers; it needs root. Else all belongs to the caller.
	Owners bool

	// KeepSetID keeps setuid and setgid bits. It is meant to be used with Owners, else they mean another
	// owner.
	KeepSetID bool

	// Xattrs are the names of the extended attributes that are set ("security.capability"). Others are left
	// out.
	Xattrs []string

	// AllowLink decides about a symbolic link whose target is not certain to be inside the root: an absolute
	// one, or one with a ".." that leads out of the root or follows another element. Nil allows none. Links
	// with a target inside are always made.
	AllowLink func(name, target string) bool

	// SkipLinks leaves out a link that AllowLink does not allow. Else it is an error.
	SkipLinks bool
}

// Stats counts what Extract has made.
type Stats struct {
	Files, Dirs, Symlinks, HardLinks int
	Skipped                          int   // symbolic links left out
	Bytes                            int64 // content of the regular files
}

// Extract unpacks the archive in r below root. It reads r to its end and returns nil only for an archive
// that was complete, see Reader.Next.
//
// Nothing that exists is replaced or written to: a file, link or second entry of the same name is an error
// that wraps fs.ErrExist, only directories may be there already (they get the archive's mode and time). No
// symbolic link, of the archive or from before, is followed on the way to a name. Missing parents are made
// with mode 0755. A hard link leads only to a regular file that this archive brought. Extended attributes on
// links are ignored.
//
// After an error, what was written stays below root, for the caller to remove. Cancelling ctx ends the work
// at the next read or entry with ctx's error; a read of r that blocks is for the caller to end, as by
// closing it.
func Extract(ctx context.Context, r io.Reader, root *os.Root, opt ExtractOptions) (Stats, error) {
	x := &extractor{
		r:    NewReader(&ctxReader{ctx, r}, opt.Limits),
		opt:  opt,
		tree: tree{levels: []level{{root: root}}},
		seed: maphash.MakeSeed(),
		made: map[uint64]struct{}{},
		buf:  make([]byte, copyBytes),
	}
	defer x.tree.close()
	err := x.run(ctx)
	return x.stats, err
}

// extractor is one run of Extract.
type extractor struct {
	r     *Reader
	opt   ExtractOptions
	tree  tree
	stats Stats
	buf   []byte

	// made has the regular files of this archive, as hashes under a random seed: a peer can send a million
	// long names, and each costs eight bytes here.
	made map[uint64]struct{}
	seed maphash.Seed

	// dirs wait for their mode, time and owner until everything in them is written.
	dirs      []*Header
	dirsBytes int64
}

func (x *extractor) run(ctx context.Context) error {
	for {
		hdr, err := x.r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := x.entry(hdr); err != nil {
			return fmt.Errorf("extract %q: %w", hdr.Name, err)
		}
	}
	// The last first, so that a directory is done before one above it loses its search permission.
	slices.SortStableFunc(x.dirs, func(a, b *Header) int { return strings.Compare(b.Name, a.Name) })
	for i, hdr := range x.dirs {
		if i+1 < len(x.dirs) && x.dirs[i+1].Name == hdr.Name {
			continue // named again later in the archive
		}
		if err := x.finishDir(hdr); err != nil {
			return fmt.Errorf("extract %q: %w", path.Clean(hdr.Name), err)
		}
	}
	return nil
}

func (x *extractor) entry(hdr *Header) error {
	if hdr.Name == "." {
		return x.laterDir(hdr)
	}
	dir, base := path.Split(hdr.Name)
	parent, err := x.tree.enter(strings.TrimSuffix(dir, "/"))
	if err != nil {
		return err
	}
	switch hdr.Typeflag {
	case tar.TypeReg:
		return x.file(parent, base, hdr)
	case tar.TypeDir:
		if err := makeDir(parent, base, 0o700); err != nil {
			return err
		}
		return x.laterDir(hdr)
	case tar.TypeSymlink:
		return x.symlink(parent, base, hdr)
	case tar.TypeLink:
		return x.hardLink(parent, base, hdr)
	default: // Reader passes no other
		return fmt.Errorf("type %q is not accepted", hdr.Typeflag)
	}
}

func (x *extractor) file(parent *os.Root, base string, hdr *Header) (err error) {
	f, err := parent.OpenFile(base, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	n, err := io.CopyBuffer(struct{ io.Writer }{f}, x.r, x.buf)
	x.stats.Bytes += n
	if err != nil {
		return err
	}
	if err := x.attributes(f, hdr); err != nil {
		return err
	}
	if err := parent.Chtimes(base, time.Time{}, hdr.ModTime); err != nil {
		return err
	}
	x.made[maphash.String(x.seed, hdr.Name)] = struct{}{}
	x.stats.Files++
	return nil
}

func (x *extractor) symlink(parent *os.Root, base string, hdr *Header) error {
	allowed := staysInside(hdr.Name, hdr.Linkname) ||
		x.opt.AllowLink != nil && x.opt.AllowLink(hdr.Name, hdr.Linkname)
	if !allowed {
		if x.opt.SkipLinks {
			x.stats.Skipped++
			return nil
		}
		return fmt.Errorf("symbolic link to %q leads out of the archive", hdr.Linkname)
	}
	if err := parent.Symlink(hdr.Linkname, base); err != nil {
		return err
	}
	if x.opt.Owners {
		if err := checkOwner(hdr); err != nil {
			return err
		}
		if err := parent.Lchown(base, hdr.Uid, hdr.Gid); err != nil {
			return err
		}
	}
	if err := setLinkTime(parent, base, hdr.ModTime); err != nil {
		return err
	}
	x.stats.Symlinks++
	return nil
}

func (x *extractor) hardLink(parent *os.Root, base string, hdr *Header) error {
	if _, ok := x.made[maphash.String(x.seed, hdr.Linkname)]; !ok {
		return fmt.Errorf("hard link to %q, which is no regular file that this archive brought", hdr.Linkname)
	}
	// Both names have parents that were checked or made, so the link is made between what is meant.
	if err := x.tree.top().Link(hdr.Linkname, hdr.Name); err != nil {
		return err
	}
	x.made[maphash.String(x.seed, hdr.Name)] = struct{}{}
	x.stats.HardLinks++
	return nil
}

// maxDirsBytes bounds what waits in extractor.dirs: some 90,000 directories, twice those of ::gentoo.
const maxDirsBytes = 32 << 20

func (x *extractor) laterDir(hdr *Header) error {
	later := &Header{
		Name: hdr.Name, Mode: hdr.Mode, ModTime: hdr.ModTime, Uid: hdr.Uid, Gid: hdr.Gid,
		PAXRecords: map[string]string{},
	}
	if later.Name == "." {
		later.Name = "" // the tree's word for the top, and before all others in their order
	}
	x.dirsBytes += int64(len(hdr.Name)) + 300
	for _, name := range x.opt.Xattrs {
		if v, ok := hdr.PAXRecords[xattrPrefix+name]; ok {
			later.PAXRecords[xattrPrefix+name] = v
			x.dirsBytes += int64(len(v)) + 100
		}
	}
	if x.dirsBytes > maxDirsBytes {
		return &LimitError{Limit: "bytes in the names and attributes of directories", Max: maxDirsBytes}
	}
	x.dirs = append(x.dirs, later)
	x.stats.Dirs++
	return nil
}

func (x *extractor) finishDir(hdr *Header) error {
	d, err := x.tree.enter(hdr.Name)
	if err != nil {
		return err
	}
	f, err := d.Open(".")
	if err != nil {
		return err
	}
	defer f.Close()
	// The time comes first: the mode can forbid to look up "." in the directory.
	if err := d.Chtimes(".", time.Time{}, hdr.ModTime); err != nil {
		return err
	}
	return x.attributes(f, hdr)
}

// staysInside reports whether a link of that name and target surely leads to a place in the root. Only
// leading ".." count as sure: the directories above name are no links, Extract has seen to that, but what
// follows in the target may be one, and ".." behind a link leads who knows where.
func staysInside(name, target string) bool {
	if strings.HasPrefix(target, "/") {
		return false
	}
	up, down := 0, false
	for elem := range strings.SplitSeq(target, "/") {
		switch {
		case elem == "" || elem == ".":
		case elem != "..":
			down = true
		case down:
			return false
		default:
			up++
		}
	}
	return up <= strings.Count(name, "/")
}
