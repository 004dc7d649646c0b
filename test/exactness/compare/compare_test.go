package compare

import (
	"archive/tar"
	"bytes"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// build is a package as a test makes it.
type build struct {
	meta    map[string]string
	env     string // of environment.bz2
	entries []entry
}

type entry struct {
	tar.Header
	data string
}

// sample is a package with something of everything.
func sample() build {
	return build{
		meta: map[string]string{
			"CATEGORY": "app-misc\n", "PF": "lab-1\n", "USE": "a b\n", "BUILD_TIME": "1\n", "BUILD_ID": "1\n",
			"FEATURES": "assume-digests buildpkg xattr\n", "NEEDED": "/a libc\n/b libc\n", "SIZE": "3\n",
		},
		env: "declare -x FEATURES=\"assume-digests buildpkg\"\ndeclare -- NOTE=\"one\ntwo\"\nsrc_install () \n{ \n    dobin x\n}\n",
		entries: []entry{
			{Header: tar.Header{Name: "image/", Typeflag: tar.TypeDir, Mode: 0o755}},
			{Header: tar.Header{Name: "image/a", Mode: 0o644, PAXRecords: map[string]string{"SCHILY.xattr.user.lab": "1"}}, data: "abc"},
			{Header: tar.Header{Name: "image/h", Typeflag: tar.TypeLink, Linkname: "image/a", Mode: 0o644}},
			{Header: tar.Header{Name: "image/l", Typeflag: tar.TypeSymlink, Linkname: "a", Mode: 0o777}},
			{Header: tar.Header{Name: "image/n", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3, Mode: 0o666}},
		},
	}
}

// read writes a package as a gpkg and reads it.
func (b build) read(t *testing.T) *Package {
	t.Helper()
	name := filepath.Join(t.TempDir(), "lab-1-1.gpkg.tar")
	if err := os.WriteFile(name, b.gpkg(t), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := Read(name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (b build) gpkg(t *testing.T) []byte {
	t.Helper()
	var meta []entry
	for _, key := range slices.Sorted(maps.Keys(b.meta)) {
		meta = append(meta, entry{tar.Header{Name: "metadata/" + key}, b.meta[key]})
	}
	meta = append(meta, entry{tar.Header{Name: "metadata/environment.bz2"}, bzipped(t, b.env)})
	return pack(t, entry{tar.Header{Name: "lab-1-1/gpkg-1"}, ""},
		entry{tar.Header{Name: "lab-1-1/metadata.tar"}, string(pack(t, meta...))},
		entry{tar.Header{Name: "lab-1-1/image.tar"}, string(pack(t, b.entries...))},
		entry{tar.Header{Name: "lab-1-1/Manifest"}, "DATA"})
}

func pack(t *testing.T, entries ...entry) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, e := range entries {
		e.Size = int64(len(e.data))
		if err := w.WriteHeader(&e.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, e.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func bzipped(t *testing.T, text string) string {
	t.Helper()
	cmd := exec.Command("bzip2")
	cmd.Stdin = strings.NewReader(text)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func TestDiff(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		change func(*build)
		want   []string // places
	}{
		{"nothing", func(*build) {}, nil},
		{"a byte", func(b *build) { b.entries[1].data = "abd" }, []string{"/a: content"}},
		{"a size", func(b *build) { b.entries[1].data = "abcd" }, []string{"/a: content"}},
		{"a mode", func(b *build) { b.entries[1].Mode = 0o4644 }, []string{"/a: mode"}},
		{"the root's mode", func(b *build) { b.entries[0].Mode = 0o700 }, []string{"/: mode"}},
		{"an owner", func(b *build) { b.entries[1].Uid = 250 }, []string{"/a: owner"}},
		{"a group", func(b *build) { b.entries[3].Gid = 250 }, []string{"/l: owner"}},
		{"an owner's name", func(b *build) { b.entries[1].Uname = "portage" }, []string{"/a: owner"}},
		{"an attribute", func(b *build) {
			b.entries[1].PAXRecords = map[string]string{"SCHILY.xattr.user.lab": "2"}
		}, []string{"/a: attribute user.lab"}},
		{"no attribute", func(b *build) { b.entries[1].PAXRecords = nil }, []string{"/a: attribute user.lab"}},
		{"a link's target", func(b *build) { b.entries[3].Linkname = "b" }, []string{"/l: target"}},
		{"a device", func(b *build) { b.entries[4].Devminor = 5 }, []string{"/n: device"}},
		{"a hard link that is a file", func(b *build) {
			b.entries[2] = entry{tar.Header{Name: "image/h", Mode: 0o644}, "abc"}
		}, []string{"/h: content", "/h: target", "/h: type"}},
		{"a file less", func(b *build) { b.entries = b.entries[:4] }, []string{"/n: device", "/n: mode", "/n: owner", "/n: type"}},
		{"a file more", func(b *build) {
			b.entries = append(b.entries, entry{tar.Header{Name: "image/z", Typeflag: tar.TypeDir}, ""})
		}, []string{"/z: mode", "/z: owner", "/z: type"}},
		{"a time", func(b *build) { b.entries[1].ModTime = b.entries[1].ModTime.AddDate(9, 0, 0) }, nil},
		{"a value", func(b *build) { b.meta["USE"] = "a\n" }, []string{"metadata USE"}},
		{"no value", func(b *build) { delete(b.meta, "USE") }, []string{"metadata USE"}},
		{"a value more", func(b *build) { b.meta["CHOST"] = "x\n" }, []string{"metadata CHOST"}},
		{"the order of words that is not free", func(b *build) { b.meta["USE"] = "b a\n" }, []string{"metadata USE"}},
		{"what is another in each build", func(b *build) {
			b.meta["BUILD_TIME"], b.meta["BUILD_ID"], b.meta["SIZE"] = "2\n", "2\n", "4\n"
		}, nil},
		{"the order of lines that is free", func(b *build) { b.meta["NEEDED"] = "/b libc\n/a libc\n" }, nil},
		{"a line", func(b *build) { b.meta["NEEDED"] = "/b libc\n/a libm\n" }, []string{"metadata NEEDED"}},
		{"FEATURES about the machine", func(b *build) {
			b.meta["FEATURES"] = "xattr assume-digests ccache\n"
			b.env = strings.Replace(b.env, "buildpkg", "ccache", 1)
		}, nil},
		{"FEATURES about the package", func(b *build) { b.meta["FEATURES"] = "assume-digests buildpkg\n" }, []string{"metadata FEATURES"}},
		{"a variable", func(b *build) { b.env = strings.Replace(b.env, "two", "three", 1) }, []string{"environment NOTE"}},
		{"a function", func(b *build) { b.env = strings.Replace(b.env, "dobin", "dosbin", 1) }, []string{"environment src_install()"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			other := sample()
			test.change(&other)
			var got []string
			for _, d := range Diff(sample().read(t), other.read(t)) {
				got = append(got, d.Place)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestIgnored: each row has a reason, and no place has two.
func TestIgnored(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, r := range Ignored {
		if r.Reason == "" || seen[r.Place] || (r.normal == nil) != (r.What == "") {
			t.Errorf("row %+v", r)
		}
		seen[r.Place] = true
	}
}

func TestReadRefuses(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*build){
		"a file twice":      func(b *build) { b.entries = append(b.entries, b.entries[1]) },
		"no name":           func(b *build) { delete(b.meta, "PF") },
		"a type of its own": func(b *build) { b.entries[1].Typeflag = 'Z' },
		"a way out":         func(b *build) { b.entries[1].Name = "image/../../a" },
		"a link out":        func(b *build) { b.entries[2].Linkname = "../a" },
	} {
		b := sample()
		change(&b)
		file := filepath.Join(t.TempDir(), "x.gpkg.tar")
		if err := os.WriteFile(file, b.gpkg(t), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(file); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	dir := t.TempDir()
	for _, name := range []string{"lab-1-1.gpkg.tar", "lab-1-2.gpkg.tar"} {
		if err := os.WriteFile(filepath.Join(dir, name), sample().gpkg(t), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := ReadDir(dir); err == nil || !strings.Contains(err.Error(), "two builds of app-misc/lab-1") {
		t.Errorf("two builds of one package: %v", err)
	}
}

func TestCompare(t *testing.T) {
	t.Parallel()
	pkgdir := func(change func(*build)) map[string]*Package {
		b := sample()
		change(&b)
		p := b.read(t)
		return map[string]*Package{p.CPV: p}
	}
	plain := func(*build) {}
	dated := func(b *build) { b.entries[1].data = "another" }
	for _, test := range []struct {
		name                 string
		first, second, third map[string]*Package
		exact                bool
		says                 string
	}{
		{"all the same", pkgdir(plain), pkgdir(plain), pkgdir(plain), true, "app-misc/lab-1  5      3      reproducible  the same"},
		{"irreproducible", pkgdir(plain), pkgdir(dated), pkgdir(func(b *build) { b.entries[1].data = "a third" }), true, "1 difference  the same"},
		{"the builder's", pkgdir(plain), pkgdir(plain), pkgdir(dated), false, "reproducible  1 difference"},
		{"irreproducible, and the builder's besides", pkgdir(plain), pkgdir(dated), pkgdir(func(b *build) {
			dated(b)
			b.entries[1].Mode = 0o600
		}), false, `/a: mode: "0644", "0600"`},
		{"missing", pkgdir(plain), pkgdir(plain), nil, false, "not built: through the builder"},
	} {
		var out strings.Builder
		exact, err := Print(&out, Compare(test.first, test.second, test.third))
		if err != nil || exact != test.exact || !strings.Contains(out.String(), test.says) {
			t.Errorf("%s: exact %v, want %v, and %q (%v):\n%s", test.name, exact, test.exact, test.says, err, out.String())
		}
	}
	var out strings.Builder
	if exact, _ := Print(&out, nil); exact {
		t.Error("nothing compared is exact")
	}
}
