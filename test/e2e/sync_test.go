package e2e

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"lantage/test/lab"
)

// secretFiles are what a client has and no builder may have. Each contains the word that marks secrets.
var secretFiles = map[string]os.FileMode{
	"/boot/initramfs.img":                        0o644,
	"/etc/NetworkManager/system-connections/lan": 0o600,
	"/etc/gshadow":                               0o640,
	"/etc/only-root.conf":                        0o600,
	"/etc/portage/gnupg/private-keys-v1.d/x.key": 0o644,
	"/etc/shadow":                                0o640,
	"/etc/shadow-":                               0o644,
	"/etc/ssh/ssh_host_ed25519_key":              0o600,
	"/etc/ssl/private/server.key":                0o644,
	"/etc/wireguard/wg0.conf":                    0o644,
	"/etc/wpa_supplicant/wpa_supplicant.conf":    0o644,
	"/home/larry/letter":                         0o644,
	"/root/.ssh/id_ed25519":                      0o600,
	"/srv/data":                                  0o644,
	"/var/lib/misc/random-seed":                  0o600,
	"/tmp/scratch":                               0o644,
	"/var/cache/some":                            0o644,
	"/var/lib/service/db":                        0o644,
	"/var/log/some.log":                          0o644,
	"/var/spool/mail/larry":                      0o644,
	"/var/tmp/some":                              0o644,
}

const secretMark = "LAB-SECRET"

// oddFiles makes files of all the kinds that a copy must keep.
const oddFiles = `set -e
mkdir -p /usr/local/share/odd/sticky
cd /usr/local/share/odd
echo text > plain; ln plain hard; ln -s plain soft; ln -s /no/where dangling
chown -h 12345:23456 soft; echo owned > owned; chown 65000:65001 owned; chmod 1777 sticky; mkdir empty; chmod 2750 empty
cp /usr/bin/true suid; chmod 4711 suid
cp /usr/bin/true able; setcap cap_net_raw+ep able
setfattr -n user.lab -v value plain sticky
truncate -s 8M sparse; echo end >> sparse
echo new > "$(printf 'a\nline')"; echo bytes > "$(printf 'b\377\376')"; echo blank > ' c '; : > nothing
touch -d '1969-12-31 23:59:58.123456789' plain; touch -hd '2026-02-03 04:05:06.000000001' soft empty`

// anACL lets user 1000 read: version 2; user::rw-, user:1000:r--, group::r--, mask::r--, other::---.
const anACL = "\x02\x00\x00\x00" + "\x01\x00\x06\x00\xff\xff\xff\xff" + "\x02\x00\x04\x00\xe8\x03\x00\x00" +
	"\x04\x00\x04\x00\xff\xff\xff\xff" + "\x10\x00\x04\x00\xff\xff\xff\xff" + "\x20\x00\x00\x00\xff\xff\xff\xff"

// TestSync is the life of a client's copy: made, current, brought up to date, forgotten.
func TestSync(t *testing.T) {
	t.Parallel()
	_, tower, lappy := foreignPair(t, map[string]string{"package.env": "lab-apps/big size\n", "env/size": "LAB_MB=16\n"})
	for path, mode := range secretFiles {
		put(t, lappy, path, secretMark+" in "+path+"\n")
		if err := os.Chmod(lappy.Path(path), mode); err != nil {
			t.Fatal(err)
		}
	}
	in(t, lappy, nil, "sh", "-c", oddFiles).ok(t)
	put(t, lappy, "/usr/local/share/odd/acl", "shared with one\n")
	if err := unix.Lsetxattr(lappy.Path("/usr/local/share/odd/acl"), "system.posix_acl_access", []byte(anACL), 0); err != nil {
		t.Fatal(err)
	}
	put(t, lappy, "/opt/vendor/tool", "configured to be copied\n")
	put(t, lappy, "/opt/other/tool", "not configured to be copied\n")
	put(t, lappy, "/usr/share/games/level", "configured not to be copied\n")
	put(t, lappy, "/etc/lantage/lantage.toml", "copy = [\"/opt/vendor\"]\nno-copy = [\"/usr/share/games\"]\n")

	t.Run("show inputs", func(t *testing.T) {
		res := lantage(t, lappy, "sync", "--show-inputs").ok(t)
		res.says(t, "/usr", "/etc", "/var/db/pkg", "/var/db/repos", "/opt/vendor", "/home", "/root", "/usr/share/games")
		if !regexp.MustCompile(`\d [KMG]i?B`).MatchString(res.out) {
			t.Errorf("no sizes are said:\n%s", res.out)
		}
		if got := copies(t, tower); len(got) > 0 {
			t.Errorf("the builder has %q, though nothing was to be sent", got)
		}
	})
	t.Run("first", func(t *testing.T) {
		lantage(t, lappy, "sync").ok(t).says(t, "copied to tower", " sent")
		copied(t, tower, lappy)
	})
	t.Run("unchanged", func(t *testing.T) {
		sent := transmitted(t, lappy)
		lantage(t, lappy, "sync").ok(t).says(t, "is current on tower")
		if sent = transmitted(t, lappy) - sent; sent > 100<<10 {
			t.Errorf("%d bytes were sent to say that nothing changed", sent)
		}
	})
	t.Run("after a merge", func(t *testing.T) {
		binariesOnly(t, lantage(t, lappy, "emerge", "-1", "lab-apps/big"), "lab-apps/big-1")
		sent := transmitted(t, lappy)
		lantage(t, lappy, "sync").ok(t).saysNot(t, "is current")
		if sent = transmitted(t, lappy) - sent; sent > 16<<20/50 {
			t.Errorf("%d bytes were sent after the merge of 16 MiB that the builder has built", sent)
		}
		equalIn(t, tower, lappy, "/usr/share/lab-big", "/var/db/pkg")
		lantage(t, lappy, "sync").ok(t).says(t, "is current on tower")
		in(t, lappy, []string{"CLEAN_DELAY=0"}, "emerge", "-qC", "lab-apps/big").ok(t)
		lantage(t, lappy, "sync").ok(t).saysNot(t, "is current")
		equalIn(t, tower, lappy, "/usr/share/lab-big", "/var/db/pkg")
	})
	t.Run("a change that VDB and /etc do not show", func(t *testing.T) {
		put(t, lappy, "/usr/local/share/odd/owned", "other text, same name\n")
		lantage(t, lappy, "sync", "--full").ok(t)
		equalIn(t, tower, lappy, "/usr/local")
	})
	t.Run("gc", func(t *testing.T) {
		eventually(t, time.Minute, "the newest copy is on disk, and the one before it gone",
			func() bool { return len(copies(t, tower)) == 1 })
		contents := []string{"find", "/var/lib/lantage/roots/objects", "-type", "f", "-printf", "%P\n"} // of old trees some may still be on their way out
		before := in(t, tower, nil, contents[0], contents[1:]...).ok(t).out
		lantage(t, tower, "gc", "--dry-run", "--contents=0s").ok(t).says(t, "Would remove", "lappy")
		if after := in(t, tower, nil, contents[0], contents[1:]...).ok(t).out; after != before {
			t.Errorf("a dry run leaves %d contents of %d", strings.Count(after, "\n"), strings.Count(before, "\n"))
		}
		lantage(t, tower, "gc", "--contents=0s").ok(t).says(t, "Removed")
		if after := copies(t, tower); len(after) != 1 {
			t.Errorf("%d copies are left of one client: %q", len(after), after)
		}
		equalIn(t, tower, lappy, "/usr/local")
		lantage(t, lappy, "sync").ok(t).says(t, "is current on tower")
	})
	t.Run("forget", func(t *testing.T) {
		lantage(t, lappy, "sync", "--forget").ok(t).says(t, "tower")
		if got := copies(t, tower); len(got) > 0 {
			t.Errorf("the builder still has %q", got)
		}
		lantage(t, tower, "gc").ok(t)
		if kib := used(t, tower); kib > 1024 {
			t.Errorf("%d KiB are left of a copy that was forgotten", kib)
		}
	})
}

// copied checks a copy: what is in it, what is not, and that nobody else can read it.
func copied(t *testing.T, tower, lappy *lab.Host) {
	t.Helper()
	equalIn(t, tower, lappy, "/usr/local", "/opt/vendor", "/etc/ld.so.conf", "/etc/portage/make.conf", "/var/db/pkg",
		"/var/db/repos/lab", "/usr/lib/os-release", "/usr/bin/env", "/bin", "/lib64", "/sbin")
	dir := newestCopy(t, tower)
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(dir, "/usr/local/share/odd/sparse"), &st); err != nil {
		t.Fatal(err)
	}
	if st.Blocks*512 > st.Size/2 {
		t.Errorf("a sparse file of %d bytes takes %d on the builder", st.Size, st.Blocks*512)
	}
	for _, path := range []string{"/opt/other", "/usr/share/games/level"} {
		if _, err := os.Lstat(filepath.Join(dir, path)); !os.IsNotExist(err) {
			t.Errorf("%s was copied (%v)", path, err)
		}
	}
	if found := marked(t, tower, secretMark); found != "" {
		t.Errorf("secrets of the client are on the builder:\n%s", found)
	}
	res := in(t, tower, nil, "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "ls", rootsDir)
	if res.code == 0 {
		t.Errorf("nobody can list the copies:\n%s", res.out)
	}
}

// equalIn stops the test unless these paths are the same in the newest copy as on the client.
func equalIn(t *testing.T, tower, lappy *lab.Host, paths ...string) {
	t.Helper()
	want, err := lab.Digest(lappy, paths...)
	if err != nil {
		t.Fatal(err)
	}
	got, err := lab.DigestDir(newestCopy(t, tower), paths...)
	if err != nil {
		t.Fatal(err)
	}
	for path := range want {
		if strings.HasSuffix(path, ".portage_lockfile") { // comes and goes with each emerge
			delete(want, path)
			delete(got, path)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("the copy differs (-client +copy):\n%s", diff)
	}
}

// transmitted is how many bytes a host has sent.
func transmitted(t *testing.T, h *lab.Host) int {
	t.Helper()
	out := in(t, h, nil, "cat", "/sys/class/net/eth0/statistics/tx_bytes").ok(t).out
	n, err := strconv.Atoi(strings.TrimSpace(out))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// arrived counts the files that a builder keeps of its clients' roots, in copies and outside them.
func arrived(t *testing.T, tower *lab.Host) (n int) {
	t.Helper()
	_ = filepath.WalkDir(tower.Path(rootsDir), func(_ string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() { // others vanish meanwhile
			n++
		}
		return nil
	})
	return n
}

// syncing starts a sync, and stops its process when many of the files have arrived, but not nearly all.
func syncing(t *testing.T, tower, lappy *lab.Host, args ...string) *running {
	t.Helper()
	r := start(t, lappy, args...)
	eventually(t, time.Minute, "files arrive", func() bool { return arrived(t, tower) > 1500 || r.over() })
	if r.over() {
		t.Fatalf("it is over before it can be disturbed; it said:\n%s", r.out)
	}
	r.signal(syscall.SIGSTOP)
	return r
}

// filesSent is what sync says that it sent.
var filesSent = regexp.MustCompile(`([\d,]+) files?, [\d.]+ [KMGT]?i?B sent`)

// TestSyncInterrupted: a sync that is killed leaves nothing that is used, and the next one sends only what is missing.
func TestSyncInterrupted(t *testing.T) {
	t.Parallel()
	_, tower, lappy := foreignPair(t, nil)
	r := syncing(t, tower, lappy, "sync")
	if got := copies(t, tower); len(got) > 0 {
		t.Errorf("there is a copy already: %q", got)
	}
	r.signal(syscall.SIGKILL)
	<-r.done
	kept := arrived(t, tower)
	res := lantage(t, lappy, "sync").ok(t)
	m := filesSent.FindStringSubmatch(res.out)
	if m == nil {
		t.Fatalf("it does not say what was sent; it said:\n%s", res.out)
	}
	sent, err := strconv.Atoi(strings.ReplaceAll(m[1], ",", ""))
	if err != nil {
		t.Fatal(err)
	}
	all := len(filesIn(t, newestCopy(t, tower)))
	if sent > all-kept/2 {
		t.Errorf("%d of %d files were sent, though %d had arrived before", sent, all, kept)
	}
	equalIn(t, tower, lappy, "/usr/bin", "/etc/ld.so.conf", "/var/db/pkg", "/var/db/repos/lab")

	// The same, of the sync that comes before a job.
	lantage(t, lappy, "sync", "--forget").ok(t)
	lantage(t, tower, "gc").ok(t)
	r = syncing(t, tower, lappy, "emerge", "-1", "lab-five/p1")
	r.signal(syscall.SIGKILL)
	<-r.done
	binariesOnly(t, lantage(t, lappy, "emerge", "-1", "lab-five/p1"), "lab-five/p1-1")
	in(t, lappy, nil, "lab-p1").ok(t)
}

// TestSyncWhileChanging: files that change and packages that are merged while a sync runs are in the copy that it makes.
func TestSyncWhileChanging(t *testing.T) {
	t.Parallel()
	_, tower, lappy := foreignPair(t, nil)
	in(t, lappy, nil, "emerge", "-q", "--buildpkgonly", "lab-five/p1").ok(t)
	// One file of those that go first, one of those that go last, as far as names decide.
	early, late := "/etc/aaa-early", "/var/db/repos/lab/zzz-late"
	for _, path := range []string{early, late} {
		put(t, lappy, path, strings.Repeat("old\n", 1<<20))
	}
	r := syncing(t, tower, lappy, "sync")
	for _, path := range []string{early, late} {
		put(t, lappy, path, strings.Repeat("new, and longer\n", 1<<18))
	}
	in(t, lappy, nil, "emerge", "-q1K", "lab-five/p1").ok(t)
	r.signal(syscall.SIGCONT)
	r.end(2 * time.Minute).ok(t)
	equalIn(t, tower, lappy, late, "/var/db/pkg", "/usr/bin", "/etc/ld.so.conf")
	lantage(t, lappy, "sync").ok(t)
	equalIn(t, tower, lappy, early, late)
	lantage(t, lappy, "sync").ok(t).says(t, "is current on tower")
}

// TestSyncNoRoom: a builder without room for a copy says so before it is full, and the client builds by itself.
func TestSyncNoRoom(t *testing.T) {
	t.Parallel()
	l := newLab(t, lab.HostSpec{Name: "tower", Foreign: true}, lab.HostSpec{Name: "lappy"})
	tower, lappy := l.Host("tower"), l.Host("lappy")
	tiny(t, tower, "/var/lib/lantage", "64m")
	serve(t, tower, "--bases=auto")
	room := regexp.MustCompile(`(?i)\b(room|space)\b`)
	if res := lantage(t, lappy, "sync"); res.code != 1 || !room.MatchString(res.out) {
		t.Errorf("exit status %d; it said:\n%s", res.code, res.out)
	}
	if n := arrived(t, tower); n > 20 {
		t.Errorf("%d files were sent before anybody looked whether there is room", n)
	}
	res := lantage(t, lappy, "emerge", "-1", "lab-five/p1").ok(t).says(t, "Going on here")
	if !room.MatchString(res.out) {
		t.Errorf("it does not say why; it said:\n%s", res.out)
	}
	in(t, lappy, nil, "lab-p1").ok(t)
}

// TestSyncNotRoot: only root can read a whole root.
func TestSyncNotRoot(t *testing.T) {
	t.Parallel()
	_, _, lappy := foreignPair(t, nil)
	in(t, lappy, nil, "setpriv", "--reuid=1000", "--regid=1000", "--clear-groups", "env", "HOME=/home/larry", "lantage", "sync").
		is(t, 1).says(t, "root")
}
