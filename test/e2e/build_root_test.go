package e2e

import (
	"context"
	"os"
	"strconv"
	"strings"
	"testing"

	"lantage/test/lab"
)

// secret is what no job may read. lab-apps/probe looks for it.
const secret = "LAB-SECRET\n"

// TestBuildRoot: an ebuild that tries to read, change, see and signal what is outside its build root cannot,
// as root and as Portage's user.
func TestBuildRoot(t *testing.T) {
	t.Parallel()
	l := newLab(t, lab.HostSpec{Name: "tower", Builder: true, WritableBase: true}, lab.HostSpec{Name: "lappy"})
	tower, lappy := l.Host("tower"), l.Host("lappy")
	// An /etc of its own, on a real disk as the base is: the base itself has no secrets.
	in(t, tower, nil, "sh", "-c", "cp -a /etc /var/lib/etc && mount --bind /var/lib/etc /etc").ok(t)
	serve(t, tower)
	for _, path := range []string{
		"/root/secret", "/home/alice/secret", "/var/lib/mail/secret", "/var/log/secret", "/var/cache/secret",
		"/var/tmp/secret", "/var/lib/lantage/secret", "/var/lib/lantage/jobs/other/inputs/secret",
		"/var/lib/lantage/binpkgs/other/secret", "/run/secret", "/tmp/secret",
		"/etc/shadow", "/etc/gshadow", "/etc/sudoers", "/etc/machine-id", "/etc/ssh/ssh_host_ed25519_key",
		"/etc/ssl/private/key.pem", "/etc/NetworkManager/system-connections/home", "/etc/wireguard/wg0.conf",
	} {
		put(t, tower, path, secret)
	}
	outsider := tower.Command(context.Background(), "sleep", "31415")
	if err := outsider.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = signal(outsider, 9); _ = outsider.Wait() }()
	modes := []string{"-c", "stat -c '%a %U' /usr/bin/env; tail -n 1 /var/db/repos/lab/profiles/categories"}
	before := in(t, tower, nil, "sh", modes...).ok(t).out

	lantage(t, lappy, "--no-fallback", "emerge", "-1", "lab-apps/probe").ok(t)

	for phase, user := range map[string]string{"setup": "0", "compile": "250"} {
		facts := make(map[string]string)
		text, err := os.ReadFile(lappy.Path("/usr/share/lab-probe/" + phase))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
			switch word {
			case "user", "outside", "host", "interfaces":
				facts[word] = rest
			default:
				t.Errorf("%s: it could: %s", phase, strings.TrimSpace(line))
			}
		}
		if facts["user"] != user {
			t.Errorf("%s ran as user %q, want %s", phase, facts["user"], user)
		}
		if first, _ := strconv.Atoi(facts["outside"]); first < 1_900_000_000 {
			t.Errorf("%s: root inside is %q outside, which belongs to somebody", phase, facts["outside"])
		}
		if phase == "compile" && facts["interfaces"] != "lo" {
			t.Errorf("%s has a network: %s", phase, facts["interfaces"])
		}
	}
	for _, path := range []string{
		"/usr/lab-probe", "/etc/lab-probe", "/var/db/pkg/lab-probe", "/opt/lab-probe", "/boot/lab-probe",
	} {
		if err := os.Remove(tower.Path(path)); err == nil {
			t.Errorf("the job wrote %s on the builder", path)
		}
	}
	if after := in(t, tower, nil, "sh", modes...).ok(t).out; after != before {
		t.Errorf("the job changed files of the builder:\n%s%s", before, after)
	}
	if !runs(t, tower, "sleep 31415") {
		t.Error("a process of the builder was killed")
	}
}

// TestFilesAsBuiltHere: what a builder makes is, file for file, what emerge would have made here.
func TestFilesAsBuiltHere(t *testing.T) {
	t.Parallel()
	_, tower, lappy := pair(t, nil)
	serve(t, tower)
	const list = `cd / && export LC_ALL=C
find usr/bin/lab-* usr/share/lab-odd var/lib/lab-odd -printf '%p %y %m %U:%G links=%n size=%s blocks=%b -> %l\n' | sort
find usr/bin/lab-* usr/share/lab-odd -type f -print0 | sort -z | xargs -0 sha256sum
find usr/bin/lab-* -type f -print0 | sort -z | xargs -0 getfattr -h -d -m - -e hex
stat -c %i usr/bin/lab-hard usr/bin/lab-whoami | uniq | wc -l`
	lantage(t, lappy, "--no-fallback", "emerge", "-1", "lab-apps/oddfiles").ok(t).
		says(t, "lab-apps/oddfiles-1 built")
	built := in(t, lappy, nil, "sh", "-c", list).ok(t)
	built.says(t, "lab-whoami-setuid f 4711 0:0", "lab-whoami-setgid f 2755", "d 1770 65534:65534",
		"security.capability")
	in(t, lappy, nil, "emerge", "-1", "--usepkg=n", "lab-apps/oddfiles").ok(t)
	if here := in(t, lappy, nil, "sh", "-c", list).ok(t); here.out != built.out {
		t.Errorf("there is a difference:\n%s", difference(strings.Split(here.out, "\n"), strings.Split(built.out, "\n")))
	}
}
