package rootfs

import (
	"context"
	"fmt"
	"path"
	"runtime"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// batchSize is how many files of one directory a worker gets at once.
const batchSize = 128

// treeMaker makes a tree of a list. One goroutine reads the list and makes the directories; others put the
// files in. All names are relative to a directory that this code made and opened itself, without following
// links: what a list says cannot lead out of the tree.
type treeMaker struct {
	objects func(private bool) *objects
	scratch *scratch

	entries int
	bytes   int64

	batches chan treeBatch
	workers sync.WaitGroup
	stack   []*treeDir // the directories from the root to the last entry
	failed  context.CancelCauseFunc
}

// treeDir is a directory that is not finished. Its own metadata comes last: to fill it changes its time.
type treeDir struct {
	fd    int
	e     Entry
	files []Entry      // that no worker has yet
	refs  atomic.Int32 // the stack, and batches with a worker
}

type treeBatch struct {
	dir   *treeDir
	files []Entry
}

// make makes the tree in the directory root, which is empty.
func (t *treeMaker) make(ctx context.Context, list *ListReader, root string) error {
	ctx, t.failed = context.WithCancelCause(ctx)
	defer t.failed(nil)
	n := runtime.GOMAXPROCS(0)
	t.batches = make(chan treeBatch, 4*n)
	for range n {
		t.workers.Go(func() {
			for b := range t.batches {
				for i := range b.files {
					if ctx.Err() != nil {
						break
					}
					if err := t.file(b.dir, &b.files[i]); err != nil {
						t.failed(err)
					}
				}
				t.unref(b.dir)
			}
		})
	}
	err := Each(list, func(e *Entry) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		t.entries++
		t.bytes += e.Size
		return t.add(e, root)
	})
	for len(t.stack) > 0 {
		t.pop()
	}
	close(t.batches)
	t.workers.Wait()
	if err == nil {
		err = context.Cause(ctx)
	}
	return err
}

func (t *treeMaker) add(e *Entry, root string) error {
	if e.Path == "." {
		return t.push(unix.AT_FDCWD, root, e)
	}
	up := parent(e.Path)
	for len(t.stack) > 0 && t.stack[len(t.stack)-1].e.Path != up {
		t.pop()
	}
	if len(t.stack) == 0 {
		return fmt.Errorf("%w: %q is in no directory", ErrList, e.Path)
	}
	dir, name := t.stack[len(t.stack)-1], path.Base(e.Path)
	switch e.Type {
	case TypeDir:
		if err := unix.Mkdirat(dir.fd, name, 0o700); err != nil {
			return fmt.Errorf("make the directory %q: %w", e.Path, err)
		}
		return t.push(dir.fd, name, e)
	case TypeSymlink:
		return symlink(dir.fd, name, e)
	}
	if dir.files = append(dir.files, *e); len(dir.files) == batchSize {
		t.flush(dir)
	}
	return nil
}

func (t *treeMaker) push(up int, name string, e *Entry) error {
	fd, err := unix.Openat(up, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open the directory %q: %w", e.Path, err)
	}
	dir := &treeDir{fd: fd, e: *e}
	dir.refs.Store(1)
	t.stack = append(t.stack, dir)
	return nil
}

func (t *treeMaker) pop() {
	last := len(t.stack) - 1
	dir := t.stack[last]
	t.stack = t.stack[:last]
	t.flush(dir)
	t.unref(dir)
}

func (t *treeMaker) flush(dir *treeDir) {
	if len(dir.files) == 0 {
		return
	}
	dir.refs.Add(1)
	t.batches <- treeBatch{dir, dir.files}
	dir.files = nil
}

// unref finishes a directory when nothing more comes into it.
func (t *treeMaker) unref(dir *treeDir) {
	if dir.refs.Add(-1) > 0 {
		return
	}
	if err := dress(dir.fd, &dir.e); err != nil {
		t.failed(err)
	}
	_ = unix.Close(dir.fd)
}

func (t *treeMaker) file(dir *treeDir, e *Entry) error {
	err := t.objects(e.private()).link(e, t.scratch, dir.fd, path.Base(e.Path))
	if err == errNoContent {
		err = fmt.Errorf("%w: %w", ErrIncomplete, err)
	}
	if err != nil {
		return fmt.Errorf("%q: %w", e.Path, err)
	}
	return nil
}

func symlink(dir int, name string, e *Entry) error {
	if err := unix.Symlinkat(e.Target, dir, name); err != nil {
		return fmt.Errorf("make the link %q: %w", e.Path, err)
	}
	if e.UID != 0 || e.GID != 0 {
		if err := unix.Fchownat(dir, name, int(e.UID), int(e.GID), unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return fmt.Errorf("%q cannot belong to %d:%d: %w", e.Path, e.UID, e.GID, err)
		}
	}
	for _, x := range e.Xattrs {
		there := fmt.Sprintf("/proc/self/fd/%d/%s", dir, name)
		if err := unix.Lsetxattr(there, x.Name, []byte(x.Value), 0); err != nil {
			return xattrError(e, x.Name, err)
		}
	}
	return setTime(dir, name, e, unix.AT_SYMLINK_NOFOLLOW)
}
