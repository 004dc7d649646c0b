package rootfs

import (
	"bytes"
	"testing"
)

// FuzzListReader: whatever comes, a reader ends without panic and in bounded memory; what it accepts is
// written again as a list with the same digest.
func FuzzListReader(f *testing.F) {
	for _, stamps := range []bool{true, false} {
		list, _ := writeEntries(f, stamps, listEntries()...)
		f.Add(list)
	}
	gone, _ := writeEntries(f, false, Entry{Path: "a/b", Type: TypeGone})
	f.Add(gone)
	f.Fuzz(func(t *testing.T, list []byte) {
		for _, whole := range []bool{true, false} {
			entries, digest, err := readEntries(list, whole)
			if err != nil {
				continue
			}
			var b bytes.Buffer
			w := NewListWriter(&b, true)
			for _, e := range entries {
				if err := w.Add(&e); err != nil {
					t.Fatalf("accepted and not writable: %v", err)
				}
			}
			if again, err := w.Close(); err != nil || again != digest {
				t.Errorf("written again the digest is %s, not %s: %v", again, digest, err)
			}
		}
	})
}

// FuzzApply: whatever comes as a change to a list, applying it ends, and what it makes is a list in order, with nothing of what
// is gone.
func FuzzApply(f *testing.F) {
	older, _ := writeEntries(f, true, listEntries()...)
	for _, change := range [][]Entry{
		nil, listEntries(), {{Path: listEntries()[1].Path, Type: TypeGone}}, {{Path: "not/there", Type: TypeGone}},
	} {
		list, _ := writeEntries(f, false, change...)
		f.Add(list)
	}
	f.Fuzz(func(t *testing.T, change []byte) {
		var b bytes.Buffer
		w := NewListWriter(&b, true)
		err := Apply(NewListReader(bytes.NewReader(older), true), NewListReader(bytes.NewReader(change), false), func(e *Entry) error {
			if e.Type == TypeGone {
				t.Fatalf("%q is gone, and in the list", e.Path)
			}
			return w.Add(e)
		})
		if err != nil {
			return
		}
		if _, err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if _, _, err := readEntries(b.Bytes(), false); err != nil {
			t.Errorf("what was made of it is no list: %v", err)
		}
	})
}
