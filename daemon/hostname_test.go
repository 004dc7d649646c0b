package daemon

import (
	"strings"
	"testing"

	"lantage/wire"
)

// TestHostName: a build root on a copy of the client's root is called as the client, if that is a name that a machine can
// have; on another base, whose binpkgs clients share, it is not.
func TestHostName(t *testing.T) {
	tower := wire.Hello{Name: "tower", Arch: "x86_64", CHOST: "x86_64-pc-linux-gnu", Bases: []string{"host", "client"}}
	for _, test := range []struct{ base, client, want string }{
		{"client", "lappy", "lappy"},
		{"client", "lappy.example.org", "lappy.example.org"},
		{"client", strings.Repeat("a", 64), strings.Repeat("a", 64)},
		{"client", strings.Repeat("a", 65), ""},
		{"client", "my laptop", ""},
		{"client", "-x", ""},
		{"host", "lappy", ""},
	} {
		m := jobOf(1, "a/one-1")
		m.Base, m.Client = test.base, test.client
		m.Identity, m.Root = strings.Repeat("a", 32), strings.Repeat("b", 64)
		job, err := checkJob(m, tower)
		if err != nil {
			t.Errorf("base %s, client %q: %v", test.base, test.client, err)
		}
		if job.HostName != test.want {
			t.Errorf("base %s, client %q: the build root is called %q, want %q", test.base, test.client, job.HostName, test.want)
		}
	}
}
