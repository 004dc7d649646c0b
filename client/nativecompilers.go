package client

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"lantage/gentoo"
)

// compilers asks this machine's compilers what their native flags mean here. Each question is asked once.
type compilers struct {
	t    *tools
	warn func(format string, args ...any)
	// other is clang where some files of the configuration choose it and others, whose flags it gets as well, leave it at gcc.
	other string

	answers  map[string]answer
	gccAsked bool // and has answered
}

type answer struct {
	flags []string
	err   error
}

// explicit says what a use of a native flag means to a compiler: cc for the C family, rustc for Rust.
func (c *compilers) explicit(ctx context.Context, cc string, use gentoo.NativeUse) ([]string, error) {
	if use.Flag == gentoo.RustNative {
		return c.once("rustc", func() ([]string, error) { return c.rust(ctx, cc) })
	}
	flags, err := c.once(cc+" "+use.Flag.String(), func() ([]string, error) {
		if isClang(cc) {
			return c.clang(ctx, cc, use.Flag)
		}
		flags, err := c.gcc(ctx, cc, use.Flag)
		c.gccAsked = c.gccAsked || err == nil
		if err == nil && c.other != "" {
			flags = c.forBoth(ctx, cc, flags)
		}
		return flags, err
	})
	if use.Flag == gentoo.MarchNative && use.Tuned {
		flags = slices.DeleteFunc(slices.Clone(flags), isTuning)
	}
	return flags, err
}

func (c *compilers) once(question string, ask func() ([]string, error)) ([]string, error) {
	if c.answers == nil {
		c.answers = map[string]answer{}
	}
	a, asked := c.answers[question]
	if !asked {
		a.flags, a.err = ask()
		c.answers[question] = a
	}
	return a.flags, a.err
}

// words are the words of all flags that were answered.
func (c *compilers) words() map[string]bool {
	words := map[string]bool{}
	for _, a := range c.answers {
		for _, flag := range a.flags {
			for word := range strings.FieldsSeq(flag) {
				words[word] = true
			}
		}
	}
	return words
}

var clangRE = regexp.MustCompile(`(^|[/-])clang(\+\+|-cpp)?(-[0-9.]+)?$`)

// isClang reports whether a compiler command, maybe with a wrapper before it or options behind, is clang.
func isClang(command string) bool {
	return slices.ContainsFunc(strings.Fields(command), clangRE.MatchString)
}

// isTuning reports whether a flag is one of those that go with -mtune: gcc takes the sizes of caches for it.
func isTuning(flag string) bool {
	return strings.HasPrefix(flag, "-mtune=") || strings.HasPrefix(flag, "--param")
}

// run runs a compiler on input.
func (c *compilers) run(ctx context.Context, command string, args ...string) (captured, error) {
	words, err := gentoo.SplitWords(command)
	if err != nil || len(words) == 0 {
		return captured{}, fmt.Errorf("%q is no command", command)
	}
	if _, err := c.t.find(words[0]); err != nil {
		return captured{}, fmt.Errorf("%s: %w", words[0], exec.ErrNotFound)
	}
	out, err := c.t.capture(ctx, words[0], append(words[1:], args...), "LC_ALL=C")
	if err == nil && out.status != 0 {
		err = &compilerError{strings.Join(append(words, args...), " "), out.stderr}
	}
	return out, err
}

// compilerError is a compiler that ran and did not like what it was given.
type compilerError struct{ command, stderr string }

func (e *compilerError) Error() string {
	return e.command + ": " + oneLine(gentoo.FirstLine(e.stderr), 200)
}

// gcc has gcc show the command line of its compiler proper, in which its driver has put what native means.
func (c *compilers) gcc(ctx context.Context, cc string, flag gentoo.NativeFlag) ([]string, error) {
	plain, err := c.run(ctx, cc, "-###", "-E", "-x", "c", "-")
	if err != nil {
		return nil, err
	}
	native, err := c.run(ctx, cc, "-###", "-E", "-x", "c", flag.String(), "-")
	if err != nil {
		return nil, err
	}
	return gccFlags(plain.stderr, native.stderr, flag)
}

var unknownArgument = regexp.MustCompile(`unknown argument:? '([^']+)'`)

// forBoth leaves out of gcc's flags what clang does not know, such as -mno-hle, if gcc makes the same of the rest. Clang takes
// native for its own CPU, and would stop at gcc's words for it.
func (c *compilers) forBoth(ctx context.Context, cc string, flags []string) []string {
	_, err := c.run(ctx, c.other, slices.Concat(flags, []string{"-E", "-x", "c", "/dev/null"})...)
	if err == nil {
		return flags
	}
	unknown := map[string]bool{}
	if wrong, ok := errors.AsType[*compilerError](err); ok {
		for _, m := range unknownArgument.FindAllStringSubmatch(wrong.stderr, -1) {
			unknown[m[1]] = true
		}
	}
	rest := slices.DeleteFunc(slices.Clone(flags), func(f string) bool { return unknown[f] })
	macros := func(flags []string) string {
		out, err := c.run(ctx, cc, slices.Concat(flags, []string{"-dM", "-E", "-x", "c", "/dev/null"})...)
		if err != nil {
			return err.Error()
		}
		return out.stdout
	}
	if macros(rest) != macros(flags) {
		return flags
	}
	return rest
}

// gccFlags reads what `gcc -###` prints without and with a native flag.
func gccFlags(plain, native string, flag gentoo.NativeFlag) ([]string, error) {
	before, err := machineFlags(plain)
	if err != nil {
		return nil, err
	}
	with, err := machineFlags(native)
	if err != nil {
		return nil, err
	}
	var flags []string
	for _, f := range with {
		name, _, _ := strings.Cut(f, "=")
		// What is the same without the native flag is the compiler's own default, but for the answer itself.
		if name+"=native" == flag.String() || name == "-mtune" && flag != gentoo.McpuNative || !slices.Contains(before, f) {
			flags = append(flags, f)
		}
	}
	if len(flags) == 0 || slices.Contains(flags, flag.String()) {
		return nil, fmt.Errorf("it has nothing to put in the place of %s", flag)
	}
	return flags, nil
}

// machineFlags are the flags about the machine in the command line of gcc's compiler proper, as `gcc -###` prints it, in
// their order.
func machineFlags(text string) ([]string, error) {
	for line := range strings.Lines(text) {
		words, err := gentoo.SplitWords(line)
		if err != nil || len(words) == 0 || filepath.Base(words[0]) != "cc1" {
			continue
		}
		var flags []string
		for i, w := range words {
			switch {
			case strings.HasPrefix(w, "-m"):
				flags = append(flags, w)
			case w == "--param" && i+1 < len(words):
				flags = append(flags, "--param="+words[i+1]) // one word, as ebuilds look at flags word by word
			case strings.HasPrefix(w, "--param="):
				flags = append(flags, w)
			}
		}
		return flags, nil
	}
	return nil, errors.New("it does not show how it runs cc1")
}

// attributes are what clang makes of the flags for a function: what the code is for.
type attributes struct {
	cpu, tune string
	features  map[string]bool // those that are on
}

var attributeRE = regexp.MustCompile(`"(target-cpu|tune-cpu|target-features)"="([^"]*)"`)

func parseAttributes(ir string) (attributes, error) {
	a := attributes{features: map[string]bool{}}
	for _, m := range attributeRE.FindAllStringSubmatch(ir, -1) {
		switch m[1] {
		case "target-cpu":
			a.cpu = m[2]
		case "tune-cpu":
			a.tune = m[2]
		default:
			for f := range strings.SplitSeq(m[2], ",") {
				// These two are part of the architecture: native names them, and there are no options for them.
				if name, on := strings.CutPrefix(f, "+"); on && name != "64bit" && name != "cmov" {
					a.features[name] = true
				}
			}
		}
	}
	if a.cpu == "" {
		return a, errors.New("it does not show which CPU it compiles for")
	}
	return a, nil
}

func (a attributes) equal(b attributes) bool {
	return a.cpu == b.cpu && a.tune == b.tune && maps.Equal(a.features, b.features)
}

// clangAttributes compiles a function with flags.
func (c *compilers) clangAttributes(ctx context.Context, cc string, flags ...string) (attributes, error) {
	file, err := os.CreateTemp("", "lantage-*.c")
	if err != nil {
		return attributes{}, err
	}
	defer os.Remove(file.Name())
	_, err = file.WriteString("void f(void) {}\n")
	if err := errors.Join(err, file.Close()); err != nil {
		return attributes{}, err
	}
	out, err := c.run(ctx, cc, slices.Concat([]string{"-S", "-emit-llvm", "-o", "-", "-w"}, flags, []string{"-x", "c", file.Name()})...)
	if err != nil {
		return attributes{}, err
	}
	return parseAttributes(out.stdout)
}

// clang has clang compile a function for the native CPU, and finds flags with which it compiles it for the same.
func (c *compilers) clang(ctx context.Context, cc string, flag gentoo.NativeFlag) ([]string, error) {
	plain, err := c.clangAttributes(ctx, cc)
	if err != nil {
		return nil, err
	}
	native, err := c.clangAttributes(ctx, cc, flag.String())
	if err != nil {
		return nil, err
	}
	if native.tune != "" && native.cpu == plain.cpu && maps.Equal(native.features, plain.features) { // -mtune, by any name
		return []string{"-mtune=" + native.tune}, nil
	}
	option, _ := strings.CutSuffix(flag.String(), "native")
	cpu := option + native.cpu
	alone, err := c.clangAttributes(ctx, cc, cpu)
	if err != nil {
		return nil, err
	}
	flags := clangFlags(cpu, alone, native)
	got, err := c.clangAttributes(ctx, cc, flags...)
	if err == nil && !got.equal(native) {
		err = fmt.Errorf("%s is not the same as %s to it", strings.Join(flags, " "), flag)
	}
	return flags, err
}

// clangFlags are the flag for a CPU and those for what the native one has more or less than it.
func clangFlags(cpu string, alone, native attributes) []string {
	flags := []string{cpu}
	for _, f := range slices.Sorted(maps.Keys(native.features)) {
		if !alone.features[f] {
			flags = append(flags, "-m"+f)
		}
	}
	for _, f := range slices.Sorted(maps.Keys(alone.features)) {
		if !native.features[f] {
			flags = append(flags, "-mno-"+f)
		}
	}
	return flags
}

var currentCPU = regexp.MustCompile(`(?m)^\s*native\s.*\bcurrently ([A-Za-z0-9_.-]+)`)

// rust asks rustc. Where there is none, it is the builder's ebuild of Rust that makes one, and gcc's name of the CPU has to do:
// LLVM has mostly the same names.
func (c *compilers) rust(ctx context.Context, cc string) ([]string, error) {
	list, err := c.run(ctx, "rustc", "--print", "target-cpus")
	if errors.Is(err, exec.ErrNotFound) {
		return c.rustByGCC(ctx, cc)
	}
	if err != nil {
		return nil, err
	}
	m := currentCPU.FindStringSubmatch(list.stdout)
	if m == nil {
		return nil, errors.New("rustc --print target-cpus: it does not name this CPU")
	}
	native, err := c.run(ctx, "rustc", "--print", "cfg", "-C", "target-cpu=native")
	if err != nil {
		return nil, err
	}
	alone, err := c.run(ctx, "rustc", "--print", "cfg", "-C", "target-cpu="+m[1])
	if err != nil {
		return nil, err
	}
	return rustFlags(m[1], alone.stdout, native.stdout), nil
}

func (c *compilers) rustByGCC(ctx context.Context, cc string) ([]string, error) {
	flags, err := c.explicit(ctx, cc, gentoo.NativeUse{Flag: gentoo.MarchNative})
	if err != nil {
		return nil, err
	}
	for _, f := range flags {
		if cpu, ok := strings.CutPrefix(f, "-march="); ok {
			c.warn("There is no rustc on this machine, so %s is what %s calls this CPU: %s.", gentoo.RustNative, cc, cpu)
			return []string{"-Ctarget-cpu=" + cpu}, nil
		}
	}
	return nil, fmt.Errorf("there is no rustc, and %s has no name for this CPU", cc)
}

var targetFeature = regexp.MustCompile(`(?m)^target_feature="([^"]+)"$`)

// rustFlags are the flags for a CPU and for what the native one has more or less than it, by what rustc prints as cfg.
func rustFlags(cpu, alone, native string) []string {
	set := func(text string) map[string]bool {
		features := map[string]bool{}
		for _, m := range targetFeature.FindAllStringSubmatch(text, -1) {
			features[m[1]] = true
		}
		return features
	}
	has, wants := set(alone), set(native)
	var changes []string
	for _, f := range slices.Sorted(maps.Keys(wants)) {
		if !has[f] {
			changes = append(changes, "+"+f)
		}
	}
	for _, f := range slices.Sorted(maps.Keys(has)) {
		if !wants[f] {
			changes = append(changes, "-"+f)
		}
	}
	flags := []string{"-Ctarget-cpu=" + cpu}
	if len(changes) > 0 {
		flags = append(flags, "-Ctarget-feature="+strings.Join(changes, ","))
	}
	return flags
}
