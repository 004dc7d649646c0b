package build

import (
	_ "embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"lantage/gentoo"
)

// Folders of StateDir with distfiles, by content: see gentoo.Distfile.Key. Only the daemon writes there. DistDir is that with what
// jobs have downloaded, which all jobs see; SentDir that with what clients sent.
const (
	DistDir = "distfiles"
	SentDir = "distfiles-sent"
)

// KeepSent is how long a distfile that a client sent stays after the last job that used it: it can be sent again.
const KeepSent = 30 * 24 * time.Hour

// pendingPrefix begins the names of files in these folders that are not whole yet.
const pendingPrefix = ".pending-"

// keepPending is how long one of them stays to which nothing is added any more.
const keepPending = 24 * time.Hour

// Places inside the build root for distfiles, and the job's folders for two of them.
const (
	insideShared = insideDistDir + "-shared"
	insideSent   = insideDistDir + "-sent"
	insideFetch  = "/etc/lantage-fetch.py"

	ownDistDir = "distfiles"
	sentDir    = "sent"
	gotDir     = ".lantage" // in the job's DISTDIR: what fetchOnce says that the job has got
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

// distDirs gives the job a DISTDIR of its own, which goes with it: what one job can write, no other job may build from. What
// there is already it sees read-only. What the builder can name for it (files that its client has too, those of the base)
// Portage finds by itself, in PORTAGE_RO_DISTDIRS; fetchOnce finds the rest by its sum.
func (r *Runner) distDirs(job Job, a adapted, s *rootSpec) (distDirs, error) {
	sent, err := r.linkSent(job)
	if err != nil {
		return distDirs{}, err
	}
	own, err := s.ownDir(ownDistDir, 0o2775)
	if err != nil {
		return distDirs{}, err
	}
	got, err := s.ownDir(filepath.Join(ownDistDir, gotDir), 0o2775)
	if err != nil {
		return distDirs{}, err
	}
	for _, dir := range []string{own, got} {
		if err := os.Chown(dir, s.FirstID, s.FirstID+portageGroup); err != nil {
			return distDirs{}, err
		}
	}
	d := distDirs{
		binds: []bind{
			{Source: own, Target: insideDistDir},
			{Source: filepath.Join(r.StateDir, DistDir), Target: insideShared, IDMap: true, ReadOnly: true},
			{Source: sent, Target: insideSent, IDMap: true, ReadOnly: true},
		},
		readOnly: []string{insideSent},
		files:    []plainFile{{insideFetch, 0o644, fetchOnce}},
		fetch:    fetchOnceCommand,
	}
	if a.roDistDir != "" {
		d.readOnly = append(d.readOnly, a.roDistDir)
	}
	return d, nil
}

// fetchOnceCommand is put before the commands that fetch.
const fetchOnceCommand = "python3 " + insideFetch + " " + insideShared + ` "${DISTDIR}" "${FILE}" "${DIGESTS}" `

// linkSent makes the directory with those of the job's distfiles that are here, under the names that this job's client has for
// them: what it has sent, and what other jobs have downloaded, which Portage would not ask a fetch command for if it says
// RESTRICT=fetch.
func (r *Runner) linkSent(job Job) (dir string, err error) {
	dir = filepath.Join(job.Dir, sentDir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return dir, err
	}
	for _, d := range job.Distfiles {
		from := []string{fetchedPath(r.StateDir, d)}
		if HasSent(r.StateDir, job.Client, d) {
			from = append(from, sentPath(r.StateDir, d))
		}
		for _, from := range from {
			err := linkOrCopy(from, filepath.Join(dir, d.Name))
			if err == nil {
				break
			}
			if !errors.Is(err, fs.ErrNotExist) { // the base has it, or there was no room for it
				return dir, fmt.Errorf("a distfile that is here: %w", err)
			}
		}
	}
	return dir, nil
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

// sentPath is where a distfile is that a client sent, if it was.
func sentPath(stateDir string, d gentoo.Distfile) string {
	return filepath.Join(stateDir, SentDir, d.Key())
}

// sentBy is an empty file that says that this client has sent the distfile: that it knows the sums, which are in everybody's
// Manifests, does not say that it has it.
func sentBy(stateDir, client string, d gentoo.Distfile) string {
	return sentPath(stateDir, d) + "." + client
}

func fetchedPath(stateDir string, d gentoo.Distfile) string {
	return filepath.Join(stateDir, DistDir, d.Key())
}

// HasSent reports whether a client has sent a distfile that is here, and keeps it for a job that is about to use it.
func HasSent(stateDir, client string, d gentoo.Distfile) bool {
	return touch(sentBy(stateDir, client, d)) == nil && hasStored(sentPath(stateDir, d), d)
}

// HasFetched reports whether a job has downloaded a distfile, and keeps it likewise.
func HasFetched(stateDir string, d gentoo.Distfile) bool {
	return hasStored(fetchedPath(stateDir, d), d)
}

func hasStored(path string, d gentoo.Distfile) bool {
	fi, err := os.Lstat(path)
	return err == nil && fi.Mode().IsRegular() && fi.Size() == d.Size && touch(path) == nil
}

// touch notes that a file is of use. Reading it does not: jobs see it on a read-only mount.
func touch(path string) error {
	now := time.Now()
	return os.Chtimes(path, now, now)
}

// StoreSent keeps a distfile of a client's ([0-9a-f]{32}), if content is what it should be. Otherwise nothing is left of it; what is
// wrong with it is a gentoo.ErrDistfile.
func StoreSent(stateDir, client string, d gentoo.Distfile, content io.Reader) error {
	if err := store(sentPath(stateDir, d), d, content); err != nil {
		return err
	}
	return os.WriteFile(sentBy(stateDir, client, d), nil, 0o644)
}

// store keeps a distfile at a path, as StoreSent does.
func store(path string, d gentoo.Distfile, content io.Reader) (err error) {
	dir := filepath.Dir(path)
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
	return os.Rename(f.Name(), path)
}

// keepFree is the part of the disk that distfiles leave to others. Limits.KeepFree is no more than that, so that they alone end no job.
const keepFree = 20 // one of so many

// DistfileRoom is how many bytes of distfiles there is room for.
func DistfileRoom(stateDir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(stateDir, &st); err != nil {
		return 0, &os.PathError{Op: "statfs", Path: stateDir, Err: err}
	}
	return (int64(st.Bavail) - int64(st.Blocks)/keepFree) * st.Bsize, nil
}

// DistDirOf is the directory with the distfiles of a base of the builder's own.
func DistDirOf(base OwnBase) (string, error) {
	layers, err := base.Layers()
	if err != nil {
		return "", err
	}
	return filepath.Join(layers[0].Source, insideDistDir), nil
}

// OpenDistfile opens a distfile in a directory that is not ours: what is no plain file of that size does not exist for it.
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
