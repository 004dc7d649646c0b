package rootfs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

const (
	laptop = "0123456789abcdef0123456789abcdef"
	tablet = "fedcba9876543210fedcba9876543210"
)

// rootFile is an entry of a client's root with its content.
type rootFile struct {
	Entry
	content string
}

func aDir(path string, mode uint32) rootFile {
	return rootFile{Entry: Entry{Path: path, Type: TypeDir, Mode: mode, Sec: 1_700_000_000, Nsec: 7}}
}

func aFile(path, content string) rootFile {
	return rootFile{Entry{
		Path: path, Type: TypeFile, Mode: 0o644, Sec: 1_600_000_000, Nsec: 123456789, Size: int64(len(content)),
		Sum: sha256.Sum256([]byte(content)),
	}, content}
}

func aLink(path, target string) rootFile {
	return rootFile{Entry: Entry{Path: path, Type: TypeSymlink, Mode: 0o777, Sec: 1_500_000_000, Nsec: 5, Target: target}}
}

func (f rootFile) with(change func(*Entry)) rootFile {
	change(&f.Entry)
	return f
}

func smallRoot() []rootFile {
	return []rootFile{aDir(".", 0o755), aDir("etc", 0o755), aFile("etc/fstab", "none"), aFile("etc/hosts", "localhost"), aDir("usr", 0o755), aFile("usr/cc", "compiler"), aLink("usr/gcc", "cc")}
}

// listOf writes the list of a root, with or without sums.
func listOf(t testing.TB, root []rootFile, sums bool) []byte {
	t.Helper()
	slices.SortFunc(root, func(a, b rootFile) int { return Compare(a.Path, b.Path) })
	var b bytes.Buffer
	w := NewListWriter(&b, false)
	for _, f := range root {
		e := f.Entry
		if !sums {
			e.Sum = Sum{}
		}
		if err := w.Add(&e); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func changeOf(t testing.TB, older, newer []rootFile) []byte {
	t.Helper()
	var b bytes.Buffer
	w := NewListWriter(&b, false)
	a := NewListReader(bytes.NewReader(listOf(t, older, true)), true)
	c := NewListReader(bytes.NewReader(listOf(t, newer, true)), true)
	if err := Diff(a, c, w.Add); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func openTestStore(t testing.TB, dir string) *Store {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root, to give files to others")
	}
	s, err := OpenStore(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func begin(t testing.TB, s *Store, client string) *Receiver {
	t.Helper()
	r, err := s.Begin(client, About{Name: "a laptop"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

// sendList sends a list and returns the paths that are wanted. sent is what the list has, in its order.
func sendList(t testing.TB, r *Receiver, list []byte, against string) []string {
	t.Helper()
	if _, err := r.List(bytes.NewReader(list), against); err != nil {
		t.Fatal(err)
	}
	var sent []string
	l := NewListReader(bytes.NewReader(list), false)
	if err := Each(l, func(e *Entry) error { sent = append(sent, e.Path); return nil }); err != nil {
		t.Fatal(err)
	}
	var wanted []string
	if err := r.Wanted(func(i int) error { wanted = append(wanted, sent[i]); return nil }); err != nil {
		t.Fatal(err)
	}
	return wanted
}

// sendContents sends what is wanted of a root, whose list was sent whole, and at most n of it.
func sendContents(t testing.TB, r *Receiver, root []rootFile, n int) {
	t.Helper()
	var wanted []int
	if err := r.Wanted(func(i int) error { wanted = append(wanted, i); return nil }); err != nil {
		t.Fatal(err)
	}
	for _, i := range wanted[:min(n, len(wanted))] {
		if err := r.Content(i, strings.NewReader(root[i].content)); err != nil {
			t.Fatal(err)
		}
	}
}

// syncRoot does a whole sync and returns the generation and what was wanted.
func syncRoot(t testing.TB, s *Store, client string, root []rootFile, sums bool) (*Generation, []string) {
	t.Helper()
	r := begin(t, s, client)
	wanted := sendList(t, r, listOf(t, root, sums), "")
	sendContents(t, r, root, len(wanted))
	g, err := r.Commit(context.Background(), "print")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Release)
	return g, wanted
}

// readTree reads a tree back as a root.
func readTree(t testing.TB, dir string) []rootFile {
	t.Helper()
	var root []rootFile
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(name, &st); err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, name)
		sec, nsec := st.Mtim.Unix()
		f := rootFile{Entry: Entry{Path: rel, Mode: st.Mode & 0o7777, UID: st.Uid, GID: st.Gid, Sec: sec, Nsec: uint32(nsec)}}
		switch {
		case d.IsDir():
			f.Type = TypeDir
		case d.Type() == fs.ModeSymlink:
			f.Type = TypeSymlink
			f.Target, err = os.Readlink(name)
		default:
			var b []byte
			b, err = os.ReadFile(name)
			f.Type, f.content, f.Size, f.Sum = TypeFile, string(b), st.Size, sha256.Sum256(b)
			f.Sparse = treeHoles(t, name, st.Size)
		}
		f.Xattrs = treeXattrs(t, name)
		root = append(root, f)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(root, func(a, b rootFile) int { return Compare(a.Path, b.Path) })
	return root
}

// treeHoles reports whether a file has a hole before its end. Its blocks do not tell while it is on its way to the disk.
func treeHoles(t testing.TB, name string, size int64) bool {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	at, err := f.Seek(0, unix.SEEK_HOLE)
	if err != nil && !errors.Is(err, unix.ENXIO) { // an empty one
		t.Fatal(err)
	}
	return size > 0 && at < size
}

func treeXattrs(t testing.TB, name string) []Xattr {
	t.Helper()
	buf := make([]byte, 64<<10)
	n, err := unix.Llistxattr(name, buf)
	if err != nil {
		t.Fatal(err)
	}
	names := strings.Split(strings.TrimSuffix(string(buf[:n]), "\x00"), "\x00")
	slices.Sort(names)
	var all []Xattr
	for _, x := range names {
		if x == "" {
			continue
		}
		n, err := unix.Lgetxattr(name, x, buf)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, Xattr{x, string(buf[:n])})
	}
	return all
}

func wantTree(t *testing.T, g *Generation, root []rootFile) {
	t.Helper()
	if diff := cmp.Diff(root, readTree(t, g.Dir), cmp.AllowUnexported(rootFile{})); diff != "" {
		t.Errorf("the tree differs (-root +tree):\n%.3000s", diff)
	}
}

// treeInode identifies a file of a tree.
func treeInode(t *testing.T, g *Generation, path string) uint64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(filepath.Join(g.Dir, path), &st); err != nil {
		t.Fatal(err)
	}
	return st.Ino
}

func TestStoreIsOnlyForRoot(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "roots")
	s := openTestStore(t, dir)
	g, _ := syncRoot(t, s, laptop, smallRoot(), true)
	s.background.Wait() // it removes files of the store
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name == g.Dir {
			return fs.SkipDir // has the client's mode, below directories that have ours
		}
		info, err := d.Info()
		if d.IsDir() && info.Mode().Perm() != 0o700 {
			t.Errorf("%s has the mode %v", name, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestStoreRefusesClientIDs(t *testing.T) {
	s := openTestStore(t, t.TempDir())
	for _, id := range []string{"", "..", "../../../../../../../../../etc/aa", strings.Repeat("a", 31), strings.Repeat("A", 32)} {
		if _, err := s.Begin(id, About{}); err == nil {
			t.Errorf("Begin(%q) worked", id)
		}
		if _, err := s.Current(id); err == nil || errors.Is(err, ErrNoCopy) {
			t.Errorf("Current(%q) = %v", id, err)
		}
		if err := s.Forget(id); err == nil {
			t.Errorf("Forget(%q) worked", id)
		}
	}
}

func TestCurrent(t *testing.T) {
	s := openTestStore(t, t.TempDir())
	if _, err := s.Current(laptop); !errors.Is(err, ErrNoCopy) {
		t.Fatalf("before any sync: %v", err)
	}
	if empty, err := s.Empty(); err != nil || !empty {
		t.Fatalf("Empty() = %v, %v", empty, err)
	}
	made, _ := syncRoot(t, s, laptop, smallRoot(), true)
	if empty, err := s.Empty(); err != nil || empty {
		t.Fatalf("after a sync Empty() = %v, %v", empty, err)
	}
	g, err := s.Current(laptop)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Release()
	if g.Dir != made.Dir || g.Digest != made.Digest || g.Fingerprint != "print" || g.Entries != 7 || g.Bytes != 21 {
		t.Errorf("%+v", g)
	}
	l, closer, err := g.List()
	if err != nil {
		t.Fatal(err)
	}
	defer closer.Close()
	var paths []string
	if err := Each(l, func(e *Entry) error { paths = append(paths, e.Path); return nil }); err != nil {
		t.Fatal(err)
	}
	if want := []string{".", "etc", "etc/fstab", "etc/hosts", "usr", "usr/cc", "usr/gcc"}; !slices.Equal(paths, want) {
		t.Errorf("the list has %q", paths)
	}
	if l.Digest() != g.Digest {
		t.Errorf("the list's digest is %s, the generation's %s", l.Digest(), g.Digest)
	}
	clients, err := s.Clients()
	if err != nil || len(clients) != 1 || clients[0].Name != "a laptop" || clients[0].Current != 1 || clients[0].Synced.IsZero() {
		t.Errorf("Clients() = %+v, %v", clients, err)
	}
}

// crash makes a store look as if the machine had gone down before what was done last was on disk.
func crash(t *testing.T, s *Store, client string, number int) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.updateGeneration(client, number, func(f *generationFile) { f.Synced, f.BootID = false, "another" }); err != nil {
		t.Fatal(err)
	}
}

func TestOpenStoreRemovesWhatIsNotOnDisk(t *testing.T) {
	dir := t.TempDir()
	s := openTestStore(t, dir)
	root := smallRoot()
	g, _ := syncRoot(t, s, laptop, root, true)
	// g is held: so the old generation is still there when the machine goes down.
	newer, _ := syncRoot(t, s, laptop, append(root, aFile("usr/ld", "linker")), true)
	newer.Release()
	g.Release()
	held, err := s.hold(laptop, 2)
	if err != nil {
		t.Fatal(err)
	}
	held.Release()
	crash(t, s, laptop, 2)
	if err := os.Mkdir(filepath.Join(dir, "clients", laptop, "sync"), 0o700); err != nil {
		t.Fatal(err)
	}

	s = openTestStore(t, dir)
	if _, err := s.Current(laptop); !errors.Is(err, ErrNoCopy) {
		t.Errorf("the generation that was not on disk: %v", err)
	}
	for _, left := range []string{"gen-2", "sync", "current"} {
		if _, err := os.Lstat(filepath.Join(dir, "clients", laptop, left)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", left, err)
		}
	}
}

func TestOpenStoreGoesBack(t *testing.T) {
	dir := t.TempDir()
	s := openTestStore(t, dir)
	old, _ := syncRoot(t, s, laptop, smallRoot(), true)
	_, _ = syncRoot(t, s, laptop, append(smallRoot(), aFile("usr/ld", "linker")), true)
	crash(t, s, laptop, 2)

	s = openTestStore(t, dir)
	g, err := s.Current(laptop)
	if err == nil {
		defer g.Release()
	}
	// The one not on disk is held by this test, which a machine that went down would not do: it stays, unused.
	if err != nil || g.Number != old.Number {
		t.Fatalf("%+v, %v", g, err)
	}
	wantTree(t, g, smallRoot())
}

func TestOpenStoreChecksObjectsAfterCrash(t *testing.T) {
	dir := t.TempDir()
	s := openTestStore(t, dir)
	s.now = func() time.Time { return time.Now().Add(-time.Hour) }
	root := smallRoot()
	r := begin(t, s, laptop)
	sendList(t, r, listOf(t, root, true), "")
	sendContents(t, r, root, 3)
	if err := r.writers.drain(); err != nil {
		t.Fatal(err)
	}
	// As a file system does that has the name on disk and not the content:
	fstab := root[2]
	if err := os.Truncate(filepath.Join(dir, "objects", objectName(&fstab.Entry)), 0); err != nil {
		t.Fatal(err)
	}
	mark, err := os.ReadFile(s.unsyncedPath())
	if err != nil {
		t.Fatalf("no mark during a sync: %v", err)
	}
	if err := errors.Join(r.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(s.unsyncedPath()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the mark after all is on disk: %v", err)
	}
	mark = bytes.Replace(mark, []byte(s.bootID), []byte("another"), 1)
	if err := os.WriteFile(s.unsyncedPath(), mark, 0o600); err != nil {
		t.Fatal(err)
	}

	s = openTestStore(t, dir)
	if wanted := sendList(t, begin(t, s, laptop), listOf(t, root, true), ""); !slices.Equal(wanted, []string{"etc/fstab"}) {
		t.Errorf("wants %q; only the broken one is missing", wanted)
	}
}

// failingReader fails after what it has, as a connection does.
type failingReader struct{ r io.Reader }

var errLost = errors.New("connection lost")

func (f failingReader) Read(b []byte) (int, error) {
	n, err := f.r.Read(b)
	if err == io.EOF {
		err = errLost
	}
	return n, err
}
