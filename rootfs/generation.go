package rootfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"
)

// Generation is one whole copy of a client's root, held: it stays as it is until it is released.
type Generation struct {
	Client      string
	Number      int
	Dir         string // the tree. It is never written to
	Digest      string // of its list
	Fingerprint string // what Commit was given
	Entries     int
	Bytes       int64 // the sum of its files' sizes
	Made        time.Time

	store   *Store
	lock    *lockFile
	release sync.Once
}

// generationFile is generation.json.
type generationFile struct {
	Number      int       `json:"number"`
	Digest      string    `json:"digest"`
	Fingerprint string    `json:"fingerprint"`
	Entries     int       `json:"entries"`
	Bytes       int64     `json:"bytes"`
	Made        time.Time `json:"made"`
	BootID      string    `json:"bootID"` // of the boot that made it
	Synced      bool      `json:"synced"` // all of it is on disk
}

// Current holds the generation of a client that is served. The error is ErrNoCopy if there is none.
func (s *Store) Current(client string) (*Generation, error) {
	if err := checkClient(client); err != nil {
		return nil, err
	}
	for {
		n, err := s.current(client)
		if err != nil {
			return nil, err
		}
		if n == 0 {
			return nil, ErrNoCopy
		}
		g, err := s.hold(client, n)
		now, cerr := s.current(client)
		switch {
		case cerr != nil:
			err = cerr
		case err == nil && now == n:
			return g, nil
		case now != n: // switched meanwhile: what was held may be half removed
			if err == nil {
				g.Release()
			}
			continue
		}
		if g != nil {
			g.Release()
		}
		return nil, fmt.Errorf("generation %d of the copy of client %s: %w", n, client, err)
	}
}

// hold holds a generation whatever its state is.
func (s *Store) hold(client string, number int) (*Generation, error) {
	lock, err := s.lockGeneration(client, number, unix.LOCK_SH)
	if err != nil {
		return nil, err
	}
	f, err := readJSON[generationFile](s.genPath(client, number, "generation.json"))
	if err != nil {
		_ = lock.Close()
		return nil, err
	}
	return s.held(client, f, lock), nil
}

func (s *Store) held(client string, f generationFile, lock *lockFile) *Generation {
	return &Generation{
		Client: client, Number: f.Number, Dir: s.genPath(client, f.Number, "root"), Digest: f.Digest,
		Fingerprint: f.Fingerprint, Entries: f.Entries, Bytes: f.Bytes, Made: f.Made, store: s, lock: lock,
	}
}

func (s *Store) lockGeneration(client string, number, how int) (*lockFile, error) {
	f, err := os.OpenFile(s.genPath(client, number)+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	return flock(f, how, "the generation is in use")
}

// Release lets go of the generation. If it is not the current one any more it is removed.
func (g *Generation) Release() {
	g.release.Do(func() {
		_ = g.lock.Close()
		if n, err := g.store.current(g.Client); err == nil && n != g.Number {
			g.store.background.Go(func() { g.store.removeOld(g.Client) })
		}
	})
}

// List opens the generation's list. Close the closer after reading.
func (g *Generation) List() (*ListReader, io.Closer, error) {
	f, err := os.Open(filepath.Join(filepath.Dir(g.Dir), "list.zst"))
	if err != nil {
		return nil, nil, err
	}
	z, err := zstd.NewReader(f, zstd.WithDecoderConcurrency(1))
	if err != nil {
		_ = f.Close()
		return nil, nil, err
	}
	return NewListReader(z, true), listCloser{z, f}, nil
}

type listCloser struct {
	z *zstd.Decoder
	f *os.File
}

func (c listCloser) Close() error {
	c.z.Close()
	return c.f.Close()
}

// Marker is the path of a file where the caller may note something about this generation. It goes with it.
func (g *Generation) Marker(name string) string {
	return filepath.Join(filepath.Dir(g.Dir), "marker-"+filepath.Base(name))
}

// current reads which generation is served; 0: none.
func (s *Store) current(client string) (int, error) {
	b, err := os.ReadFile(s.clientPath(client, "current"))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	} else if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || n <= 0 {
		return 0, fmt.Errorf("%s does not name a generation", s.clientPath(client, "current"))
	}
	return n, nil
}

// switchTo makes a generation the current one; 0: none.
func (s *Store) switchTo(client string, number int) error {
	name := s.clientPath(client, "current")
	if number == 0 {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	return replaceFile(name, fmt.Appendln(nil, number))
}

// generations lists the numbers of a client's generations, ascending, whatever their state is.
func (s *Store) generations(client string) ([]int, error) {
	dirs, err := os.ReadDir(s.clientPath(client))
	if err != nil {
		return nil, err
	}
	var numbers []int
	for _, d := range dirs {
		n, err := strconv.Atoi(strings.TrimPrefix(d.Name(), "gen-"))
		if err == nil && n > 0 && d.Name() == fmt.Sprintf("gen-%d", n) {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

// updateGeneration changes generation.json.
func (s *Store) updateGeneration(client string, number int, change func(*generationFile)) (generationFile, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := s.genPath(client, number, "generation.json")
	f, err := readJSON[generationFile](name)
	if err != nil {
		return f, err
	}
	change(&f)
	return f, writeJSON(name, f)
}
