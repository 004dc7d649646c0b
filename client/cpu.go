package client

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"lantage/wire"
)

// What a CPU can do is told by the names of /proc/cpuinfo. What code needs is told by the macros that the compiler defines
// with the flags of that code.

// cpuNeed is what a CPU must have to run some code.
type cpuNeed struct {
	features []string
	whose    string // as in "which your CFLAGS ask for"
}

// flagText is a text of compiler flags.
type flagText struct {
	text  string
	whose string
}

// maxFlagTexts is how many texts of different flags the compiler is asked about. One question takes some ten milliseconds.
const maxFlagTexts = 32

// macroFeatures are the macros of features that compilers use by themselves, and of the few that every CPU of the last ten
// years has and by which common sources choose code (AES, PCLMUL, RDRND). Left out are the others for which there are
// intrinsics only: as good as no build runs their code, and CPUs of one maker seldom have those of the other (SSE4a, CLZERO,
// RTM, SHA), so that an AMD laptop could have no Intel builder.
var macroFeatures = map[string]string{
	"__SSE3__": "pni", "__SSSE3__": "ssse3", "__SSE4_1__": "sse4_1", "__SSE4_2__": "sse4_2", "__POPCNT__": "popcnt",
	"__GCC_HAVE_SYNC_COMPARE_AND_SWAP_16": "cx16", "__LAHF_SAHF__": "lahf_lm",
	"__AVX__": "avx", "__AVX2__": "avx2", "__FMA__": "fma", "__FMA4__": "fma4", "__XOP__": "xop", "__F16C__": "f16c",
	"__BMI__": "bmi1", "__BMI2__": "bmi2", "__LZCNT__": "abm", "__MOVBE__": "movbe", "__TBM__": "tbm", "__GFNI__": "gfni",
	"__AES__": "aes", "__PCLMUL__": "pclmulqdq", "__RDRND__": "rdrand",
	"__AVXVNNI__": "avx_vnni",
	"__AVX512F__": "avx512f", "__AVX512CD__": "avx512cd", "__AVX512BW__": "avx512bw", "__AVX512DQ__": "avx512dq",
	"__AVX512VL__": "avx512vl", "__AVX512IFMA__": "avx512ifma", "__AVX512VBMI__": "avx512vbmi", "__AVX512VBMI2__": "avx512_vbmi2",
	"__AVX512VNNI__": "avx512_vnni", "__AVX512BITALG__": "avx512_bitalg", "__AVX512VPOPCNTDQ__": "avx512_vpopcntdq",
	"__AVX512BF16__": "avx512_bf16", "__AVX512FP16__": "avx512_fp16", "__AVX512VP2INTERSECT__": "avx512_vp2intersect",
	"__AVX512ER__": "avx512er", "__AVX512PF__": "avx512pf",

	"__ARM_FEATURE_CRC32": "crc32", "__ARM_FEATURE_ATOMICS": "atomics", "__ARM_FEATURE_AES": "aes", "__ARM_FEATURE_SHA3": "sha3",
	"__ARM_FEATURE_DOTPROD": "asimddp",
	"__ARM_FEATURE_QRDMX":   "asimdrdm", "__ARM_FEATURE_FP16_VECTOR_ARITHMETIC": "asimdhp", "__ARM_FEATURE_FP16_FML": "asimdfhm",
	"__ARM_FEATURE_JCVT": "jscvt", "__ARM_FEATURE_COMPLEX": "fcma", "__ARM_FEATURE_RCPC": "lrcpc", "__ARM_FEATURE_FRINT": "frint",
	"__ARM_FEATURE_SVE": "sve", "__ARM_FEATURE_SVE2": "sve2", "__ARM_FEATURE_BF16": "bf16", "__ARM_FEATURE_MATMUL_INT8": "i8mm",
}

// queryCPU says what a CPU must have for what this machine's flags ask for, and for what is installed here.
func (s *system) queryCPU(ctx context.Context, t *tools, env []string, files []flagFile) (needs, root []cpuNeed) {
	q := cpuQuery{ask: &compilers{t: t}, cc: s.compiler(), known: map[string][]string{}}
	needs = q.needs(ctx, s.flagTexts(env, files))
	if isRoot() && s.configRoot == "/" {
		root = append(q.needs(ctx, recordedFlags("/var/db/pkg")), programNeeds("/")...)
	}
	return needs, root
}

// flagTexts are the texts of this machine's flags: make.conf's, as Portage has put them together, the user's, and those of the
// files that package.env names.
func (s *system) flagTexts(env []string, files []flagFile) []flagText {
	var texts []flagText
	for _, name := range flagVariables {
		texts = append(texts, flagText{name + "=" + s.vars[name], "your " + name + " ask for"})
	}
	for _, v := range env {
		if name, _, _ := strings.Cut(v, "="); strings.Contains(name, "FLAGS") || name == "GOAMD64" {
			texts = append(texts, flagText{v, "your " + name + " ask for"})
		}
	}
	used := map[string]bool{}
	for _, f := range files {
		if _, below, ok := strings.Cut(f.name, "/etc/portage/package.env"); ok && (below == "" || below[0] == '/') {
			for _, word := range strings.Fields(f.text) {
				used[word] = true
			}
		}
	}
	for _, f := range files {
		// A file for a package by its name is used without package.env.
		if _, name, ok := strings.Cut(f.name, "/etc/portage/env/"); ok && (used[name] || strings.Contains(name, "/")) {
			texts = append(texts, flagText{comments.ReplaceAllString(f.text, ""), f.name + " asks for"})
		}
	}
	return texts
}

var comments = regexp.MustCompile(`(?m)^[ \t]*#.*$`)

// recordedFlags are the flags that installed packages were built with, each once.
func recordedFlags(vdb string) []flagText {
	var texts []flagText
	seen := map[string]bool{}
	found, _ := filepath.Glob(filepath.Join(vdb, "*/*/CFLAGS"))
	for _, file := range found {
		text, err := os.ReadFile(file)
		if words := strings.Join(machineWords(string(text)), " "); err == nil && words != "" && !seen[words] {
			seen[words] = true
			rel, _ := filepath.Rel(vdb, filepath.Dir(file))
			texts = append(texts, flagText{words, "installed packages were built for (CFLAGS of " + rel + ")"})
		}
	}
	return texts
}

// cpuQuery asks a compiler what code needs that is built with some flags.
type cpuQuery struct {
	ask   *compilers
	cc    string
	known map[string][]string // by the flags
}

// needs says what the code of each text needs. A text that the compiler does not understand is not judged: what it is for is
// not known.
func (q *cpuQuery) needs(ctx context.Context, texts []flagText) []cpuNeed {
	var list []cpuNeed
	for _, text := range texts {
		words := machineWords(text.text)
		key := strings.Join(words, " ")
		features, asked := q.known[key]
		if len(words) > 0 && !asked && len(q.known) < maxFlagTexts {
			out, err := q.ask.run(ctx, q.cc, slices.Concat(words, []string{"-dM", "-E", "-x", "c", "/dev/null"})...)
			if err == nil {
				features = featuresOf(out.stdout)
			}
			q.known[key] = features
		}
		if len(features) > 0 {
			list = append(list, cpuNeed{features, text.whose})
		}
	}
	return list
}

var macroRE = regexp.MustCompile(`(?m)^#define (__\w+)`)

// featuresOf are the features whose macros a compiler defines, sorted.
func featuresOf(macros string) []string {
	found := map[string]bool{}
	for _, m := range macroRE.FindAllStringSubmatch(macros, -1) {
		if feature := macroFeatures[m[1]]; feature != "" {
			found[feature] = true
		}
	}
	return slices.Sorted(maps.Keys(found))
}

var (
	machineWord = regexp.MustCompile(`(?:^|[\s"'=(])(-m(?:[a-z0-9-]+=)?[A-Za-z0-9._+-]+)|target-cpu=([A-Za-z0-9._-]+)|` +
		`target-feature=([+-][A-Za-z0-9._+,-]+)|\bGOAMD64=["']?(v[1-4])\b`)
	// rustNames are what gcc calls some features of Rust's; the others that it has options for have the same names.
	rustNames = map[string]string{"bmi1": "bmi", "pclmulqdq": "pclmul", "cmpxchg16b": "cx16", "rdrand": "rdrnd", "lahfsahf": "sahf"}
	rustRE    = regexp.MustCompile(`^(avx\w*|sse[0-9.]+a?|ssse3|bmi2?|fma4?|f16c|aes|popcnt|movbe|lzcnt|gfni|vaes|vpclmulqdq|sha|adx|` +
		`rdseed|tbm|xop|pclmul|cx16|rdrnd|sahf)$`)
)

// machineWords are the flags about the CPU in a text, as gcc has them. Rust's and Go's words for CPUs are mostly gcc's.
func machineWords(text string) []string {
	var words []string
	for _, m := range machineWord.FindAllStringSubmatch(text, -1) {
		switch {
		case m[1] != "":
			words = append(words, m[1])
		case m[2] != "":
			words = append(words, "-march="+m[2])
		case m[4] != "":
			words = append(words, "-march=x86-64-"+strings.Replace(m[4], "v1", "", 1))
		}
		for f := range strings.SplitSeq(m[3], ",") {
			name, off := strings.CutPrefix(f, "-")
			name = strings.TrimPrefix(name, "+")
			if name = cmp.Or(rustNames[name], name); !rustRE.MatchString(name) {
				continue
			}
			if off {
				name = "no-" + name
			}
			words = append(words, "-m"+name)
		}
	}
	return slices.DeleteFunc(words, func(w string) bool { return strings.HasPrefix(w, "-mtune=") || w == "-march=x86-64-" })
}

// cannotRun says which code a job on this base needs that a builder cannot run, or "". A builder that does not tell what its
// CPU can do is not judged.
func (e *Emerge) cannotRun(h wire.Hello, sys *system, base string) string {
	if e.IgnoreCPU || len(h.Features) == 0 {
		return ""
	}
	needs := sys.flags.needs
	if base == wire.BaseClient {
		needs = slices.Concat(needs, sys.flags.copy)
	}
	for _, need := range needs {
		lacking := slices.DeleteFunc(slices.Clone(need.features), func(f string) bool { return slices.Contains(h.Features, f) })
		if len(lacking) == 0 {
			continue
		}
		list := strings.Join(lacking[:min(len(lacking), 6)], ", ")
		if len(lacking) > 6 {
			list += " …"
		}
		return fmt.Sprintf("it cannot run %s, which %s (%s); --ignore-cpu builds there all the same", kindOfCode(lacking), need.whose, list)
	}
	return ""
}

// kindOfCode is a word for code with features that a CPU lacks.
func kindOfCode(lacking []string) string {
	for _, kind := range []struct{ feature, word string }{
		{"avx512f", "AVX-512"}, {"avx2", "AVX2"}, {"avx", "AVX"}, {"sse4_2", "SSE4.2"}, {"sve", "SVE"},
	} {
		if slices.Contains(lacking, kind.feature) {
			return kind.word + " code"
		}
	}
	return lacking[0] + " code"
}
