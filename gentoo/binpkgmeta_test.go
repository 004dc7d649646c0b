package gentoo

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestReadBinpkgMetadata: the metadata come out of every form, and of the image nothing is read.
func TestReadBinpkgMetadata(t *testing.T) {
	long, ebuild := strings.Repeat("x", maxMetadataValue+1), strings.Repeat("a-crate@1.0.0\n", 100_000)
	metadata := tarOf(t, member{name: "metadata/SLOT", data: "0/2\n"}, member{name: "metadata/USE", data: "a b"},
		member{name: "metadata/environment.bz2", data: long}, member{name: "metadata/x-1.ebuild", data: ebuild},
		member{name: "metadata/LAST", data: "\n\n"})
	want := map[string]string{"SLOT": "0/2", "USE": "a b", "LAST": "\n", "x-1.ebuild": strings.TrimSuffix(ebuild, "\n")}
	junk := []byte("\x1f\x8bno gzip at all")
	cases := map[string][]byte{
		"gpkg":       gpkgOf(t, "", metadata, junk),
		"gpkg, zstd": gpkgOf(t, ".zst", zstandard(t, metadata), junk),
		"xpak": xpakOf(gzipped(t, tarOf(t, member{name: "./usr/a", data: "x"})), [][2]string{
			{"SLOT", "0/2\n"}, {"USE", "a b"}, {"environment.bz2", long}, {"x-1.ebuild", ebuild}, {"LAST", "\n\n"},
		}...),
	}
	for _, program := range []string{"xz", "lz4", "lzip", "lzop"} {
		if _, err := exec.LookPath(program); err != nil {
			continue // xz at least is on every machine; see below
		}
		cmd := exec.Command(program, "-c")
		cmd.Stdin = bytes.NewReader(metadata)
		packed, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		cases["gpkg, "+program] = gpkgOf(t, "."+program, packed, junk)
	}
	if cases["gpkg, xz"] == nil {
		t.Error("this machine has no xz")
	}
	for name, data := range cases {
		file := "p-1-1.gpkg.tar"
		if name == "xpak" {
			file = "p-1-1.xpak"
		}
		got, err := ReadBinpkgMetadata(file, bytes.NewReader(data), int64(len(data)))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	// Portage might take what comes later, and nobody would have compared that.
	second := tarOf(t, member{name: "p/gpkg-1"}, member{name: "p/metadata.tar", data: string(metadata)}, member{name: "p/image.tar", data: string(junk)},
		member{name: "p/metadata.tar.gz", data: string(metadata)}, member{name: "p/Manifest"})
	if _, err := ReadBinpkgMetadata("a.gpkg.tar", bytes.NewReader(second), int64(len(second))); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("metadata before and after the image: %v", err)
	}
	cut := gpkgOf(t, ".xz", []byte("\xfd7zXZ\x00 and no more"), nil)
	if _, err := ReadBinpkgMetadata("a.gpkg.tar", bytes.NewReader(cut), int64(len(cut))); err == nil {
		t.Error("damaged xz is read without an error")
	}
	t.Setenv("PATH", t.TempDir())
	if _, err := ReadBinpkgMetadata("a.gpkg.tar", bytes.NewReader(cut), int64(len(cut))); !errors.Is(err, ErrCompression) {
		t.Errorf("without the program: %v", err)
	}
}

// TestMetadataReadOneWay: Portage goes by the name of a file, and its Python takes for files what Go's tar does not: what could be read in
// two ways is not read.
func TestMetadataReadOneWay(t *testing.T) {
	slot := member{name: "metadata/SLOT", data: "0\n"}
	with := func(m member) []byte { return gpkgOf(t, "", tarOf(t, slot, m), nil) }
	good, xpak := gpkgOf(t, "", tarOf(t, slot), nil), xpakOf(nil, [2]string{"SLOT", "2\n"})
	odd := member{name: "metadata/USE", data: "evil"}
	contiguous := with(odd)
	at := bytes.Index(contiguous, []byte("metadata/USE"))
	contiguous = retyped(contiguous, at, '7')
	for what, c := range map[string]struct {
		name  string
		data  []byte
		error string // empty: it is read
	}{
		"gpkg":                   {"a-1.gpkg.tar", good, ""},
		"xpak":                   {"a-1.xpak", xpak, ""},
		"xpak of old":            {"a.tbz2", xpak, ""},
		"a directory":            {"a-1.gpkg.tar", with(member{name: "metadata/", hdr: tar.Header{Typeflag: tar.TypeDir}}), ""},
		"gpkg that ends as xpak": {"a-1.gpkg.tar", append(bytes.Clone(good), xpak...), "named as a gpkg"},
		"xpak named gpkg":        {"a-1.gpkg.tar", xpak, "named as a gpkg"},
		"gpkg named xpak":        {"a-1.xpak", good, "named as an xpak"},
		"gpkg named as of old":   {"a.tbz2", good, "named as an xpak"},
		"contiguous file":        {"a-1.gpkg.tar", contiguous, `"metadata/USE" in the metadata is no plain file`},
		"link":                   {"a-1.gpkg.tar", with(member{name: "metadata/USE", hdr: tar.Header{Typeflag: tar.TypeSymlink, Linkname: "SLOT"}}), "no plain file"},
		"hard link":              {"a-1.gpkg.tar", with(member{name: "metadata/USE", hdr: tar.Header{Typeflag: tar.TypeLink, Linkname: "metadata/SLOT"}}), "no plain file"},
		"header for all":         {"a-1.gpkg.tar", with(member{hdr: tar.Header{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"path": "metadata/USE"}}}), "no plain file"},
		"key twice":              {"a-1.gpkg.tar", with(slot), "twice"},
	} {
		got, err := ReadBinpkgMetadata(c.name, bytes.NewReader(c.data), int64(len(c.data)))
		switch {
		case c.error == "" && (err != nil || got["SLOT"] == ""):
			t.Errorf("%s: %v, %v", what, got, err)
		case c.error != "" && (err == nil || !strings.Contains(err.Error(), c.error)):
			t.Errorf("%s is read as %v, with the error %v; want %q", what, got, err, c.error)
		}
	}
}

// retyped changes the type of the entry whose tar header begins at this place.
func retyped(data []byte, at int, kind byte) []byte {
	header := data[at : at+512]
	header[156] = kind
	copy(header[148:156], "        ") // the checksum counts as blanks (POSIX pax, ustar Interchange Format)
	sum := 0
	for _, c := range header {
		sum += int(c)
	}
	copy(header[148:156], fmt.Sprintf("%06o\x00 ", sum))
	return data
}

// TestReadRealBinpkgMetadata: what Portage has packed.
func TestReadRealBinpkgMetadata(t *testing.T) {
	for _, name := range []string{"p1.gpkg.tar", "p1.xpak"} {
		f, err := os.Open("testdata/binpkg/" + name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		fi, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		got, err := ReadBinpkgMetadata(name, f, fi.Size())
		if err != nil || got["PF"] != "p1-1" || got["CATEGORY"] != "lab-five" || !strings.Contains(got["p1-1.ebuild"], "EAPI=8") {
			t.Errorf("%s: %v, %q", name, err, got)
		}
	}
}
