package client

import (
	"cmp"
	"fmt"
	"slices"

	"lantage/wire"
)

// unsuitable says why a builder cannot build for a machine with this CHOST, or "".
func unsuitable(h wire.Hello, chost string) string {
	switch {
	case h.CHOST == "":
		return "it does not say what it builds for"
	case h.CHOST != chost:
		return fmt.Sprintf("it builds for %s, this machine is %s", h.CHOST, chost)
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

// better orders builders, the best one first: the shorter wait, then more free cores, then more cores. Names
// and addresses make the order the same each time.
func better(a, b *builder) int {
	return cmp.Or(
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
	return line + " (" + why + ")"
}

// count is a number with its noun.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
