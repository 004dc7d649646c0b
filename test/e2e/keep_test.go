package e2e

import (
	"regexp"
	"strings"
	"testing"

	"lantage/test/lab"
)

// TestKeep: not root, or --no-install: what was built is kept in an archive that the usual programs read, and the printed
// commands, run as they are printed, merge it.
func TestKeep(t *testing.T) {
	t.Parallel()
	_, tower, lappy := pair(t, nil)
	addTo(t, lappy, "/etc/portage/make.conf", clientConf("shout", "kept"))
	serve(t, tower)

	t.Run("no-install", func(t *testing.T) {
		res := lantage(t, lappy, "--no-install", "emerge", "lab-apps/hello").ok(t)
		in(t, lappy, nil, "ls", "/var/db/pkg", "/var/cache/binpkgs").ok(t).saysNot(t, "lab-apps")
		name := readable(t, lappy, res, "./lab-apps/hello/", "./lab-libs/greet/")
		if !strings.HasPrefix(name, "/var/lib/lantage/") {
			t.Errorf("root's archive is %s", name)
		}
		install(t, lappy, res)
		in(t, lappy, nil, "hello").ok(t).says(t, "hello: 1.1", "shout: on", "-DMARK=kept")
		in(t, lappy, nil, "cat", "/var/lib/portage/world").ok(t).says(t, "lab-apps/hello")
	})

	t.Run("not root", func(t *testing.T) {
		in(t, lappy, nil, "install", "-d", "-o", "1000", "-g", "1000", "/home/larry").ok(t)
		res := in(t, lappy, nil, "setpriv", "--reuid", "1000", "--regid", "1000", "--clear-groups", "env", "HOME=/home/larry",
			"lantage", "emerge", "lab-five/p1").ok(t)
		name := readable(t, lappy, res, "./lab-five/p1/")
		if !strings.HasPrefix(name, "/home/larry/") {
			t.Errorf("larry's archive is %s", name)
		}
		in(t, lappy, nil, "stat", "-c", "%u:%g", name).ok(t).says(t, "1000:1000")
		install(t, lappy, res)
		in(t, lappy, nil, "lab-p1").ok(t)
	})
}

// readable finds the archive that was printed, has the usual programs read it, and checks what is in it.
func readable(t *testing.T, h *lab.Host, res result, members ...string) string {
	t.Helper()
	m := regexp.MustCompile(`(?m)^Kept in (/\S+\.tar\.gz): `).FindStringSubmatch(res.out)
	if m == nil {
		t.Fatalf("it does not say where the archive is; it said:\n%s", res.out)
	}
	in(t, h, nil, "gzip", "-t", m[1]).ok(t)
	in(t, h, nil, "pigz", "-t", m[1]).ok(t)
	list := in(t, h, nil, "tar", "-tzf", m[1]).ok(t)
	for _, want := range members {
		list.says(t, strings.TrimPrefix(want, "./"))
	}
	return m[1]
}

// install runs the printed commands exactly as they are printed.
func install(t *testing.T, h *lab.Host, res result) {
	t.Helper()
	_, rest, ok := strings.Cut(res.out, "To install them, as root:\n")
	if !ok {
		t.Fatalf("it does not say how to install the packages; it said:\n%s", res.out)
	}
	var script strings.Builder
	for line := range strings.Lines(strings.TrimLeft(rest, "\n")) {
		if !strings.HasPrefix(line, "  ") {
			break
		}
		script.WriteString(line)
	}
	if n := strings.Count(script.String(), "\n"); n != 3 {
		t.Fatalf("%d commands are printed, want 3:\n%s", n, script.String())
	}
	in(t, h, nil, "sh", "-ec", script.String()).ok(t)
}
