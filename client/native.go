package client

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"lantage/gentoo"
)

// flagsOf is what a plan has to know of this machine's compiler flags: what native ones mean here, and what a CPU must have
// to run what is built with them.
type flagsOf struct {
	resolved map[string][]byte // files by their path without links: their text with explicit flags
	means    []string          // lines for the user: what native flags mean here
	warnings []string          // likewise: what of it was guessed
	natives  map[string]bool   // words that stand in the place of native flags
	bashrc   string            // what bash reads of the configuration and the profile
	err      error             // why native flags could not be resolved
	// unresolved are likewise the reasons for files in etc/portage/env, which concern the packages that use them.
	unresolved map[string]error
	compiler   string // the version of the gcc that said what native flags mean; "" where none did

	needs []cpuNeed
	copy  []cpuNeed // of the programs of this machine's root
}

// nativeNames are the native flags of the C family that were resolved.
func (f flagsOf) nativeNames() (names []string) {
	for _, line := range f.means {
		if name, _, _ := strings.Cut(line, " "); strings.HasPrefix(name, "-m") {
			names = append(names, name)
		}
	}
	return names
}

// queryFlags looks at this machine's flags, with the native ones in the environment resolved. What is wrong with them
// concerns only a plan that a builder gets.
func (s *system) queryFlags(ctx context.Context, t *tools) {
	warn := func(format string, args ...any) {
		s.flags.warnings = append(s.flags.warnings, fmt.Sprintf(format, args...))
	}
	files := findFlagFiles(s.configRoot, s.repos)
	r := resolver{ask: &compilers{t: t, warn: warn}, cc: s.compiler(), means: map[string]string{}}
	for _, f := range files {
		if f.bash {
			s.flags.bashrc += f.text + "\n"
		}
		if cc := r.compilerFor(f.text); isClang(cc) && !isClang(r.cc) {
			r.ask.other = cc
		}
	}
	judged := make(chan struct{})
	env := s.env // as it is: native is this CPU
	go func() {
		defer close(judged)
		s.flags.needs, s.flags.copy = s.queryCPU(ctx, t, env, files)
	}()
	var failed map[string]error
	s.flags.resolved, failed = r.files(ctx, files)
	s.notResolved(files, failed)
	if s.flags.err == nil {
		s.env, s.flags.err = r.environment(ctx, s.env)
	}
	if s.flags.err == nil {
		s.flags.err = s.unresolved(r)
	}
	s.flags.natives = r.ask.words()
	if r.ask.gccAsked && slices.Contains([]string{s.chost + "-gcc", "gcc"}, r.cc) {
		s.flags.compiler = s.compilerVersion(ctx, t)
	}
	for _, flag := range slices.Sorted(maps.Keys(r.means)) {
		s.flags.means = append(s.flags.means, r.means[flag])
	}
	<-judged
}

// compiler is the command of this machine's C compiler.
func (s *system) compiler() string {
	for _, name := range []string{"CC", "CXX"} {
		if isClang(s.vars[name]) || name == "CC" && s.vars[name] != "" {
			return s.vars[name]
		}
	}
	return s.chost + "-gcc"
}

// flagVariables are the variables of flags that Portage is asked for.
var flagVariables = []string{"CFLAGS", "CXXFLAGS", "FFLAGS", "FCFLAGS", "LDFLAGS", "RUSTFLAGS", "GOAMD64"}

// unresolved says that Portage has a native flag that is not written anywhere as such, but put together from parts.
func (s *system) unresolved(r resolver) error {
	for _, name := range flagVariables {
		for _, use := range gentoo.FindNativeIn(s.vars[name]) {
			if r.means[use.Flag.String()] == "" {
				return fmt.Errorf("%s has %s, which no file in /etc/portage says in these words; write it out there, or the flags that it "+
					"means on this machine: on a builder it would mean another CPU", name, use.Flag)
			}
		}
	}
	return nil
}

// resolver puts explicit flags in the place of native ones.
type resolver struct {
	ask   *compilers
	cc    string
	means map[string]string // lines for the user, by flag
}

// files resolves the native flags of files, and returns the new texts of those that have some, or why there is none.
func (r *resolver) files(ctx context.Context, files []flagFile) (resolved map[string][]byte, failed map[string]error) {
	resolved, failed = map[string][]byte{}, map[string]error{}
	for _, f := range files {
		uses := gentoo.FindNative(f.text)
		if len(uses) == 0 {
			continue
		}
		text, err := r.replace(ctx, f.text, uses, r.compilerFor(f.text), f.name)
		if err != nil {
			failed[f.path] = err
			continue
		}
		resolved[f.path] = []byte(text)
	}
	return resolved, failed
}

// notResolved sorts out whom it concerns that some files could not be resolved: the whole plan, the packages that use them, or
// nobody.
func (s *system) notResolved(files []flagFile, failed map[string]error) {
	s.flags.unresolved = map[string]error{}
	for _, f := range files {
		err := failed[f.path]
		if err == nil {
			continue
		}
		all, env := f.use(s.configRoot)
		for _, name := range env {
			s.flags.unresolved[name] = err
		}
		switch {
		case all, len(env) == 0 && readsUnknown(s.flags.bashrc):
			s.flags.err = cmp.Or(s.flags.err, err)
		case len(env) == 0:
			s.flags.warnings = append(s.flags.warnings, gentoo.FirstLine(err.Error())+" (Portage does not read that file)")
		}
	}
}

// environment resolves the native flags in NAME=value of the environment.
func (r *resolver) environment(ctx context.Context, env []string) ([]string, error) {
	var list []string
	for _, v := range env {
		name, _, _ := strings.Cut(v, "=")
		if uses := gentoo.FindNativeIn(v); len(uses) > 0 {
			text, err := r.replace(ctx, v, uses, r.cc, name+" in the environment")
			if err != nil {
				return env, err
			}
			v = text
		}
		list = append(list, v)
	}
	return list, nil
}

// setsCC is an assignment of a compiler: a file with one says which compiler its flags are for.
var setsCC = regexp.MustCompile(`(?m)^[ \t]*(?:export[ \t]+)?(?:CC|CXX)=["']?([^"'\n]+)`)

func (r *resolver) compilerFor(text string) string {
	cc := r.cc
	for _, m := range setsCC.FindAllStringSubmatch(text, -1) {
		switch set := strings.TrimSpace(m[1]); {
		case strings.Contains(set, "$"): // it is put together elsewhere
		case isClang(set) == isClang(cc): // the same kind, and for C++ the other program of it
		case isClang(set):
			cc = strings.Replace(set, "clang++", "clang", 1)
		default:
			cc = strings.Replace(set, "g++", "gcc", 1)
		}
	}
	return cc
}

// replace resolves the uses of native flags in a text; where is what people call it.
func (r *resolver) replace(ctx context.Context, text string, uses []gentoo.NativeUse, cc, where string) (string, error) {
	var failed error
	text = gentoo.ReplaceNative(text, uses, func(use gentoo.NativeUse) string {
		flags, err := r.ask.explicit(ctx, cc, use)
		if err != nil && failed == nil {
			failed = fmt.Errorf("%s has %s, which on a builder means another CPU, and this machine's compiler does not tell what it "+
				"means here: %w\nWrite the flags out in its place; `gcc %s -Q --help=target` and `rustc --print target-cpus` show them",
				where, use.Flag, err, gentoo.MarchNative)
		}
		joined := strings.Join(flags, " ")
		r.note(use.Flag, joined)
		return joined
	})
	return text, failed
}

// note keeps the line that tells what a flag means here, of several texts the longest: one of them may be without tuning.
func (r *resolver) note(flag gentoo.NativeFlag, flags string) {
	line := fmt.Sprintf("%s is resolved on this machine: %s", flag, flags)
	if len(line) > len(r.means[flag.String()]) {
		r.means[flag.String()] = line
	}
}

// tellNative tells the user what native flags mean, in short unless everything is to be told.
func (e *Emerge) tellNative(sys *system) {
	for _, line := range sys.flags.means {
		if words := strings.Fields(line); !e.Verbose && len(words) > 12 {
			line = fmt.Sprintf("%s … (%d flags; --verbose shows them)", strings.Join(words[:10], " "), len(words)-6)
		}
		e.say("%s", line)
	}
	for _, line := range sys.flags.warnings {
		e.warn("%s", line)
	}
	if len(sys.flags.means) > 0 {
		e.say("The packages are built with these flags and record them.")
	}
}
