package e2e

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lantage/test/lab"
)

// TestMainJob is the main job with no configuration at all: found by mDNS, planned, asked once, built with the client's
// USE and CFLAGS, merged; and nothing of the builder itself changed.
func TestMainJob(t *testing.T) {
	t.Parallel()
	l := newLab(t,
		lab.HostSpec{Name: "tower", Builder: true, WritableBase: true},
		lab.HostSpec{Name: "lappy", Files: map[string]string{"make.conf": lab.AllSandboxes + clientConf("shout", "lappy")}})
	tower, lappy := l.Host("tower"), l.Host("lappy")
	serve(t, tower, "--bases=auto")
	own := []string{"/usr", "/var/db", "/var/cache", "/var/lib/portage", "/etc"}
	before, err := lab.Digest(tower, own...)
	if err != nil {
		t.Fatal(err)
	}

	r := startTTY(t, lappy, 120, "emerge", "-av", "lab-apps/hello")
	r.out.wait(t, "[Yes/No]")
	if _, err := r.tty.WriteString("yes\n"); err != nil {
		t.Fatal(err)
	}
	res := r.end(3 * time.Minute).ok(t)
	res.says(t, "lab-libs/greet-2", "lab-apps/hello-1.1", "tower", "base client", "lab-apps/hello-1.1 merged")
	if n := strings.Count(res.out, "[Yes/No]"); n != 1 {
		t.Errorf("%d questions were asked, want one:\n%s", n, res.out)
	}
	in(t, lappy, nil, "hello").ok(t).says(t, "hello: 1.1", "greet: 2", "shout: on", "-DMARK=lappy")
	in(t, lappy, nil, "cat", "/var/lib/portage/world").ok(t).says(t, "lab-apps/hello")

	after, err := lab.Digest(tower, own...)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("the builder's own files changed (-before +after):\n%s", diff)
	}
}

// TestOrder: a plan with a library's upgrade and its consumer builds the consumer against the new library; a build
// dependency that only the builder lacks is merged in the build root, and does not reach the client's world.
func TestOrder(t *testing.T) {
	t.Parallel()
	_, tower, lappy := pair(t, nil)
	in(t, lappy, nil, "emerge", "-q1", "=lab-libs/greet-1", "=lab-apps/hello-1.0", "lab-tools/gen").ok(t)
	in(t, lappy, nil, "hello").ok(t).says(t, "greet: 1")
	serve(t, tower)
	lantage(t, lappy, "emerge", "-u", "lab-libs/greet", "lab-apps/hello", "lab-apps/generated").ok(t).
		says(t, "lab-tools/gen-1 built"). // in the build root: the client's plan has no such package
		saysNot(t, "[ebuild  N     ] lab-tools/gen")
	in(t, lappy, nil, "scanelf", "-qn", "/usr/bin/hello").ok(t).says(t, "libgreet.so.2")
	in(t, lappy, nil, "hello").ok(t).says(t, "greet: 2")
	in(t, lappy, nil, "ls", "/var/db/pkg/lab-apps").ok(t).says(t, "generated-1")
	in(t, lappy, nil, "cat", "/var/lib/portage/world").ok(t).says(t, "lab-apps/generated").saysNot(t, "lab-tools/gen")
}

// difference lists the lines that only one of two lists has.
func difference(a, b []string) string {
	var d []string
	for _, line := range a {
		if !slices.Contains(b, line) {
			d = append(d, "- "+line)
		}
	}
	for _, line := range b {
		if !slices.Contains(a, line) {
			d = append(d, "+ "+line)
		}
	}
	return strings.Join(d, "\n")
}
