package gentoo

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
)

// member is an entry of a tar that a test makes; it is a regular file if it has no type.
type member struct {
	name, data string
	hdr        tar.Header
}

func tarOf(tb testing.TB, members ...member) []byte {
	tb.Helper()
	var buf bytes.Buffer
	tw := tar.NewWriter(&buf)
	for _, m := range members {
		hdr := m.hdr
		hdr.Name, hdr.Size = m.name, int64(len(m.data))
		if err := tw.WriteHeader(&hdr); err != nil {
			tb.Fatal(err)
		}
		if _, err := io.WriteString(tw, m.data); err != nil {
			tb.Fatal(err)
		}
	}
	if err := tw.Close(); err != nil {
		tb.Fatal(err)
	}
	return buf.Bytes()
}

func gzipped(tb testing.TB, data []byte) []byte {
	return packed(tb, data, func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil })
}

func zstandard(tb testing.TB, data []byte, opts ...zstd.EOption) []byte {
	return packed(tb, data, func(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w, opts...) })
}

func packed(tb testing.TB, data []byte, newWriter func(io.Writer) (io.WriteCloser, error)) []byte {
	tb.Helper()
	var buf bytes.Buffer
	w, err := newWriter(&buf)
	if err != nil {
		tb.Fatal(err)
	}
	_, err = w.Write(data)
	if err := errors.Join(err, w.Close()); err != nil {
		tb.Fatal(err)
	}
	return buf.Bytes()
}

func gpkgOf(tb testing.TB, ext string, metadata, image []byte) []byte {
	return tarOf(tb, member{name: "p-1-1/gpkg-1"}, member{name: "p-1-1/metadata.tar" + ext, data: string(metadata)},
		member{name: "p-1-1/metadata.tar" + ext + ".sig", data: "signature"},
		member{name: "p-1-1/image.tar" + ext, data: string(image)}, member{name: "p-1-1/Manifest", data: "DATA"})
}

func xpakOf(image []byte, values ...[2]string) []byte {
	var index, data []byte
	for _, v := range values {
		index = binary.BigEndian.AppendUint32(index, uint32(len(v[0])))
		index = append(index, v[0]...)
		index = binary.BigEndian.AppendUint32(index, uint32(len(data)))
		index = binary.BigEndian.AppendUint32(index, uint32(len(v[1])))
		data = append(data, v[1]...)
	}
	return xpakRaw(image, index, data)
}

func xpakRaw(image, index, data []byte) []byte {
	b := append(bytes.Clone(image), xpakHead...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(index)))
	b = binary.BigEndian.AppendUint32(b, uint32(len(data)))
	b = append(append(append(b, index...), data...), xpakEnd...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(b)-len(image)))
	return append(b, "STOP"...)
}

// readAll returns what is in a binpkg, one line for each file.
func readAll(data []byte, lim binpkgLimits) (string, error) {
	var s strings.Builder
	b := &binpkgReader{lim: lim, visit: func(f BinpkgFile) error {
		text, err := io.ReadAll(f)
		if err == nil && int64(len(text)) != f.Size {
			err = fmt.Errorf("%s has %d bytes, not %d", f.Name, len(text), f.Size)
		}
		if f.Part == BinpkgMetadata {
			fmt.Fprintf(&s, "%s=%s\n", f.Name, text)
		} else {
			fmt.Fprintf(&s, "/%s %o %d:%d %d %s\n", f.Name, f.Mode, f.UID, f.GID, f.ModTime.Unix(), text)
		}
		return err
	}}
	err := b.read(bytes.NewReader(data), int64(len(data)))
	return s.String(), err
}

// parts are the metadata and an image with one of each kind below prefix.
func parts(tb testing.TB, prefix string) (metadata, image []byte) {
	metadata = tarOf(tb, member{name: "metadata/SLOT", data: "0\n"}, member{name: "metadata/p-1.ebuild", data: "EAPI=8"})
	when := time.Unix(1_700_000_000, 0)
	image = tarOf(tb, member{name: prefix + "usr/", hdr: tar.Header{Typeflag: tar.TypeDir}},
		member{name: prefix + "usr/a", data: "content", hdr: tar.Header{Mode: 0o4755, Uid: 250, Gid: 7, ModTime: when}},
		member{name: prefix + "usr/hard", hdr: tar.Header{Typeflag: tar.TypeLink, Linkname: prefix + "usr/a"}},
		member{name: prefix + "usr/soft", hdr: tar.Header{Typeflag: tar.TypeSymlink, Linkname: "/etc"}},
		member{name: prefix + "dev", hdr: tar.Header{Typeflag: tar.TypeChar}},
		member{name: prefix + "..odd \xff", hdr: tar.Header{Mode: 0o600, ModTime: when, Format: tar.FormatGNU}})
	return metadata, image
}

const wantParts = "SLOT=0\n\np-1.ebuild=EAPI=8\n" +
	"/usr/a 4755 250:7 1700000000 content\n/..odd \xff 600 0:0 1700000000 \n"

func TestReadBinpkg(t *testing.T) {
	metadata, image := parts(t, "image/")
	_, dotImage := parts(t, "./")
	meta := [][2]string{{"SLOT", "0\n"}, {"p-1.ebuild", "EAPI=8"}}
	skippable := []byte("\x50\x2a\x4d\x18\x01\x00\x00\x00x")
	for name, data := range map[string][]byte{
		"gpkg":              gpkgOf(t, "", metadata, image),
		"gpkg, gzip":        gpkgOf(t, ".gz", gzipped(t, metadata), gzipped(t, image)),
		"gpkg, zstd":        gpkgOf(t, ".zst", zstandard(t, metadata), zstandard(t, image)),
		"gpkg, pzstd":       gpkgOf(t, ".zst", zstandard(t, metadata), append(skippable, zstandard(t, image)...)),
		"gpkg, two members": gpkgOf(t, ".gz", metadata, append(gzipped(t, image[:700]), gzipped(t, image[700:])...)),
		"xpak":              xpakOf(dotImage, meta...),
		"xpak, gzip":        xpakOf(gzipped(t, dotImage), meta...),
		"xpak, zstd":        xpakOf(zstandard(t, dotImage), meta...),
	} {
		got, err := readAll(data, defaultBinpkgLimits)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(wantParts, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// What a real Portage packed, and the SHA-256 of what the merge of it wrote.
func TestReadRealBinpkg(t *testing.T) {
	onlyMerged := "BINPKGMD5 CONTENTS COUNTER environment.bz2 metadata"
	for _, name := range []string{"p1.gpkg.tar", "p1.xpak"} {
		text, err := os.ReadFile("testdata/binpkg/" + name + ".sha256")
		if err != nil {
			t.Fatal(err)
		}
		merged := map[string]string{}
		for line := range strings.Lines(string(text)) {
			sum, file, _ := strings.Cut(strings.TrimSpace(line), "  ")
			if !strings.Contains(onlyMerged, path.Base(file)) {
				merged[file] = sum
			}
		}
		f, err := os.Open("testdata/binpkg/" + name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		fi, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		err = ReadBinpkg(f, fi.Size(), func(b BinpkgFile) error {
			h := sha256.New()
			if _, err := io.Copy(h, b); err != nil || b.Name == "environment.bz2" {
				return err
			}
			if b.Part == BinpkgMetadata {
				b.Name = "var/db/pkg/lab-five/p1-1/" + b.Name
			}
			got[b.Name] = fmt.Sprintf("%x", h.Sum(nil))
			return nil
		})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(merged, got); diff != "" || len(got) < 25 {
			t.Errorf("%s (-merged +packed):\n%s", name, diff)
		}
	}
}

func TestBinpkgRefused(t *testing.T) {
	metadata, image := parts(t, "image/")
	imageOf := func(name string) []byte { return gpkgOf(t, "", metadata, tarOf(t, member{name: name})) }
	metaOf := func(name string) []byte { return gpkgOf(t, "", tarOf(t, member{name: name}), image) }
	zeros := make([]byte, 1<<20)
	many := make([]member, 101)
	for i := range many {
		many[i].name = fmt.Sprint("image/", i)
	}
	index := binary.BigEndian.AppendUint32(nil, 1)
	index = append(index, "k\x00\x00\x00\x00\x00\x00\x00\x03"...)
	for name, tc := range map[string]struct {
		data []byte
		want string
	}{
		"nothing":          {nil, "is it a binpkg"},
		"any tar":          {tarOf(t, member{name: "a/b"}), "is it a binpkg"},
		"no tar":           {[]byte(strings.Repeat("any text ", 100)), "invalid tar header"},
		"no image":         {tarOf(t, member{name: "p/gpkg-1"}, member{name: "p/metadata.tar", data: ""}), "no image"},
		"too deep":         {tarOf(t, member{name: "p/q/gpkg-1"}), "does not belong"},
		"image twice":      {tarOf(t, member{name: "p/image.tar"}, member{name: "p/image.tar.gz"}), "twice"},
		"many members":     {tarOf(t, append(many, many...)...), "members"},
		"name upwards":     {imageOf("image/../x"), "not a name"},
		"absolute name":    {imageOf("/image/x"), "not below"},
		"absolute inside":  {imageOf("image//x"), "not a name"},
		"name not clean":   {imageOf("image/a/../b"), "not a name"},
		"dot":              {imageOf("image/."), "not a name"},
		"long name":        {imageOf("image/" + strings.Repeat("n/", 2048) + "n"), "not a name"},
		"other directory":  {imageOf("other/x"), "not below"},
		"key twice":        {gpkgOf(t, "", tarOf(t, member{name: "metadata/USE"}, member{name: "metadata/USE"}), image), "twice"},
		"xpak key twice":   {xpakOf(image, [2]string{"USE", "a"}, [2]string{"USE", "b"}), "twice"},
		"key upwards":      {metaOf("metadata/.."), "not a name"},
		"key with a slash": {metaOf("metadata/a/b"), "not a name"},
		"large image":      {gpkgOf(t, "", metadata, zstandard(t, tarOf(t, member{name: "image/z", data: string(zeros)}))), "100000 bytes"},
		"large behind":     {gpkgOf(t, "", metadata, gzipped(t, append(image, zeros...))), "100000 bytes"},
		"large metadata":   {gpkgOf(t, "", gzipped(t, tarOf(t, member{name: "metadata/z", data: string(zeros)})), image), "50000 bytes"},
		"many files":       {gpkgOf(t, "", metadata, tarOf(t, many...)), "more than 100 entries"},
		"damaged":          {gpkgOf(t, "", metadata, append(gzipped(t, image)[:100], "garbage garbage"...)), "image.tar"},
		"xpak length":      {[]byte("XPAKPACK00000000XPAKSTOP\x00\x00\x00\xffSTOP"), "damaged"},
		"xpak no head":     {append([]byte("xpakpack"), xpakRaw(nil, nil, nil)[8:]...), "damaged"},
		"xpak index ends":  {xpakRaw(nil, []byte("\x00\x00"), nil), "damaged"},
		"xpak key ends":    {xpakRaw(nil, []byte("\xff\xff\xff\xffk\x00\x00\x00\x00\x00\x00\x00\x00"), nil), "damaged"},
		"xpak beyond":      {xpakRaw(nil, index, []byte("ab")), "damaged"},
		"xpak at beyond":   {xpakRaw(nil, append(index[:5:5], "\x00\x00\x00\x05\x00\x00\x00\x01"...), []byte("abcde")), "damaged"},
		"xpak overlap":     {xpakRaw(nil, append(index, index...), []byte("abcde")), "damaged"},
		"xpak key":         {xpakOf(image, [2]string{"../x", ""}), "not a name"},
		"xpak index size":  {xpakRaw(nil, append(zeros[:1:1], zeros...), nil), "xpak index has more"},
		"xpak data size":   {xpakRaw(nil, nil, zeros), "metadata have more"},
	} {
		_, err := readAll(tc.data, binpkgLimits{image: 100_000, metadata: 50_000, files: 100})
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got error %v, want %q", name, err, tc.want)
		}
	}
	// A cut file is never taken for a whole one.
	whole := gpkgOf(t, ".zst", zstandard(t, metadata), zstandard(t, image))
	for n := 0; n < len(whole)-1536; n += 50 { // behind is the Manifest's content and tar's end
		if _, err := readAll(whole[:n], defaultBinpkgLimits); err == nil {
			t.Errorf("%d bytes of %d pass", n, len(whole))
		}
	}
}

func TestBinpkgCompression(t *testing.T) {
	metadata, image := parts(t, "image/")
	window := zstandard(t, append(image, make([]byte, 1<<20)...), zstd.WithWindowSize(256<<20), zstd.WithSingleSegment(false))
	for want, data := range map[string]string{
		"xz": "\xfd7zXZ\x00", "lz4": "\x04\x22\x4d\x18", "lzip": "LZIP", "lzop": "\x89LZO", "zstd": string(window),
	} {
		for _, data := range [][]byte{gpkgOf(t, ".x", metadata, []byte(data)), xpakOf([]byte(data))} {
			_, err := readAll(data, defaultBinpkgLimits)
			if !errors.Is(err, ErrCompression) || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got %v", want, err)
			}
		}
	}
}

// A sparse file stands for any number of bytes, none of which is in the binpkg.
func TestBinpkgSparse(t *testing.T) {
	metadata, _ := parts(t, "image/")
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "image"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, size := range map[string]int64{"holes": 1 << 40, "plain": 0} {
		if err := os.WriteFile(filepath.Join(dir, "image", name), []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(filepath.Join(dir, "image", name), max(size, 1)); err != nil {
			t.Fatal(err)
		}
	}
	for _, format := range []string{"gnu", "pax"} {
		image, err := exec.Command("tar", "-cSf", "-", "-C", dir, "--format="+format, "image").Output()
		if err != nil {
			t.Fatal(err)
		}
		got, err := readAll(gpkgOf(t, "", metadata, image), defaultBinpkgLimits)
		if err != nil || !strings.Contains(got, "/plain") || strings.Contains(got, "holes") {
			t.Errorf("%s: read %.100q, error %v", format, got, err)
		}
	}
}

// An error of visit comes back as it is, at once.
func TestBinpkgVisitError(t *testing.T) {
	metadata, image := parts(t, "image/")
	stop := errors.New("stop")
	for _, data := range [][]byte{gpkgOf(t, "", metadata, image), xpakOf(image, [2]string{"k", ""}, [2]string{"l", ""})} {
		n := 0
		err := ReadBinpkg(bytes.NewReader(data), int64(len(data)), func(BinpkgFile) error { n++; return stop })
		if err != stop || n != 1 {
			t.Errorf("got %v after %d visits", err, n)
		}
	}
}

// FuzzBinpkg feeds any bytes to the reader: nothing passes a limit, and no name leads out.
func FuzzBinpkg(f *testing.F) {
	metadata, image := parts(f, "image/")
	f.Add(gpkgOf(f, "", metadata, image))
	f.Add(gpkgOf(f, ".zst", zstandard(f, metadata), gzipped(f, image)))
	f.Add(xpakOf(image, [2]string{"SLOT", "0"}, [2]string{"USE", "a b"}))
	names, err := filepath.Glob("testdata/binpkg/p1.*[rk]")
	if err != nil || len(names) == 0 {
		f.Fatal("no seeds in testdata:", err)
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	lim := binpkgLimits{image: 1 << 20, metadata: 1 << 18, files: 100}
	f.Fuzz(func(t *testing.T, data []byte) {
		total := map[BinpkgPart]int64{}
		b := &binpkgReader{lim: lim, visit: func(f BinpkgFile) error {
			if !filepath.IsLocal(f.Name) || f.Part == BinpkgMetadata && strings.Contains(f.Name, "/") {
				t.Errorf("the name %q passed", f.Name)
			}
			n, err := io.Copy(io.Discard, f)
			total[f.Part] += n
			return err
		}}
		_ = b.read(bytes.NewReader(data), int64(len(data)))
		if total[BinpkgImage] > lim.image || total[BinpkgMetadata] > lim.metadata {
			t.Errorf("passed: %v", total)
		}
	})
}

// TestReadBinpkgEntries: all that an image has is visited, of a gpkg and of an xpak, by its path below the root.
func TestReadBinpkgEntries(t *testing.T) {
	t.Parallel()
	image := func(prefix string, more ...member) []byte {
		return tarOf(t, append([]member{
			{name: prefix, hdr: tar.Header{Typeflag: tar.TypeDir}},
			{name: prefix + "d/", hdr: tar.Header{Typeflag: tar.TypeDir}},
			{name: prefix + "d/a", data: "abc", hdr: tar.Header{PAXRecords: map[string]string{"SCHILY.xattr.user.x": "1"}}},
			{name: prefix + "d/hard", hdr: tar.Header{Typeflag: tar.TypeLink, Linkname: prefix + "d/a"}},
			{name: prefix + "link", hdr: tar.Header{Typeflag: tar.TypeSymlink, Linkname: "/d/a"}},
		}, more...)...)
	}
	meta := tarOf(t, member{name: "metadata/USE", data: "a"})
	read := func(file []byte) (got []string, err error) {
		err = ReadBinpkgEntries(bytes.NewReader(file), int64(len(file)), func(f BinpkgFile) error {
			got = append(got, f.Name)
			return nil
		}, func(hdr *tar.Header, r io.Reader) error {
			data, err := io.ReadAll(r)
			got = append(got, fmt.Sprintf("%c %s %s %q %s", hdr.Typeflag, hdr.Name, hdr.Linkname, data, hdr.PAXRecords["SCHILY.xattr.user.x"]))
			return err
		})
		return got, err
	}
	want := []string{"USE", `5 .  "" `, `5 d  "" `, `0 d/a  "abc" 1`, `1 d/hard d/a "" `, `2 link /d/a "" `}
	for name, file := range map[string][]byte{
		"gpkg": gpkgOf(t, ".zst", zstandard(t, meta), zstandard(t, image("image/"))),
		"xpak": xpakOf(gzipped(t, image("./")), [2]string{"USE", "a"}),
	} {
		got, err := read(file)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
		}
	}
	for _, bad := range []member{
		{name: "image/../x"},
		{name: "elsewhere/x"},
		{name: "image/h", hdr: tar.Header{Typeflag: tar.TypeLink, Linkname: "image/../../x"}},
	} {
		if _, err := read(gpkgOf(t, "", meta, image("image/", bad))); err == nil || !strings.Contains(err.Error(), "is not below") {
			t.Errorf("%s -> %s: %v", bad.name, bad.hdr.Linkname, err)
		}
	}
	stop := errors.New("stop")
	file := gpkgOf(t, "", meta, image("image/"))
	err := ReadBinpkgEntries(bytes.NewReader(file), int64(len(file)), func(BinpkgFile) error { return nil },
		func(*tar.Header, io.Reader) error { return stop })
	if err != stop {
		t.Errorf("entry's own error: %v", err)
	}
}
