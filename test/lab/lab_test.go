package lab_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lantage/test/lab"
)

func TestMain(m *testing.M) {
	lab.Main()
	if len(os.Args) > 1 {
		if f := modes[os.Args[1]]; f != nil {
			if err := f(os.Args[2:]); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			return
		}
	}
	os.Exit(m.Run())
}

// two makes a lab of a builder "tower" and a client "lappy", with this program as their lantage.
func two(t *testing.T) (tower, lappy *lab.Host) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	l, err := lab.New(t.Context(), lab.Options{Binary: self, Hosts: []lab.HostSpec{
		{Name: "tower", Builder: true},
		{Name: "lappy", Files: map[string]string{
			"make.conf":       "CFLAGS=\"-O1 -pipe\"\n",
			"package.use/lab": "lab-apps/hello shout\n",
		}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l.Host("tower"), l.Host("lappy")
}

// run runs a command on a host and stops the test unless it ends well.
func run(t *testing.T, h *lab.Host, name string, args ...string) string {
	t.Helper()
	out, errOut, code := h.Run(t.Context(), name, args...)
	if code != 0 {
		t.Fatalf("%s %q on %s: exit status %d\n%s%s", name, args, h.Name, code, out, errOut)
	}
	return out
}

func TestEachHostIsItself(t *testing.T) {
	t.Parallel()
	tower, lappy := two(t)
	for _, h := range []*lab.Host{tower, lappy} {
		if got := strings.TrimSpace(run(t, h, "cat", "/proc/sys/kernel/hostname")); got != h.Name {
			t.Errorf("%s is called %q", h.Name, got)
		}
		env := run(t, h, "env")
		if want := 5; strings.Count(env, "\n") != want {
			t.Errorf("the environment on %s has more than %d variables:\n%s", h.Name, want, env)
		}
		if comm := run(t, h, "cat", "/proc/1/cmdline"); !strings.HasPrefix(comm, "lantage-lab-host") {
			t.Errorf("process 1 on %s is %q", h.Name, comm)
		}
		info := run(t, h, "emerge", "--info")
		for _, want := range []string{"Portage 3.", "CFLAGS=\"-O", "location: /var/db/repos/lab"} {
			if !strings.Contains(info, want) {
				t.Errorf("emerge --info on %s does not say %q:\n%s", h.Name, want, info)
			}
		}
		if _, errOut, _ := h.Run(t.Context(), "emerge", "--info"); errOut != "" {
			t.Errorf("emerge --info on %s complains: %s", h.Name, errOut)
		}
		if _, _, code := h.Run(t.Context(), "test", "-e", "/var/lib/dpkg"); code == 0 {
			t.Errorf("%s sees what its base has in /var/lib", h.Name)
		}
		const file = "/etc/portage/made-by-a-test"
		if err := os.WriteFile(h.Path(file), []byte(h.Name), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := run(t, h, "cat", file); got != h.Name {
			t.Errorf("%s reads %q from what the test wrote", h.Name, got)
		}
		run(t, h, "setpriv", "--reuid=larry", "--regid=larry", "--clear-groups", "touch", "/home/larry/x")
	}
	if out, _, code := tower.Run(t.Context(), "touch", "/usr/bin/x"); code == 0 {
		t.Errorf("a builder can write to the base: %s", out)
	}
	run(t, lappy, "touch", "/usr/bin/x")
	if _, _, code := tower.Run(t.Context(), "test", "-e", "/usr/bin/x"); code == 0 {
		t.Error("what the client writes is in the base")
	}
}

func TestNetwork(t *testing.T) {
	t.Parallel()
	tower, lappy := two(t)
	for _, name := range []string{tower.IP(), tower.IP6(), "tower", "fe80::1%eth0"} {
		run(t, lappy, "ping", "-c1", "-W2", name)
	}
	for _, group := range []string{"224.0.0.251:7000", "[ff02::fb%eth0]:7000"} {
		// The listener says "ready", then what it hears; the talker hears the answer.
		listen := tower.Command(t.Context(), "lantage", "listen", group)
		out, err := listen.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := listen.Start(); err != nil {
			t.Fatal(err)
		}
		var word string
		if _, err := fmt.Fscanln(out, &word); err != nil || word != "ready" {
			t.Fatalf("listening to %s: %q, %v", group, word, err)
		}
		run(t, lappy, "lantage", "send", group)
		if err := listen.Wait(); err != nil {
			t.Errorf("multicast to %s: %v", group, err)
		}
	}
	if _, errOut, code := lappy.Run(t.Context(), "lantage", "dial", "192.0.2.1:80"); code == 0 {
		t.Errorf("the lab leads somewhere: %s", errOut)
	}
}

func TestHostSpec(t *testing.T) {
	t.Parallel()
	shared := t.TempDir()
	if err := os.WriteFile(filepath.Join(shared, "file"), []byte("here"), 0o600); err != nil {
		t.Fatal(err)
	}
	share := map[string]string{"/opt/shared": shared}
	l, err := lab.New(t.Context(), lab.Options{Hosts: []lab.HostSpec{
		{Name: "tower", Builder: true, WritableBase: true, Share: share},
		{Name: "lappy", NoDefaultRoute: true, Share: share},
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, h := range l.Hosts {
		if got := run(t, h, "cat", "/opt/shared/file"); got != "here" {
			t.Errorf("%s has %q in the shared file", h.Name, got)
		}
		if _, _, code := h.Run(t.Context(), "touch", "/opt/shared/file"); code == 0 {
			t.Errorf("%s can write to what is shared", h.Name)
		}
		if _, _, code := h.Run(t.Context(), "lantage"); code != 127 {
			t.Errorf("%s has a lantage, though the lab has none: exit status %d", h.Name, code)
		}
	}
	// No write is tried: this is the base of all labs.
	mounts := run(t, l.Host("tower"), "cat", "/proc/mounts")
	root, _, _ := strings.Cut(mounts, "\n")
	if !strings.Contains(root, " / ") || !strings.Contains(root, " rw,") {
		t.Errorf("the base is not writable: %s", root)
	}
	if routes := run(t, l.Host("lappy"), "ip", "route"); strings.Contains(routes, "default") {
		t.Errorf("there is a default route: %s", routes)
	}
}

func TestEmergeWithSandboxes(t *testing.T) {
	t.Parallel()
	_, lappy := two(t)
	conf, err := os.OpenFile(lappy.Path("/etc/portage/make.conf"), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer conf.Close()
	if _, err := conf.WriteString(lab.AllSandboxes); err != nil {
		t.Fatal(err)
	}
	cmd := lappy.Command(t.Context(), "emerge", "--color=n", "lab-apps/hello")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("emerge: %v\n%s", err, out)
	}
	if strings.Contains(string(out), "nable to unshare") {
		t.Errorf("a sandbox does not work here:\n%s", out)
	}
	features := run(t, lappy, "portageq", "envvar", "FEATURES")
	for _, sandbox := range []string{"ipc-sandbox", "network-sandbox", "pid-sandbox"} {
		if !strings.Contains(features, sandbox) {
			t.Errorf("FEATURES has no %s: %s", sandbox, features)
		}
	}
	got := run(t, lappy, "hello")
	if !strings.Contains(got, "HELLO") || !strings.Contains(got, "-O1 -pipe") {
		t.Errorf("hello does not show the host's USE and CFLAGS: %s", got)
	}
}

func TestBuilderCanShiftOwners(t *testing.T) {
	t.Parallel()
	tower, lappy := two(t)
	run(t, tower, "lantage", "idmap")
	if _, errOut, code := lappy.Run(t.Context(), "lantage", "idmap"); code == 0 {
		t.Log("this kernel can ID-map an overlay: a builder would not need a root of another kind")
	} else if !strings.Contains(errOut, "mount_setattr: invalid argument") {
		t.Errorf("on an overlay: %s", errOut)
	}
}

func TestDigestSeesEveryChange(t *testing.T) {
	t.Parallel()
	_, lappy := two(t)
	run(t, lappy, "sh", "-c", "mkdir /root/d; cd /root/d; echo a >file; ln -s file link; mkdir sub")
	paths := []string{"/root/d", "/root/none"}
	before := digest(t, lappy, paths...)
	if diff := cmp.Diff(before, digest(t, lappy, paths...)); diff != "" {
		t.Errorf("a digest differs though nothing was changed:\n%s", diff)
	}
	for _, change := range []string{
		"echo b >file",
		"chmod 600 file",
		"chown 1:1 file",
		"touch -d @2 file",
		"ln -sfn sub link",
		"setfattr -n user.x -v 1 file",
		"rmdir sub",
		"mkdir /root/none",
	} {
		run(t, lappy, "sh", "-c", "cd /root/d; "+change)
		after := digest(t, lappy, paths...)
		if cmp.Equal(before, after) {
			t.Errorf("the digest does not see: %s", change)
		}
		before = after
	}
}

func digest(t *testing.T, h *lab.Host, paths ...string) map[string]string {
	t.Helper()
	d, err := lab.Digest(h, paths...)
	if err != nil {
		t.Fatal(err)
	}
	return d
}
