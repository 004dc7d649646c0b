package client

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"lantage/gentoo"
	"lantage/wire"
)

// unsuitable says why a builder cannot build for this machine on a base of its own, or "".
func (e *Emerge) unsuitable(h wire.Hello, sys *system) string {
	switch {
	case h.CHOST == "":
		return "it does not say what it builds for"
	case h.CHOST != sys.chost:
		return fmt.Sprintf("it builds for %s, this machine is %s", h.CHOST, sys.chost)
	}
	return cmp.Or(e.cannotRun(h, sys, ""), otherCompiler(h, sys))
}

// otherCompiler says that the compiler of a base there may not know the flags that this machine's gives for native ones, or "".
// Each version knows more of them than the one before, and stops at what it does not know. A base that does not say its compiler
// is not judged.
func otherCompiler(h wire.Hello, sys *system) string {
	here, there := compilerMajor(sys.flags.compiler), compilerMajor(h.Compiler)
	if here == "" || there == "" || here == there {
		return ""
	}
	return fmt.Sprintf("its compiler is gcc %s, and gcc %s of this machine says what your native flags mean (%s): the other may not know these "+
		"flags; write out in their place flags that both know, or use the base client", there, here, strings.Join(sys.flags.nativeNames(), " "))
}

// compilerMajor is the major version in the first line of what gcc --version prints, or "".
func compilerMajor(line string) string {
	if m := compilerVersionRE.FindStringSubmatch(line); m != nil {
		return m[1]
	}
	return ""
}

var compilerVersionRE = regexp.MustCompile(`gcc.*[ )]([0-9]+)\.[0-9]+(?:\.[0-9]+)?(?: [0-9]{8}.*)?$`)

// baseFor says what a job from this machine is built on there, or why it cannot be. An empty base is the builder's choice.
func (e *Emerge) baseFor(h wire.Hello, sys *system) (base, why string) {
	own := slices.DeleteFunc(slices.Clone(h.Bases), func(b string) bool { return b == wire.BaseClient })
	switch e.Base {
	case "":
		return "", e.unsuitable(h, sys)
	case baseAuto, wire.BaseClient:
		why = cmp.Or(noClientBase(h, sys), e.cannotRun(h, sys, wire.BaseClient))
		if why == "" {
			return wire.BaseClient, ""
		}
		if e.Base == wire.BaseClient || len(own) == 0 {
			return "", why
		}
		return own[0], e.unsuitable(h, sys)
	}
	if !slices.Contains(h.Bases, e.Base) {
		return "", fmt.Sprintf("it does not offer the base %s, but: %s", e.Base, strings.Join(h.Bases, ", "))
	}
	return e.Base, e.unsuitable(h, sys)
}

// baseAuto is the base that is client where that can be, and else one of the builder's own in the same state.
const baseAuto = "auto"

// noClientBase says why this machine's root cannot be the base of a job there, or "".
func noClientBase(h wire.Hello, sys *system) string {
	switch {
	case !slices.Contains(h.Bases, wire.BaseClient):
		return "it does not offer the base client"
	case !isRoot():
		return "it builds in a copy of this machine's root, which only root can make: run lantage as root"
	case sys.noCopy() != "":
		return sys.noCopy()
	case !gentoo.RunsOn(sys.chost, h.Arch):
		return fmt.Sprintf("it is a machine of the kind %s, and programs for %s do not run there", h.Arch, sys.chost)
	}
	return ""
}

// freeCores is cores x (1 - load), with the load average as a share of the cores: how many cores a builder
// has to spare.
func freeCores(h wire.Hello) float64 { return max(float64(h.Cores)-h.Load, 0) }

// wait estimates how many jobs' time a job would wait: those before it, for each that runs at once.
func wait(h wire.Hello) float64 {
	if freeSlot(h) {
		return 0
	}
	return float64(h.Waiting+1) / float64(max(h.JobLimit, 1))
}

// freeSlot reports whether a job would begin at once.
func freeSlot(h wire.Hello) bool { return h.Waiting == 0 && (h.JobLimit == 0 || h.Jobs < h.JobLimit) }

// better orders builders, the best one first: those that are known, then the base client, then the shorter wait, then more free cores, then more cores. Names
// and addresses make the order the same each time.
func better(a, b *builder) int {
	return cmp.Or(
		-cmp.Compare(btoi(a.known), btoi(b.known)),                                     // before anybody is asked about another one
		-cmp.Compare(btoi(a.base == wire.BaseClient), btoi(b.base == wire.BaseClient)), // what is built there is exact
		cmp.Compare(wait(a.hello), wait(b.hello)),
		cmp.Compare(freeCores(b.hello), freeCores(a.hello)),
		cmp.Compare(b.hello.Cores, a.hello.Cores),
		cmp.Compare(a.hello.Name, b.hello.Name),
		cmp.Compare(a.addr, b.addr),
	)
}

// pick returns the best of the suitable builders; there must be one.
func pick(suitable []*builder) *builder { return slices.MinFunc(suitable, better) }

// whyPicked is the line that tells the user which builder it is, and why that one.
func whyPicked(b *builder, why string) string {
	h := b.hello
	line := fmt.Sprintf("Builder: %v, %s, load %.2f", b, count(h.Cores, "core"), h.Load)
	switch {
	case !freeSlot(h):
		line += fmt.Sprintf(", %s before this one", count(h.Jobs+h.Waiting, "job"))
	case h.Jobs > 0:
		line += fmt.Sprintf(", %s running", count(h.Jobs, "job"))
	default:
		line += ", no job running"
	}
	line += " (" + why + ")"
	if b.base != "" {
		line += "; base " + b.base
	}
	return line
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// count is a number with its noun.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
