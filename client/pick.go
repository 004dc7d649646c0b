package client

import (
	"fmt"
	"slices"
	"strings"

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

// freeCores estimates how many cores a builder has to spare: what it has, less what its load average says is
// in use.
func freeCores(h wire.Hello) float64 { return max(float64(h.Cores)-h.Load, 0) }

// freeSlot reports whether a job would begin at once.
func freeSlot(h wire.Hello) bool { return h.Waiting == 0 && (h.JobLimit == 0 || h.Jobs < h.JobLimit) }

// better orders builders, the best one first: one that begins at once, then one with more free cores, then
// one with more cores. Names and addresses make the order the same each time.
func better(a, b *builder) int {
	yes := func(v bool) int {
		if v {
			return 1
		}
		return 0
	}
	switch {
	case freeSlot(a.hello) != freeSlot(b.hello):
		return yes(freeSlot(b.hello)) - yes(freeSlot(a.hello))
	case freeCores(a.hello) != freeCores(b.hello):
		return yes(freeCores(a.hello) < freeCores(b.hello)) - yes(freeCores(a.hello) > freeCores(b.hello))
	case a.hello.Cores != b.hello.Cores:
		return b.hello.Cores - a.hello.Cores
	case a.hello.Name != b.hello.Name:
		return strings.Compare(a.hello.Name, b.hello.Name)
	}
	return strings.Compare(a.addr, b.addr)
}

// pick returns the best of the suitable builders; there must be one.
func pick(suitable []*builder) *builder { return slices.MinFunc(suitable, better) }

// whyPicked is the line that tells the user which builder it is, and why that one.
func whyPicked(b *builder, of int) string {
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
	if of > 1 {
		line += fmt.Sprintf(" (the freest of %d)", of)
	}
	return line
}

// count is a number with its noun.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
