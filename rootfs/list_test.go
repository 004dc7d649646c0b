package rootfs

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// listEntries has one of everything that a list can say.
func listEntries() []Entry {
	return []Entry{
		{Path: ".", Type: TypeDir, Mode: 0o755, Sec: -1, Nsec: 999_999_999},
		{Path: "a", Type: TypeDir, Mode: 0o7777, UID: 65535, GID: 65535},
		{Path: "a/b", Type: TypeFile, Mode: 0o644, Size: 300, Sum: Sum{1, 2, 3}, Stamp: Stamp{Inode: 9, CTime: -9}},
		{Path: "a/b c\n\xff", Type: TypeFile, Sparse: true, Size: maxSize, Sec: maxSeconds},
		{Path: "a-b", Type: TypeSymlink, Mode: 0o777, Target: "../\xfe"},
		{Path: "ab", Type: TypeFile, Xattrs: []Xattr{{"security.capability", "\x00\x01"}, {"user.x", ""}}},
	}
}

func writeEntries(t testing.TB, stamps bool, entries ...Entry) ([]byte, string) {
	t.Helper()
	var b bytes.Buffer
	w := NewListWriter(&b, stamps)
	for _, e := range entries {
		if err := w.Add(&e); err != nil {
			t.Fatal(err)
		}
	}
	digest, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), digest
}

func readEntries(list []byte, whole bool) ([]Entry, string, error) {
	l := NewListReader(bytes.NewReader(list), whole)
	var entries []Entry
	err := Each(l, func(e *Entry) error { entries = append(entries, *e); return nil })
	return entries, l.Digest(), err
}

func TestListRoundTrip(t *testing.T) {
	entries := listEntries()
	plain, digest := writeEntries(t, false, entries...)
	stamped, digest2 := writeEntries(t, true, entries...)
	if digest != digest2 {
		t.Error("stamps change the digest")
	}
	got, digest2, err := readEntries(stamped, true)
	if diff := cmp.Diff(entries, got); diff != "" || err != nil || digest != digest2 {
		t.Errorf("with stamps: %v, digest %s and %s\n%s", err, digest, digest2, diff)
	}
	for i := range entries {
		entries[i].Stamp = Stamp{}
	}
	got, digest2, err = readEntries(plain, true)
	if diff := cmp.Diff(entries, got); diff != "" || err != nil || digest != digest2 {
		t.Errorf("without stamps: %v, digest %s and %s\n%s", err, digest, digest2, diff)
	}
}

// The bytes of a list are a protocol: they change only with its magic.
func TestListGolden(t *testing.T) {
	golden := hex.EncodeToString([]byte(listMagic)) +
		"010001" + "2e" + "ed03" + "0000" + "01" + "ff93ebdc03" + "00" + // .
		"010001" + "61" + "ff1f" + "ffff03ffff03" + "0000" + "00" + // a
		"120102" + "2f62" + "a403" + "0000" + "0000" + "ac02" + "010203" + strings.Repeat("00", 29) + "00" + // a/b
		"420304" + "20630aff" + "00" + "0000" + "808080808040" + "00" + "8080808080808002" + "00" + // a/b c
		"030102" + "2d62" + "ff03" + "0000" + "0000" + "04" + "2e2e2ffe" + "00" + // a-b
		"020101" + "62" + "00" + "0000" + "0000" + "00" + // ab
		"02" + "13" + "73656375726974792e6361706162696c697479" + "02" + "0001" + "06" + "757365722e78" + "00" +
		"0006"
	list, digest := writeEntries(t, false, listEntries()...)
	if got := hex.EncodeToString(list); got != golden {
		t.Errorf("the list is\n%s, not\n%s", got, golden)
	}
	if want := "a60dfcdfb0391d11223aa13c0ba259a88f6365a1897587ba673234b02f8200c1"; digest != want {
		t.Errorf("its digest is %s, not %s", digest, want)
	}
}

func TestListOrder(t *testing.T) {
	paths := []string{".", "a", "a/b", "a/b/c", "a/b\x01", "a/b-", "a\x01", "a\x01/x", "a-b", "a.", "ab", "b"}
	for i, a := range paths {
		for k, b := range paths {
			want := 0
			switch {
			case i < k:
				want = -1
			case i > k:
				want = 1
			}
			if got := Compare(a, b); got != want {
				t.Errorf("Compare(%q, %q) = %d, not %d", a, b, got, want)
			}
		}
	}
	w := NewListWriter(io.Discard, false)
	if err := w.Add(&Entry{Path: "b", Type: TypeDir}); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"a", "b"} {
		if err := w.Add(&Entry{Path: path, Type: TypeDir}); !errors.Is(err, ErrList) {
			t.Errorf("%q after b: %v", path, err)
		}
	}
}

func TestEntryCheck(t *testing.T) {
	good := Entry{Path: "a", Type: TypeFile}
	for name, change := range map[string]func(*Entry){
		"no path":        func(e *Entry) { e.Path = "" },
		"long path":      func(e *Entry) { e.Path = strings.Repeat("a/", 2048) + "a" },
		"long name":      func(e *Entry) { e.Path = strings.Repeat("a", 256) },
		"NUL":            func(e *Entry) { e.Path = "a\x00" },
		"double slash":   func(e *Entry) { e.Path = "a//b" },
		"dot":            func(e *Entry) { e.Path = "a/./b" },
		"up":             func(e *Entry) { e.Path = "a/../b" },
		"absolute":       func(e *Entry) { e.Path = "/a" },
		"trailing slash": func(e *Entry) { e.Path = "a/" },
		"root file":      func(e *Entry) { e.Path = "." },
		"type":           func(e *Entry) { e.Type = 5 },
		"mode":           func(e *Entry) { e.Mode = 0o100644 },
		"owner":          func(e *Entry) { e.UID = MaxID },
		"group":          func(e *Entry) { e.GID = MaxID },
		"nanoseconds":    func(e *Entry) { e.Nsec = 1e9 },
		"time":           func(e *Entry) { e.Sec = -maxSeconds - 1 },
		"negative size":  func(e *Entry) { e.Size = -1 },
		"size":           func(e *Entry) { e.Size = maxSize + 1 },
		"sized link":     func(e *Entry) { e.Type, e.Target, e.Size = TypeSymlink, "x", 1 },
		"no target":      func(e *Entry) { e.Type = TypeSymlink },
		"NUL in target":  func(e *Entry) { e.Type, e.Target = TypeSymlink, "a\x00" },
		"attribute":      func(e *Entry) { e.Xattrs = []Xattr{{"security.selinux", "x"}} },
		"user.":          func(e *Entry) { e.Xattrs = []Xattr{{"user.", "x"}} },
		"attribute NUL":  func(e *Entry) { e.Xattrs = []Xattr{{"user.a\x00", "x"}} },
		"order":          func(e *Entry) { e.Xattrs = []Xattr{{"user.b", ""}, {"user.a", ""}} },
		"long attribute": func(e *Entry) { e.Xattrs = []Xattr{{"user.a", strings.Repeat("x", maxXattr+1)}} },
		"attributes":     func(e *Entry) { e.Xattrs = slices.Repeat([]Xattr{{"user.a", ""}}, maxXattrs+1) },
	} {
		e := good
		change(&e)
		if e.check() == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if err := good.check(); err != nil {
		t.Error(err)
	}
}

func TestListReaderRefuses(t *testing.T) {
	whole, _ := writeEntries(t, true, listEntries()...)
	for n := range whole {
		if _, _, err := readEntries(whole[:n], true); !errors.Is(err, ErrList) {
			t.Errorf("the first %d of %d bytes: %v", n, len(whole), err)
		}
	}
	dir := Entry{Path: ".", Type: TypeDir}
	record := appendEntry([]byte(listMagic), &dir, 0, false)
	huge := bytes.Repeat([]byte{0xff}, 9)
	for name, list := range map[string][]byte{
		"attributes without end": append(record[:len(record)-1:len(record)-1], append(huge, 1)...),
		"a number without end":   append(record[:len(record)-1:len(record)-1], append(huge, 0xff, 0xff)...),
		"a long path":            append([]byte(listMagic+"\x01\x00"), append(huge, 1)...),
		"a prefix of nothing":    []byte(listMagic + "\x01\x05\x01a"),
		"flags of a directory":   append([]byte(listMagic+"\x41"), record[len(listMagic)+1:]...),
	} {
		if _, _, err := readEntries(list, false); !errors.Is(err, ErrList) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
