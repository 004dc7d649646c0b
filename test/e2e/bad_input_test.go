package e2e

import (
	"bytes"
	endian "encoding/binary"
	"encoding/json"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"lantage/test/lab"
)

// TestServeRefuses: what a builder lacks is said at its start, with what to do.
func TestServeRefuses(t *testing.T) {
	t.Parallel()
	_, tower, lappy := pair(t, nil)
	serve(t, tower)
	t.Run("port in use", func(t *testing.T) {
		lantage(t, tower, "serve", "--state-dir", "/var/lib/second").is(t, 1).
			says(t, ":8473 is in use", "lantage serve --listen :8474").saysNot(t, "ready for jobs")
	})
	t.Run("state directory in use", func(t *testing.T) {
		lantage(t, tower, "serve", "--listen", ":8474").is(t, 1).says(t, "another lantage serve uses /var/lib/lantage")
	})
	t.Run("not root", func(t *testing.T) {
		in(t, tower, nil, "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "lantage", "serve").
			is(t, 1).says(t, "must run as root")
	})
	t.Run("overlay", func(t *testing.T) {
		lantage(t, lappy, "serve", "--bases=host").is(t, 1).
			says(t, "/ is an overlay file system, which cannot be the base of a build root", "--bases DIR").
			saysNot(t, "ready for jobs")
	})
	t.Run("user namespaces are switched off", func(t *testing.T) {
		in(t, tower, nil, "sh", "-c", withoutUserNamespaces).is(t, 1).
			says(t, "user namespaces are switched off: sysctl user.max_user_namespaces=10000")
	})
}

// withoutUserNamespaces starts a builder where user namespaces are switched off. The limit belongs to a user
// namespace, and this one is made for it: the machine's own limit stays what it is. All IDs are mapped, as in
// a container that has them all.
const withoutUserNamespaces = `
mkfifo /tmp/go
unshare --user sh -c 'read -r _ < /tmp/go
	exec sh -c "echo 0 > /proc/sys/user/max_user_namespaces &&
		exec lantage serve --listen :8475 --state-dir /var/lib/third"' &
pid=$!
while [ "$(readlink /proc/$pid/ns/user)" = "$(readlink /proc/self/ns/user)" ]; do :; done
echo 0 0 4294967295 > /proc/$pid/uid_map
echo 0 0 4294967295 > /proc/$pid/gid_map
echo > /tmp/go
wait $pid`

// tiny mounts a small file system of its own at a directory of a host.
func tiny(t *testing.T, h *lab.Host, dir, size string) {
	t.Helper()
	in(t, h, nil, "sh", "-c", "mkdir -p "+dir+" && mount -t tmpfs -o mode=755,size="+size+" tmpfs "+dir).ok(t)
}

// TestDiskFull: a full or read-only disk on either side is said, and nothing is lost but what had no room.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	_, tower, lappy := pair(t, map[string]string{
		"package.env": "lab-apps/big size\n",
		"env/size":    "LAB_MB=6\n",
	})
	tiny(t, tower, "/var/lib/tiny", "64m")
	d := serve(t, tower, "--state-dir", "/var/lib/tiny", "--keep-free=0")

	t.Run("PKGDIR is read-only", func(t *testing.T) {
		tiny(t, lappy, "/var/cache/binpkgs", "3m")
		in(t, lappy, nil, "mount", "-o", "remount,ro", "/var/cache/binpkgs").ok(t)
		lantage(t, lappy, "emerge", "-1", "lab-apps/big").is(t, 1).
			says(t, "/var/cache/binpkgs takes no binary packages", "read-only", "Nothing was sent to a builder")
		if said := d.log.String(); strings.Contains(said, "job accepted") {
			t.Errorf("a job was submitted all the same:\n%s", said)
		}
		in(t, lappy, nil, "mount", "-o", "remount,rw", "/var/cache/binpkgs").ok(t)
	})
	t.Run("PKGDIR is full", func(t *testing.T) {
		res := lantage(t, lappy, "emerge", "-1", "lab-five/p1", "lab-apps/big").is(t, 1)
		res.says(t, "no space left on device", "The job on tower", "1 of 2 packages arrived",
			"Make room and run the same command again")
		if found := binpkgs(t, lappy); len(found) != 1 || !strings.HasPrefix(found[0], "lab-five/p1/") {
			t.Errorf("in PKGDIR: %q, want p1 alone", found)
		}
		in(t, lappy, nil, "umount", "/var/cache/binpkgs").ok(t)
		mark := d.log.mark()
		lantage(t, lappy, "emerge", "-1", "lab-five/p1", "lab-apps/big").ok(t)
		if said := d.log.since(mark); !strings.Contains(said, "reused=2") {
			t.Errorf("not answered from the cache:\n%s", said)
		}
		in(t, lappy, nil, "sh", "-c", "cd /usr/share/lab-big && sha256sum -c data.sha256").ok(t)
	})
	t.Run("the builder's disk is full", func(t *testing.T) {
		put(t, lappy, "/etc/portage/env/size", "LAB_MB=90\n")
		lantage(t, lappy, "emerge", "-1", "lab-apps/big").is(t, 1).
			says(t, "lab-apps/big-1 FAILED on the builder in compile", "No space left on device",
				"The whole log: /var/log/lantage/")
		put(t, lappy, "/etc/portage/env/size", "LAB_MB=1\n")
		lantage(t, lappy, "emerge", "-B", "lab-apps/big").ok(t) // and it goes on
	})
}

// binpkgs are the files that Portage sees in a host's PKGDIR, without its index.
func binpkgs(t *testing.T, h *lab.Host) (list []string) {
	t.Helper()
	top := h.Path("/var/cache/binpkgs")
	err := filepath.WalkDir(top, func(path string, e os.DirEntry, err error) error {
		name := strings.TrimPrefix(path, top+"/")
		if err == nil && !e.IsDir() && name != "Packages" && name != "Packages.gz" && !strings.HasSuffix(name, ".provenance.json") {
			list = append(list, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// preface is what a peer says first: a preface with the versions that it speaks.
func preface(oldest, newest uint16) []byte {
	b := endian.BigEndian.AppendUint16([]byte("LANTAGE\n"), oldest)
	return endian.BigEndian.AppendUint16(b, newest)
}

// TestOtherVersions: peers of another version, and peers that are none, are told apart on both sides.
func TestOtherVersions(t *testing.T) {
	t.Parallel()
	_, tower, lappy := pair(t, nil)
	d := serve(t, tower, "--plain")
	for i, c := range []struct {
		name          string
		says          []byte
		client, there string // what the client says of such a builder, what the daemon says of such a client
	}{
		{"older", preface(0, 0), "an older Lantage; update it", "an older Lantage"},
		{"newer", preface(2, 9), "a newer Lantage; update this one", "a newer Lantage"},
		{
			"not Lantage", []byte("SSH-2.0-OpenSSH_9.9\r\n"),
			"does not speak Lantage's protocol", "does not speak Lantage's protocol",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			port := 9000 + i
			listenOn(t, tower, port, func(conn net.Conn) {
				_, _ = conn.Write(c.says)
				_, _ = io.Copy(io.Discard, conn)
			})
			lantage(t, lappy, "--plain", "--builder", "tower:"+strconv.Itoa(port), "--no-fallback",
				"emerge", "-1", "lab-five/p1").is(t, 4).says(t, "the builder cannot be reached", c.client)
			conn := dialFrom(t, lappy, tower.IP()+":8473")
			_, _ = conn.Write(c.says)
			d.log.wait(t, c.there)
		})
	}
	lantage(t, lappy, "--plain", "list-builders").ok(t).says(t, "tower")
}

// TestHostilePeers: whatever comes to the port does not harm a job that runs, and the daemon's memory stays
// bounded.
func TestHostilePeers(t *testing.T) {
	t.Parallel()
	_, tower, lappy := pair(t, sleeperEnv(6))
	d := serve(t, tower, "--plain")
	r := start(t, lappy, "--plain", "--no-fallback", "emerge", "-1", "lab-apps/sleeper")
	eventually(t, 2*time.Minute, "sleeper is compiled", func() bool { return runs(t, tower, "sleep 6") })

	addr := tower.IP() + ":8473"
	hello, err := json.Marshal(map[string]string{"name": "mallory", "software": "0"})
	if err != nil {
		t.Fatal(err)
	}
	greeted := append(preface(1, 1), frame(1, len(hello), hello)...)
	for _, bytes := range [][]byte{
		bytes.Repeat([]byte("GET / HTTP/1.1\r\n"), 1<<16),                  // garbage
		bytes.Repeat([]byte{0}, 1<<20),                                     // more of it
		append(preface(1, 1), frame(1, 0xffffffff, nil)...),                // a hello of 4 GiB
		append(append([]byte{}, greeted...), frame(4, 0x7fffffff, nil)...), // a job of 2 GiB
		append(append([]byte{}, greeted...), frame(99, 3, []byte("abc"))...),
		append(append([]byte{}, greeted...), frame(4, 2, []byte("{}"))...),
		append(append([]byte{}, greeted...), frame(4, 1<<20, bytes.Repeat([]byte("["), 1<<20))...),
	} {
		conn := dialFrom(t, lappy, addr)
		go func() { _, _ = conn.Write(bytes) }()
	}
	slow := dialFrom(t, lappy, addr)
	go func() {
		for _, b := range greeted {
			if _, err := slow.Write([]byte{b}); err != nil {
				return
			}
			time.Sleep(time.Second) // slower than it is given time for
		}
	}()
	for range 200 { // half-open, and more than the daemon takes at once
		dialFrom(t, lappy, addr)
	}
	r.end(2*time.Minute).ok(t).says(t, "lab-apps/sleeper-1 built")
	if peak := peakMemory(t, tower, pidOf(t, tower, "lantage serve --plain --bases=host")); peak > 64<<20 {
		t.Errorf("the daemon had %d MiB", peak>>20)
	}
	eventually(t, 30*time.Second, "the silent ones are sent away", func() bool {
		return strings.Contains(lantage(t, lappy, "--plain", "list-builders", "--wait=300ms").out, "tower")
	})
	if said := d.log.String(); strings.Contains(said, "panic") {
		t.Errorf("the daemon said:\n%s", said)
	}
}

// frame is a frame whose header announces n bytes.
func frame(kind byte, n int, body []byte) []byte {
	b := endian.BigEndian.AppendUint32([]byte{kind}, uint32(n))
	return append(b, body...)
}

// peakMemory is the most that a process of a host has had resident, in bytes.
func peakMemory(t *testing.T, h *lab.Host, pid int) int {
	t.Helper()
	text, err := os.ReadFile(h.Path("/proc/" + strconv.Itoa(pid) + "/status"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "VmHWM:")
	kib, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return kib << 10
}

// TestTampered: what is changed on its way never becomes visible in PKGDIR, be it the bytes or what was
// declared of them.
func TestTampered(t *testing.T) {
	t.Parallel()
	_, tower, lappy := pair(t, nil)
	serve(t, tower, "--plain") // else nobody on the way could
	for i, c := range []struct {
		name   string
		change func(kind byte, body []byte)
		says   string
	}{
		{"bytes", func(kind byte, body []byte) {
			if kind == 10 && len(body) > 1000 { // data
				body[len(body)/2] ^= 1
			}
		}, ""},
		{"declared hash", func(_ byte, body []byte) {
			if at := bytes.Index(body, []byte(`"sha256":"`)); at >= 0 {
				digit := &body[at+len(`"sha256":"`)]
				*digit = map[bool]byte{true: '1', false: '0'}[*digit == '0']
			}
		}, "is not what was declared; nothing of it is kept"},
	} {
		t.Run(c.name, func(t *testing.T) {
			port := 9100 + i
			listenOn(t, lappy, port, func(down net.Conn) {
				up := dialFrom(t, lappy, tower.IP()+":8473")
				go func() { _, _ = io.Copy(up, down); up.Close() }()
				forward(down, up, c.change)
			})
			res := lantage(t, lappy, "--plain", "--builder", lappy.IP()+":"+strconv.Itoa(port), "--no-fallback",
				"emerge", "-1", "lab-five/p1")
			if res.code == 0 {
				t.Errorf("the command ended well; it said:\n%s", res.out)
			}
			res.says(t, "0 of 1 package arrived", c.says)
			if found := binpkgs(t, lappy); len(found) > 0 {
				t.Errorf("in PKGDIR: %q", found)
			}
		})
	}
	lantage(t, lappy, "--plain", "emerge", "-1", "lab-five/p1").ok(t)
	in(t, lappy, nil, "lab-p1").ok(t)
}

// forward copies what a builder sends, frame for frame, with changes.
func forward(down, up net.Conn, change func(kind byte, body []byte)) {
	defer up.Close()
	if _, err := io.CopyN(down, up, 12); err != nil { // the preface
		return
	}
	for {
		var header [5]byte
		if _, err := io.ReadFull(up, header[:]); err != nil {
			return
		}
		body := make([]byte, endian.BigEndian.Uint32(header[1:]))
		if _, err := io.ReadFull(up, body); err != nil {
			return
		}
		change(header[0], body)
		if _, err := down.Write(append(header[:], body...)); err != nil {
			return
		}
	}
}

// TestMissingOnBuilder: a builder whose repository lacks the profile or the version says which, and it is
// built here.
func TestMissingOnBuilder(t *testing.T) {
	t.Parallel()
	_, tower, lappy := pair(t, nil)
	d := serve(t, tower)
	t.Run("version", func(t *testing.T) {
		in(t, lappy, nil, "sh", "-c", "cd /var/db/repos/lab/lab-five/p1 && cp p1-1.ebuild p1-7.ebuild").ok(t)
		lantage(t, lappy, "--no-fallback", "emerge", "-1", "lab-five/p1").is(t, 4).
			says(t, `its repository "lab" is in another state (contents `, "--ignore-revisions")
		lantage(t, lappy, "--ignore-revisions", "emerge", "-1", "lab-five/p1").ok(t).
			says(t, "lab-five/p1-7", `the builder's repository "lab" has no such version`, "emaint sync -r lab")
		in(t, lappy, nil, "test", "-d", "/var/db/pkg/lab-five/p1-7").ok(t)
	})
	t.Run("profile", func(t *testing.T) {
		in(t, lappy, nil, "sh", "-c", "cd /var/db/repos/lab/profiles && cp -a default other && "+
			"ln -sfn ../../var/db/repos/lab/profiles/other /etc/portage/make.profile").ok(t)
		res := lantage(t, lappy, "--no-fallback", "emerge", "-1", "lab-five/p2").is(t, 4)
		res.says(t, "cannot be built there", `repository "lab" has no profile "other"`, "emaint sync -r lab")
		lantage(t, lappy, "emerge", "-1", "lab-five/p2").ok(t).says(t, `has no profile "other"`)
		in(t, lappy, nil, "lab-p2").ok(t)
	})
	if said := d.log.String(); strings.Contains(said, "level=ERROR") {
		t.Errorf("the daemon took it for a fault of its own:\n%s", said)
	}
}
