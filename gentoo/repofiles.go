package gentoo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
)

// repoFile is a file of a repository, or a symbolic link.
type repoFile struct {
	name string // below the repository
	kind fs.FileMode

	mode string // in git's words
	sum  []byte
}

// The kinds of files, as git's trees name them.
const (
	modeFile    = "100644"
	modeProgram = "100755"
	modeLink    = "120000"
	modeOther   = "000000" // what no repository has
)

// listParts lists the files of some parts of a repository, by name. A part that is not there has none. Of one that is a link,
// what it leads to counts, too.
func listParts(ctx context.Context, dir string, parts []string, leftOut ...string) ([]repoFile, error) {
	l := lister{dir: dir, leftOut: leftOut}
	for _, part := range parts {
		info, err := os.Lstat(filepath.Join(dir, part))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = l.entry(ctx, part, info.Mode().Type())
		}
		if err == nil && info.Mode().Type() == fs.ModeSymlink {
			if to, statErr := os.Stat(filepath.Join(dir, part)); statErr == nil && to.IsDir() {
				err = l.entry(ctx, part, fs.ModeDir)
			}
		}
		if err != nil {
			return nil, err
		}
	}
	slices.SortFunc(l.files, func(a, b repoFile) int { return cmp.Compare(a.name, b.name) })
	return l.files, nil
}

// lister lists directories. It costs less than half of filepath.WalkDir, which would sort each.
type lister struct {
	dir     string
	leftOut []string
	files   []repoFile
}

// entry takes one entry of a directory.
func (l *lister) entry(ctx context.Context, name string, kind fs.FileMode) error {
	switch {
	case slices.Contains(l.leftOut, name):
		return nil
	case kind != fs.ModeDir:
		l.files = append(l.files, repoFile{name: name, kind: kind})
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	d, err := os.Open(filepath.Join(l.dir, name))
	if err != nil {
		return err
	}
	entries, err := d.ReadDir(-1)
	d.Close()
	if err != nil {
		return err
	}
	for _, e := range entries {
		below := e.Name()
		if name != "." {
			below = name + "/" + below
		}
		if err := l.entry(ctx, below, e.Type()); err != nil {
			return err
		}
	}
	return nil
}

// sumFiles fills in mode and sum of files, on all cores. With blobs, the sums are those of git's blob objects.
func sumFiles(ctx context.Context, dir string, files []repoFile, newHash func() hash.Hash, blobs bool) error {
	workers := min(runtime.GOMAXPROCS(0), len(files))
	errs := make([]error, workers)
	var next atomic.Int64
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			h, buf := newHash(), make([]byte, 64<<10)
			for errs[w] == nil {
				i := int(next.Add(1)) - 1
				if i >= len(files) {
					return
				}
				if errs[w] = ctx.Err(); errs[w] == nil {
					errs[w] = files[i].read(dir, h, buf, blobs)
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (f *repoFile) read(dir string, h hash.Hash, buf []byte, blob bool) error {
	name := dir + "/" + f.name
	switch f.kind {
	case fs.ModeSymlink:
		target, err := os.Readlink(name)
		if err != nil {
			return err
		}
		f.mode = modeLink
		f.sum = sumOf(h, blob, int64(len(target)), func() { io.WriteString(h, target) })
		return nil
	case 0:
		return f.readRegular(name, h, buf, blob)
	}
	f.mode = modeOther
	return nil
}

// readRegular asks the kernel directly. Thousands of files are read, and for each of them os.File would do twice as much as
// the reading is.
func (f *repoFile) readRegular(name string, h hash.Hash, buf []byte, blob bool) error {
	fail := func(op string, err error) error { return &fs.PathError{Op: op, Path: name, Err: err} }
	fd, err := retry(func() (int, error) {
		return syscall.Open(name, syscall.O_RDONLY|syscall.O_CLOEXEC|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	})
	if err != nil {
		return fail("open", err)
	}
	defer syscall.Close(fd)
	var st syscall.Stat_t
	if err := syscall.Fstat(fd, &st); err != nil {
		return fail("stat", err)
	}
	if f.mode = modeFile; st.Mode&0o100 != 0 {
		f.mode = modeProgram
	}
	f.sum = sumOf(h, blob, st.Size, func() {
		for left, n := st.Size, 1; left > 0 && n > 0 && err == nil; left -= int64(max(n, 0)) {
			if n, err = retry(func() (int, error) { return syscall.Read(fd, buf) }); n > 0 {
				h.Write(buf[:n])
			}
		}
	})
	if err != nil {
		return fail("read", err)
	}
	return nil
}

func sumOf(h hash.Hash, blob bool, size int64, write func()) []byte {
	h.Reset()
	if blob {
		fmt.Fprintf(h, "blob %d\x00", size)
	}
	write()
	return h.Sum(nil)
}

func retry(call func() (int, error)) (n int, err error) {
	for n, err = call(); err == syscall.EINTR; n, err = call() {
	}
	return n, err
}
