package archive

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

var fuzzLimits = Limits{Entries: 100, Bytes: 1 << 20, EntryBytes: 1 << 19, NameBytes: 300, Depth: 10}

// FuzzReader feeds any bytes to a Reader: whatever it lets pass has a valid name and a known type.
func FuzzReader(f *testing.F) {
	f.Add(small(f))
	for _, data := range samples(f) {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) { readAny(t, data) })
}

func readAny(t *testing.T, data []byte) {
	r := NewReader(bytes.NewReader(data), fuzzLimits)
	total := int64(0)
	for {
		hdr, err := r.Next()
		if err != nil {
			break
		}
		switch hdr.Typeflag {
		case tar.TypeReg, tar.TypeDir, tar.TypeSymlink, tar.TypeLink:
		default:
			t.Errorf("type %q passed", hdr.Typeflag)
		}
		if err := ValidName(hdr.Name); err != nil && !(hdr.Name == "." && hdr.Typeflag == tar.TypeDir) {
			t.Error(err)
		}
		n, _ := io.Copy(io.Discard, r)
		total += n
	}
	if total > fuzzLimits.Bytes {
		t.Errorf("%d bytes passed", total)
	}
	if _, err := r.Next(); err == nil {
		t.Error("Next went on after its error")
	}
}

// samples are the archives in testdata.
func samples(tb testing.TB) (all [][]byte) {
	names, err := filepath.Glob("testdata/*.tar.gz")
	must(tb, err)
	if len(names) == 0 {
		tb.Fatal("testdata has no archives")
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		must(tb, err)
		all = append(all, data)
	}
	return all
}

// FuzzExtract extracts any tar stream, compressed here because no mutation survives gzip's checksum. Nothing
// may change outside of the root, nor the file that was in it, and every link made must lead inside.
func FuzzExtract(f *testing.F) {
	for _, data := range samples(f) {
		r, err := gzip.NewReader(bytes.NewReader(data))
		must(f, err)
		plain, err := io.ReadAll(r)
		must(f, err)
		f.Add(plain)
	}
	f.Add(tarOf(f, link(tar.TypeSymlink, "a", "d"), file("a/x", "evil"), file("mine", "evil")))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := playground(t)
		data = stored(t, data)
		_, _ = Extract(t.Context(), bytes.NewReader(data), openRoot(t, dir), ExtractOptions{
			Limits: fuzzLimits, Xattrs: allXattrs,
		})
		unlock(t, dir)
		for name, want := range map[string]string{"mine": "mine", "../outside": "outside"} {
			if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != want {
				t.Errorf("%s is now %q, %v", name, got, err)
			}
		}
		beside, err := os.ReadDir(filepath.Dir(dir))
		if err != nil || len(beside) != 2 {
			t.Errorf("beside the root: %v, %v", beside, err)
		}
		checkKinds(t, dir)
		readAny(t, data)
	})
}

// unlock makes directories readable and removable again, whatever mode the archive gave them.
func unlock(t *testing.T, dir string) {
	must(t, os.Chmod(dir, 0o755))
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		if e.IsDir() {
			unlock(t, filepath.Join(dir, e.Name()))
		}
	}
}

func checkKinds(t *testing.T, dir string) {
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		switch fi.Mode().Type() {
		case 0, fs.ModeDir:
			if fi.Mode()&(fs.ModeSetuid|fs.ModeSetgid) != 0 {
				t.Errorf("%s has mode %v", path, fi.Mode())
			}
		case fs.ModeSymlink:
			if real, err := filepath.EvalSymlinks(path); err == nil {
				if rel, err := filepath.Rel(dir, real); err != nil || !filepath.IsLocal(rel) {
					t.Errorf("%s leads to %s", path, real)
				}
			}
		default:
			t.Errorf("%s is a %v", path, fi.Mode())
		}
		return nil
	}))
}
