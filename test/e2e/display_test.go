package e2e

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestDisplay: a job is seen while it runs, as lines in a pipe and as a status line of the terminal's width; and what a
// build prints never reaches the terminal as it is.
func TestDisplay(t *testing.T) {
	t.Parallel()
	_, tower, lappy := pair(t, nil)
	d := serve(t, tower)
	// No package arrives, so that nothing of what is printed is from the local emerge. In 40 columns a status line must be
	// shortened already for one package.
	failing := []string{"emerge", "-1", "lab-fail/configure", "lab-fail/install", "lab-fail/compile"}

	t.Run("pipe", func(t *testing.T) {
		res := lantage(t, lappy, append([]string{"--verbose"}, failing...)...).is(t, 1)
		for _, want := range []string{
			`(?m)^\([1-3] of 3\) lab-fail/compile-1 compile \d+:\d\d$`,
			`(?m)^\([1-3] of 3\) lab-fail/compile-1 FAILED in compile after \d+:\d\d`,
			`(?m)^\([1-3] of 3\) lab-fail/install-1 install \d+:\d\d$`,
		} {
			if !regexp.MustCompile(want).MatchString(res.out) {
				t.Errorf("no line is like %s", want)
			}
		}
		// Early lines of a long log: only --verbose shows them.
		res.says(t, "lab: compiling file 1 of 300\n", "lab: compiling file 200 of 300\n", "red text")
		if i := strings.IndexFunc(res.out, func(r rune) bool { return r < ' ' && r != '\n' && r != '\t' || r == 0x7f }); i >= 0 {
			t.Errorf("there is a control character in the output, near %q", res.out[max(0, i-40):min(len(res.out), i+40)])
		}
		if t.Failed() {
			t.Log(res.out)
		}
	})
	t.Run("no log unless verbose", func(t *testing.T) {
		res := lantage(t, lappy, "emerge", "-1", "lab-fail/compile").is(t, 1)
		res.says(t, "the lab wants this to fail").saysNot(t, "compiling file 200 of 300")
	})
	for _, columns := range []int{40, 120} {
		t.Run(fmt.Sprintf("terminal of %d columns", columns), func(t *testing.T) {
			args := failing
			if columns == 120 {
				args = append([]string{"--verbose"}, failing...)
			}
			res := startTTY(t, lappy, columns, args...).end(3*time.Minute).is(t, 1)
			onTerminal(t, res.out, columns)
		})
	}
	d.log.wait(t, "failed=3")
}

// ours are the sequences that Lantage itself writes: those of the status line, and the colours of the merge list.
var ours = regexp.MustCompile("\r\x1b\\[K|\x1b\\[(32|35|31)m(ebuild|binary|lab-fail/[a-z]+-1::lab)\x1b\\[0m")

// onTerminal checks what a terminal got: a status line that fits, is drawn anew in its place and is gone in the end, and no
// control sequence of anybody else's.
func onTerminal(t *testing.T, out string, columns int) {
	t.Helper()
	const redraw = "\r\x1b[K"
	drawn := strings.Split(out, redraw)
	statuses, phases := 0, 0
	for i, part := range drawn[1:] {
		if !strings.HasPrefix(part, "[") || strings.Contains(part, "\n") {
			continue // lines that stay
		}
		statuses++
		if strings.Contains(part, "compile-1 compile 0:") {
			phases++
		}
		if n := len([]rune(part)); n > columns {
			t.Errorf("a status line has %d columns: %q", n, part)
		}
		if i == len(drawn)-2 {
			t.Errorf("the last status line stays: %q", part)
		}
	}
	if statuses < 4 || phases == 0 {
		t.Errorf("%d status lines, %d of them with the package and its phase", statuses, phases)
	}
	if strings.Contains(drawn[len(drawn)-1], "[3/3] ") || !strings.Contains(drawn[len(drawn)-1], "\n") {
		t.Errorf("after the last status line stands %q", drawn[len(drawn)-1])
	}
	rest := ours.ReplaceAllString(strings.ReplaceAll(out, "\r\n", "\n"), "")
	for i, r := range rest {
		if r < ' ' && r != '\n' && r != '\t' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			t.Fatalf("control character %q near %q", r, rest[max(0, i-40):min(len(rest), i+40)])
		}
	}
	if !strings.Contains(rest, "red text and a") {
		t.Errorf("the line that had the control sequences was not shown:\n%s", rest)
	}
}
