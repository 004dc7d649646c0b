package archive

import (
	"archive/tar"
	"cmp"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// AddTree adds everything below dir in root, with names that start with prefix instead of dir: regular
// files, directories, symbolic links as they are, and hard links where a file of the tree was already added
// under another name. Modes, owner numbers, times and, for files and directories, extended attributes are
// kept. Entries come in the order of their names. dir itself becomes the entry prefix, or none if prefix is
// "".
//
// filter, unless nil, is asked for everything with its path in root and may leave it out, a directory with
// all that is below it. A socket, fifo or device that it keeps is an error. A link is never followed out of
// root.
func (w *Writer) AddTree(ctx context.Context, root *os.Root, dir, prefix string,
	filter func(path string, fi fs.FileInfo) bool,
) error {
	if w.err != nil {
		return w.err
	}
	fi, err := root.Lstat(dir)
	if err != nil {
		return w.fail(prefix, err)
	}
	if !fi.IsDir() {
		return w.fail(prefix, fmt.Errorf("%s is not a directory", path.Join(root.Name(), dir)))
	}
	t := &treeWriter{w: w, filter: filter, links: map[inode]string{}}
	return t.addDir(ctx, root, dir, path.Clean(dir), prefix, fi)
}

type inode struct{ dev, ino uint64 }

// treeWriter is one run of AddTree.
type treeWriter struct {
	w      *Writer
	filter func(string, fs.FileInfo) bool
	links  map[inode]string // files with several links, by the name they were added under
}

// addDir adds the directory base of parent and all below. shown is its path for the filter, name that in the
// archive. Each level works on its own os.Root, so that depth costs no repeated walks from the top.
func (t *treeWriter) addDir(ctx context.Context, parent *os.Root, base, shown, name string,
	fi fs.FileInfo,
) error {
	d, err := parent.OpenRoot(base)
	if err != nil {
		return t.w.fail(name, err)
	}
	defer d.Close()
	f, err := d.Open(".")
	if err != nil {
		return t.w.fail(name, err)
	}
	defer f.Close()
	if name != "" {
		hdr := headerOf(name, fi)
		hdr.Typeflag = tar.TypeDir
		if hdr.PAXRecords, err = xattrRecords(f); err != nil {
			return t.w.fail(name, err)
		}
		if err := t.w.add(hdr, nil); err != nil {
			return err
		}
	}
	entries, err := f.ReadDir(-1)
	if err != nil {
		return t.w.fail(name, err)
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return cmp.Compare(a.Name(), b.Name()) })
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return t.w.fail(name, err)
		}
		base := e.Name()
		if err := t.addEntry(ctx, d, base, path.Join(shown, base), path.Join(name, base)); err != nil {
			return err
		}
	}
	return nil
}

func (t *treeWriter) addEntry(ctx context.Context, d *os.Root, base, shown, name string) error {
	fi, err := d.Lstat(base)
	if err != nil {
		return t.w.fail(name, err)
	}
	if t.filter != nil && !t.filter(shown, fi) {
		return nil
	}
	switch fi.Mode().Type() {
	case fs.ModeDir:
		return t.addDir(ctx, d, base, shown, name, fi)
	case 0:
		return t.addRegular(ctx, d, base, name, fi)
	case fs.ModeSymlink:
		hdr := headerOf(name, fi)
		hdr.Typeflag = tar.TypeSymlink
		if hdr.Linkname, err = d.Readlink(base); err != nil {
			return t.w.fail(name, err)
		}
		return t.w.add(hdr, nil)
	default:
		return t.w.fail(name, fmt.Errorf("%s is a socket, fifo or device (%s), which cannot be sent",
			path.Join(d.Name(), base), fi.Mode().Type()))
	}
}

func (t *treeWriter) addRegular(ctx context.Context, d *os.Root, base, name string, fi fs.FileInfo) error {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok && st.Nlink > 1 && !t.w.opt.Reproducible {
		id := inode{uint64(st.Dev), st.Ino}
		if first, ok := t.links[id]; ok {
			hdr := headerOf(name, fi)
			hdr.Typeflag, hdr.Linkname, hdr.Size = tar.TypeLink, first, 0
			return t.w.add(hdr, nil)
		}
		t.links[id] = name
	}
	// A build may still run in this tree. What was a file at Lstat can be a fifo now, which without O_NONBLOCK
	// would hold us for ever, or a link to another file.
	f, err := d.OpenFile(base, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return t.w.fail(name, err)
	}
	defer f.Close()
	opened, err := f.Stat()
	if err != nil {
		return t.w.fail(name, err)
	}
	if !os.SameFile(fi, opened) {
		return t.w.fail(name, fmt.Errorf("%s was replaced while it was read", f.Name()))
	}
	hdr := headerOf(name, opened)
	if hdr.PAXRecords, err = xattrRecords(f); err != nil {
		return t.w.fail(name, err)
	}
	return t.w.add(hdr, &ctxReader{ctx, io.NewSectionReader(f, 0, hdr.Size+1)})
}

// ctxReader ends with the context's error once that is cancelled.
type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *ctxReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
