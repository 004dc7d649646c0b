package rootfs

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Errors of a Store, for errors.Is.
var (
	ErrNoCopy     = errors.New("there is no copy of this client's root")
	ErrBusy       = errors.New("busy")
	ErrNotCurrent = errors.New("the change is to another list than the builder's")
	ErrSum        = errors.New("another content than the list says")
	ErrIncomplete = errors.New("contents are missing")
	ErrNoSpace    = errors.New("not enough room on the builder's disk")
)

// Store keeps copies of clients' roots below one directory that only root can enter:
//
//	lock                    flock(2): shared while a sync runs, exclusive while room is made
//	unsynced                since when objects may not be on disk yet; see heal
//	objects/abc/SUM-META    a regular file for each distinct content and metadata, hard linked into trees
//	objects/abc/SUM         a content that has no metadata yet
//	clients/ID/             locked exclusively during a sync
//	    about.json          who it is, for people
//	    objects/            as above: what not everybody on the client may read
//	    gen-N/root/         a tree; beside it list.zst, generation.json and its markers
//	    gen-N.lock          locked shared by who uses the generation
//	    current             the number of the generation that is served
//	    sync/               a sync under way
//
// A generation never changes. A kill at any time leaves the old one current or the new one current and whole.
type Store struct {
	dir    string
	logger *slog.Logger
	shared *objects
	bootID string

	background sync.WaitGroup
	tidying    sync.Mutex // held while clients' directories are locked only to see whether they can go: no sync is to meet that
	mu         sync.Mutex // guards what follows, and the files unsynced and generation.json
	syncs      int        // under way
	begun      int        // ever

	// Set otherwise in tests.
	now  func() time.Time
	room func(dir string) (free, total int64, err error)
}

// About says for people which client a copy is of.
type About struct {
	Name    string `json:"name"`
	Address string `json:"address"`
	CHOST   string `json:"chost"`
}

// aboutFile is about.json. A client's directory without it is one that was forgotten.
type aboutFile struct {
	About
	First  time.Time `json:"first"`
	Synced time.Time `json:"synced"` // zero: never wholly
}

// OpenStore opens the store in dir and makes it if it is not there. It removes what a crash has left: syncs
// that nobody continues, and generations and contents that had not reached the disk. Close it.
func OpenStore(dir string, logger *slog.Logger) (*Store, error) {
	s := &Store{dir: dir, logger: logger, now: time.Now, room: diskRoom}
	for _, d := range []string{dir, filepath.Join(dir, "objects"), filepath.Join(dir, "clients")} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, fmt.Errorf("the store of clients' roots: %w", err)
		}
	}
	// What is made below takes neither group nor ACL from here: files of 0:0 need no chown.
	if err := errors.Join(os.Chown(dir, 0, 0), os.Chmod(dir, 0o700)); err != nil {
		return nil, fmt.Errorf("the store of clients' roots: %w", err)
	}
	_ = unix.Lremovexattr(dir, "system.posix_acl_default")
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return nil, err
	}
	s.bootID = strings.TrimSpace(string(id))
	if s.shared, err = openObjects(filepath.Join(dir, "objects")); err != nil {
		return nil, err
	}
	if err := s.heal(); err != nil {
		_ = s.Close()
		return nil, err
	}
	return s, nil
}

// Close waits for what goes on in the background. Receivers must have been closed; generations may be held
// beyond it.
func (s *Store) Close() error {
	s.background.Wait()
	return s.shared.Close()
}

// Empty reports whether the store has no shared object at all, so that a first sync need not ask for any.
func (s *Store) Empty() (bool, error) {
	empty := true
	err := s.shared.each(func(string) error {
		empty = false
		return fs.SkipAll
	})
	return empty, err
}

// ClientCopy is what a store has of one client.
type ClientCopy struct {
	ID string
	About
	First       time.Time // when it first came
	Synced      time.Time // when its copy was last complete; zero: never
	Current     int       // number of the generation that is served; 0: none
	Generations int       // with those that only jobs still use
	Entries     int       // of the current generation, as
	Bytes       int64     // the sum of its files' sizes, shared ones included
}

// Clients lists the copies, sorted by ID.
func (s *Store) Clients() ([]ClientCopy, error) {
	ids, err := s.clientIDs()
	if err != nil {
		return nil, err
	}
	var copies []ClientCopy
	for _, id := range ids {
		about, err := readJSON[aboutFile](s.clientPath(id, "about.json"))
		if errors.Is(err, fs.ErrNotExist) {
			continue // forgotten
		} else if err != nil {
			return nil, err
		}
		c := ClientCopy{ID: id, About: about.About, First: about.First, Synced: about.Synced}
		if c.Current, err = s.current(id); err != nil {
			return nil, err
		}
		numbers, err := s.generations(id)
		if err != nil {
			return nil, err
		}
		c.Generations = len(numbers)
		if g, err := readJSON[generationFile](s.genPath(id, c.Current, "generation.json")); err == nil {
			c.Entries, c.Bytes = g.Entries, g.Bytes
		}
		copies = append(copies, c)
	}
	return copies, nil
}

func (s *Store) clientIDs() ([]string, error) {
	dirs, err := os.ReadDir(filepath.Join(s.dir, "clients"))
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, d := range dirs {
		if checkClient(d.Name()) == nil {
			ids = append(ids, d.Name())
		}
	}
	return ids, nil
}

// checkClient keeps what a peer says from becoming a path.
func checkClient(id string) error {
	if len(id) != 32 || strings.Trim(id, "0123456789abcdef") != "" {
		return fmt.Errorf("%.40q is no client's ID: not 32 hexadecimal digits", id)
	}
	return nil
}

func (s *Store) clientPath(client string, elem ...string) string {
	return filepath.Join(append([]string{s.dir, "clients", client}, elem...)...)
}

func (s *Store) genPath(client string, number int, elem ...string) string {
	return s.clientPath(client, append([]string{fmt.Sprintf("gen-%d", number)}, elem...)...)
}

// lock takes the store's lock, shared or exclusive, until the file is closed.
func (s *Store) lock(how int, busy string) (*lockFile, error) {
	f, err := os.OpenFile(filepath.Join(s.dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	return flock(f, how, busy)
}

// lockClient locks a client's directory, which must be there.
func (s *Store) lockClient(client string) (*lockFile, error) {
	s.tidying.Lock()
	defer s.tidying.Unlock()
	return s.tryClient(client)
}

// tryClient is lockClient for who holds tidying.
func (s *Store) tryClient(client string) (*lockFile, error) {
	for {
		f, err := os.Open(s.clientPath(client))
		if err != nil {
			return nil, err
		}
		lock, err := flock(f, unix.LOCK_EX, "a sync of this client is running")
		if err != nil {
			return nil, err
		}
		// Somebody may have removed it, and made it again, before it was locked.
		locked, err := f.Stat()
		if err == nil {
			if there, err := os.Stat(s.clientPath(client)); err == nil && os.SameFile(locked, there) {
				return lock, nil
			} else if err != nil {
				_ = lock.Close()
				return nil, err
			}
		}
		_ = lock.Close()
	}
}

// lockFile is a file that is locked until it is closed.
type lockFile struct{ *os.File }

// Close unlocks the file. To close it is not enough: a process that another goroutine starts at this moment has the file open,
// too, until it has become its program.
func (l *lockFile) Close() error {
	return errors.Join(unix.Flock(int(l.Fd()), unix.LOCK_UN), l.File.Close())
}

// flock locks an open file without waiting, and closes it if that fails: with ErrBusy if another has it.
func flock(f *os.File, how int, busy string) (*lockFile, error) {
	err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
	if err == nil {
		return &lockFile{f}, nil
	}
	_ = f.Close()
	if err == unix.EWOULDBLOCK {
		return nil, fmt.Errorf("%w: %s", ErrBusy, busy)
	}
	return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
}

func diskRoom(dir string) (free, total int64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, 0, fmt.Errorf("free space of %s: %w", dir, err)
	}
	return int64(st.Bavail) * int64(st.Bsize), int64(st.Blocks) * int64(st.Bsize), nil
}

// checkRoom says whether need bytes fit, less a reserve that is left to the builder's owner.
func (s *Store) checkRoom(need int64) error {
	free, total, err := s.room(s.dir)
	if err != nil {
		return err
	}
	free = max(0, free-min(total/20, 2<<30))
	if need <= free {
		return nil
	}
	return fmt.Errorf("%w: the copy needs %d MiB in %s and may use %d MiB; `lantage gc` there may help",
		ErrNoSpace, need>>20+1, s.dir, free>>20)
}

// roomError makes an error for people of a disk that has become full.
func roomError(err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return fmt.Errorf("%w: %w; `lantage gc` there may help", ErrNoSpace, err)
	}
	return err
}

func readJSON[T any](name string) (v T, err error) {
	b, err := os.ReadFile(name)
	if err == nil {
		if err = json.Unmarshal(b, &v); err != nil {
			err = fmt.Errorf("%s: %w", name, err)
		}
	}
	return v, err
}

// writeJSON replaces a file, which has the old or the new content after a crash.
func writeJSON(name string, v any) error {
	b, err := json.MarshalIndent(v, "", "\t")
	if err != nil {
		return err
	}
	return replaceFile(name, append(b, '\n'))
}

func replaceFile(name string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".new-*")
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

func syncDir(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func sortedNames(dir *os.File) ([]string, error) {
	names, err := dir.Readdirnames(-1)
	slices.Sort(names)
	return names, err
}
