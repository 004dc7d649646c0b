package build

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
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
	for _, pattern := range []string{"*", "*/*"} {
		dirs, _ := filepath.Glob(filepath.Join(stateDir, PkgDirs, pattern))
		for _, dir := range dirs {
			if _, err := os.Lstat(filepath.Join(dir, "Packages")); err != nil {
				continue // the folder of a client, or of a category
			}
			all = errors.Join(all, c.pkgDir(dir, before, dry))
		}
	}
	sentBefore := time.Now().Add(-min(unused, KeepSent))
	return c, errors.Join(all, c.distfiles(filepath.Join(stateDir, DistDir), before, dry),
		c.distfiles(filepath.Join(stateDir, SentDir), sentBefore, dry))
}

// distfiles collects those in a folder that no job used for a while.
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

func (c *Collected) pkgDir(dir string, before time.Time, dry bool) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		return nil // a job uses it
	}
	recent, bytes := false, int64(0)
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := d.Info()
		if err == nil && fi.Mode().IsRegular() {
			bytes += fi.Size()
			recent = recent || !lastUsed(fi).Before(before)
		}
		return err
	})
	if err != nil || recent {
		return err
	}
	c.PkgDirs++
	c.Bytes += bytes
	if dry {
		return nil
	}
	return os.RemoveAll(dir)
}

// lastUsed is when a file was last read or written. Most file systems note a read once a day (mount(8), relatime).
func lastUsed(fi fs.FileInfo) time.Time {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return fi.ModTime()
	}
	read, changed := time.Unix(st.Atim.Unix()), time.Unix(st.Ctim.Unix())
	if changed.After(read) {
		return changed
	}
	return read
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
