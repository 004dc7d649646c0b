package client

import (
	"archive/tar"
	"bytes"
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"lantage/gentoo"
	"lantage/wire"
)

const testEbuild = "EAPI=8\nSLOT=0\n"

// testFacts are what Portage says of a package of the tests' machine.
func testFacts(cpv string) facts {
	return facts{
		CPV: cpv, Repo: "lab", Portage: "3.0.83", EAPI: "8", Slot: "0/2", Use: []string{"amd64", "x", "y"},
		Vars:   map[string]string{"CHOST": testCHOST, "CBUILD": testCHOST, "CFLAGS": "-O2 -march=x86-64-v3", "LDFLAGS": "-Wl,-O1"},
		Phases: []string{"compile"},
	}
}

// testMetadata are those of the binpkg that fits testFacts.
func testMetadata(cpv gentoo.CPV) map[string]string {
	return map[string]string{
		"CATEGORY": cpv.Category, "PF": cpv.PF(), "SLOT": "0/2", "repository": "lab", "EAPI": "8", "USE": "y amd64 x",
		"CHOST": testCHOST, "CBUILD": testCHOST, "CFLAGS": "-O2  -march=x86-64-v3", "LDFLAGS": "-Wl,-O1",
		cpv.PF() + ".ebuild": strings.TrimSuffix(testEbuild, "\n"), "RDEPEND": "lab/lib:0/2=",
	}
}

// gpkg makes a binpkg of metadata, and an image of one file.
func gpkg(t *testing.T, metadata map[string]string) string {
	t.Helper()
	pack := func(files ...[2]string) string {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, f := range files {
			err := w.WriteHeader(&tar.Header{Name: f[0], Size: int64(len(f[1])), Mode: 0o644, Typeflag: tar.TypeReg})
			if err == nil {
				_, err = w.Write([]byte(f[1]))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	var inside [][2]string
	for _, key := range slices.Sorted(maps.Keys(metadata)) {
		inside = append(inside, [2]string{"metadata/" + key, metadata[key] + "\n"})
	}
	return pack([2]string{"x/gpkg-1"}, [2]string{"x/metadata.tar", pack(inside...)},
		[2]string{"x/image.tar", pack([2]string{"image/usr/bin/x", "x"})}, [2]string{"x/Manifest"})
}

// testProof is a proof for one package, whose repository is in a temporary directory.
func testProof(t *testing.T, f facts) (*proof, gentoo.CPV) {
	t.Helper()
	cpv, err := gentoo.ParseCPV(f.CPV)
	if err != nil {
		t.Fatal(err)
	}
	repo := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(repo, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(repo, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(cpv.CP()+"/"+cpv.PF()+".ebuild", testEbuild)
	write("eclass/appends.eclass", "appends_src_configure() { append-flags -fno-x; }\n")
	write("eclass/lto.eclass", "lto_src_prepare() { filter-lto; }\n")
	write("eclass/machine.eclass", "machine_pkg_setup() { export CFLAGS+=\" -march=armv8-a\"; }\n")
	write("eclass/flag-o-matic.eclass", "append-flags() { export CFLAGS+=\" $*\"; }\nreplace-cpu-flags() { :; }\n")
	p := &plan{list: &gentoo.MergeList{Packages: []gentoo.Package{
		{Kind: gentoo.KindEbuild, CPV: gentoo.CPV{Category: "lab", Name: "lib", Version: "2"}, Slot: "0", SubSlot: "2"},
	}}, facts: map[gentoo.CPV]facts{cpv: f}}
	pr := newProof(p, &system{repos: []gentoo.Repo{{Name: "lab", Location: repo}}}, true)
	pr.vdb = t.TempDir()
	return pr, cpv
}

// TestProof: a binpkg is taken only if all that it records is what this machine's Portage says.
func TestProof(t *testing.T) {
	pr, cpv := testProof(t, testFacts("lab/b-2"))
	for name, c := range map[string]struct {
		edit func(map[string]string)
		says []string // none: it is taken
	}{
		"as it should be": {func(map[string]string) {}, nil},
		"other USE":       {func(m map[string]string) { m["USE"] = "amd64 x z" }, []string{`USE there has "z", and here "y"`}},
		"less USE":        {func(m map[string]string) { m["USE"] = "amd64 x" }, []string{`USE there has nothing, and here "y"`}},
		"no USE":          {func(m map[string]string) { delete(m, "USE") }, []string{`USE is nothing there`}},
		"CHOST": {
			func(m map[string]string) { m["CHOST"] = "i686-pc-linux-gnu" },
			[]string{`CHOST is "i686-pc-linux-gnu" there, and "x86_64-pc-linux-gnu" here`},
		},
		"CBUILD":                          {func(m map[string]string) { m["CBUILD"] = "x" }, []string{"CBUILD"}},
		"CTARGET is what an ebuild wants": {func(m map[string]string) { m["CTARGET"] = "avr" }, nil},
		"CFLAGS": {
			func(m map[string]string) { m["CFLAGS"] = "-O3 -march=x86-64-v3" },
			[]string{`CFLAGS is "-O3 -march=x86-64-v3" there, and "-O2 -march=x86-64-v3" here`},
		},
		"CFLAGS that are not set here": {func(m map[string]string) { m["ASFLAGS"] = "-x" }, []string{`ASFLAGS is "-x" there, and nothing here`}},
		"LDFLAGS":                      {func(m map[string]string) { delete(m, "LDFLAGS") }, []string{"LDFLAGS is nothing there"}},
		"sub-slot":                     {func(m map[string]string) { m["SLOT"] = "0/3" }, []string{`SLOT is "0/3" there`}},
		"version":                      {func(m map[string]string) { m["PF"] = "b-3" }, []string{`PF is "b-3" there`}},
		"category":                     {func(m map[string]string) { m["CATEGORY"] = "x" }, []string{"CATEGORY"}},
		"repository":                   {func(m map[string]string) { m["repository"] = "other" }, []string{"repository"}},
		"EAPI":                         {func(m map[string]string) { m["EAPI"] = "7" }, []string{"EAPI"}},
		"ebuild":                       {func(m map[string]string) { m["b-2.ebuild"] += " " }, []string{"its ebuild is another"}},
		"several":                      {func(m map[string]string) { m["EAPI"], m["PF"] = "7", "b-3" }, []string{"EAPI", "PF"}},
		"bound to another library":     {func(m map[string]string) { m["DEPEND"] = "lab/lib:0/1=" }, []string{"built against lab/lib:0/1"}},
		"words for the terminal":       {func(m map[string]string) { m["EAPI"] = "\x1b[2J7" }, []string{`EAPI is "7" there`}},
	} {
		metadata := testMetadata(cpv)
		c.edit(metadata)
		file := gpkg(t, metadata)
		err := pr.check(cpv, "a.gpkg.tar", strings.NewReader(file), int64(len(file)))
		if (err == nil) != (c.says == nil) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, text := range c.says {
			if !strings.Contains(err.Error(), text) {
				t.Errorf("%s: it does not say %q, but: %v", name, text, err)
			}
		}
	}
	if err := pr.check(cpv, "a.gpkg.tar", strings.NewReader("no binpkg"), 9); err == nil {
		t.Error("what is no binpkg is taken")
	}
	file := gpkg(t, testMetadata(cpv))
	if err := pr.check(gentoo.CPV{Category: "lab", Name: "other", Version: "1"}, "a.gpkg.tar", strings.NewReader(file), int64(len(file))); err == nil {
		t.Error("a package that Portage does not know is taken")
	}
	pr.bound = false
	metadata := testMetadata(cpv)
	metadata["DEPEND"] = "lab/lib:0/1="
	file = gpkg(t, metadata)
	if err := pr.check(cpv, "a.gpkg.tar", strings.NewReader(file), int64(len(file))); err != nil {
		t.Errorf("on a copy of this machine's root: %v", err)
	}
}

// TestProofOfFlags: an ebuild, an eclass or a bashrc may add and remove flags, here as there; another machine is then still
// found out, as long as they leave -march alone.
func TestProofOfFlags(t *testing.T) {
	const same, more, other = "-O2 -march=x86-64-v3", "-O3 -fno-x -march=x86-64-v3", "-O2 -march=znver4"
	const native, resolved = "-O2 -march=native", "-O2 -march=znver4 --param l1-cache-size=32 -mtune=znver4"
	for name, c := range map[string]struct {
		inherited []string
		cflags    string // here
		taken     map[string]bool
	}{
		"plain ebuild":                {nil, same, map[string]bool{same: true, more: false, other: false}},
		"only functions to be called": {[]string{"flag-o-matic"}, same, map[string]bool{same: true, more: false, other: false}},
		"an eclass appends":           {[]string{"appends", "flag-o-matic"}, same, map[string]bool{same: true, more: true, other: false}},
		"an eclass takes lto away":    {[]string{"lto"}, same, map[string]bool{same: true, more: true, other: false}},
		"flags are taken away": {[]string{"lto"}, "-O2 -march=x86-64-v3 -flto", map[string]bool{
			"-O2 -march=x86-64-v3": true, "-O2": true, "": true, "-O2 -mtune=znver4": false,
		}},
		"an eclass that is nowhere":    {[]string{"gone"}, same, map[string]bool{same: true, more: true, other: true}},
		"an eclass says which machine": {[]string{"machine"}, same, map[string]bool{same: true, more: true, other: true}},
		"native": {nil, native, map[string]bool{
			resolved: true, native: false, same: false, "-O3 -march=znver4": false, "-O2 -march=znver4 -mtune=znver3": false,
			"-O2 -march=znver4": true, // where the file that it is in tunes for another machine, which another one takes back
		}},
		"native, and an eclass appends": {[]string{"appends"}, native, map[string]bool{
			resolved: true, resolved + " -fno-x": true, native: false, same: false,
		}},
	} {
		f := testFacts("lab/b-2")
		f.Inherited, f.Vars["CFLAGS"] = c.inherited, c.cflags
		pr, cpv := testProof(t, f)
		pr.natives = map[string]bool{"-march=znver4": true, "l1-cache-size=32": true, "-mtune=znver4": true}
		for flags, taken := range c.taken {
			metadata := testMetadata(cpv)
			metadata["CFLAGS"] = flags
			file := gpkg(t, metadata)
			if err := pr.check(cpv, "a.gpkg.tar", strings.NewReader(file), int64(len(file))); (err == nil) != taken {
				t.Errorf("%s: CFLAGS %q: %v", name, flags, err)
			}
		}
	}
}

// TestKeptOut: a binpkg that is not what this machine would have built is kept out of PKGDIR, the user is told why, and
// emerge builds the package here; the others stay, each with a record that verify finds.
func TestKeptOut(t *testing.T) {
	m := newMachine(t)
	for _, name := range []string{"a/a-1", "b/b-2"} {
		m.write("repo/lab/"+name+".ebuild", testEbuild)
	}
	cpv := func(s string) gentoo.CPV {
		c, err := gentoo.ParseCPV(s)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	good, bad := testMetadata(cpv("lab/a-1")), testMetadata(cpv("lab/b-2"))
	delete(good, "RDEPEND")
	bad["CFLAGS"] = "-O3"
	b := newBuilder(t, func(d *dialog) {
		d.submit()
		d.built("lab/a-1", gpkg(t, good))
		d.built("lab/b-2", gpkg(t, bad))
		d.done(wire.OutcomeDone)
	})
	var out buffer
	e := m.emerge(b.addr(), &out, "lab/a", "lab/b")
	e.unproved = false
	e.facts = func(context.Context, *tools, []gentoo.Package) (map[gentoo.CPV]facts, error) {
		return map[gentoo.CPV]facts{cpv("lab/a-1"): testFacts("lab/a-1"), cpv("lab/b-2"): testFacts("lab/b-2")}, nil
	}
	if err := e.Run(t.Context()); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	wantContains(t, out.String(), "lab/b-2 came, and is kept out of PKGDIR", `CFLAGS is "-O3" there, and "-O2 -march=x86-64-v3" here`,
		"Going on here, with emerge")
	files := slices.Sorted(maps.Keys(m.binpkgs()))
	if want := []string{"lab/a/a-1-1.gpkg.tar", "lab/a/a-1-1.gpkg.tar" + provenanceSuffix}; !slices.Equal(files, want) {
		t.Fatalf("in PKGDIR are %q, want %q", files, want)
	}

	verify := func(atoms ...string) (string, error) {
		var out buffer
		err := (&Verify{Atoms: atoms, Environ: e.Environ, Stdout: &out, Stderr: &out}).Run(t.Context())
		return words(err, &out), err
	}
	said, err := verify()
	if err != nil {
		t.Fatal(err)
	}
	wantContains(t, said, "lab/a-1", "tower", "as it came")
	if said, err = verify("lab/a"); err != nil {
		t.Fatal(err)
	}
	wantContains(t, said, "0123456789abcdef", "-march=x86-64-v3", "0.1 there, test here", "3.0.83")
	if said, err = verify("lab/b"); status(err) != ExitFailed {
		t.Errorf("a package that is not there: %v, %s", err, said)
	}

	// Somebody changes it, first as a whole and then only its record.
	path := m.path("pkg dir/lab/a/a-1-1.gpkg.tar")
	if err := os.WriteFile(path, []byte(gpkg(t, bad)), 0o644); err != nil {
		t.Fatal(err)
	}
	if said, err = verify(); status(err) != ExitFailed {
		t.Errorf("a binpkg that was changed: %v", err)
	}
	wantContains(t, said, "CHANGED", "SHA-256")
	about, err := readProvenance(path)
	if err != nil {
		t.Fatal(err)
	}
	if about.SHA256, err = sumOf(path); err != nil {
		t.Fatal(err)
	}
	if err := about.save(path); err != nil {
		t.Fatal(err)
	}
	if said, err = verify(); status(err) != ExitFailed {
		t.Errorf("a binpkg with other metadata than recorded: %v", err)
	}
	wantContains(t, said, `CFLAGS is "-O3" and was`)
	m.write("pkg dir/lab/a/a-1-1.gpkg.tar"+provenanceSuffix, "{")
	if said, err = verify(); status(err) != ExitFailed {
		t.Errorf("a damaged record: %v", err)
	}
	wantContains(t, said, "record cannot be read")
}

// TestSentFlagsAreTheProved: the flags that a binpkg is compared by are those that the environment brings to a builder.
func TestSentFlagsAreTheProved(t *testing.T) {
	for _, name := range recordedVariables {
		if gentoo.WhoseVariable(name) != gentoo.Client {
			t.Errorf("%s is compared, and not sent", name)
		}
	}
}

func TestPythonsByVersion(t *testing.T) {
	list := []string{"/x/python3.9/python3", "/x/python3.13t/python3", "/x/python3.13/python3", "/x/python3.14/python3", "/x/python3/python3"}
	slices.SortFunc(list, func(a, b string) int { return comparePythons(b, a) })
	want := []string{"/x/python3.14/python3", "/x/python3.13/python3", "/x/python3.13t/python3", "/x/python3.9/python3", "/x/python3/python3"}
	if !slices.Equal(list, want) {
		t.Errorf("%q", list)
	}
}

// TestProofOfCross: an ebuild that builds for another machine records that one.
func TestProofOfCross(t *testing.T) {
	for ebuild, taken := range map[string]bool{testEbuild: false, testEbuild + "CHOST=${CTARGET}\n": true} {
		pr, cpv := testProof(t, testFacts("lab/b-2"))
		path := filepath.Join(pr.repos[0].Location, cpv.CP(), cpv.PF()+".ebuild")
		if err := os.WriteFile(path, []byte(ebuild), 0o644); err != nil {
			t.Fatal(err)
		}
		metadata := testMetadata(cpv)
		metadata["CHOST"], metadata[cpv.PF()+".ebuild"] = "riscv64-unknown-linux-gnu", strings.TrimSuffix(ebuild, "\n")
		file := gpkg(t, metadata)
		if err := pr.check(cpv, "a.gpkg.tar", strings.NewReader(file), int64(len(file))); (err == nil) != taken {
			t.Errorf("%q: %v", ebuild, err)
		}
	}
}

// TestVerifiedTable: no line is wider than the terminal, and none ends in blanks; in a pipe nothing is left out.
func TestVerifiedTable(t *testing.T) {
	one := verified{provenance: provenance{CPV: "dev-libs/a-long-name-1.2.3-r1", Base: "client", Came: time.Unix(1700000000, 0)}}
	one.Builder.Name = "tower"
	two := one
	two.CPV, two.Base, two.Wrong = "lab/b-2", "", []string{"its SHA-256 is " + strings.Repeat("0", 20) + " and was another"}
	for width, c := range map[int]struct{ has, hasNot []string }{
		0:   {has: []string{"BUILDER", "BASE", "CAME", "\n  CHANGED: its SHA-256 is 00000000000000000000 and was another\n"}},
		200: {has: []string{"BUILDER", "BASE", "CAME", "NOW"}},
		80:  {has: []string{"BUILDER", "BASE", "CAME", "NOW"}},
		70:  {has: []string{"BUILDER", "CAME", "NOW"}, hasNot: []string{"BASE"}},
		60:  {has: []string{"BUILDER", "NOW", "as it came", "CHANGED"}, hasNot: []string{"BASE", "CAME"}},
		44:  {has: []string{"PACKAGE", "NOW", "as it came", "CHANGED"}, hasNot: []string{"BUILDER"}},
	} {
		text := verifiedTable([]verified{one, two}, width)
		wantContains(t, text, c.has...)
		for _, s := range c.hasNot {
			if strings.Contains(text, s) {
				t.Errorf("%d columns: %s is there:\n%s", width, s, text)
			}
		}
		for line := range strings.Lines(text) {
			line = strings.TrimSuffix(line, "\n")
			if n := len(line); width > 0 && n > width || strings.TrimRight(line, " ") != line {
				t.Errorf("%d columns of %d: %q", n, width, line)
			}
		}
	}
}
