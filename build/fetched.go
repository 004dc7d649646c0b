package build

import (
	"context"
	"errors"
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
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-done:
			time.AfterFunc(keepAtEnd, cancel)
		case <-ctx.Done():
		}
	}()
	t := time.NewTicker(keepEvery)
	defer t.Stop()
	for ended := false; !ended; {
		select {
		case <-done:
			ended = true
		case <-t.C:
		}
		r.keepGot(ctx, own)
	}
}

// keepGot keeps what there is in a job's DISTDIR.
func (r *Runner) keepGot(ctx context.Context, own *os.Root) {
	dir, err := own.OpenFile(gotDir, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return // the job has taken it away
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(maxGot)
	for _, name := range names {
		if ctx.Err() != nil {
			return
		}
		if err := r.keepOne(ctx, own, name); err != nil && ctx.Err() == nil {
			r.Logger.Warn("what a job has downloaded is not kept for others; lantage gc may help", "name", gentoo.Printable(name), "error", err)
		}
		_ = own.Remove(path.Join(gotDir, name))
	}
}

// keepOne keeps one file. One that is empty says that the one that is kept was of use.
func (r *Runner) keepOne(ctx context.Context, own *os.Root, name string) error {
	f, err := openRegular(own, path.Join(gotDir, name))
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
	if d.Validate() != nil {
		return nil
	}
	kept := fetchedPath(r.StateDir, d)
	if d.Size == 0 {
		return ignoreMissing(touch(kept))
	}
	room, err := DistfileRoom(r.StateDir)
	if err == nil && d.Size > room {
		err = syscall.ENOSPC
	}
	if err == nil {
		err = store(kept, d, f)
	}
	if errors.Is(err, gentoo.ErrDistfile) { // a page that says that there is no such file, for instance
		return nil
	}
	return err
}
