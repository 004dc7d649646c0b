package e2e

import (
	"strings"
	"testing"
	"time"

	"lantage/test/lab"
)

// TestTwoClients: two clients with different USE and CFLAGS have the same package built at the same time, and
// each gets its own.
func TestTwoClients(t *testing.T) {
	t.Parallel()
	l := newLab(t,
		lab.HostSpec{Name: "tower", Builder: true},
		lab.HostSpec{Name: "red", Files: map[string]string{"make.conf": clientConf("shout", "red")}},
		lab.HostSpec{Name: "blue", Files: map[string]string{"make.conf": clientConf("-shout", "blue")}})
	d := serve(t, l.Host("tower"), "--max-jobs", "2")
	red := start(t, l.Host("red"), "--no-fallback", "emerge", "lab-apps/hello")
	blue := start(t, l.Host("blue"), "--no-fallback", "emerge", "lab-apps/hello")
	red.end(5 * time.Minute).ok(t)
	blue.end(5 * time.Minute).ok(t)
	in(t, l.Host("red"), nil, "hello").ok(t).says(t, "shout: on", "-DMARK=red")
	in(t, l.Host("blue"), nil, "hello").ok(t).says(t, "shout: off", "-DMARK=blue")
	first, _, _ := strings.Cut(d.log.String(), "job ended")
	if n := strings.Count(first, "job started"); n != 2 {
		t.Errorf("%d jobs had begun when the first one ended, want both:\n%s", n, d.log)
	}
}
