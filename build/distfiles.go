package build

import (
	_ "embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"lantage/gentoo"
)

// SentDir is the folder of StateDir with the distfiles that clients sent, by content: see gentoo.Distfile.Key.
const SentDir = "distfiles-sent"

// KeepSent is how long a distfile that a client sent stays after the last job that used it: it can be sent again.
const KeepSent = 30 * 24 * time.Hour

// pendingPrefix begins the names of files in SentDir that are not whole yet.
const pendingPrefix = ".pending-"

// keepPending is how long one of them stays to which nothing is added any more.
const keepPending = 24 * time.Hour

// Places inside the build root of a job with distfiles of its own, and the job's folders for two of them.
const (
	insideShared = insideDistDir + "-shared"
	insideSent   = insideDistDir + "-sent"
	insideFetch  = "/etc/lantage-fetch.py"

	ownDistDir = "distfiles"
	sentDir    = "sent"
)

// fetchOnce is a fetch command around another one.
//
//go:embed fetch.py
var fetchOnce []byte

// distDirs is how a job comes to its distfiles.
type distDirs struct {
	binds    []bind
	readOnly []string // PORTAGE_RO_DISTDIRS
	files    []plainFile
	fetch    string // before each command that fetches
}

// distDirs gives the job the DISTDIR that all jobs share, in which Portage's own locks see to it that a file is downloaded
// once. Of files in PORTAGE_RO_DISTDIRS, however, Portage makes links in DISTDIR, and takes away those of others that lead
// nowhere, also while the other one is about to unpack it. So a job that has such directories, because files were sent for
// it or because the base has some, has a DISTDIR of its own, and fetchOnce downloads into the shared one.
func (r *Runner) distDirs(job Job, a adapted, s *rootSpec) (distDirs, error) {
	shared := filepath.Join(r.StateDir, DistDir)
	sent, n, err := r.linkSent(job)
	if err != nil {
		return distDirs{}, err
	}
	if n == 0 && a.roDistDir == "" {
		return distDirs{binds: []bind{{Source: shared, Target: insideDistDir, IDMap: true}}}, nil
	}
	own, err := s.ownDir(ownDistDir, 0o2775)
	if err != nil {
		return distDirs{}, err
	}
	if err := os.Chown(own, s.FirstID, s.FirstID+portageGroup); err != nil {
		return distDirs{}, err
	}
	d := distDirs{
		binds: []bind{
			{Source: own, Target: insideDistDir},
			{Source: shared, Target: insideShared, IDMap: true},
			{Source: sent, Target: insideSent, IDMap: true, ReadOnly: true},
		},
		readOnly: []string{insideSent, insideShared},
		files:    []plainFile{{insideFetch, 0o644, fetchOnce}},
		fetch:    fetchOnceCommand,
	}
	if a.roDistDir != "" {
		d.readOnly = append(d.readOnly, a.roDistDir)
	}
	return d, nil
}

// fetchOnceCommand is put before the commands that fetch: one download for all jobs of this builder, in the DISTDIR that they
// share.
const fetchOnceCommand = "python3 " + insideFetch + " " + insideShared + ` "${DISTDIR}" "${FILE}" "${DIGESTS}" `

// linkSent makes the directory with those of the job's distfiles that a client sent, under the names that this job's client
// has for them.
func (r *Runner) linkSent(job Job) (dir string, n int, err error) {
	dir = filepath.Join(job.Dir, sentDir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return dir, 0, err
	}
	for _, d := range job.Distfiles {
		err := linkOrCopy(SentPath(r.StateDir, d), filepath.Join(dir, d.Name))
		switch {
		case err == nil:
			n++
		case !errors.Is(err, fs.ErrNotExist): // the builder has it elsewhere, or had no room for it
			return dir, n, fmt.Errorf("a distfile that was sent: %w", err)
		}
	}
	return dir, n, nil
}

// linkOrCopy shows a file under a second name. Nothing is changed through that: jobs see it read-only.
func linkOrCopy(from, to string) error {
	err := os.Link(from, to)
	if err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrExist) {
		return err
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// SentPath is where a distfile is that a client sent, if it was.
func SentPath(stateDir string, d gentoo.Distfile) string {
	return filepath.Join(stateDir, SentDir, d.Key())
}

// HasSent reports whether a distfile was sent, and keeps it for a job that is about to use it.
func HasSent(stateDir string, d gentoo.Distfile) bool {
	path := SentPath(stateDir, d)
	fi, err := os.Lstat(path)
	if err != nil || !fi.Mode().IsRegular() || fi.Size() != d.Size {
		return false
	}
	now := time.Now()
	return os.Chtimes(path, now, now) == nil
}

// StoreSent keeps a distfile, if content is what it should be. Otherwise nothing is left of it; what is wrong with it is a
// gentoo.ErrDistfile.
func StoreSent(stateDir string, d gentoo.Distfile, content io.Reader) (err error) {
	dir := filepath.Join(stateDir, SentDir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, pendingPrefix+"*")
	if err != nil {
		return err
	}
	defer func() {
		f.Close()
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	if _, err := io.Copy(f, d.Verifying(content)); err != nil {
		return err
	}
	// After a crash a file under its name must not be an empty one.
	if err := errors.Join(f.Chmod(0o644), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), SentPath(stateDir, d))
}

// DistDirOf is the directory with the distfiles of a base of the builder's own.
func DistDirOf(base OwnBase) (string, error) {
	layers, err := base.Layers()
	if err != nil {
		return "", err
	}
	return filepath.Join(layers[0].Source, insideDistDir), nil
}

// OpenDistfile opens a distfile in a directory that jobs may have written to: what is no plain file of that size does not
// exist for it.
func OpenDistfile(dir string, d gentoo.Distfile) (*os.File, error) {
	path := filepath.Join(dir, d.Name)
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if fi, err := f.Stat(); err != nil || !fi.Mode().IsRegular() || fi.Size() != d.Size {
		f.Close()
		return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	}
	return f, nil
}

// sent collects what clients sent and no job used for a while.
func (c *Collected) sent(dir string, before time.Time, dry bool) error {
	files, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var all error
	for _, f := range files {
		fi, err := f.Info()
		if err != nil {
			continue
		}
		limit := before
		if strings.HasPrefix(f.Name(), pendingPrefix) {
			limit = time.Now().Add(-keepPending)
		}
		if !lastUsed(fi).Before(limit) {
			continue
		}
		c.Distfiles++
		c.Bytes += fi.Size()
		if !dry {
			all = errors.Join(all, os.Remove(filepath.Join(dir, f.Name())))
		}
	}
	return all
}
