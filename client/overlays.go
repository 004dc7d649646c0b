package client

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"syscall"

	"lantage/gentoo"
	"lantage/wire"
)

// Bounds of all the repositories that are sent with a job. What is larger is synced from somewhere, or should be.
const (
	maxOverlayFiles = 20_000
	maxOverlayBytes = 64 << 20
)

// overlay is a repository that only this machine has. It is sent with a job, and used instead of what the builder may have
// under that name.
type overlay struct{ name, dir string }

// real is its directory without links.
func (o overlay) real() string {
	real, err := filepath.EvalSymlinks(o.dir)
	if err != nil {
		return o.dir
	}
	return real
}

// planRepos looks at the repositories that decide what becomes of a plan. Those that only this machine has it returns, to be
// sent; of the others it fills in the state that the builder's must have, too.
func (e *Emerge) planRepos(ctx context.Context, sys *system, p *plan, repos []wire.Repo) []overlay {
	needed := gentoo.PlanRepos(p.send, sys.profiles, sys.repos)
	var room overlayRoom
	var sent []overlay
	for i, r := range sys.repos {
		pkgs, ok := needed[r.Name]
		if !ok {
			continue
		}
		if r.IsOverlay() {
			err := room.measure(ctx, r.Location)
			if err == nil {
				sent = append(sent, overlay{r.Name, r.Location})
				continue
			}
			e.warn("The repository %s is not sent to the builder, which must have it then: %v", r.Name, err)
		}
		if e.IgnoreRevisions {
			continue
		}
		state, err := gentoo.RepoRevision(ctx, r.Location, pkgs)
		if err != nil {
			e.warn("The state of the repository %s cannot be told, so no builder's is equal to it: %v", r.Name, err)
			state = "unknown"
		}
		repos[i].Revision = state
	}
	return sent
}

// overlayRoom is what repositories that are to be sent have so far.
type overlayRoom struct {
	files int
	bytes int64
}

// measure adds a repository, or says why it cannot be sent.
func (o *overlayRoom) measure(ctx context.Context, dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	with := *o
	err = fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case noContent(d.Name()) && d.IsDir():
			return fs.SkipDir
		case noContent(d.Name()) || d.IsDir() || !sendable(d.Type()):
			return ctx.Err()
		}
		if with.files++; with.files > maxOverlayFiles {
			return fmt.Errorf("it has too many files (at most %d are sent)", maxOverlayFiles)
		}
		if d.Type() == fs.ModeSymlink {
			return checkLink(root, name)
		}
		f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0) // what was a file may be a fifo now
		if err != nil {
			return err
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return err
		}
		if with.bytes += info.Size(); with.bytes > maxOverlayBytes {
			return fmt.Errorf("it is too large (at most %d MiB are sent)", maxOverlayBytes>>20)
		}
		return nil
	})
	if err == nil {
		*o = with
	}
	return err
}

// sendable reports whether files of a kind are sent: others no repository has.
func sendable(kind fs.FileMode) bool {
	return kind == 0 || kind == fs.ModeDir || kind == fs.ModeSymlink
}

// checkLink refuses links that lead somewhere else in the build root than here. An absolute one leads to the same place, since
// repositories are there where they are here.
func checkLink(root *os.Root, name string) error {
	target, err := root.Readlink(name)
	if err != nil || path.IsAbs(target) {
		return err
	}
	if !filepath.IsLocal(path.Join(path.Dir(name), target)) {
		return fmt.Errorf("its link %s leads out of it, to %s", name, target)
	}
	return nil
}

// addOverlays adds the repositories that are sent.
func (in *inputs) addOverlays(ctx context.Context) error {
	for _, o := range in.overlays {
		root, err := os.OpenRoot(o.dir)
		if err != nil {
			return err
		}
		real := o.real()
		err = in.addTree(ctx, root, real, path.Join("repos", o.name), func(rel string, fi fs.FileInfo) bool {
			if noContent(path.Base(rel)) {
				return !in.leave(filepath.Join(real, rel), "Portage does not read it")
			}
			return sendable(fi.Mode().Type())
		})
		if err := errors.Join(err, root.Close()); err != nil {
			return fmt.Errorf("the repository %s: %w", o.name, err)
		}
	}
	return nil
}
