package discovery

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// table is what the tests have measured on the lab's LANs. TestMain prints it, because it is of interest
// when all is well too.
var table struct {
	mu    sync.Mutex
	lines []string
}

// measured adds a line to the table. Lines are sorted; those of one case stand together.
func measured(t *testing.T, what, format string, args ...any) {
	t.Helper()
	verdict := "ok  "
	if t.Failed() {
		verdict = "FAIL"
	}
	table.mu.Lock()
	defer table.mu.Unlock()
	table.lines = append(table.lines, fmt.Sprintf("%-46s %s  %s", what, verdict, fmt.Sprintf(format, args...)))
}

func printTable(w io.Writer) {
	slices.Sort(table.lines)
	if len(table.lines) > 0 {
		fmt.Fprintln(w, "-- discovery, as measured\n"+strings.Join(table.lines, "\n"))
	}
}

// times are some measurements of one thing.
type times []time.Duration

// at returns the time that share of them are not longer than.
func (d times) at(share float64) time.Duration {
	slices.Sort(d)
	return d[min(len(d)-1, int(share*float64(len(d))))]
}

// check adds a line to the table, and fails if a bound is exceeded.
func (d times) check(t *testing.T, what string, share float64, bound time.Duration) {
	t.Helper()
	if got := d.at(share); got > bound {
		t.Errorf("%s: the %v-quantile of %d is %v; want at most %v", what, share, len(d), got, bound)
	}
	measured(t, what, "median %v, 95 %% %v, slowest of %d %v; bound %v at %v %%",
		ms(d.at(.5)), ms(d.at(.95)), len(d), ms(d.at(1)), bound, 100*share)
}

func ms(d time.Duration) time.Duration { return d.Round(100 * time.Microsecond) }
