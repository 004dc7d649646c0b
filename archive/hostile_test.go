package archive

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// entry is one entry of an archive made in a test, as archive/tar writes it or, with raw, byte for byte.
type entry struct {
	tar.Header
	data string
	raw  []byte
}

func file(name, data string) entry {
	return entry{Header: tar.Header{Name: name, Mode: 0o644}, data: data}
}

func link(kind byte, name, target string) entry {
	return entry{Header: tar.Header{Name: name, Linkname: target, Typeflag: kind, Mode: 0o777}}
}

// rawEntry is a ustar header (pax(1), "ustar Interchange Format") with the size field as given, and its
// data.
func rawEntry(kind byte, name, size string, data []byte) entry {
	block := make([]byte, 512)
	copy(block, name)
	copy(block[100:], "0000644\x000000000\x000000000\x00")
	copy(block[124:136], size)
	copy(block[136:], "00000000000\x00        ")
	block[156] = kind
	copy(block[257:], "ustar\x0000")
	sum := 0
	for _, b := range block {
		sum += int(b)
	}
	copy(block[148:], fmt.Sprintf("%06o\x00 ", sum))
	pad := (512 - len(data)%512) % 512
	return entry{raw: append(append(block, data...), make([]byte, pad)...)}
}

func octal(n int) string { return fmt.Sprintf("%011o\x00", n) }

func tarOf(tb testing.TB, entries ...entry) []byte {
	tb.Helper()
	var buf bytes.Buffer
	tw := tar.NewWriter(&buf)
	for _, e := range entries {
		if e.raw != nil {
			buf.Write(e.raw)
			continue
		}
		hdr := e.Header
		if hdr.Size == 0 {
			hdr.Size = int64(len(e.data))
		}
		must(tb, tw.WriteHeader(&hdr))
		_, err := io.WriteString(tw, e.data)
		must(tb, err)
		must(tb, tw.Flush())
	}
	must(tb, tw.Close())
	return buf.Bytes()
}

func gz(tb testing.TB, data []byte) []byte {
	return gzipped(tb, compressed.Get().(*gzip.Writer), &compressed, data)
}

// stored is gz without compression, for those that need many.
func stored(tb testing.TB, data []byte) []byte {
	return gzipped(tb, uncompressed.Get().(*gzip.Writer), &uncompressed, data)
}

func gzipped(tb testing.TB, w *gzip.Writer, pool *sync.Pool, data []byte) []byte {
	tb.Helper()
	defer pool.Put(w)
	var buf bytes.Buffer
	w.Reset(&buf)
	_, err := w.Write(data)
	must(tb, err)
	must(tb, w.Close())
	return buf.Bytes()
}

// A gzip.Writer is a MiB of tables; the tests and fuzz targets need thousands.
var (
	compressed   = sync.Pool{New: func() any { return gzip.NewWriter(nil) }}
	uncompressed = sync.Pool{New: func() any {
		w, _ := gzip.NewWriterLevel(nil, gzip.NoCompression)
		return w
	}}
)

func TestHostile(t *testing.T) {
	var records bytes.Buffer
	for i := range 40_000 {
		fmt.Fprintf(&records, "12 k%05d=v\n", i)
	}
	negative := []byte("11 size=-5\n")
	for _, tc := range []struct {
		name    string
		entries []entry
		want    string // part of the error
	}{
		{"upwards", []entry{file("../evil", "x")}, "leads upwards"},
		{"upwards later", []entry{file("a/../../evil", "x")}, "leads upwards"},
		{"absolute", []entry{file("/evil", "x")}, "is absolute"},
		{"absolute after dot", []entry{file(".//evil", "x")}, "is absolute"},
		{"empty element", []entry{file("a//b", "x")}, "empty element"},
		{"dot", []entry{file("a/./b", "x")}, "empty element"},
		{"file that is the root", []entry{file(".", "x")}, "empty element"},
		{"directory without name", []entry{rawEntry(tar.TypeDir, "", octal(0), nil)}, "empty"},
		{"directory slash", []entry{rawEntry(tar.TypeDir, "/", octal(0), nil)}, "empty"},
		{"directory upwards", []entry{{Header: tar.Header{Name: "../", Typeflag: tar.TypeDir}}}, "leads upwards"},
		{"long element", []entry{file(strings.Repeat("n", 256), "")}, "longer than 255"},
		{"long name", []entry{file(strings.Repeat("n/", 2048)+"f", "")}, "bytes in a name"},
		{"deep name", []entry{file(strings.Repeat("n/", 128)+"f", "")}, "elements in a name"},
		{"link upwards", []entry{link(tar.TypeSymlink, "l", "../outside")}, "leads out"},
		{"link upwards from below", []entry{link(tar.TypeSymlink, "d/l", "../../outside")}, "leads out"},
		{"link absolute", []entry{link(tar.TypeSymlink, "l", "/outside")}, "leads out"},
		{"link through a link", []entry{
			link(tar.TypeSymlink, "a", "."), link(tar.TypeSymlink, "l", "a/../outside"),
		}, "leads out"},
		{"link without target", []entry{link(tar.TypeSymlink, "l", "")}, "empty"},
		{"write through a link inside", []entry{
			{Header: tar.Header{Name: "sub/", Typeflag: tar.TypeDir}},
			link(tar.TypeSymlink, "a", "sub"),
			file("a/evil", "x"),
		}, "no directory"},
		{
			"write over a link",
			[]entry{file("target", "good"), link(tar.TypeSymlink, "a", "target"), file("a", "evil")},
			"exists",
		},
		{"write over a dangling link", []entry{link(tar.TypeSymlink, "a", "evil"), file("a", "x")}, "exists"},
		{"directory over a link", []entry{
			{Header: tar.Header{Name: "sub/", Typeflag: tar.TypeDir}},
			link(tar.TypeSymlink, "a", "sub"),
			{Header: tar.Header{Name: "a/", Typeflag: tar.TypeDir, Mode: 0o777}},
		}, "no directory"},
		{"directory over a file", []entry{file("a", ""), file("a/b", "")}, "no directory"},
		{"same file twice", []entry{file("target", "good"), file("target", "evil")}, "exists"},
		{
			"hard link over a file",
			[]entry{file("target", "good"), file("b", ""), link(tar.TypeLink, "target", "b")},
			"exists",
		},
		{"hard link out", []entry{link(tar.TypeLink, "l", "../outside")}, "leads upwards"},
		{"hard link absolute", []entry{link(tar.TypeLink, "l", "/outside")}, "is absolute"},
		{"hard link to what was there", []entry{link(tar.TypeLink, "l", "mine")}, "no regular file"},
		{
			"hard link to a link",
			[]entry{link(tar.TypeSymlink, "s", "mine"), link(tar.TypeLink, "l", "s")},
			"no regular file",
		},
		{"hard link to a directory", []entry{
			{Header: tar.Header{Name: "d/", Typeflag: tar.TypeDir}}, link(tar.TypeLink, "l", "d"),
		}, "no regular file"},
		{"write over what was there", []entry{file("mine", "evil")}, "exists"},
		{"character device", []entry{{Header: tar.Header{Name: "d", Typeflag: tar.TypeChar}}}, "is a device"},
		{"block device", []entry{{Header: tar.Header{Name: "d", Typeflag: tar.TypeBlock}}}, "is a device"},
		{"fifo", []entry{{Header: tar.Header{Name: "d", Typeflag: tar.TypeFifo}}}, "is a fifo"},
		{"contiguous file", []entry{{Header: tar.Header{Name: "d", Typeflag: tar.TypeCont}}}, "unknown type"},
		{"unknown type", []entry{rawEntry('Z', "f", octal(0), nil)}, "unknown type"},
		{"global header", []entry{{Header: tar.Header{
			Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"path": "/evil"},
		}}}, "global"},
		{"negative size", []entry{rawEntry(tar.TypeReg, "f", "-0000000005\x00", nil)}, "invalid tar header"},
		{"negative base-256 size", []entry{
			rawEntry(tar.TypeReg, "f", strings.Repeat("\xff", 12), nil),
		}, "invalid tar header"},
		{"negative pax size", []entry{
			rawEntry(tar.TypeXHeader, "x", octal(len(negative)), negative), rawEntry(tar.TypeReg, "f", octal(0), nil),
		}, "invalid tar header"},
		{"huge size", []entry{
			rawEntry(tar.TypeReg, "f", "\x80\x00\x00\x00\x7f\xff\xff\xff\xff\xff\xff\xff", nil),
		}, "bytes of content"},
		{"size past the end", []entry{rawEntry(tar.TypeReg, "f", octal(1<<20), nil)}, "unexpected EOF"},
		{"too many pax records", []entry{
			rawEntry(tar.TypeXHeader, "x", octal(records.Len()), records.Bytes()), file("f", ""),
		}, "headers of an entry"},
		{"overlong pax path", []entry{file("f/"+strings.Repeat("n/", 200_000), "")}, "headers of an entry"},
		{"pax size of 8 GiB", []entry{
			rawEntry(tar.TypeXHeader, "x", "77777777777\x00", make([]byte, maxHeaderBytes)),
		}, "headers of an entry"},
		{
			"pax header after pax header", repeatEntry(3000, rawEntry(tar.TypeXHeader, "x", octal(0), nil)),
			"headers of an entry",
		},
		{"impossible time", []entry{{Header: tar.Header{
			Name: "f", ModTime: time.Unix(1<<40, 0), Format: tar.FormatPAX,
		}}}, "impossible"},
		{"owner that means nobody", []entry{{Header: tar.Header{
			Name: "f", Uid: -1, Format: tar.FormatGNU,
		}}}, "out of range"},
		{"damaged header", []entry{{raw: bytes.Repeat([]byte("x"), 512)}}, "invalid tar header"},
		{"no entry and no end", []entry{{raw: []byte{}}}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := playground(t)
			before := describe(t, filepath.Dir(dir), 1)
			opt := ExtractOptions{Owners: os.Geteuid() == 0 || strings.HasPrefix(tc.name, "owner")}
			_, err := Extract(t.Context(), bytes.NewReader(gz(t, tarOf(t, tc.entries...))), openRoot(t, dir), opt)
			if tc.want == "" {
				must(t, err)
				return
			}
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got error %v, want one with %q", err, tc.want)
			}
			checkUnharmed(t, dir, before)
		})
	}
}

func repeatEntry(n int, e entry) (entries []entry) {
	for range n {
		entries = append(entries, e)
	}
	return entries
}

// playground returns a directory to extract to that has a file "mine", beside a file "outside".
func playground(t testing.TB) string {
	dir := filepath.Join(t.TempDir(), "root")
	must(t, os.Mkdir(dir, 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "mine"), []byte("mine"), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "../outside"), []byte("outside"), 0o600))
	return dir
}

// checkUnharmed fails if anything that was there has changed, or anything evil has been made.
func checkUnharmed(t *testing.T, dir string, before map[string]string) {
	t.Helper()
	after := describe(t, filepath.Dir(dir), 1)
	for name, s := range before {
		if name != "root" && after[name] != s {
			t.Errorf("%s was %s and is %s", name, s, after[name])
		}
	}
	for name := range after {
		if !strings.HasPrefix(name, "root") && name != "outside" {
			t.Errorf("%s was made outside of the root", name)
		}
		if fi, err := os.Lstat(filepath.Join(dir, "..", name)); err != nil || !fi.Mode().IsRegular() {
			continue
		}
		if data, err := os.ReadFile(filepath.Join(dir, "..", name)); err == nil && string(data) == "evil" {
			t.Errorf("%s was overwritten", name)
		}
	}
	if _, err := os.Lstat(filepath.Join(dir, "sub/evil")); err == nil {
		t.Error("sub/evil was written through a link")
	}
}

// Links that lead out are made or left out where the caller says so, and never written through.
func TestLinksThatLeadOut(t *testing.T) {
	data := gz(t, tarOf(t, link(tar.TypeSymlink, "in", "mine"), link(tar.TypeSymlink, "d/yes", "/usr/share"),
		link(tar.TypeSymlink, "no", "../outside")))
	allow := func(_, target string) bool { return target == "/usr/share" }

	root := openRoot(t, playground(t))
	opt := ExtractOptions{AllowLink: allow, SkipLinks: true}
	stats, err := Extract(t.Context(), bytes.NewReader(data), root, opt)
	must(t, err)
	if want := (Stats{Symlinks: 2, Skipped: 1}); stats != want {
		t.Errorf("stats %+v, want %+v", stats, want)
	}
	if target, err := root.Readlink("d/yes"); err != nil || target != "/usr/share" {
		t.Errorf("the link leads to %q, %v", target, err)
	}
	if _, err := root.Lstat("no"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the link that was not allowed: %v", err)
	}

	opt.SkipLinks = false
	_, err = Extract(t.Context(), bytes.NewReader(data), openRoot(t, playground(t)), opt)
	if err == nil || !strings.Contains(err.Error(), "leads out") {
		t.Errorf("without SkipLinks: %v", err)
	}

	dir := playground(t)
	before := describe(t, filepath.Dir(dir), 1)
	data = gz(t, tarOf(t, link(tar.TypeSymlink, "out", ".."), file("out/evil", "evil")))
	_, err = Extract(t.Context(), bytes.NewReader(data), openRoot(t, dir), ExtractOptions{
		AllowLink: func(string, string) bool { return true },
	})
	if err == nil {
		t.Error("a file was written through a link that leads out")
	}
	checkUnharmed(t, dir, before)
}

func TestSparseIsRefused(t *testing.T) {
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, "sparse"))
	must(t, err)
	must(t, f.Truncate(1<<30))
	must(t, f.Close())
	for _, args := range [][]string{
		{"--format=gnu"},
		{"--format=pax", "--sparse-version=0.0"},
		{"--format=pax", "--sparse-version=0.1"},
		{"--format=pax", "--sparse-version=1.0"},
	} {
		data, err := exec.Command("tar", append(args, "-S", "-czf", "-", "-C", dir, "sparse")...).Output()
		must(t, err)
		err = NewReader(bytes.NewReader(data), Limits{}).Finish()
		if err == nil || !strings.Contains(err.Error(), "sparse") {
			t.Errorf("%v: %v", args, err)
		}
	}
}
