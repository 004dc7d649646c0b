package e2e

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"lantage/test/lab"
)

// TestFindingBuilders: builders that were seen are found again without mDNS; the configuration file says which builders there
// are, and then nothing else is asked; a bare word names a builder of the LAN.
func TestFindingBuilders(t *testing.T) {
	t.Parallel()
	l := newLab(t, lab.HostSpec{Name: "tower", Builder: true}, lab.HostSpec{Name: "castle", Builder: true},
		lab.HostSpec{Name: "lappy"})
	tower, castle, lappy := l.Host("tower"), l.Host("castle"), l.Host("lappy")
	sent := watchPackets(t, lappy)
	towerd := serve(t, tower)
	serve(t, castle, "--no-advertise", "--listen=:9000")
	configure := func(text string) {
		in(t, lappy, []string{"TEXT=" + text}, "sh", "-c", `mkdir -p /etc/lantage && printf "%s\n" "$TEXT" >/etc/lantage/lantage.toml`).ok(t)
	}
	finds := func(t *testing.T, name, how string, env []string, flags ...string) map[string]any {
		t.Helper()
		rows := listJSON(t, lappy, env, flags...)
		if len(rows) != 1 || rows[0]["name"] != name || !strings.Contains(fmt.Sprint(rows[0]["found"]), how) {
			t.Errorf("found %v, want %s by %s", rows, name, how)
			return map[string]any{}
		}
		return rows[0]
	}

	id, _ := finds(t, "tower", "mdns", nil)["id"].(string)
	if len(id) < 8 {
		t.Fatalf("tower's ID is %q", id)
	}
	for _, word := range []string{"tower", "tower-" + id[:6], id[:5]} {
		finds(t, "tower", "mdns", nil, "--builder="+word)
	}
	lantage(t, lappy, "--builder=dungeon", "list-builders").is(t, 3).says(t, "no builder is called dungeon; there are: tower (").saysNot(t, "firewall")

	towerd.stop(syscall.SIGTERM)
	serve(t, tower, "--no-advertise")
	finds(t, "tower", "cache", nil)
	in(t, lappy, nil, "test", "-s", "/var/cache/lantage/builders.json").ok(t)

	sent.count(unix.IPPROTO_UDP, 5353)
	configure(`builders = ["castle:9000"]`)
	finds(t, "castle", "config", nil)
	finds(t, "tower", "named", []string{"LANTAGE_HOST=tower"})
	if n := sent.count(unix.IPPROTO_UDP, 5353); n != 0 {
		t.Errorf("%d mDNS packets were sent although the configuration says where the builder is", n)
	}
	lantage(t, lappy, "emerge", "-B", "lab-five/p1").ok(t).says(t, "Builder: castle")

	configure("bilders = []")
	lantage(t, lappy, "list-builders").is(t, 1).says(t, "/etc/lantage/lantage.toml", `unknown key "bilders"`, "builders")
}
