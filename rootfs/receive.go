package rootfs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Bounds of what a client sends.
const (
	maxListBytes = 2 << 30
	maxDepth     = 256 // directories in each other: each is an open file while a tree is made
)

// Receiver is one sync of one client. Its methods are for one goroutine.
//
// The way: List, then Content for what Wanted names, then Commit. When files changed meanwhile, List may be
// called again, with a change to the list before. What has come stays in the store also if the sync does not
// end: the next one does not want it again.
type Receiver struct {
	store   *Store
	client  string
	locks   []*lockFile
	own     *objects
	scratch *scratch
	current *Generation // nil: none
	closed  bool

	rounds  int    // lists that came
	digest  string // of the whole list; contents that came since (unfilled) change it
	entries int
	wants   wants // of the last list that came
	sent    sentReader
	writers *writers
	unknown int // contents that came without that their sum was known, since the list was written
	large   []byte
}

// Begin begins a sync. The error is ErrBusy while another one of the client is under way, or room is made.
// The receiver must be closed, also after a Commit.
func (s *Store) Begin(client string, about About) (_ *Receiver, err error) {
	if err := checkClient(client); err != nil {
		return nil, err
	}
	r := &Receiver{store: s, client: client}
	defer func() {
		if err != nil {
			r.release()
		}
	}()
	lock, err := s.lock(unix.LOCK_SH, "the builder is making room on its disk")
	if err != nil {
		return nil, err
	}
	r.locks = append(r.locks, lock)
	if lock, err = s.makeClient(client); err != nil {
		return nil, roomError(err)
	}
	r.locks = append(r.locks, lock)
	if err := s.noteAbout(client, about, time.Time{}); err != nil {
		return nil, roomError(err)
	}
	if err := s.noteUnsynced(); err != nil {
		return nil, roomError(err)
	}
	if err := r.open(); err != nil {
		return nil, roomError(err)
	}
	return r, nil
}

// makeClient makes a client's directory if it is not there, and locks it.
func (s *Store) makeClient(client string) (*lockFile, error) {
	for {
		if err := os.Mkdir(s.clientPath(client), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
		lock, err := s.lockClient(client)
		if !errors.Is(err, fs.ErrNotExist) { // else it was one that was forgotten, and removed just now
			return lock, err
		}
	}
}

// open makes the directories of a sync. The client's directory is locked.
func (r *Receiver) open() (err error) {
	if r.current, err = r.store.Current(r.client); errors.Is(err, ErrNoCopy) {
		r.current = nil
	} else if err != nil {
		return err
	} else {
		r.digest = r.current.Digest
	}
	if r.own, err = openObjects(r.store.clientPath(r.client, "objects")); err != nil {
		return err
	}
	r.own.maxLinks = r.store.shared.maxLinks
	if err := os.RemoveAll(r.path()); err != nil {
		return err
	}
	if err := os.Mkdir(r.path(), 0o700); err != nil {
		return err
	}
	if r.scratch, err = openScratch(r.path("tmp")); err != nil {
		return err
	}
	r.sent.name = r.path("sent")
	r.writers = startWriters(r.scratch)
	r.store.mu.Lock()
	defer r.store.mu.Unlock()
	r.store.syncs++
	r.store.begun++
	return nil
}

// noteAbout writes about.json; synced: when a copy was completed, or zero to leave that as it is.
func (s *Store) noteAbout(client string, about About, synced time.Time) error {
	name := s.clientPath(client, "about.json")
	last, err := readJSON[aboutFile](name)
	if err != nil { // none, or not a whole one: nothing depends on it
		last = aboutFile{First: s.now()}
	}
	last.About = about
	if !synced.IsZero() {
		last.Synced = synced
	}
	return writeJSON(name, last)
}

func (r *Receiver) path(elem ...string) string {
	return r.store.clientPath(r.client, append([]string{"sync"}, elem...)...)
}

// objects is where the object of an entry belongs.
func (r *Receiver) objects(private bool) *objects {
	if private {
		return r.own
	}
	return r.store.shared
}

// Close gives up what was not committed; the contents that came stay.
func (r *Receiver) Close() error {
	if r.closed {
		return nil
	}
	err := r.writers.drain()
	r.end(0)
	return roomError(err)
}

// end ends the sync; number is the generation that it made, or 0.
func (r *Receiver) end(number int) {
	r.release()
	r.store.mu.Lock()
	r.store.syncs--
	r.store.mu.Unlock()
	r.store.settleSoon(r.client, number)
}

func (r *Receiver) release() {
	r.closed = true
	r.sent.close()
	if r.writers != nil {
		r.writers.stop()
	}
	if r.scratch != nil {
		_ = r.scratch.Close()
		if err := os.RemoveAll(r.path()); err != nil {
			r.store.logger.Warn("cannot remove what a sync left", "path", filepath.Base(r.path()), "err", err)
		}
	}
	if r.own != nil {
		_ = r.own.Close()
	}
	if r.current != nil {
		r.current.Release()
	}
	for _, l := range r.locks {
		_ = l.Close()
	}
}
