package rootfs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// GCOptions say what GC removes besides generations that are neither current nor in use.
type GCOptions struct {
	OlderThan time.Duration // contents that are in no tree go when they have been so for that long: an interrupted sync needs them
	Unused    time.Duration // copies of clients whose last sync is that long ago go; 0: none
	MaxBytes  int64         // then copies go, that of the longest unused client first, until the store is so small; 0: any size
	DryRun    bool          // only report; MaxBytes, and what is only in generations that would go, are not counted
}

// GCReport is what GC removed.
type GCReport struct {
	Clients     []string // whose copies went
	Generations int
	Objects     int
	Bytes       int64 // of disk that the objects took
	Left        int64 // bytes of disk that the objects take that are left
	Held        int   // generations that could not go because jobs use them
}

// GC makes room. It may run in another process than the syncs; while one is under way the error is ErrBusy.
func (s *Store) GC(ctx context.Context, opt GCOptions) (GCReport, error) {
	var report GCReport
	lock, err := s.lock(unix.LOCK_EX, "a sync is under way")
	if err != nil {
		return report, err
	}
	defer lock.Close()
	copies, err := s.Clients()
	if err != nil {
		return report, err
	}
	slices.SortStableFunc(copies, func(a, b ClientCopy) int { return lastUse(a).Compare(lastUse(b)) })
	for len(copies) > 0 && opt.Unused > 0 && s.now().Sub(lastUse(copies[0])) >= opt.Unused {
		if err := s.drop(copies[0].ID, opt.DryRun, &report); err != nil {
			return report, err
		}
		copies = copies[1:]
	}
	if err := s.collect(ctx, opt.OlderThan, opt.DryRun, &report); err != nil {
		return report, err
	}
	for opt.MaxBytes > 0 && report.Left > opt.MaxBytes && !opt.DryRun {
		if len(copies) > 0 {
			if err := s.drop(copies[0].ID, false, &report); err != nil {
				return report, err
			}
			copies = copies[1:]
		}
		before := report.Left
		if err := s.collect(ctx, 0, false, &report); err != nil {
			return report, err
		}
		if len(copies) == 0 && report.Left == before {
			break
		}
	}
	return report, nil
}

func lastUse(c ClientCopy) time.Time {
	if c.Synced.IsZero() {
		return c.First
	}
	return c.Synced
}

// drop forgets a client on behalf of GC.
func (s *Store) drop(client string, dry bool, report *GCReport) error {
	report.Clients = append(report.Clients, client)
	if dry {
		return nil
	}
	lock, err := s.lockClient(client)
	if err != nil {
		return err
	}
	defer lock.Close()
	return s.forget(client)
}

// Forget removes the copy of a client and what only it has. Generations that jobs use go when they let go. The
// error is ErrBusy while a sync of the client is under way, and none if there is no copy.
func (s *Store) Forget(client string) error {
	if err := checkClient(client); err != nil {
		return err
	}
	lock, err := s.lockClient(client)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	err = s.forget(client)
	_ = lock.Close()
	if err != nil {
		return err
	}
	s.removeOld(client)
	all, err := s.lock(unix.LOCK_EX, "")
	if errors.Is(err, ErrBusy) {
		return nil // of another client; what is only in the objects stays for the next GC
	} else if err != nil {
		return err
	}
	defer all.Close()
	return s.collect(context.Background(), 0, false, &GCReport{})
}

// forget takes from a client's directory, which is locked, all but its generations.
func (s *Store) forget(client string) error {
	// First what makes it a copy that is served: after a crash the rest is removed by GC.
	for _, name := range []string{"about.json", "current", "objects", "sync"} {
		if err := os.RemoveAll(s.clientPath(client, name)); err != nil {
			return fmt.Errorf("forget client %s: %w", client, err)
		}
	}
	return nil
}

// collect removes generations that nobody needs, then objects that no tree has. The store is locked.
func (s *Store) collect(ctx context.Context, olderThan time.Duration, dry bool, report *GCReport) error {
	ids, err := s.clientIDs()
	if err != nil {
		return err
	}
	report.Held, report.Left = 0, 0
	for _, id := range ids {
		current, err := s.current(id)
		if err != nil {
			return err
		}
		if err := s.collectClient(id, current, dry, report); err != nil {
			return err
		}
	}
	sweep := func(o *objects) error { return s.sweep(ctx, o, olderThan, dry, report) }
	err = sweep(s.shared)
	for _, id := range ids {
		if err == nil {
			err = withObjects(s.clientPath(id, "objects"), sweep)
		}
	}
	return err
}

func (s *Store) collectClient(client string, current int, dry bool, report *GCReport) error {
	numbers, err := s.generations(client)
	if err != nil {
		return err
	}
	if f, err := readJSON[generationFile](s.genPath(client, current, "generation.json")); err == nil && !f.Synced && !dry {
		if err := s.settle(client, current); err != nil { // the older ones are needed until then
			return err
		}
	}
	for _, n := range numbers {
		if n == current {
			continue
		}
		if !dry {
			err = s.removeGeneration(client, n)
		} else if lock, lerr := s.lockGeneration(client, n, unix.LOCK_EX); lerr == nil {
			err = lock.Close()
		} else {
			err = lerr
		}
		if errors.Is(err, ErrBusy) {
			report.Held++
			continue
		} else if err != nil {
			return err
		}
		report.Generations++
	}
	if !dry {
		s.removeForgotten(client)
	}
	return nil
}

// sweep removes objects that are in no tree, and folders that are empty then: there are thousands.
func (s *Store) sweep(ctx context.Context, o *objects, olderThan time.Duration, dry bool, report *GCReport) error {
	err := o.each(func(name string) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Fstatat(o.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return objectError(name, err)
		}
		size := st.Blocks * 512
		if st.Nlink > 1 || s.now().Sub(time.Unix(st.Ctim.Unix())) < olderThan {
			report.Left += size
			return nil
		}
		report.Objects++
		report.Bytes += size
		if dry {
			return nil
		}
		return objectError(name, unix.Unlinkat(o.fd, name, 0))
	})
	if err != nil || dry {
		return err
	}
	folders, err := o.folder(".")
	for _, folder := range folders {
		_ = unix.Unlinkat(o.fd, folder, unix.AT_REMOVEDIR) // most are not empty
	}
	return err
}

// removeOld removes the generations of a client that are neither current nor in use, if the current one is
// on disk, and logs what it cannot.
func (s *Store) removeOld(client string) {
	current, err := s.current(client)
	if err == nil && current > 0 {
		var f generationFile
		if f, err = readJSON[generationFile](s.genPath(client, current, "generation.json")); err == nil && !f.Synced {
			return // who makes it so comes here
		}
	}
	var numbers []int
	if err == nil {
		numbers, err = s.generations(client)
	}
	for _, n := range numbers {
		// Greater ones are being committed.
		if n == current || n > current && current > 0 {
			continue
		}
		if rerr := s.removeGeneration(client, n); rerr != nil && !errors.Is(rerr, ErrBusy) {
			err = cmp.Or(err, rerr)
		}
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.logger.Warn("cannot remove an old generation", "client", client, "err", err)
	}
	s.removeForgotten(client)
}

// removeGeneration removes a generation that is not current, or fails with ErrBusy if it is in use.
func (s *Store) removeGeneration(client string, number int) error {
	lock, err := s.lockGeneration(client, number, unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer lock.Close()
	// Without this file it is none, should the rest be interrupted.
	if err := os.Remove(s.genPath(client, number, "generation.json")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.RemoveAll(s.genPath(client, number)); err != nil {
		return err
	}
	return os.Remove(lock.Name())
}

// removeForgotten removes the directory of a client that was forgotten, once nobody uses a generation of it.
func (s *Store) removeForgotten(client string) {
	forgotten := func() bool {
		_, err := os.Stat(s.clientPath(client, "about.json"))
		return errors.Is(err, fs.ErrNotExist)
	}
	if !forgotten() { // as most are: their locks are not touched, also for other processes
		return
	}
	s.tidying.Lock()
	defer s.tidying.Unlock()
	lock, err := s.tryClient(client)
	if err != nil {
		return // a sync began: it is not forgotten any more
	}
	defer lock.Close()
	if !forgotten() {
		return
	}
	if numbers, err := s.generations(client); err == nil && len(numbers) == 0 {
		_ = os.RemoveAll(s.clientPath(client))
	}
}
