package client

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lantage/gentoo"
	"lantage/wire"
)

// golden is what a compiler printed once, on a Zen 4 machine whose gcc and clang know CPUs up to Zen 3.
func golden(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata/native", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

const (
	zen4Arch = "-march=znver3 -mmmx -mpopcnt -msse -msse2 -msse3 -mssse3 -msse4.1 -msse4.2 -mavx -mavx2 -msse4a -mno-fma4 -mno-xop -mfma " +
		"-mavx512f -mbmi -mbmi2 -maes -mpclmul -mavx512vl -mavx512bw -mavx512dq -mavx512cd -mno-avx512er -mno-avx512pf -mavx512vbmi " +
		"-mavx512ifma -mno-avx5124vnniw -mno-avx5124fmaps -mavx512vpopcntdq -mavx512vbmi2 -mgfni -mvpclmulqdq -mavx512vnni " +
		"-mavx512bitalg -mavx512bf16 -mno-avx512vp2intersect -mno-3dnow -madx -mabm -mno-cldemote -mclflushopt -mclwb -mclzero -mcx16 " +
		"-mno-enqcmd -mf16c -mfsgsbase -mfxsr -mno-hle -msahf -mno-lwp -mlzcnt -mmovbe -mno-movdir64b -mno-movdiri -mno-mwaitx " +
		"-mno-pconfig -mno-pku -mno-prefetchwt1 -mprfchw -mno-ptwrite -mrdpid -mrdrnd -mrdseed -mno-rtm -mno-serialize -mno-sgx -msha " +
		"-mshstk -mno-tbm -mno-tsxldtrk -mvaes -mno-waitpkg -mno-wbnoinvd -mxsave -mxsavec -mxsaveopt -mxsaves -mno-amx-tile " +
		"-mno-amx-int8 -mno-amx-bf16 -mno-uintr -mno-hreset -mno-kl -mno-widekl -mno-avxvnni -mno-avx512fp16"
	zen4Tune = "--param=l1-cache-size=32 --param=l1-cache-line-size=64 --param=l2-cache-size=1024 -mtune=znver3"
)

func TestGCCFlags(t *testing.T) {
	plain := golden(t, "gcc-plain.txt")
	arm := func(flags string) string { return ` /usr/libexec/gcc/cc1 -E -quiet - ` + flags + " -dumpbase -\n" }
	for _, c := range []struct {
		flag          gentoo.NativeFlag
		plain, native string
		want          string // "": an error
	}{
		{gentoo.MarchNative, plain, golden(t, "gcc-march.txt"), zen4Arch + " " + zen4Tune},
		{gentoo.MtuneNative, plain, golden(t, "gcc-mtune.txt"), zen4Tune},
		{gentoo.McpuNative, plain, golden(t, "gcc-mcpu.txt"), zen4Tune},
		// What is a default of gcc's own build is the answer all the same.
		{gentoo.MarchNative, arm("-march=znver3"), arm("-march=znver3 -mtune=znver3"), "-march=znver3 -mtune=znver3"},
		{gentoo.McpuNative, arm(`"-mlittle-endian" "-mabi=lp64"`), arm(`"-mlittle-endian" "-mabi=lp64" "-mcpu=neoverse-n1+crypto"`), "-mcpu=neoverse-n1+crypto"},
		{gentoo.MarchNative, arm("-mabi=lp64"), arm("-mabi=lp64"), ""},
		{gentoo.MarchNative, arm(""), arm("-march=native"), ""},
		{gentoo.MarchNative, plain, "gcc: error: unrecognized\n", ""},
		{gentoo.MarchNative, "", golden(t, "gcc-march.txt"), ""},
	} {
		flags, err := gccFlags(c.plain, c.native, c.flag)
		if diff := cmp.Diff(c.want, strings.Join(flags, " ")); (err == nil) != (c.want != "") || c.want != "" && diff != "" {
			t.Errorf("%v: %v\n%s", c.flag, err, diff)
		}
	}
}

// The machine's own gcc makes of the explicit flags what it makes of native.
func TestGCCAgrees(t *testing.T) {
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip(err)
	}
	c := &compilers{t: &tools{environ: os.Environ()}}
	for _, with := range [][]string{nil, {"-mtune=generic"}, {"-mtune=native"}} {
		use := gentoo.NativeUse{Flag: gentoo.MarchNative, Tuned: with != nil}
		flags, err := c.explicit(t.Context(), "gcc", use)
		if err != nil {
			t.Skip(err) // no native on this kind of machine
		}
		shown := func(flags []string) []string {
			out, err := c.run(t.Context(), "gcc", slices.Concat(flags, with, []string{"-###", "-S", "-x", "c", "-"})...)
			if err != nil {
				t.Fatal(err)
			}
			list, err := machineFlags(out.stderr)
			if err != nil {
				t.Fatal(err)
			}
			slices.Sort(list)
			return list
		}
		if diff := cmp.Diff(shown([]string{"-march=native"}), shown(flags)); diff != "" {
			t.Errorf("with %q, (-native +explicit):\n%s", with, diff)
		}
	}
}

func TestClangFlags(t *testing.T) {
	native, err := parseAttributes(golden(t, "clang-native.ll"))
	if err != nil {
		t.Fatal(err)
	}
	alone, err := parseAttributes(golden(t, "clang-znver3.ll"))
	if err != nil {
		t.Fatal(err)
	}
	const want = "-march=znver3 -mavx512bf16 -mavx512bitalg -mavx512bw -mavx512cd -mavx512dq -mavx512f -mavx512ifma -mavx512vbmi " +
		"-mavx512vbmi2 -mavx512vl -mavx512vnni -mavx512vpopcntdq -mgfni -mshstk -mno-mwaitx -mno-pku -mno-wbnoinvd"
	if got := strings.Join(clangFlags("-march="+native.cpu, alone, native), " "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if native.equal(alone) || !native.equal(native) {
		t.Error("two CPUs are the same")
	}
	if _, err := parseAttributes("; ModuleID\n"); err == nil {
		t.Error("no CPU is no error")
	}
	for command, want := range map[string]bool{
		"clang": true, "ccache x86_64-pc-linux-gnu-clang-21": true, "/usr/lib/llvm/21/bin/clang++ -m32": true, "gcc": false, "clangor": false, "": false,
	} {
		if isClang(command) != want {
			t.Errorf("%q is clang: %v", command, !want)
		}
	}
}

func TestRustFlags(t *testing.T) {
	if m := currentCPU.FindStringSubmatch(golden(t, "rustc-cpus.txt")); m == nil || m[1] != "znver4" {
		t.Errorf("the CPU is %q", m)
	}
	native := golden(t, "rustc-native.txt")
	for alone, want := range map[string]string{
		"rustc-znver4.txt": "-Ctarget-cpu=X",
		"rustc-znver3.txt": "-Ctarget-cpu=X -Ctarget-feature=+avx512bf16,+avx512bitalg,+avx512bw,+avx512cd,+avx512dq,+avx512f,+avx512ifma," +
			"+avx512vbmi,+avx512vbmi2,+avx512vl,+avx512vnni,+avx512vpopcntdq,+gfni",
	} {
		if got := strings.Join(rustFlags("X", golden(t, alone), native), " "); got != want {
			t.Errorf("%s: got %s", alone, got)
		}
	}
	if got := rustFlags("X", native, "target_feature=\"sse\"\n"); !strings.Contains(got[1], "-adx,-aes,") {
		t.Errorf("what native lacks: %s", got)
	}
}

// configured writes files of a machine's configuration.
func (m *machine) configure(files map[string]string) {
	m.t.Helper()
	for name, text := range files {
		m.write(name, text)
	}
}

func TestFindFlagFiles(t *testing.T) {
	m := newMachine(t)
	m.configure(map[string]string{
		"etc/portage/make.conf": "source ./local.conf\n. $HOME/x\nsource \"" + m.path("usr/share/more.conf") + "\" # more\n", "etc/portage/local.conf": "",
		"etc/portage/env/a.conf": "", "etc/portage/env/cat/pkg": "", "etc/portage/bashrc.d/b.sh": "", "etc/portage/package.cflags": "",
		"etc/portage/profile/make.defaults": "", "etc/portage/env/a.conf~": "", "etc/make.conf": "", "usr/share/more.conf": "", "usr/share/linked": ". " + m.path("etc/portage/my.sh") + "\n", "etc/portage/my.sh": "",
		"etc/portage/patches/cat/pkg/x.patch": "", "etc/portage/savedconfig/cat/pkg": "", "etc/portage/gnupg/key": "",
		"etc/portage/repos.conf/lab.conf": "", "etc/portage/sets/mine": "",
		"repo/profiles/default/parent": "../base # the first\nlab:other\n:third\n", "repo/profiles/base/make.defaults": "",
		"repo/profiles/base/parent": "../default\n", "repo/profiles/other/profile.bashrc": "", "repo/profiles/third/bashrc/x": "",
		"repo/profiles/none/make.defaults": "", "home/x/y": "",
	})
	for link, target := range map[string]string{
		"etc/portage/bashrc": "../../usr/share/linked", "etc/portage/env/loop": "..", "etc/portage/env/gone": "nowhere",
		"etc/portage/env/away": "../../../home",
	} {
		if err := os.Symlink(target, m.path(link)); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for _, f := range findFlagFiles(m.dir, []gentoo.Repo{{Name: "lab", Location: m.path("repo")}}) {
		rel, _ := filepath.Rel(m.dir, f.path)
		if f.bash {
			rel += " (bash)"
		}
		got = append(got, rel)
	}
	slices.Sort(got)
	want := []string{
		"etc/make.conf", "etc/portage/bashrc.d/b.sh (bash)", "etc/portage/env/a.conf", "etc/portage/env/cat/pkg", "etc/portage/local.conf",
		"etc/portage/make.conf", "etc/portage/my.sh (bash)", "etc/portage/package.cflags", "etc/portage/profile/make.defaults",
		"repo/profiles/base/make.defaults", "repo/profiles/other/profile.bashrc (bash)", "repo/profiles/third/bashrc/x (bash)",
		"usr/share/linked (bash)", "usr/share/more.conf",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// fakeGCC answers as gcc on the machine of the goldens, and logs that it was asked.
func (m *machine) fakeGCC() {
	here, err := filepath.Abs("testdata/native")
	if err != nil {
		m.t.Fatal(err)
	}
	m.write("bin/x86_64-pc-linux-gnu-gcc", `#!/bin/sh
echo "gcc $*" >>"$FAKE/calls"
case "$*" in
--version) echo "gcc (Gentoo 12.2.0) 12.2.0";;
*-march=native*) cat `+here+`/gcc-march.txt >&2;;
*-mtune=native*) cat `+here+`/gcc-mtune.txt >&2;;
*) cat `+here+`/gcc-plain.txt >&2;;
esac
`)
}

func TestNativeFlagsAreResolved(t *testing.T) {
	m := newMachine(t)
	m.fakeGCC()
	conf := "CFLAGS=\"-O2 -march=native\" # -mtune=native\n"
	m.configure(map[string]string{
		"etc/portage/make.conf": conf, "etc/portage/env/t.conf": "CFLAGS=\"${CFLAGS} -mtune=native\"\n", "etc/portage/env/o.conf": "CFLAGS=-O3\n",
		"repo/profiles/default/make.defaults": "LDFLAGS=\"-march=native\"\n",
	})
	var job wire.Job
	var inputs []byte
	b := newBuilder(t, func(d *dialog) {
		goodJob(d)
		job, inputs = d.job, d.inputs
	})
	var out buffer
	e := m.emerge(b.addr(), &out, "lab/b")
	e.Environ = append(e.Environ, "CXXFLAGS=-march=native -mtune=znver2")
	wantStatus(t, e.Run(t.Context()), 0, &out)
	b.ln.Close()
	b.wg.Wait()
	wantContains(t, out.String(), "-march=native is resolved on this machine: -march=znver3 -mmmx", "(93 flags; --verbose shows them)",
		"-mtune=native is resolved on this machine: "+zen4Tune, "record them")
	got := filesIn(t, bytes.NewReader(inputs))
	want := map[string]string{
		"etc/portage/make.conf":                                    "CFLAGS=\"-O2 " + zen4Arch + " " + zen4Tune + "\" # -mtune=native\n",
		"etc/portage/env/t.conf":                                   "CFLAGS=\"${CFLAGS} " + zen4Tune + "\"\n",
		"etc/portage/env/o.conf":                                   "CFLAGS=-O3\n",
		"resolved" + m.path("repo/profiles/default/make.defaults"): "LDFLAGS=\"" + zen4Arch + " " + zen4Tune + "\"\n",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("inputs (-want +got):\n%s", diff)
	}
	if want := "CXXFLAGS=" + zen4Arch + " -mtune=znver2"; !slices.Contains(job.Env, want) {
		t.Errorf("the environment is %q", job.Env)
	}
	if m.read("etc/portage/make.conf") != conf {
		t.Error("the client's own file was changed")
	}
}

// Of a builder that has this machine's files in its copy, only the files with another text are sent.
func TestResolvedInputsOfACopy(t *testing.T) {
	m := newMachine(t)
	in := inputs{root: m.dir, none: true, resolved: map[string][]byte{m.path("etc/portage/make.conf"): []byte("x"), "/a/b": []byte("y")}}
	file, size, err := in.pack(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	want := map[string]string{"resolved" + m.path("etc/portage/make.conf"): "x", "resolved/a/b": "y"}
	if diff := cmp.Diff(want, filesIn(t, io.NewSectionReader(file, 0, size))); diff != "" {
		t.Errorf("inputs (-want +got):\n%s", diff)
	}
}

// What a link leads to is packed in its place, with its other text.
func TestResolvedInputsBehindLinks(t *testing.T) {
	m := newMachine(t)
	m.configure(map[string]string{"etc/portage/real": "-march=native", "repo/env/e": "-march=native"})
	link(t, "real", m.path("etc/portage/file"))
	link(t, m.path("repo/env"), m.path("etc/portage/env"))
	in := inputs{root: m.dir, repos: []string{m.path("repo")}, resolved: map[string][]byte{
		m.path("etc/portage/real"): []byte("x"), m.path("repo/env/e"): []byte("y"),
	}}
	file, size, err := in.pack(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	want := map[string]string{
		"etc/portage/make.conf": "CFLAGS=-O2\n", "etc/portage/real": "x", "etc/portage/file": "x", "etc/portage/env/e": "y",
		"resolved" + m.path("repo/env/e"): "y",
	}
	if diff := cmp.Diff(want, filesIn(t, io.NewSectionReader(file, 0, size))); diff != "" {
		t.Errorf("inputs (-want +got):\n%s", diff)
	}
}

// Without an answer of the compiler nothing is guessed, and only where a native flag is there is it asked at all.
func TestUnresolvedNativeFlags(t *testing.T) {
	for name, c := range map[string]struct {
		gcc, conf string
		says      []string
		asked     bool
	}{
		"gcc fails": {"#!/bin/sh\necho gcc >>\"$FAKE/calls\"\necho 'no such CPU' >&2\nexit 1\n", "-march=native", []string{
			"/etc/portage/make.conf has -march=native", "x86_64-pc-linux-gnu-gcc -###", "no such CPU", "Write the flags out", "Going on with plain emerge",
		}, true},
		"no gcc":         {"", "-mtune=native", []string{"/etc/portage/make.conf has -mtune=native", "x86_64-pc-linux-gnu-gcc: ", "not found"}, false},
		"nothing native": {"#!/bin/sh\necho gcc >>\"$FAKE/calls\"\nexit 1\n", "-O2\" # \"-march=native", nil, false},
	} {
		m := newMachine(t)
		if c.gcc != "" {
			m.write("bin/x86_64-pc-linux-gnu-gcc", c.gcc)
		}
		m.configure(map[string]string{"etc/portage/make.conf": "CFLAGS=\"" + c.conf + "\"\n"})
		b := newBuilder(t)
		var out buffer
		e := m.emerge(b.addr(), &out, "lab/b")
		if err := e.Run(t.Context()); name != "nothing native" {
			wantStatus(t, err, 0, &out)
			wantContains(t, out.String(), c.says...)
			if b.count() > 0 {
				t.Errorf("%s: a builder was asked", name)
			}
		}
		if asked := strings.Contains(m.read("calls"), "gcc\n"); asked != c.asked {
			t.Errorf("%s: gcc was asked: %v", name, asked)
		}
	}
}

// A file that the plan does not read is no reason to do without builders, and one that some packages have keeps those here.
func TestUnresolvedFilesConcernTheirPackages(t *testing.T) {
	const native = "CC=clang\nCFLAGS=\"-O2 -march=native\"\n" // there is no clang
	for name, c := range map[string]struct {
		files map[string]string
		env   []string // that package.env names for lab/b-2
		sent  string
		says  string // "": plain emerge
	}{
		"make.conf.clang": {
			map[string]string{"etc/portage/make.conf.clang": native},
			[]string{},
			"lab/a-1 lab/b-2",
			"make.conf.clang has -march=native, which on a builder means another CPU, and this machine's compiler does not tell what it means " +
				"here: clang: executable file not found in $PATH (Portage does not read that file)",
		},
		"unused in env/": {
			map[string]string{"etc/portage/env/clang": native},
			[]string{},
			"lab/a-1 lab/b-2",
			"clang: executable file not found in $PATH (no package of this plan uses that file)",
		},
		"used in env/": {
			map[string]string{"etc/portage/env/clang": native},
			[]string{"clang"},
			"lab/a-1",
			"lab/b-2 stays here: " + "MACHINE/etc/portage/env/clang has -march=native, which on a builder means another CPU",
		},
		"by its name": {
			map[string]string{"etc/portage/env/lab/b-2": native}, []string{}, "lab/a-1", "lab/b-2 stays here: MACHINE/etc/portage/env/lab/b-2 has",
		},
		"of a used file": {
			map[string]string{"etc/portage/env/gone": "source ../flags\n", "etc/portage/flags": native},
			[]string{"gone"},
			"lab/a-1",
			"lab/b-2 stays here: MACHINE/etc/portage/flags has -march=native",
		},
		"of make.conf": {map[string]string{"etc/portage/make.conf": ". ./flags\n", "etc/portage/flags": native}, []string{}, "", ""},
		"a profile":    {map[string]string{"repo/profiles/default/make.defaults": native}, []string{}, "", ""},
		"of a bashrc that reads what it likes": {
			map[string]string{"etc/portage/bashrc": ". \"${X}/flags\"\n", "etc/portage/flags": native}, []string{}, "", "",
		},
	} {
		m := newMachine(t)
		m.configure(c.files)
		var sent []string
		b := newBuilder(t, func(d *dialog) {
			d.submit()
			for _, p := range d.job.Packages {
				sent = append(sent, p.CPV)
				d.built(p.CPV, "binpkg")
			}
			d.done(wire.OutcomeDone)
		})
		var out buffer
		e := m.emerge(b.addr(), &out, "lab/b")
		e.Environ[0] = "PATH=" + m.path("bin") + ":/bin"
		ask := e.facts
		e.facts = func(ctx context.Context, tl *tools, pkgs []gentoo.Package) (map[gentoo.CPV]facts, error) {
			known, err := ask(ctx, tl, pkgs)
			for cpv, f := range known {
				f.Env = []string{}
				if f.Slot = "0"; cpv.Name == "b" {
					f.Env = c.env
				}
				known[cpv] = f
			}
			return known, err
		}
		wantStatus(t, e.Run(t.Context()), 0, &out)
		b.ln.Close()
		b.wg.Wait()
		if got := strings.Join(sent, " "); got != c.sent {
			t.Errorf("%s: %q are sent, want %q\n%s", name, got, c.sent, out.String())
		}
		says := strings.ReplaceAll(c.says, "MACHINE", m.dir)
		if says == "" {
			says = "Going on with plain emerge"
		}
		if c.sent == "lab/a-1" && strings.Contains(out.String(), "no package of this plan") {
			t.Errorf("%s: it says that the file is not used:\n%s", name, out.String())
		}
		if !strings.Contains(out.String(), says) {
			t.Errorf("%s: it does not say %q, but\n%s", name, says, out.String())
		}
	}
}

func TestUnwrittenNativeFlags(t *testing.T) {
	s := &system{vars: map[string]string{"CFLAGS": "-O2 -march=native"}}
	if err := s.unresolved(resolver{}); err == nil || !strings.Contains(err.Error(), "CFLAGS has -march=native") {
		t.Errorf("got %v", err)
	}
	if err := s.unresolved(resolver{means: map[string]string{"-march=native": "x"}}); err != nil {
		t.Error(err)
	}
}

func TestCompilerFor(t *testing.T) {
	for text, want := range map[string]string{
		"CFLAGS=-O3\n":                              "gcc",
		"CC=clang\nCXX=clang++\n":                   "clang",
		"export CXX=\"clang++-21\"\n":               "clang-21",
		"CC=\"ccache x86_64-pc-linux-gnu-clang\"":   "ccache x86_64-pc-linux-gnu-clang",
		"CC=\"${MY}-clang\"\nXCC=clang\n# CC=clang": "gcc",
	} {
		if got := (&resolver{cc: "gcc"}).compilerFor(text); got != want {
			t.Errorf("for %q it is %q", text, got)
		}
	}
	if got := (&resolver{cc: "clang"}).compilerFor("CC=gcc-14\n"); got != "gcc-14" {
		t.Errorf("it is %q", got)
	}
}

// Without rustc gcc's name of the CPU has to do, and that is said.
func TestRustByGCC(t *testing.T) {
	m := newMachine(t)
	m.fakeGCC()
	var warned []string
	c := &compilers{
		t:    &tools{environ: []string{"PATH=" + m.path("bin") + ":/bin", "FAKE=" + m.dir}},
		warn: func(format string, args ...any) { warned = append(warned, fmt.Sprintf(format, args...)) },
	}
	if _, err := c.t.find("rustc"); err == nil {
		t.Skip("there is a rustc in /usr/bin")
	}
	for range 2 {
		flags, err := c.explicit(t.Context(), testCHOST+"-gcc", gentoo.NativeUse{Flag: gentoo.RustNative})
		if err != nil || !slices.Equal(flags, []string{"-Ctarget-cpu=znver3"}) {
			t.Errorf("got %q, %v", flags, err)
		}
	}
	if len(warned) != 1 || !strings.Contains(warned[0], "no rustc") || !strings.Contains(warned[0], "znver3") {
		t.Errorf("warned %q", warned)
	}
	if n := strings.Count(m.read("calls"), "gcc "); n != 2 {
		t.Errorf("gcc was asked %d times", n)
	}
}

// Where some package has clang from another file than its flags, clang must not stop at what it does not know of gcc's.
func TestFlagsForGCCAndClang(t *testing.T) {
	m := newMachine(t)
	m.fakeGCC()
	m.write("bin/clang", `#!/bin/sh
for a; do
	case $a in -mno-hle|-mabm) echo "clang: error: unknown argument: '$a'" >&2; bad=1;; esac
done
[ -z "$bad" ]
`)
	m.configure(map[string]string{
		"etc/portage/make.conf": "CFLAGS=\"-march=native\"\n", "etc/portage/env/clang.conf": "CC=clang\nCXX=clang++\n",
	})
	s := &system{chost: testCHOST, configRoot: m.dir}
	s.queryFlags(t.Context(), &tools{environ: []string{"PATH=" + m.path("bin") + ":/bin", "FAKE=" + m.dir}})
	if s.flags.compiler != "gcc (Gentoo 12.2.0) 12.2.0" {
		t.Errorf("the compiler is %q", s.flags.compiler)
	}
	want := strings.NewReplacer("-mno-hle ", "", "-mabm ", "").Replace("CFLAGS=\"" + zen4Arch + " " + zen4Tune + "\"\n")
	if got := string(s.flags.resolved[m.path("etc/portage/make.conf")]); s.flags.err != nil || got != want {
		t.Errorf("got %s, %v", got, s.flags.err)
	}
}

func TestTellNative(t *testing.T) {
	sys := &system{flags: flagsOf{
		means:    []string{"-march=native is resolved on this machine: " + zen4Arch, "-mtune=native is resolved on this machine: -mtune=a"},
		warnings: []string{"a guess"},
	}}
	const short = "-march=native is resolved on this machine: -march=znver3 -mmmx -mpopcnt -msse … (89 flags; --verbose shows them)\n"
	const rest = "-mtune=native is resolved on this machine: -mtune=a\na guess\nThe packages are built with these flags and record them.\n"
	for verbose, want := range map[bool]string{false: short + rest, true: sys.flags.means[0] + "\n" + rest} {
		var out buffer
		(&Emerge{Verbose: verbose, Stdout: &out, Stderr: &out}).tellNative(sys)
		if diff := cmp.Diff(want, out.String()); diff != "" {
			t.Errorf("verbose %v: %s", verbose, diff)
		}
	}
	var out buffer
	(&Emerge{Stdout: &out, Stderr: &out}).tellNative(&system{})
	if out.String() != "" {
		t.Errorf("of nothing it says %q", out.String())
	}
}
