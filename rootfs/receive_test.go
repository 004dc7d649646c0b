package rootfs

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestInterruptedSync ends a sync at each stage. The old copy is served, and the next sync wants only what had
// not come.
func TestInterruptedSync(t *testing.T) {
	old := smallRoot()
	newer := append(smallRoot(), aFile("usr/as", "assembler"), aFile("usr/ld", "linker"), aFile("usr/nm", "names"),
		aFile("usr/own", "private").with(func(e *Entry) { e.Mode = 0o600 }))
	stages := []struct {
		name  string
		until func(*testing.T, *Receiver)
		left  []string
	}{
		{"begun", func(*testing.T, *Receiver) {}, []string{"usr/as", "usr/ld", "usr/nm", "usr/own"}},
		{"list cut", func(t *testing.T, r *Receiver) {
			list := listOf(t, newer, true)
			if _, err := r.List(failingReader{bytes.NewReader(list[:len(list)/2])}, ""); !errors.Is(err, errLost) {
				t.Errorf("List of a lost connection: %v", err)
			}
		}, []string{"usr/as", "usr/ld", "usr/nm", "usr/own"}},
		{"list", func(t *testing.T, r *Receiver) {
			sendList(t, r, listOf(t, newer, true), "")
		}, []string{"usr/as", "usr/ld", "usr/nm", "usr/own"}},
		{"some contents", func(t *testing.T, r *Receiver) {
			sendList(t, r, listOf(t, newer, true), "")
			sendContents(t, r, newer, 2)
		}, []string{"usr/nm", "usr/own"}},
		{"content cut", func(t *testing.T, r *Receiver) {
			sendList(t, r, listOf(t, newer, true), "")
			var first int
			_ = r.Wanted(func(i int) error { first = i; return io.EOF })
			if err := r.Content(first, failingReader{strings.NewReader("assem")}); !errors.Is(err, errLost) {
				t.Errorf("Content of a lost connection: %v", err)
			}
		}, []string{"usr/as", "usr/ld", "usr/nm", "usr/own"}},
		{"commit too early", func(t *testing.T, r *Receiver) {
			sendList(t, r, listOf(t, newer, true), "")
			sendContents(t, r, newer, 3)
			if _, err := r.Commit(t.Context(), ""); !errors.Is(err, ErrIncomplete) {
				t.Errorf("Commit: %v", err)
			}
		}, []string{"usr/own"}},
		{"commit cancelled", func(t *testing.T, r *Receiver) {
			sendList(t, r, listOf(t, newer, true), "")
			sendContents(t, r, newer, 4)
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if _, err := r.Commit(ctx, ""); !errors.Is(err, context.Canceled) {
				t.Errorf("Commit: %v", err)
			}
		}, nil},
	}
	for _, stage := range stages {
		t.Run(stage.name, func(t *testing.T) {
			s := openTestStore(t, t.TempDir())
			first, _ := syncRoot(t, s, laptop, old, true)
			first.Release()
			r := begin(t, s, laptop)
			stage.until(t, r)
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(r.path()); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("what the sync left: %v", err)
			}
			g, err := s.Current(laptop)
			if err != nil {
				t.Fatal(err)
			}
			defer g.Release()
			wantTree(t, g, old)
			next, wanted := syncRoot(t, s, laptop, newer, true)
			if !slices.Equal(wanted, stage.left) {
				t.Errorf("the next sync wanted %q, not %q", wanted, stage.left)
			}
			wantTree(t, next, newer)
		})
	}
}

func TestSyncOfChange(t *testing.T) {
	s := openTestStore(t, t.TempDir())
	old := smallRoot()
	g, _ := syncRoot(t, s, laptop, old, true)
	newer := []rootFile{
		aDir(".", 0o755), aDir("etc", 0o700), aFile("etc/hosts", "two hosts"), aFile("usr", "a file now"),
		aFile("var", "compiler"),
	}
	change := changeOf(t, old, newer)

	r := begin(t, s, laptop)
	if _, err := r.List(bytes.NewReader(change), strings.Repeat("0", 64)); !errors.Is(err, ErrNotCurrent) {
		t.Fatalf("a change to a list that is not there: %v", err)
	}
	wanted := sendList(t, r, change, g.Digest)
	if want := []string{"etc/hosts", "usr"}; !slices.Equal(wanted, want) {
		t.Fatalf("wanted %q, not %q", wanted, want)
	}
	contents := []string{"two hosts", "a file now"}
	if err := r.Wanted(func(i int) error {
		content := contents[0]
		contents = contents[1:]
		return r.Content(i, strings.NewReader(content))
	}); err != nil {
		t.Fatal(err)
	}
	next, err := r.Commit(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer next.Release()
	wantTree(t, next, newer)
	wantTree(t, g, old)
}

// Files change while they are sent: the client says so in a second list, against the first one.
func TestSyncInRounds(t *testing.T) {
	for _, sums := range []bool{true, false} {
		s := openTestStore(t, t.TempDir())
		root := smallRoot()
		r := begin(t, s, laptop)
		sendList(t, r, listOf(t, root, sums), "")
		_ = r.Wanted(func(i int) error {
			content := root[i].content
			if root[i].Path == "etc/hosts" {
				content += "!"
			}
			err := r.Content(i, strings.NewReader(content))
			if (root[i].Path == "etc/hosts") != errors.Is(err, ErrSum) {
				t.Errorf("%s: %v", root[i].Path, err)
			}
			return nil
		})
		if n := r.Missing(); n != (Wants{1, int64(len("localhost"))}) {
			t.Errorf("missing: %+v", n)
		}
		digest, err := r.Digest()
		if err != nil {
			t.Fatal(err)
		}
		before := slices.Clone(root)
		if !sums { // the client does not know the sum of what it could not send
			before[3].Sum = Sum{}
		}
		l := NewListReader(bytes.NewReader(listOf(t, before, true)), true)
		if err := Each(l, func(*Entry) error { return nil }); err != nil || l.Digest() != digest {
			t.Fatalf("with sums known %v, the digest after the contents is %s, the client's %s: %v", sums, digest, l.Digest(), err)
		}
		root[3] = aFile("etc/hosts", "localhost!")
		if wanted := sendList(t, r, changeOf(t, before, root), digest); !slices.Equal(wanted, []string{"etc/hosts"}) {
			t.Fatalf("the second round wants %q", wanted)
		}
		if err := r.Wanted(func(i int) error { return r.Content(i, strings.NewReader("localhost!")) }); err != nil {
			t.Fatal(err)
		}
		g, err := r.Commit(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		wantTree(t, g, root)
		g.Release()
	}
}

// What the first round did not bring and the second does not mention is noticed at the end.
func TestCommitFindsWhatNoRoundBrought(t *testing.T) {
	for _, sums := range []bool{true, false} {
		s := openTestStore(t, t.TempDir())
		root := smallRoot()
		r := begin(t, s, laptop)
		sendList(t, r, listOf(t, root, sums), "")
		digest, err := r.Digest()
		if err != nil {
			t.Fatal(err)
		}
		var none bytes.Buffer
		if _, err := NewListWriter(&none, false).Close(); err != nil {
			t.Fatal(err)
		}
		if wanted := sendList(t, r, none.Bytes(), digest); len(wanted) > 0 {
			t.Errorf("wanted of nothing: %q", wanted)
		}
		if _, err := r.Commit(t.Context(), ""); !errors.Is(err, ErrIncomplete) {
			t.Errorf("Commit: %v", err)
		}
	}
}

func TestContentIsChecked(t *testing.T) {
	big := strings.Repeat("large", 1<<19)
	root := []rootFile{aDir(".", 0o755), aFile("big", big), aFile("small", "small")}
	for _, sums := range []bool{true, false} {
		s := openTestStore(t, t.TempDir())
		r := begin(t, s, laptop)
		sendList(t, r, listOf(t, root, sums), "")
		for i, right := range map[int]string{1: big, 2: "small"} {
			bad := []string{"", right[1:], right + "x", right + right}
			if sums {
				bad = append(bad, strings.Replace(right, "l", "L", 1))
			}
			for _, content := range bad {
				if err := r.Content(i, strings.NewReader(content)); !errors.Is(err, ErrSum) {
					t.Errorf("sums known %v: %d bytes %.6q… for %s: %v", sums, len(content), content, root[i].Path, err)
				}
			}
		}
		if err := r.writers.drain(); err != nil {
			t.Fatal(err)
		}
		if empty, err := s.Empty(); err != nil || !empty {
			t.Errorf("wrong contents were stored: %v, %v", empty, err)
		}
		// A size is a bound of what is read, not only a word.
		endless := &countingReader{}
		if err := r.Content(2, endless); !errors.Is(err, ErrSum) || endless.n > 6 {
			t.Errorf("of a content without end %d bytes were read: %v", endless.n, err)
		}
		for _, i := range []int{0, 3, 1 << 40, -1} {
			if err := r.Content(i, strings.NewReader("")); err == nil {
				t.Errorf("a content for entry %d was taken", i)
			}
		}
		sendContents(t, r, root, 2)
		if err := r.Content(2, strings.NewReader("small")); err == nil {
			t.Error("a content was taken twice")
		}
		g, err := r.Commit(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		wantTree(t, g, root)
		g.Release()
	}
}

// countingReader has no end.
type countingReader struct{ n int }

func (c *countingReader) Read(b []byte) (int, error) {
	c.n += len(b)
	return len(b), nil
}

func TestEachContentIsWantedOnce(t *testing.T) {
	s := openTestStore(t, t.TempDir())
	root := []rootFile{
		aDir(".", 0o755), aFile("a", "same"), aFile("b", "same").with(func(e *Entry) { e.Sec = 1 }), aFile("c", "same"),
		aFile("d", "same").with(func(e *Entry) { e.Mode = 0o600 }),
	}
	g, wanted := syncRoot(t, s, laptop, root, true)
	if want := []string{"a", "d"}; !slices.Equal(wanted, want) {
		t.Errorf("wanted %q, not %q (the second is private)", wanted, want)
	}
	wantTree(t, g, root)
	if treeInode(t, g, "a") != treeInode(t, g, "c") {
		t.Error("equal files are stored twice")
	}
}

func TestOffer(t *testing.T) {
	s := openTestStore(t, t.TempDir())
	big := strings.Repeat("large", 1<<19)
	root := append(smallRoot(), aFile("usr/big", big), aFile("usr/key", "compiler").with(func(e *Entry) { e.Mode = 0o600 }))
	r := begin(t, s, laptop)
	sendList(t, r, listOf(t, root, true), "")
	for _, o := range []struct {
		content string
		taken   bool
	}{{"compiler", true}, {"compiler", false}, {"COMPILER", false}, {"no such size", false}, {big, true}} {
		read := &countingReader{}
		taken, err := r.Offer(int64(len(o.content)), io.TeeReader(strings.NewReader(o.content), writerFunc(func(b []byte) { read.n += len(b) })))
		if err != nil || taken != o.taken {
			t.Errorf("Offer(%.20q) = %v, %v", o.content, taken, err)
		}
		if o.content == "no such size" && read.n > 0 {
			t.Error("a content was read whose size nobody wants")
		}
	}
	var wanted []string
	_ = r.Wanted(func(i int) error { wanted = append(wanted, root[i].Path); return nil })
	if want := []string{"etc/fstab", "etc/hosts"}; !slices.Equal(wanted, want) {
		t.Errorf("wanted %q, not %q", wanted, want)
	}
	sendContents(t, r, root, 9)
	g, err := r.Commit(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer g.Release()
	wantTree(t, g, root)
	if treeInode(t, g, "usr/key") == treeInode(t, g, "usr/cc") {
		t.Error("a private file is one with a shared one")
	}
}

type writerFunc func([]byte)

func (f writerFunc) Write(b []byte) (int, error) { f(b); return len(b), nil }

// rawList writes records without the checks of a ListWriter.
func rawList(count uint64, entries ...Entry) []byte {
	b := []byte(listMagic)
	last := ""
	for _, e := range entries {
		shared := sharedPrefix(last, e.Path)
		b = appendEntry(b, &e, shared, false)
		last = e.Path
	}
	return binary.AppendUvarint(append(b, 0), count)
}

func TestHostileLists(t *testing.T) {
	root := aDir(".", 0o755).Entry
	deep := []Entry{root}
	for n := 1; n <= maxDepth+1; n++ {
		deep = append(deep, aDir(strings.TrimSuffix(strings.Repeat("d/", n), "/"), 0o755).Entry)
	}
	wrongSize := aFile("usr/cc", "compiler").Entry
	wrongSize.Size++
	many := appendEntry([]byte(listMagic), &root, 0, false)
	many = binary.AppendUvarint(many[:len(many)-1], 1<<63)
	lists := map[string][]byte{
		"below a symbolic link": rawList(3, root, aLink("etc", "/etc").Entry, aFile("etc/passwd", "x").Entry),
		"below a file":          rawList(3, root, aFile("a", "x").Entry, aFile("a/b", "x").Entry),
		"no parent":             rawList(2, root, aFile("a/b", "x").Entry),
		"no root":               rawList(1, aFile("a", "x").Entry),
		"nothing":               rawList(0),
		"twice":                 rawList(3, root, aFile("a", "x").Entry, aFile("a", "x").Entry),
		"dots":                  rawList(2, root, aFile("..", "x").Entry),
		"absolute":              rawList(2, root, aFile("/etc", "x").Entry),
		"gone":                  rawList(2, root, Entry{Path: "a", Type: TypeGone}),
		"device":                rawList(2, root, Entry{Path: "a", Type: 7}),
		"another count":         rawList(1<<62, root),
		"many attributes":       many,
		"too deep":              rawList(uint64(len(deep)), deep...),
		"foreign attribute":     rawList(2, root, Entry{Path: "a", Type: TypeDir, Xattrs: []Xattr{{"trusted.overlay.opaque", "y"}}}),
		"no list":               []byte("HTTP/1.1 200 OK\r\n\r\n"),
		"cut":                   rawList(1, root)[:12],
	}
	s := openTestStore(t, t.TempDir())
	g, _ := syncRoot(t, s, laptop, smallRoot(), true)
	changes := map[string][]byte{
		"gone twice":           rawList(1, Entry{Path: "nowhere", Type: TypeGone}),
		"directory goes alone": rawList(1, Entry{Path: "etc", Type: TypeGone}),
		"directory to link":    rawList(1, aLink("etc", "/etc").Entry),
		"root goes":            rawList(1, Entry{Path: ".", Type: TypeGone}),
		"all of it goes":       changeOf(t, smallRoot(), nil),
	}
	for _, test := range []struct {
		lists   map[string][]byte
		against string
	}{{lists, ""}, {changes, g.Digest}} {
		for name, list := range test.lists {
			r := begin(t, s, laptop)
			if _, err := r.List(bytes.NewReader(list), test.against); !errors.Is(err, ErrList) {
				t.Errorf("%s: %v", name, err)
			}
			left, err := filepath.Glob(r.path("*"))
			if err != nil || !slices.Equal(left, []string{r.path("tmp")}) {
				t.Errorf("%s: left are %q, %v", name, left, err)
			}
			if _, err := r.Commit(t.Context(), ""); !errors.Is(err, ErrIncomplete) {
				t.Errorf("%s: Commit: %v", name, err)
			}
			if err := r.Close(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	// A list that lies about the size of a content that is there is found out when it is linked.
	r := begin(t, s, laptop)
	sendList(t, r, rawList(3, root, aDir("usr", 0o755).Entry, wrongSize), "")
	if _, err := r.Commit(t.Context(), ""); !errors.Is(err, ErrList) {
		t.Errorf("a wrong size: %v", err)
	}
	now, err := s.Current(laptop)
	if err != nil {
		t.Fatal(err)
	}
	defer now.Release()
	wantTree(t, now, smallRoot())
}

func TestOneSyncForEachClient(t *testing.T) {
	s := openTestStore(t, t.TempDir())
	r := begin(t, s, laptop)
	if _, err := s.Begin(laptop, About{}); !errors.Is(err, ErrBusy) {
		t.Errorf("a second sync: %v", err)
	}
	other := begin(t, s, tablet)
	if err := errors.Join(other.Close(), r.Close(), r.Close()); err != nil {
		t.Error(err)
	}
	begin(t, s, laptop)
}

func TestListChecksRoom(t *testing.T) {
	s := openTestStore(t, t.TempDir())
	root := []rootFile{aDir(".", 0o755), aFile("big", strings.Repeat("x", 10<<20))}
	// 10 MiB and 2 KiB are needed; a twentieth of 200 MiB is kept.
	s.room = func(string) (int64, int64, error) { return 20<<20 + 2047, 200 << 20, nil }
	r := begin(t, s, laptop)
	_, err := r.List(bytes.NewReader(listOf(t, root, true)), "")
	if !errors.Is(err, ErrNoSpace) || !strings.Contains(err.Error(), "11 MiB") || !strings.Contains(err.Error(), "lantage gc") {
		t.Errorf("without room: %v", err)
	}
	s.room = func(string) (int64, int64, error) { return 20<<20 + 2048, 200 << 20, nil }
	if _, err := r.List(bytes.NewReader(listOf(t, root, true)), ""); err != nil {
		t.Errorf("with room: %v", err)
	}
}
