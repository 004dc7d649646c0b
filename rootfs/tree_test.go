package rootfs

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// aclValue is what the kernel keeps of an ACL that lets a user read.
func aclValue(user uint32) string {
	b := []byte{2, 0, 0, 0}
	for _, e := range [][3]uint32{{1, 6, ^uint32(0)}, {2, 4, user}, {4, 4, ^uint32(0)}, {16, 4, ^uint32(0)}, {32, 4, ^uint32(0)}} {
		b = binary.LittleEndian.AppendUint16(b, uint16(e[0]))
		b = binary.LittleEndian.AppendUint16(b, uint16(e[1]))
		b = binary.LittleEndian.AppendUint32(b, e[2])
	}
	return string(b)
}

const netRaw = "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

func richRoot() []rootFile {
	sparse := strings.Repeat("\x00", 1<<20) + "middle" + strings.Repeat("\x00", 2<<20)
	big := strings.Repeat("0123456789abcde\n", 200_000)
	return []rootFile{
		aDir(".", 0o755),
		aDir("a", 0o2755).with(func(e *Entry) { e.GID = 250 }),
		aDir("a/b", 0o1777),
		aFile("a/b/f", "1"),
		aFile("a/capable", "ping").with(func(e *Entry) { e.Mode, e.Xattrs = 0o755, []Xattr{{"security.capability", netRaw}} }),
		aFile("a/owned", "x").with(func(e *Entry) { e.UID, e.GID, e.Mode = 65535, 250, 0o640 }),
		aFile("a/su", "su").with(func(e *Entry) { e.Mode, e.GID = 0o6711, 10 }),
		aFile("a/su-capable", "su").with(func(e *Entry) { e.Mode, e.UID, e.Xattrs = 0o4755, 7, []Xattr{{"security.capability", netRaw}} }),
		aFile("a-sibling", "sorts after a/su").with(func(e *Entry) { e.Sec, e.Nsec = -1, 999_999_999 }),
		aFile("acl", "acl").with(func(e *Entry) { e.Xattrs = []Xattr{{"system.posix_acl_access", aclValue(1000)}} }),
		aDir("acl-dir", 0o755).with(func(e *Entry) { e.Xattrs = []Xattr{{"system.posix_acl_default", aclValue(1000)}} }),
		aFile("acl-dir/not-inherited", "plain"),
		aFile("big", big),
		aFile("empty", ""),
		aDir("locked", 0),
		aFile("locked/inside", "secret").with(func(e *Entry) { e.Mode = 0 }),
		aLink("link", "/etc/passwd").with(func(e *Entry) { e.UID, e.GID, e.Nsec = 12, 13, 14 }),
		aLink("link-up", "../../../.."),
		aFile("name\nwith\tall \xff\xfe\\ ", "odd"),
		aFile("noted", "n").with(func(e *Entry) { e.Xattrs = []Xattr{{"user.a", ""}, {"user.b", "\x00\x01"}} }),
		aFile("sparse", sparse).with(func(e *Entry) { e.Sparse = true }),
		aFile("sparse-end", "begin"+strings.Repeat("\x00", 1<<16)).with(func(e *Entry) { e.Sparse = true }),
		aFile("dense", sparse),
		aFile(strings.Repeat("n", 255), "long"),
	}
}

func TestTreeIsExact(t *testing.T) {
	for _, sums := range []bool{true, false} {
		s := openTestStore(t, t.TempDir())
		root := richRoot()
		g, wanted := syncRoot(t, s, laptop, root, sums)
		wantTree(t, g, root)
		if !sums && len(wanted) != 17 {
			t.Errorf("without sums %d contents were wanted, not each: %q", len(wanted), wanted)
		}
		// Both ways come to the same list.
		again, wanted := syncRoot(t, s, laptop, root, true)
		if again.Number != g.Number || len(wanted) != 0 {
			t.Errorf("sums first known %v: the same root made generation %d after %d and wanted %q", sums, again.Number, g.Number, wanted)
		}
	}
}

// An object that was made for one entry, or offered without one, is copied or adopted for another.
func TestTreeOfOtherObjects(t *testing.T) {
	s := openTestStore(t, t.TempDir())
	root := richRoot()
	r := begin(t, s, laptop)
	sendList(t, r, listOf(t, root, true), "")
	for _, f := range root {
		if f.Type != TypeFile {
			continue
		}
		if _, err := r.Offer(f.Size, strings.NewReader(f.content)); err != nil {
			t.Fatal(err)
		}
	}
	if n := r.Missing(); n != (Wants{}) {
		t.Fatalf("still missing: %+v", n)
	}
	g, err := r.Commit(context.Background(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer g.Release()
	wantTree(t, g, root)

	for i := range root {
		root[i].Sec++
		if root[i].Size > 1<<20 {
			root[i].Sparse = !root[i].Sparse && strings.Contains(root[i].content, "middle")
		}
	}
	touched, wanted := syncRoot(t, s, laptop, root, true)
	if len(wanted) != 0 {
		t.Errorf("other times make contents wanted: %q", wanted)
	}
	wantTree(t, touched, root)
}

func TestTreeKeepsWithinLinkLimit(t *testing.T) {
	s := openTestStore(t, t.TempDir())
	s.shared.maxLinks = 4 // the object and three in trees
	root := []rootFile{aDir(".", 0o755)}
	for _, name := range "abcdefghij" {
		root = append(root, aFile(string(name), "all the same"))
	}
	g, wanted := syncRoot(t, s, laptop, root, true)
	if len(wanted) != 1 {
		t.Errorf("wanted %q, one content", wanted)
	}
	wantTree(t, g, root)
	inodes := map[uint64]int{}
	for _, f := range root[1:] {
		inodes[treeInode(t, g, f.Path)]++
	}
	if len(inodes) != 4 {
		t.Errorf("ten links are to %d files: %v", len(inodes), inodes)
	}
}

func TestTreeNamesAttributeThatCannotBeKept(t *testing.T) {
	s := openTestStore(t, t.TempDir())
	root := append(smallRoot(), aLink("usr/noted", "cc").with(func(e *Entry) { e.Xattrs = []Xattr{{"user.note", "no link has these"}} }))
	r := begin(t, s, laptop)
	sendList(t, r, listOf(t, root, true), "")
	sendContents(t, r, root, 9)
	_, err := r.Commit(context.Background(), "")
	if err == nil || !strings.Contains(err.Error(), "usr/noted") || !strings.Contains(err.Error(), "user.note") {
		t.Errorf("the error is %v", err)
	}
	if _, err := s.Current(laptop); !errors.Is(err, ErrNoCopy) {
		t.Errorf("the copy: %v", err)
	}
}

func TestContentsAreSharedBetweenClients(t *testing.T) {
	s := openTestStore(t, t.TempDir())
	secret := aFile("etc/secret", "hunter2").with(func(e *Entry) { e.Mode = 0o640 })
	root := append(smallRoot(), secret)
	a, _ := syncRoot(t, s, laptop, root, true)
	b, wanted := syncRoot(t, s, tablet, root, true)
	if !slices.Equal(wanted, []string{"etc/secret"}) {
		t.Errorf("of the same root the other client was asked for %q; only private contents are to be asked for", wanted)
	}
	if treeInode(t, a, "usr/cc") != treeInode(t, b, "usr/cc") {
		t.Error("a shared file is stored twice")
	}
	if treeInode(t, a, "etc/secret") == treeInode(t, b, "etc/secret") {
		t.Error("a private file is one file for two clients")
	}
	if err := filepath.WalkDir(filepath.Join(s.dir, "objects"), func(name string, d os.DirEntry, err error) error {
		if err == nil && strings.HasPrefix(d.Name(), rawName(secret.Sum)[4:]) {
			t.Errorf("a private content is among the shared ones: %s", name)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}

	// Neither does a public entry find another's, or its own, private content by its sum.
	for _, client := range []string{laptop, tablet, strings.Repeat("0", 32)} {
		guess := append(smallRoot(), aFile("guess", "hunter2"))
		wanted := sendList(t, begin(t, s, client), listOf(t, guess, true), "")
		if !slices.Equal(wanted, []string{"guess"}) {
			t.Errorf("a guessed sum: wanted %q", wanted)
		}
	}
}

func TestTreeLeavesNoFilesOpen(t *testing.T) {
	deep := []rootFile{aDir(".", 0o755)}
	for n := 1; n < maxDepth; n++ {
		deep = append(deep, aDir(strings.TrimSuffix(strings.Repeat("d/", n), "/"), 0o755))
	}
	open := func() int {
		fds, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(fds)
	}
	s := openTestStore(t, t.TempDir())
	before := open()
	g, _ := syncRoot(t, s, laptop, deep, true)
	wantTree(t, g, deep)
	g.Release()

	// One that fails in the deepest directory.
	bad := append(slices.Clone(deep), aLink(deep[len(deep)-1].Path+"/x", "y").with(func(e *Entry) { e.Xattrs = []Xattr{{"user.x", ""}} }))
	r := begin(t, s, laptop)
	sendList(t, r, listOf(t, bad, true), "")
	if _, err := r.Commit(t.Context(), ""); err == nil {
		t.Error("a link got an attribute")
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	s.background.Wait()
	if after := open(); after > before {
		t.Errorf("%d files were open before, %d are after", before, after)
	}
}
