package client

import (
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lantage/wire"
)

func TestMachineWords(t *testing.T) {
	for text, want := range map[string]string{
		"CFLAGS=\"-O2 -march=skylake-avx512 -mno-avx512f -mtune=native -fomit-frame-pointer -Wl,-mfoo\"": "-march=skylake-avx512 -mno-avx512f",
		"A='-mavx2'\nB=\"-msse4.2\"\n": "-mavx2 -msse4.2",
		"GOAMD64=v3":                   "-march=x86-64-v3",
		"GOAMD64=\"v4\"\n":             "-march=x86-64-v4",
		"GOAMD64=v1":                   "",
		"RUSTFLAGS=-C target-cpu=znver4 -Ctarget-feature=+avx512f,-bmi1,+crt-static": "-march=znver4 -mavx512f -mno-bmi",
		"-mcpu=neoverse-n1+crypto -O2": "-mcpu=neoverse-n1+crypto",
		"-O2 -pipe":                    "",
	} {
		if got := strings.Join(machineWords(text), " "); got != want {
			t.Errorf("of %q: %q, want %q", text, got, want)
		}
	}
}

// What gcc says of levels and CPUs; the features of a level are those of the psABI.
func TestCPUNeeds(t *testing.T) {
	if out, err := exec.Command("gcc", "-march=x86-64-v4", "-E", "-x", "c", "/dev/null").CombinedOutput(); err != nil {
		t.Skipf("%v %s", err, out)
	}
	q := cpuQuery{ask: &compilers{t: &tools{environ: os.Environ()}}, cc: "gcc", known: map[string][]string{}}
	v3 := []string{"abm", "avx", "avx2", "bmi1", "bmi2", "cx16", "f16c", "fma", "lahf_lm", "movbe", "pni", "popcnt", "sse4_1", "sse4_2", "ssse3"}
	got := q.needs(t.Context(), []flagText{
		{"GOAMD64=v3", "go"},
		{"-O2", "nothing"},
		{"-mno-such-thing", "unknown"},
		{"-march=x86-64", "baseline"},
		{"-march=x86-64-v4 -mno-avx512f", "no 512"},
		{"-C target-cpu=x86-64-v3", "rust"},
		{"-mavx512f", "f"},
	})
	want := []cpuNeed{{v3, "go"}, {v3, "no 512"}, {v3, "rust"}, {
		[]string{"avx", "avx2", "avx512f", "f16c", "fma", "pni", "popcnt", "sse4_1", "sse4_2", "ssse3"}, "f",
	}}
	opt := cmp.AllowUnexported(cpuNeed{})
	for i := range got { // newer gcc: -mavx512f and the like imply more
		if got[i].whose == "f" && slices.Contains(got[i].features, "avx512f") {
			got[i].features = want[3].features
		}
	}
	if diff := cmp.Diff(want, got, opt); diff != "" {
		t.Error(diff)
	}
	var many []flagText
	for i := range 100 {
		many = append(many, flagText{strings.Repeat("-mavx ", i+1), "x"})
	}
	if q.needs(t.Context(), many); len(q.known) > maxFlagTexts {
		t.Errorf("gcc was asked %d times", len(q.known))
	}
}

func TestFlagTexts(t *testing.T) {
	s := &system{vars: map[string]string{"CFLAGS": "-O2", "GOAMD64": "v3"}}
	var got []string
	for _, f := range s.flagTexts([]string{"CXXFLAGS=-mavx", "USE=x"}, []flagFile{
		{name: "/etc/portage/make.conf", text: "A"},
		{name: "/etc/portage/package.env/x", text: "cat/pkg used.conf # x\n"},
		{name: "/etc/portage/env/used.conf", text: "# -mavx2\nCFLAGS=-mfma # x\n"},
		{name: "/etc/portage/env/unused.conf", text: "C"},
		{name: "/etc/portage/env/cat/pkg", text: "D"},
	}) {
		if f.text != "CXXFLAGS=" && !strings.HasSuffix(f.text, "=") {
			got = append(got, f.text+": "+f.whose)
		}
	}
	want := []string{
		"CFLAGS=-O2: your CFLAGS ask for", "GOAMD64=v3: your GOAMD64 ask for", "CXXFLAGS=-mavx: your CXXFLAGS ask for",
		"\nCFLAGS=-mfma # x\n: /etc/portage/env/used.conf asks for", "D: /etc/portage/env/cat/pkg asks for",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestRecordedFlags(t *testing.T) {
	m := newMachine(t)
	m.configure(map[string]string{
		"vdb/a/one-1/CFLAGS": "-O2 -mavx\n", "vdb/a/two-1/CFLAGS": "-O1 -mavx -pipe\n", "vdb/b/three-1/CFLAGS": "-O2\n",
		"vdb/b/four-1/CFLAGS": "-march=native\n",
	})
	want := []flagText{
		{"-mavx", "installed packages were built for (CFLAGS of a/one-1)"},
		{"-march=native", "installed packages were built for (CFLAGS of b/four-1)"},
	}
	if diff := cmp.Diff(want, recordedFlags(m.path("vdb")), cmp.AllowUnexported(flagText{})); diff != "" {
		t.Error(diff)
	}
}

func TestBuilderLacksFeatures(t *testing.T) {
	hello := wire.Hello{Name: "tower", CHOST: testCHOST, Arch: "x86_64", Bases: []string{"host"}, Features: []string{"avx", "avx2", "fma"}}
	sys := &system{chost: testCHOST, flags: flagsOf{
		needs: []cpuNeed{{[]string{"avx"}, "x"}, {[]string{"avx2", "avx512bw", "avx512f"}, "your CFLAGS ask for"}},
		copy:  []cpuNeed{{[]string{"sha_ni"}, "y"}},
	}}
	const want = "it cannot run AVX-512 code, which your CFLAGS ask for (avx512bw, avx512f); --ignore-cpu builds there all the same"
	for _, base := range []string{"", "host", baseAuto} {
		if _, why := (&Emerge{Base: base}).baseFor(hello, sys); why != want {
			t.Errorf("base %q: %q", base, why)
		}
	}
	if got, why := (&Emerge{Base: "host", IgnoreCPU: true}).baseFor(hello, sys); why != "" || got != "host" {
		t.Errorf("ignored: %q", why)
	}
	silent := hello
	silent.Features = nil
	if _, why := (&Emerge{Base: "host"}).baseFor(silent, sys); why != "" {
		t.Errorf("it tells nothing: %q", why)
	}
	able := hello
	able.Features = append(slices.Clone(hello.Features), "avx512bw", "avx512f")
	e := &Emerge{Base: "host"}
	if _, why := e.baseFor(able, sys); why != "" {
		t.Error(why)
	}
	if why := e.cannotRun(able, sys, wire.BaseClient); !strings.HasPrefix(why, "it cannot run sha_ni code, which y (sha_ni)") {
		t.Errorf("the copy's programs: %q", why)
	}
}

// The next builder is taken where the first one's CPU lacks something, and both reasons are told where none has it.
func TestNextBuilderCanRunIt(t *testing.T) {
	m := newMachine(t)
	m.write("bin/x86_64-pc-linux-gnu-gcc", "#!/bin/sh\ncase \"$*\" in *-dM*) echo '#define __AVX512F__ 1';; esac\n")
	m.write("bin/python3", strings.Replace(fakePython, "printf", `vars="$vars, \"CFLAGS\": \"-mavx512f\""; printf`, 1))
	old := wire.Hello{Name: "old", ID: "1111111111111111", CHOST: testCHOST, Cores: 64, JobLimit: 1, Features: []string{"sse2"}}
	first := newBuilderSaying(t, old, func(d *dialog) { d.drain() }, func(d *dialog) { d.drain() })
	second := newBuilderSaying(t, wire.Hello{
		Name: "young", ID: "2222222222222222", CHOST: testCHOST, Cores: 2, JobLimit: 1, Features: []string{"avx512f", "sse2"},
	}, goodJob)
	var out buffer
	e := m.emerge("", &out, "lab/b")
	e.Builders = []string{first.addr(), second.addr()}
	wantStatus(t, e.Run(t.Context()), 0, &out)
	wantContains(t, out.String(), "Builder: young", "lab/b-2 built in")

	out = buffer{}
	e = m.emerge(first.addr(), &out, "lab/b")
	e.NoFallback = true
	err := e.Run(t.Context())
	wantStatus(t, err, ExitNoFallback, &out)
	wantContains(t, words(err, &out), "old", "it cannot run AVX-512 code, which your CFLAGS ask for (avx512f)")
}

func TestISANotes(t *testing.T) {
	word := binary.LittleEndian.AppendUint32
	note := func(kind uint32, desc []byte) []byte {
		b := word(word(word(nil, 4), uint32(len(desc))), kind)
		return append(append(b, "GNU\x00"...), desc...)
	}
	property := func(what, value uint32) []byte { return append(word(word(word(nil, what), 4), value), 0, 0, 0, 0) }
	feature, needed := property(0xc0000002, 3), property(0xc0008002, 7)
	for name, c := range map[string]struct {
		notes []byte
		want  uint32
	}{
		"none":            {nil, 0},
		"other property":  {note(5, feature), 0},
		"v3":              {note(5, append(slices.Clone(feature), needed...)), 7},
		"behind another":  {append(note(1, []byte("12345678")), note(5, needed)...), 7},
		"another note":    {note(1, needed), 0},
		"size too large":  {word(word(word(word(nil, 4), 1<<31), 5), 0), 0},
		"value too large": {note(5, word(word(nil, 0xc0008002), 1<<31)), 0},
		"cut":             {note(5, needed)[:20], 0},
	} {
		if got := isaNeeded(c.notes, binary.LittleEndian); got != c.want {
			t.Errorf("%s: %#x, want %#x", name, got, c.want)
		}
		for n := range c.notes {
			isaNeeded(c.notes[:n], binary.LittleEndian)
		}
	}
	if got := levelFeatures(3); !slices.Equal(got, levels[1]) {
		t.Errorf("v2 is %q", got)
	}
}

// A program that is linked for a level says so.
func TestISANoteOfALinker(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x")
	cmd := exec.Command("gcc", "-Wl,-z,x86-64-v3", "-x", "c", "-", "-o", file)
	cmd.Stdin = strings.NewReader("int main(void) { return 0; }\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("%v %s", err, out)
	}
	if got := noted(file); !slices.Contains(got, "avx2") || !slices.Contains(got, "sse4_2") || slices.Contains(got, "avx512f") {
		t.Errorf("it needs %q", got)
	}
}
