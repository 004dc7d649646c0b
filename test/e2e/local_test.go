package e2e

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"lantage/test/lab"
)

// TestLocal: what builds nothing is what emerge does: the same output and the same exit status; what emerge refuses to plan
// is told in its words; and none of it makes the client say a word to a builder.
func TestLocal(t *testing.T) {
	t.Parallel()
	_, tower, lappy := pair(t, nil)
	d := serve(t, tower)
	sent := watchPackets(t, lappy)
	in(t, lappy, nil, "emerge", "-q", "--buildpkg", "lab-five/p1").ok(t)
	quiet := func(t *testing.T, log string) {
		t.Helper()
		mdns, tcp := sent.count(unix.IPPROTO_UDP, 5353), sent.count(unix.IPPROTO_TCP, 8473)
		if mdns+tcp > 0 || d.log.String() != log {
			t.Errorf("builders were looked for with %d packets and spoken to with %d; the daemon says:\n%s", mdns, tcp, d.log)
		}
	}

	for _, args := range []string{
		"--version", "--info", "--search hello", "--list-sets", "--no-such-option", "--pretend lab-apps/hello", "-C lab-five/p2",
		"--fetchonly lab-apps/hello", "--depclean --pretend", "-K1 lab-five/p1", "-C lab-five/p1",
	} {
		t.Run(args, func(t *testing.T) {
			log := d.log.String()
			same(t, lappy, strings.Fields(args), func() { // as it was, for -C
				in(t, lappy, nil, "emerge", "-qK", "lab-five/p1").ok(t)
			})
			quiet(t, log)
		})
	}

	for _, args := range []string{
		"lab-apps/masked", "lab-apps/eula", "lab-apps/needsuse", "lab-apps/required", "lab-apps/hardblock-a lab-apps/hardblock-b",
		"lab-apps/no-such-package", "--autounmask=y lab-apps/needstesting",
	} {
		t.Run("refused: "+args, func(t *testing.T) {
			log := d.log.String()
			words := append([]string{"-1"}, strings.Fields(args)...)
			want := steady(t, lappy, "emerge", append([]string{"--pretend", "--verbose", "--color=n"}, words...)...)
			got := steady(t, lappy, "lantage", append([]string{"emerge"}, words...)...)
			if got != want || !strings.HasPrefix(got, "status 1\n") {
				t.Errorf("lantage: %s\nemerge: %s", got, want)
			}
			quiet(t, log)
		})
	}

	t.Run("nothing to do", func(t *testing.T) {
		log := d.log.String()
		in(t, lappy, nil, "emerge", "-q1K", "lab-five/p1").ok(t)
		lantage(t, lappy, "emerge", "-u1", "lab-five/p1").ok(t).says(t, "Total: 0 packages", "Nothing to merge; quitting.")
		world := in(t, lappy, nil, "cat", "/var/lib/portage/world")
		world.saysNot(t, "lab-five/p1")
		lantage(t, lappy, "emerge", "--noreplace", "lab-five/p1").ok(t).says(t, "Nothing to build; emerge itself does the rest.")
		in(t, lappy, nil, "cat", "/var/lib/portage/world").ok(t).says(t, "lab-five/p1")
		quiet(t, log)
	})
}

// same compares lantage with emerge. between makes good what the first of the two did.
func same(t *testing.T, h *lab.Host, args []string, between func()) {
	t.Helper()
	want := steady(t, h, "emerge", args...)
	if slices.Contains(args, "-C") {
		between()
	}
	if got := steady(t, h, "lantage", append([]string{"emerge"}, args...)...); got != want {
		t.Errorf("lantage: %s\nemerge: %s", got, want)
	}
}

// changing is what two runs of emerge differ in though they do the same: times, load, memory that is free.
var changing = regexp.MustCompile(`(?m)^KiB (Mem|Swap):.*$|[0-9.]+ s\b|Load avg:.*$`)

// steady runs a command and returns what it prints on each stream and its exit status, less what differs each time. Python's
// hashes are what the order of blockers depends on.
func steady(t *testing.T, h *lab.Host, name string, args ...string) string {
	t.Helper()
	stdout, stderr, code := streams(t, h, []string{"CLEAN_DELAY=0", "PYTHONHASHSEED=0"}, name, args...)
	return changing.ReplaceAllString(fmt.Sprintf("status %d\nstdout:\n%s\nstderr:\n%s", code, stdout, stderr), "(…)")
}
