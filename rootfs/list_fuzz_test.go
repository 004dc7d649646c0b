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
