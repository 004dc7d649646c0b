package e2e

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestFailingPackage: of five packages one fails and one needs that one. The other three arrive and are merged, and the
// user learns what failed, where, why, and where the whole log is.
func TestFailingPackage(t *testing.T) {
	t.Parallel()
	_, tower, lappy := pair(t, nil)
	serve(t, tower)
	res := lantage(t, lappy, "emerge", "lab-five/p1", "lab-five/p2", "lab-five/p3", "lab-five/p3-user", "lab-five/p4").is(t, 1)
	res.says(t, "lab-five/p3-1 FAILED on the builder in compile", "undeclared", "lab-five/p3-user-1 was skipped",
		"To try again: lantage emerge")

	m := regexp.MustCompile(`(?m)^The whole log: (/.*)$`).FindStringSubmatch(res.out)
	if m == nil {
		t.Fatalf("it does not say where the log is:\n%s", res.out)
	}
	log, err := os.ReadFile(lappy.Path(m[1]))
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"Package:    lab-five/p3-1", "p3.c", "undeclared", "p3 does not compile"} {
		if !strings.Contains(string(log), text) {
			t.Errorf("the log has no %q; it is:\n%s", text, log)
		}
	}

	for _, p := range []string{"lab-p1", "lab-p2", "lab-p4"} {
		in(t, lappy, nil, p).ok(t)
	}
	in(t, lappy, nil, "ls", "/var/db/pkg/lab-five").ok(t).says(t, "p1-1", "p2-1", "p4-1").saysNot(t, "p3")
	in(t, lappy, nil, "cat", "/var/lib/portage/world").ok(t).
		says(t, "lab-five/p1\n", "lab-five/p2\n", "lab-five/p4\n").saysNot(t, "p3")

	// The phase is the same wherever it is said, and where nothing arrives what to type is said, too.
	lantage(t, lappy, "emerge", "-1", "lab-fail/setup").is(t, 1).
		says(t, "lab-fail/setup-1 FAILED on the builder in setup", "To try again: lantage emerge -1 lab-fail/setup\n").
		saysNot(t, "FAILED in build", "in fetch")
}
