package trust

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"
)

func newBook(t testing.TB) Book {
	t.Helper()
	return Book{filepath.Join(t.TempDir(), "state", KnownClients)}
}

func (b Book) mustHave(t *testing.T) []Peer {
	t.Helper()
	peers, err := b.Peers()
	if err != nil {
		t.Fatal(err)
	}
	return peers
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func TestBook(t *testing.T) {
	b := newBook(t)
	if peers := b.mustHave(t); len(peers) != 0 {
		t.Errorf("a book that is not there has %v", peers)
	}
	must(t, b.Note(keyN(1), "laptop"), b.Set(keyN(2), "tower", Trusted), b.Note(keyN(2), "other"), b.Note(keyN(3), "x"), b.Forget(keyN(3)))
	for i, want := range []Peer{{Key: keyN(1), State: Seen, Name: "laptop"}, {Key: keyN(2), State: Trusted, Name: "tower"}} {
		got := b.mustHave(t)[i]
		if age := time.Since(got.Since); age < 0 || age > time.Minute {
			t.Errorf("since %v", got.Since)
		}
		got.Since = time.Time{}
		if got != want {
			t.Errorf("%d: %v, want %v", i, got, want)
		}
	}
	must(t, b.Set(keyN(1), "laptop2", Revoked))
	if p, ok := Find(b.mustHave(t), keyN(1)); !ok || p.State != Revoked || p.Name != "laptop2" || len(b.mustHave(t)) != 2 {
		t.Errorf("%v %v", p, b.mustHave(t))
	}
	must(t, b.Note(keyN(1), "laptop")) // a key that comes again is what it was
	if p, _ := Find(b.mustHave(t), keyN(1)); p.State != Revoked {
		t.Errorf("%v", p)
	}
	if _, ok := Find(b.mustHave(t), keyN(9)); ok {
		t.Error("a key that is not there")
	}
	for path, want := range map[string]os.FileMode{b.File: 0o600, b.File + ".lock": 0o600, filepath.Dir(b.File): os.ModeDir | 0o700} {
		if fi, err := os.Stat(path); err != nil || fi.Mode() != want {
			t.Errorf("%s: %v, %v", path, fi.Mode(), err)
		}
	}
	if files, _ := os.ReadDir(filepath.Dir(b.File)); len(files) != 2 {
		t.Errorf("files are left: %v", files)
	}
	stop := errors.New("stop")
	before, _ := os.ReadFile(b.File)
	if err := b.Update(func([]Peer) ([]Peer, error) { return nil, stop }); !errors.Is(err, stop) {
		t.Error(err)
	}
	if after, _ := os.ReadFile(b.File); string(after) != string(before) {
		t.Error("an error has changed the book")
	}
}

// No change is lost, whoever else makes one.
func TestBookIsLocked(t *testing.T) {
	b := newBook(t)
	var all sync.WaitGroup
	const each = 10
	for n := range 8 {
		all.Go(func() {
			for i := range each {
				if err := b.Note(keyN(n*each+i), "x"); err != nil {
					t.Error(err)
				}
				if _, err := b.Peers(); err != nil { // readers see whole books only
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if peers := b.mustHave(t); len(peers) != 8*each {
		t.Errorf("%d of %d peers are there", len(peers), 8*each)
	}
}

func TestDamagedBook(t *testing.T) {
	key := keyN(1).String()
	good := key + " trusted 2026-01-02T03:04:05Z tower"
	for text, want := range map[string]string{
		"# comment\n\n" + good + "\n": "",
		good:                          "",
		key + " seen 2026-01-02T03:04:05+01:00 a b  c": "is no name",
		key + " seen 2026-01-02T03:04:05+01:00 a b c":  "",
		good + "\n" + good:                                               "line 2: this key was there before",
		good + "\ngarbage":                                               "line 2: it is not a key",
		key + " trusted 2026-01-02T03:04:05Z":                            "line 1: it is not a key, a state, a time and a name",
		key + " Trusted 2026-01-02T03:04:05Z tower":                      `"Trusted" is no state`,
		key + "  2026-01-02T03:04:05Z tower":                             `is no state`,
		key + " trusted yesterday tower":                                 `"yesterday" is no time`,
		key[:40] + " trusted 2026-01-02T03:04:05Z tower":                 "is no fingerprint",
		key + " trusted 2026-01-02T03:04:05Z ":                           "is no name",
		good + "\r\n":                                                    "is no name",
		key + " trusted 2026-01-02T03:04:05Z \x1b[2J":                    "is no name",
		key + " trusted 2026-01-02T03:04:05Z " + strings.Repeat("x", 65): "is no name",
		" " + good:                                 "line 1:",
		strings.Repeat("#\n", maxBook/2) + good:    "more than",
		key + " trusted 2026-01-02T03:04:05Z \xff": "is no name",
		key + strings.Repeat("x", 100) + " trusted 2026-01-02T03:04:05Z ": "is no fingerprint",
	} {
		b := newBook(t)
		must(t, os.MkdirAll(filepath.Dir(b.File), 0o700), os.WriteFile(b.File, []byte(text), 0o600))
		peers, err := b.Peers()
		if want == "" {
			if err != nil || len(peers) != 1 {
				t.Errorf("%.80q: %v, %v", text, peers, err)
			}
			continue
		}
		wantContains(t, err, want, b.File)
		if err := b.Set(keyN(2), "x", Trusted); err == nil {
			t.Errorf("%.80q was changed", text)
		}
		if now, _ := os.ReadFile(b.File); string(now) != text {
			t.Errorf("%.80q was changed", text)
		}
	}
}

func TestNames(t *testing.T) {
	for name, want := range map[string]string{
		"tower": "tower", "": "(no name)", " \t\n ": "(no name)", "a\nb": "a b", "a\x1b[31mb": "a [31mb", "\u202eevil": "evil", "a\u200bb": "a b",
		"Türm ⌂": "Türm ⌂", "\xff\xfe": "(no name)", "a\u00a0b": "a b", strings.Repeat("é", 100): strings.Repeat("é", 64),
		strings.Repeat("x", 63) + " y": strings.Repeat("x", 63), "# no comment": "# no comment", "a\x00b\x7f": "a b", "\u2028x\u0085y": "x y",
	} {
		got := CleanName(name)
		if got != want {
			t.Errorf("%q became %q, want %q", name, got, want)
		}
		if CleanName(got) != got || strings.ContainsAny(got, "\n\r\x1b") || !utf8.ValidString(got) {
			t.Errorf("%q is not clean", got)
		}
		b := newBook(t)
		must(t, b.Note(keyN(1), name))
		if peers := b.mustHave(t); len(peers) != 1 || peers[0].Name != want {
			t.Errorf("%q is read back as %v", name, peers)
		}
	}
}

// fill puts so many peers into a book at once.
func fill(t *testing.T, b Book, n int, state State) {
	t.Helper()
	must(t, b.Update(func([]Peer) ([]Peer, error) {
		var peers []Peer
		for i := range n {
			peers = append(peers, Peer{keyN(i), state, time.Unix(int64(1e9+i), 0).UTC(), strings.Repeat("⌂", maxName)})
		}
		return peers, nil
	}))
}

// Whoever comes with ever new keys is forgotten, and nobody else.
func TestStrangersKeepNobodyOut(t *testing.T) {
	b := newBook(t)
	fill(t, b, maxPeers, Seen)
	must(t, b.Set(keyN(0), "laptop", Trusted), b.Set(keyN(1), "thief", Revoked), b.Note(keyN(maxPeers), "new"), b.Set(keyN(maxPeers+1), "tower", Trusted))
	peers := b.mustHave(t)
	if len(peers) != maxPeers {
		t.Errorf("%d peers", len(peers))
	}
	for n, want := range map[int]bool{0: true, 1: true, 2: false, 3: false, 4: true, maxPeers - 1: true, maxPeers: true, maxPeers + 1: true} {
		if _, there := Find(peers, keyN(n)); there != want {
			t.Errorf("%d is there: %v", n, there)
		}
	}
}

// What somebody has said is never forgotten by itself.
func TestFullBook(t *testing.T) {
	b := newBook(t)
	fill(t, b, maxPeers, Revoked)
	if fi, err := os.Stat(b.File); err != nil || fi.Size() > maxBook {
		t.Errorf("a full book has %d bytes, at most %d can be read", fi.Size(), maxBook)
	}
	for _, err := range []error{b.Note(keyN(maxPeers), "new"), b.Set(keyN(maxPeers), "new", Trusted)} {
		if !errors.Is(err, ErrFull) {
			t.Errorf("%v", err)
		}
	}
	must(t, b.Note(keyN(5), "x"), b.Set(keyN(6), "y", Trusted), b.Forget(keyN(7)), b.Note(keyN(maxPeers), "new"))
	if peers := b.mustHave(t); len(peers) != maxPeers {
		t.Errorf("%d peers", len(peers))
	}
}

func TestNamed(t *testing.T) {
	laptop, evil := Peer{Key: keyN(1), Name: "laptop"}, Peer{Key: keyN(2), Name: keyN(1).String()}
	sly := Peer{Key: keyN(3), Name: "laptop"}
	key := keyN(1).String()
	for _, c := range []struct {
		peers []Peer
		word  string
		want  string
	}{
		{[]Peer{laptop, evil}, "laptop", "1"},
		{[]Peer{laptop, evil}, key, "1"},
		{[]Peer{evil}, key, ""}, // a name that is another one's key
		{[]Peer{laptop, evil}, key[:13], "1"},
		{[]Peer{laptop, evil}, key[7:13], "1"},
		{[]Peer{laptop, evil}, key[7:12], ""},
		{[]Peer{laptop, evil}, "SHA256:", ""},
		{[]Peer{laptop, evil}, "", ""},
		{[]Peer{laptop, evil}, "Laptop", ""},
		{[]Peer{laptop, evil, sly}, "laptop", "13"},
	} {
		got := ""
		for _, p := range Named(c.peers, c.word) {
			for n := range 4 {
				if p.Key == keyN(n) {
					got += fmt.Sprint(n)
				}
			}
		}
		if got != c.want {
			t.Errorf("%q of %v: %q, want %q", c.word, c.peers, got, c.want)
		}
	}
}

// A book that others can write says what they want.
func TestBookOthersWrite(t *testing.T) {
	b := Book{filepath.Join(t.TempDir(), KnownBuilders)}
	if err := b.Set(keyN(1), "tower", Trusted); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []os.FileMode{0o620, 0o602} {
		if err := os.Chmod(b.File, mode); err != nil {
			t.Fatal(err)
		}
		_, err := b.Peers()
		wantContains(t, err, b.File, "written by others", "chmod 600")
	}
	if err := os.Chmod(b.File, 0o644); err != nil {
		t.Fatal(err)
	}
	if peers, err := b.Peers(); len(peers) != 1 || err != nil {
		t.Errorf("that others can read: %v, %v", peers, err)
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root, as the suite has it")
	}
	if err := os.Chown(b.File, 1, -1); err != nil {
		t.Fatal(err)
	}
	_, err := b.Peers()
	wantContains(t, err, "user with ID 1", "chown 0")
}

func TestJudge(t *testing.T) {
	peers := []Peer{
		{Key: keyN(1), State: Trusted, Name: "tower"},
		{Key: keyN(2), State: Revoked, Name: "old"},
		{Key: keyN(3), State: Seen, Name: "seen"},
		{Key: keyN(4), State: Trusted, Name: "a b"},
		{Key: keyN(5), State: Seen, Name: "Tower"},
		{Key: keyN(6), State: Trusted, Name: "\u00b5box"},
	}
	for _, c := range []struct {
		name string
		key  int
		want Verdict
		held int
	}{
		{"tower", 1, Known, 1},
		{"renamed", 1, Known, 1},
		{"tower", 9, Changed, 1},
		{"TOWER", 9, Changed, 1},
		{" tower\n", 9, Changed, 1},
		{"tower", 2, Refused, 2},
		{"tower", 4, Known, 4},
		{"old", 9, New, 0}, // who was revoked has its name no more
		{"old", 2, Refused, 2},
		{"seen", 9, New, 0},
		{"seen", 3, New, 0},
		{"tower", 3, Changed, 1},
		{"Tower", 5, Changed, 1},
		{"a\tb", 9, Changed, 4},
		{"", 9, New, 0},
		// What looks the same is the same.
		{"tower.", 9, Changed, 1},
		{"tower\u3164", 9, Changed, 1},
		{"to\u034fwer", 9, Changed, 1},
		{"tower\u2800", 9, Changed, 1},
		{"tower\u200b", 9, Changed, 1},
		{"tower\ufe0f ", 9, Changed, 1},
		{"t0wer", 9, New, 0},
		{"tower\u0301", 9, New, 0},
		{"\u039cbox", 9, Changed, 6}, // as Unicode folds case
		{"tower2", 9, New, 0},
		{"tower-2", 9, New, 0},
	} {
		v, held := Judge(peers, c.name, keyN(c.key))
		if v != c.want || c.held != 0 && held.Key != keyN(c.held) {
			t.Errorf("%q with key %d: %v by %v, want %v", c.name, c.key, v, held, c.want)
		}
	}
	if v, _ := Judge(nil, "tower", keyN(1)); v != New {
		t.Errorf("with an empty book: %v", v)
	}
}
