package lab_test

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"lantage/test/lab"
)

// TestForeign: nothing of a builder that is not Gentoo is that of a client, and what it keeps is on a real disk.
func TestForeign(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	l, err := lab.New(t.Context(), lab.Options{Binary: self, Hosts: []lab.HostSpec{{Name: "tower", Foreign: true}}})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	tower := l.Host("tower")
	for _, name := range []string{
		"emerge", "ebuild", "portageq", "emaint", "env-update", "gcc", "cc", "x86_64-pc-linux-gnu-gcc",
	} {
		if _, _, code := tower.Run(t.Context(), name, "--version"); code != 127 {
			t.Errorf("there is a %s: exit status %d", name, code)
		}
	}
	if _, _, code := tower.Run(t.Context(), "python3", "-c", "import portage"); code != 1 {
		t.Errorf("Portage's modules can be imported: exit status %d", code)
	}
	for _, path := range []string{
		"/etc/portage", "/etc/env.d", "/var/db", "/var/lib/portage", "/usr/share/portage", "/usr/lib/gcc",
	} {
		if _, err := os.Lstat(tower.Path(path)); !os.IsNotExist(err) {
			t.Errorf("there is a %s (%v)", path, err)
		}
	}
	if out, _, code := tower.Run(t.Context(), "id", "portage"); code == 0 {
		t.Errorf("there is a user portage: %s", out)
	}
	if got := run(t, tower, "ldconfig", "-p"); !strings.Contains(got, "/libgreet.so.1\n") || !strings.Contains(got, "/libgreet.so.2\n") {
		t.Errorf("the loader does not know the host's own libraries:\n%s", got)
	}
	if got := run(t, tower, "lab-gen", "text"); !strings.Contains(got, `puts("foreign")`) {
		t.Errorf("lab-gen makes:\n%s", got)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(tower.Path("/var/lib"), &st); err != nil {
		t.Fatal(err)
	}
	if st.Type == unix.OVERLAYFS_SUPER_MAGIC {
		t.Error("/var/lib is on an overlay")
	}
	run(t, tower, "sh", "-c", "touch /var/lib/x /usr/lib/x")
	upper := l.Dir + "/tower/upper"
	before, err := lab.DigestDir(upper, "/usr/lib")
	if err != nil {
		t.Fatal(err)
	}
	if before["/usr/lib/x"] == "" {
		t.Error("what was written is not in the upper layer")
	}
}
