package client

import (
	"fmt"
	"strings"
	"time"

	"lantage/gentoo"
	"lantage/wire"
)

// board is what is known of a running job, for showing. It has no goroutine and no terminal: display has
// those. Times come from this machine's clock, so that a builder's need not be right.
type board struct {
	builder  string // its name, for lines about it
	total    int    // packages of the job
	packages map[string]*progress
	building []string // CPVs, in the order in which they began
	finished int
	transfer *transfer // what is on its way now, if it is large
}

// progress is how far one package is.
type progress struct {
	place string // "(3 of 17) ", or "" where the builder does not say
	state wire.State
	phase string
	since time.Time
}

// transfer is a result on its way.
type transfer struct {
	cpv        string
	done, size int64
}

func newBoard(builder string, total int) *board {
	return &board{builder: builder, total: total, packages: map[string]*progress{}}
}

// apply takes an event in and returns the lines to print for good; with phases also one for each phase of a
// package.
func (b *board) apply(e wire.Event, now time.Time, phases bool) []string {
	switch e.Kind {
	case wire.EventQueued:
		return []string{fmt.Sprintf("%s: waiting, %s before this one", b.builder, count(e.Position, "job"))}
	case wire.EventStarted:
		return []string{b.builder + ": the build root is ready, emerge runs"}
	case wire.EventNote:
		return []string{b.builder + ": " + strings.TrimSpace(gentoo.Printable(e.Text))}
	case wire.EventPackage:
		return b.applyPackage(e, now, phases)
	}
	return nil // a result, or a kind of a newer builder
}

// maxShown bounds the packages that a builder can make us remember.
const maxShown = 100_000

func (b *board) applyPackage(e wire.Event, now time.Time, phases bool) []string {
	cpv := oneLine(e.CPV, 200)
	p := b.packages[cpv]
	if p == nil {
		if len(b.packages) >= maxShown {
			return nil
		}
		p = &progress{}
		b.packages[cpv] = p
	}
	if e.N > 0 && e.Of > 0 {
		p.place = fmt.Sprintf("(%d of %d) ", e.N, e.Of)
		b.total = max(b.total, e.Of) // with build dependencies it is more than what was asked for
	}
	if e.State == wire.StateBuilding {
		return b.applyPhase(cpv, p, e.Phase, now, phases)
	}
	if final(p.state) || !final(e.State) {
		return nil
	}
	took := ""
	if p.state == wire.StateBuilding {
		took = elapsed(now.Sub(p.since))
		b.building = remove(b.building, cpv)
	}
	p.state = e.State
	b.finished++
	return []string{p.place + cpv + " " + finalText(e, took)}
}

func (b *board) applyPhase(cpv string, p *progress, phase string, now time.Time, phases bool) []string {
	if p.state != wire.StateBuilding {
		if final(p.state) {
			b.finished--
		}
		p.state, p.since = wire.StateBuilding, now
		b.building = append(b.building, cpv)
	} else if p.phase == phase {
		return nil
	}
	p.phase = phase
	if !phases || phase == "" {
		return nil // it may yet turn out that there is nothing to build
	}
	return []string{fmt.Sprintf("%s%s %s %s", p.place, cpv, phaseName(phase), elapsed(now.Sub(p.since)))}
}

func final(s wire.State) bool {
	switch s {
	case wire.StateBuilt, wire.StateReused, wire.StateFailed, wire.StateSkipped, wire.StateDeclined:
		return true
	}
	return false
}

// finalText says how a package ended.
func finalText(e wire.Event, took string) string {
	var text string
	switch e.State {
	case wire.StateBuilt:
		text = "built"
		if took != "" {
			text += " in " + took
		}
	case wire.StateReused:
		text = "was built before, nothing to compile"
	case wire.StateFailed:
		text = "FAILED in " + phaseName(e.Phase)
		if took != "" {
			text += " after " + took
		}
	case wire.StateSkipped:
		text = "skipped"
	case wire.StateDeclined:
		text = "cannot be built there"
	}
	if e.Text != "" {
		text += ": " + oneLine(e.Text, 300)
	}
	return text
}

// phaseName is a phase as a builder names it, or "build" where it is not a name.
func phaseName(s string) string {
	if s == "" || len(s) > 20 || strings.Trim(s, "abcdefghijklmnopqrstuvwxyz_") != "" {
		return "build"
	}
	return s
}

// status is the line that is redrawn while the job runs: as many of the packages under way as fit into width
// columns.
func (b *board) status(now time.Time, width int) string {
	var items, short []string
	if t := b.transfer; t != nil {
		items = append(items, fmt.Sprintf("receiving %s %s", t.cpv, ofSize(t.done, t.size)))
		short = append(short, fmt.Sprintf("%s %s", pfOf(t.cpv), ofSize(t.done, t.size)))
	}
	for _, cpv := range b.building {
		p := b.packages[cpv]
		time := elapsed(now.Sub(p.since))
		phase := "starting"
		if p.phase != "" {
			phase = phaseName(p.phase)
		}
		items = append(items, fmt.Sprintf("%s%s %s %s", p.place, cpv, phase, time))
		short = append(short, fmt.Sprintf("%s %s %s", pfOf(cpv), phase, time))
	}
	if len(items) == 0 {
		items, short = []string{"waiting for " + b.builder}, []string{"waiting"}
	}
	head := fmt.Sprintf("[%d/%d] ", b.finished, b.total)
	for _, list := range [][]string{items, short} {
		for n := len(list); n > 0; n-- {
			line := head + strings.Join(list[:n], ", ")
			if n < len(list) {
				line += fmt.Sprintf(" +%d", len(list)-n)
			}
			if len([]rune(line)) <= width {
				return line
			}
		}
	}
	return cut(short[0], width)
}

// cut shortens text to width columns.
func cut(s string, width int) string {
	r := []rune(s)
	if len(r) <= width {
		return s
	}
	if width < 2 {
		return ""
	}
	return string(r[:width-1]) + "…"
}

func pfOf(cpv string) string { return cpv[strings.IndexByte(cpv, '/')+1:] }

// elapsed is a duration as m:ss or h:mm:ss.
func elapsed(d time.Duration) string {
	s := max(int(d/time.Second), 0)
	if s >= 3600 {
		return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
	}
	return fmt.Sprintf("%d:%02d", s/60, s%60)
}

const mebi = 1 << 20

// ofSize is how much of a size has come.
func ofSize(done, size int64) string {
	return fmt.Sprintf("%d of %d MiB", done/mebi, (size+mebi-1)/mebi)
}

func remove(list []string, s string) []string {
	var rest []string
	for _, v := range list {
		if v != s {
			rest = append(rest, v)
		}
	}
	return rest
}
