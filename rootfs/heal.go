package rootfs

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// unsyncedFile says since when objects may have been made that are not on disk. It is there from the beginning
// of a sync until all of its files have been flushed. Thousands of small files are not flushed one by one.
type unsyncedFile struct {
	BootID string    `json:"bootID"`
	Since  time.Time `json:"since"`
}

func (s *Store) unsyncedPath() string { return filepath.Join(s.dir, "unsynced") }

func (s *Store) noteUnsynced() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := os.Stat(s.unsyncedPath()); err == nil {
		return nil
	}
	if err := writeJSON(s.unsyncedPath(), unsyncedFile{s.bootID, s.now()}); err != nil {
		return err
	}
	return syncDir(s.dir)
}

// settleSoon sees to it that what syncs have made comes to the disk, then marks a generation as being there
// and removes the older ones.
func (s *Store) settleSoon(client string, number int) {
	// A hold, because the next sync may supersede it at once. Not a Generation: it is nobody's.
	var lock *lockFile
	if number > 0 {
		lock, _ = s.lockGeneration(client, number, unix.LOCK_SH)
	}
	s.background.Go(func() {
		err := s.settle(client, number)
		if lock != nil {
			_ = lock.Close()
		}
		if err != nil {
			s.logger.Warn("the store of clients' roots is not on disk yet", "err", err)
		} else if number > 0 {
			s.removeOld(client)
		}
	})
}

func (s *Store) settle(client string, number int) error {
	s.mu.Lock()
	begun, since := s.begun, s.now()
	s.mu.Unlock()
	if err := unix.Syncfs(s.shared.fd); err != nil {
		return fmt.Errorf("flush %s: %w", s.dir, err)
	}
	if number > 0 {
		_, err := s.updateGeneration(client, number, func(f *generationFile) { f.Synced = true })
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.syncs == 0 && s.begun == begun {
		if err := os.Remove(s.unsyncedPath()); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	return writeJSON(s.unsyncedPath(), unsyncedFile{s.bootID, since})
}

// heal removes what a crash of this program or of the machine has left. What another process is at is left
// alone.
func (s *Store) heal() error {
	ids, err := s.clientIDs()
	if err != nil {
		return err
	}
	for _, id := range ids {
		lock, err := s.lockClient(id)
		if errors.Is(err, ErrBusy) || errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = s.healClient(id)
			_ = lock.Close()
		}
		if err != nil {
			return fmt.Errorf("the copy of client %s: %w", id, err)
		}
	}
	return s.healObjects()
}

func (s *Store) healClient(client string) error {
	if err := os.RemoveAll(s.clientPath(client, "sync")); err != nil {
		return err
	}
	numbers, err := s.generations(client)
	if err != nil {
		return err
	}
	current, _ := s.current(client)
	newest, there := 0, false
	for _, n := range numbers {
		f, err := readJSON[generationFile](s.genPath(client, n, "generation.json"))
		if err == nil && (f.Synced || f.BootID == s.bootID) {
			newest, there = n, there || n == current
			if !f.Synced {
				s.settleSoon(client, n)
			}
			continue
		}
		s.logger.Info("a generation that had not reached the disk is removed", "client", client, "generation", n)
		if err := s.removeGeneration(client, n); err != nil && !errors.Is(err, ErrBusy) {
			return err
		}
	}
	_, err = os.Stat(s.clientPath(client, "about.json"))
	if there || err != nil { // without it: forgotten
		return nil
	}
	return s.switchTo(client, newest)
}

// healObjects checks, after the machine went down during a sync, the objects that were made since the last
// flush: a file system may keep a file's name and not its content.
func (s *Store) healObjects() error {
	mark, err := readJSON[unsyncedFile](s.unsyncedPath())
	if errors.Is(err, fs.ErrNotExist) || err == nil && mark.BootID == s.bootID {
		return nil
	}
	lock, err := s.lock(unix.LOCK_EX, "")
	if errors.Is(err, ErrBusy) {
		return nil // its owner has done this
	} else if err != nil {
		return err
	}
	defer lock.Close()
	since := mark.Since.Add(-time.Minute) // the clocks of file systems are coarse; a mark that is broken is zero
	s.logger.Info("the machine went down during a sync: checking the contents that came since", "since", mark.Since)
	ids, err := s.clientIDs()
	if err != nil {
		return err
	}
	err = s.shared.check(since)
	for _, id := range ids {
		if err == nil {
			err = withObjects(s.clientPath(id, "objects"), func(o *objects) error { return o.check(since) })
		}
	}
	if err != nil {
		return err
	}
	return os.Remove(s.unsyncedPath())
}

// withObjects opens a folder of objects, if it is there.
func withObjects(dir string, do func(*objects) error) error {
	if _, err := os.Stat(dir); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	o, err := openObjects(dir)
	if err != nil {
		return err
	}
	defer o.Close()
	return do(o)
}

// check removes the objects born since a time whose content is not what their names say.
func (o *objects) check(since time.Time) error {
	return o.each(func(name string) error {
		var st unix.Statx_t
		err := unix.Statx(o.fd, name, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_BTIME|unix.STATX_CTIME, &st)
		if err != nil {
			return objectError(name, err)
		}
		born := st.Ctime // never before the birth, where the file system does not tell that
		if st.Mask&unix.STATX_BTIME != 0 {
			born = st.Btime
		}
		if time.Unix(born.Sec, int64(born.Nsec)).Before(since) {
			return nil
		}
		sum, err := o.sum(name)
		if err == nil && strings.HasPrefix(filepath.Base(name), hex.EncodeToString(sum[:])) {
			return nil
		}
		return objectError(name, errors.Join(err, unix.Unlinkat(o.fd, name, 0)))
	})
}

func (o *objects) sum(name string) (sum Sum, err error) {
	fd, err := unix.Openat(o.fd, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return sum, err
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	h.Sum(sum[:0])
	return sum, err
}
