package build

import (
	"context"
	"errors"
	"math"
	"os"
	"path"
	"path/filepath"
	"syscall"
	"time"

	"lantage/gentoo"
)

// keepEvery is how often it is looked for what a job has downloaded.
const keepEvery = time.Second

// keepAtEnd is how long that goes on when the job has ended: what it calls a distfile may take for ever to read.
const keepAtEnd = 5 * time.Minute

// maxGot is how many files are looked at in one go.
const maxGot = 1000

// keepFetched keeps what a job downloads for other jobs, while it comes, until the job has ended. It believes nothing that the
// job says: a file is copied and kept if it has the sum that is its name, so that whoever asks for that sum gets what
// it asked for, whoever has downloaded it.
func (r *Runner) keepFetched(ctx context.Context, jobDir string, done <-chan struct{}) {
	own, err := os.OpenRoot(filepath.Join(jobDir, ownDistDir))
	if err != nil {
		r.Logger.Warn("what a job downloads is not kept", "error", err)
		return
	}
	defer own.Close()
	k := &keeper{r: r, own: own, left: math.MaxInt64}
	if r.Limits.Disk > 0 {
		k.left = r.Limits.Disk
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-done:
			time.AfterFunc(keepAtEnd, cancel)
		case <-ctx.Done():
		}
	}()
	untilDone(done, keepEvery, func() { k.look(ctx) })
}

// keeper keeps what one job has got.
type keeper struct {
	r    *Runner
	own  *os.Root // the job's DISTDIR
	left int64    // bytes that may still be kept of it: what a job has others write is as if it wrote it itself
}

// look keeps what there is now.
func (k *keeper) look(ctx context.Context) {
	dir, err := k.own.OpenFile(gotDir, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return // the job has taken it away
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(maxGot)
	for _, name := range names {
		if ctx.Err() != nil {
			return
		}
		if err := k.one(ctx, name); err != nil && ctx.Err() == nil {
			k.r.Logger.Warn("what a job has downloaded is not kept for others; lantage gc may help", "name", gentoo.Printable(name), "error", err)
		}
		_ = k.own.Remove(path.Join(gotDir, name))
	}
}

// one keeps one file. One that is empty says that the one that is kept was of use.
func (k *keeper) one(ctx context.Context, name string) error {
	f, err := openRegular(k.own, path.Join(gotDir, name))
	if err != nil {
		return nil // nothing that fetchOnce has made
	}
	defer f.Close()
	defer context.AfterFunc(ctx, func() { f.Close() })()
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	d := gentoo.KeyedDistfile(name, fi.Size())
	if d.Validate() != nil || hasHoles(fi) {
		return nil
	}
	kept := fetchedPath(k.r.StateDir, d)
	if d.Size == 0 {
		return ignoreMissing(touch(kept))
	}
	room, err := DistfileRoom(k.r.StateDir)
	if err == nil && d.Size > min(room, k.left) {
		err = syscall.ENOSPC
	}
	if err == nil {
		k.left -= d.Size
		err = store(kept, d, f)
	}
	if errors.Is(err, gentoo.ErrDistfile) { // a page that says that there is no such file, for instance
		return nil
	}
	return err
}
