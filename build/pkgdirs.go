package build

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// PkgDirs is the folder of StateDir with the PKGDIRs: one for each build settings key, those of jobs on clients' roots in
// a folder for each client.
const PkgDirs = "binpkgs"

// holdPkgDir keeps a job's PKGDIR from being collected, also by another process.
func holdPkgDir(dir string) (release func(), err error) {
	for {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
		f, err := os.Open(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it was collected just now
		}
		if err != nil {
			return nil, err
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_SH); err != nil {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", dir, err)
		}
		mine, err := f.Stat()
		if now, statErr := os.Stat(dir); err == nil && statErr == nil && os.SameFile(mine, now) {
			return func() { f.Close() }, nil
		}
		f.Close()
	}
}

// Collected is what Collect has removed.
type Collected struct {
	PkgDirs, Distfiles int
	Bytes              int64
}

// Collect removes what no job has needed for a while: PKGDIRs that no job uses and in which nothing was read or written
// for that long, and distfiles likewise, those that clients sent after KeepSent at the latest. With dry it only counts.
func Collect(stateDir string, unused time.Duration, dry bool) (Collected, error) {
	var c Collected
	before := time.Now().Add(-unused)
	var all error
	for _, dir := range pkgDirs(filepath.Join(stateDir, PkgDirs)) {
		all = errors.Join(all, c.pkgDir(dir, before, dry))
	}
	sentBefore := time.Now().Add(-min(unused, KeepSent))
	return c, errors.Join(all, c.distfiles(filepath.Join(stateDir, DistDir), before, dry),
		c.distfiles(filepath.Join(stateDir, SentDir), sentBefore, dry))
}

// keyRE is what the name of a PKGDIR is, and that of a client's folder with PKGDIRs.
var keyRE = regexp.MustCompile(`^[0-9a-f]{32}$`)

// pkgDirs are the PKGDIRs in a folder. They are known by their names, not by what is in them: that is the jobs', who could
// have theirs kept for ever. A client's folder has nothing in it but PKGDIRs; what a job makes to look like one is collected
// piece by piece.
func pkgDirs(folder string) []string {
	var dirs []string
	entries, _ := os.ReadDir(folder)
	for _, e := range entries {
		if !e.IsDir() || !keyRE.MatchString(e.Name()) {
			continue
		}
		dir := filepath.Join(folder, e.Name())
		inside, _ := os.ReadDir(dir)
		var below []string
		for _, e := range inside {
			if e.IsDir() && keyRE.MatchString(e.Name()) {
				below = append(below, filepath.Join(dir, e.Name()))
			}
		}
		if len(below) < len(inside) {
			below = []string{dir}
		}
		dirs = append(dirs, below...)
	}
	return dirs
}

// distfiles collects those in a folder that no job used for a while, and whatever else there is.
func (c *Collected) distfiles(dir string, before time.Time, dry bool) error {
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
		used, bytes := lastUsed(fi), fi.Size()
		file := filepath.Join(dir, f.Name())
		if fi.IsDir() {
			used, bytes = usedBelow(file)
		}
		if !used.Before(limit) {
			continue
		}
		if _, client, _ := strings.Cut(f.Name(), "."); !keyRE.MatchString(client) { // no note of sentBy's
			c.Distfiles++
		}
		c.Bytes += bytes
		if !dry {
			all = errors.Join(all, RemoveAll(file))
		}
	}
	return all
}

func (c *Collected) pkgDir(dir string, before time.Time, dry bool) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		return nil // a job uses it
	}
	used, bytes := usedBelow(dir)
	if !used.Before(before) {
		return nil
	}
	c.PkgDirs++
	c.Bytes += bytes
	if dry {
		return nil
	}
	return RemoveAll(dir)
}

// lastUsed is when a file was last read or written. Most file systems note a read once a day (mount(8), relatime). That time is
// the file's owner's to set, though, and one that is yet to come says nothing.
func lastUsed(fi fs.FileInfo) time.Time {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return fi.ModTime()
	}
	read, changed := time.Unix(st.Atim.Unix()), time.Unix(st.Ctim.Unix())
	if changed.After(read) || read.After(time.Now()) {
		return changed
	}
	return read
}

// usedBelow is when one of the files below a directory was last used, and what they have of bytes.
func usedBelow(dir string) (last time.Time, bytes int64) {
	eachBelow(dir, func(fi fs.FileInfo) {
		if !fi.Mode().IsRegular() {
			return
		}
		bytes += fi.Size()
		if used := lastUsed(fi); used.After(last) {
			last = used
		}
	})
	return last, bytes
}

// ForgetClient removes what was built on a client's roots. What a job uses just now stays, and is collected later.
func ForgetClient(stateDir, client string) error {
	if client == "" {
		return errors.New("no client is named")
	}
	dirs, _ := filepath.Glob(filepath.Join(stateDir, PkgDirs, client, "*"))
	var c Collected
	for _, dir := range dirs {
		if err := c.pkgDir(dir, time.Now().Add(time.Hour), false); err != nil {
			return err
		}
	}
	return nil
}
