package trust

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
	"unicode"
)

// Names of the books in a state directory.
const (
	KnownBuilders = "known_builders" // a client's: what it sends its configuration to and installs from
	KnownClients  = "known_clients"  // a builder's: whose jobs it runs
)

// State is what is held of a peer.
type State string

// States of a peer.
const (
	Seen    State = "seen"    // it came, and its key is known since; nobody has said anything
	Trusted State = "trusted" // somebody has said yes to this key, or paired it
	Revoked State = "revoked" // somebody has said that there is nothing to do with this key
)

// Peer is one entry of a book.
type Peer struct {
	Key   Key
	State State
	Since time.Time // in this state, to the second
	Name  string    // what it called itself, for people
}

// Bounds of a book: one that others can make grow must not grow without end.
const (
	maxPeers = 4096
	maxBook  = 2 << 20 // bytes
	maxName  = 64
)

// ErrFull means that a book takes no more peers: it is full of those that somebody has trusted or revoked.
var ErrFull = errors.New("there are too many peers in it already")

// Book is a file of peers. Each line is a key, a state, a time (RFC 3339) and a name, with one space between; lines that
// begin with # are comments.
type Book struct{ File string }

// Peers reads the book. One that is not there is empty; one that cannot be understood, or that others can write, is an error: who is
// trusted is not guessed.
func (b Book) Peers() ([]Peer, error) {
	f, err := os.Open(b.File)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if owner := int(fi.Sys().(*syscall.Stat_t).Uid); fi.Mode().Perm()&0o022 != 0 || owner != os.Geteuid() && owner != 0 {
		return nil, fmt.Errorf("%s (%v, of the user with ID %d) can be written by others: see who is trusted in it, then chown %d and chmod 600 it",
			b.File, fi.Mode().Perm(), owner, os.Geteuid())
	}
	text, err := io.ReadAll(io.LimitReader(f, maxBook+1))
	if err != nil {
		return nil, err
	}
	peers, err := parsePeers(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", b.File, err)
	}
	return peers, nil
}

func parsePeers(text []byte) ([]Peer, error) {
	if len(text) > maxBook {
		return nil, fmt.Errorf("it has more than %d bytes", maxBook)
	}
	var peers []Peer
	known := map[Key]bool{}
	number := 0
	for line := range strings.Lines(string(text)) {
		number++
		line = strings.TrimSuffix(line, "\n")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		p, err := parsePeer(line)
		if err == nil && known[p.Key] {
			err = errors.New("this key was there before")
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		known[p.Key] = true
		peers = append(peers, p)
	}
	return peers, nil
}

func parsePeer(line string) (p Peer, err error) {
	fields := strings.SplitN(line, " ", 4)
	if len(fields) != 4 {
		return p, errors.New("it is not a key, a state, a time and a name")
	}
	p.State, p.Name = State(fields[1]), fields[3]
	if p.Key, err = ParseKey(fields[0]); err != nil {
		return p, err
	}
	if p.State != Seen && p.State != Trusted && p.State != Revoked {
		return p, fmt.Errorf("%.20q is no state: %s, %s, %s", p.State, Seen, Trusted, Revoked)
	}
	if p.Since, err = time.Parse(time.RFC3339, fields[2]); err != nil {
		return p, fmt.Errorf("%.40q is no time", fields[2])
	}
	if CleanName(p.Name) != p.Name {
		return p, fmt.Errorf("%.80q is no name", p.Name)
	}
	return p, nil
}

// CleanName makes what a peer calls itself fit for a book: one printable line of at most 64 characters, and never nothing.
func CleanName(name string) string {
	name = strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, name)
	if runes := []rune(strings.Join(strings.Fields(name), " ")); len(runes) > 0 {
		return strings.TrimSpace(string(runes[:min(len(runes), maxName)]))
	}
	return "(no name)"
}

// Update changes the book by a function of what is in it, alone: no two processes change it at the same time. An error of the function
// leaves it as it is.
func (b Book) Update(change func([]Peer) ([]Peer, error)) error {
	if err := os.MkdirAll(filepath.Dir(b.File), 0o700); err != nil {
		return err
	}
	lock, err := os.OpenFile(b.File+".lock", os.O_RDWR|os.O_CREATE|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return err
	}
	old, err := b.Peers()
	if err != nil {
		return err
	}
	peers, err := change(slices.Clone(old))
	if err != nil || slices.Equal(peers, old) {
		return err
	}
	if len(peers) > len(old) {
		if peers, err = makeRoom(peers); err != nil {
			return fmt.Errorf("%s: %w", b.File, err)
		}
	}
	return b.write(peers)
}

// makeRoom forgets those of too many peers that came first and of which nobody has said anything: whoever can come with one new key
// after the other must not keep others out. The last of peers is the new one, and stays.
func makeRoom(peers []Peer) ([]Peer, error) {
	for len(peers) > maxPeers {
		oldest := -1
		for i, p := range peers[:len(peers)-1] {
			if p.State == Seen && (oldest < 0 || p.Since.Before(peers[oldest].Since)) {
				oldest = i
			}
		}
		if oldest < 0 {
			return nil, ErrFull
		}
		peers = slices.Delete(peers, oldest, oldest+1)
	}
	return peers, nil
}

func (b Book) write(peers []Peer) error {
	var text bytes.Buffer
	for _, p := range peers {
		fmt.Fprintf(&text, "%v %s %s %s\n", p.Key, p.State, p.Since.UTC().Format(time.RFC3339), CleanName(p.Name))
	}
	f, err := os.CreateTemp(filepath.Dir(b.File), "."+filepath.Base(b.File)) // 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(text.Bytes())
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), b.File); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(b.File)) // a revocation must outlive a power cut
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

// Set puts a key into a state.
func (b Book) Set(key Key, name string, state State) error {
	return b.Update(func(peers []Peer) ([]Peer, error) {
		p := Peer{key, state, time.Now().UTC().Truncate(time.Second), CleanName(name)}
		if i := slices.IndexFunc(peers, func(o Peer) bool { return o.Key == key }); i >= 0 {
			peers[i] = p
			return peers, nil
		}
		return append(peers, p), nil
	})
}

// Note notes a key that came, unless it is known.
func (b Book) Note(key Key, name string) error {
	return b.Update(func(peers []Peer) ([]Peer, error) {
		if _, known := Find(peers, key); known {
			return peers, nil
		}
		return append(peers, Peer{key, Seen, time.Now().UTC().Truncate(time.Second), CleanName(name)}), nil
	})
}

// Forget removes a key.
func (b Book) Forget(key Key) error {
	return b.Update(func(peers []Peer) ([]Peer, error) {
		return slices.DeleteFunc(peers, func(p Peer) bool { return p.Key == key }), nil
	})
}

// Find returns the entry of a key.
func Find(peers []Peer, key Key) (Peer, bool) {
	if i := slices.IndexFunc(peers, func(p Peer) bool { return p.Key == key }); i >= 0 {
		return peers[i], true
	}
	return Peer{}, false
}

// Named returns the entries that a word of the user may mean: a name, or a fingerprint or its beginning, with "SHA256:" or without, of
// at least 6 characters. With "SHA256:" it is no name: a peer can call itself as another one's key reads.
func Named(peers []Peer, word string) []Peer {
	var named []Peer
	short, fingerprint := strings.CutPrefix(word, keyPrefix)
	for _, p := range peers {
		ofKey := len(short) >= 6 && strings.HasPrefix(strings.TrimPrefix(p.Key.String(), keyPrefix), short)
		if ofKey || !fingerprint && p.Name == word {
			named = append(named, p)
		}
	}
	return named
}
