package e2e

import (
	"context"
	"crypto/sha512"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/blake2b"

	"lantage/test/lab"
)

// sourceRepo makes a repository of packages whose sources are distfiles with these contents by name, each installed as it
// is. A package is named for what it is; its ebuild has the lines, and its sources are those of the names that they mention.
func sourceRepo(t *testing.T, h *lab.Host, ebuilds, distfiles map[string]string) {
	t.Helper()
	const repo = "/var/db/repos/sources/"
	put(t, h, "/etc/portage/repos.conf/sources.conf", "[sources]\nlocation = "+repo+"\nauto-sync = no\n")
	put(t, h, repo+"profiles/repo_name", "sources\n")
	put(t, h, repo+"profiles/categories", "lab-src\n")
	put(t, h, repo+"metadata/layout.conf", "masters = lab\nthin-manifests = true\nsign-manifests = false\nmanifest-hashes = BLAKE2B SHA512\n")
	for name, lines := range ebuilds {
		manifest := ""
		for file, content := range distfiles {
			if strings.Contains(lines, file) {
				manifest += fmt.Sprintf("DIST %s %d BLAKE2B %x SHA512 %x\n", file, len(content), blake2b.Sum512([]byte(content)),
					sha512.Sum512([]byte(content)))
			}
		}
		put(t, h, repo+"lab-src/"+name+"/Manifest", manifest)
		put(t, h, repo+"lab-src/"+name+"/"+name+"-1.ebuild", `EAPI=8
DESCRIPTION="Installs its sources"
`+lines+`
S="${WORKDIR}"
SLOT="0"
KEYWORDS="amd64 arm64"

src_install() {
	insinto /usr/share/lab-src
	local a
	for a in ${A}; do
		doins "${DISTDIR}/${a}"
	done
}
`)
	}
}

// slowServer is an HTTP server that prints each request, and answers it with what somebody then writes to the FIFO.
const slowServer = `
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        print("GET", self.path, flush=True)
        body = open("/root/go").read().encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args): pass
server = http.server.ThreadingHTTPServer(("", 8000), Handler)
print("serving", flush=True)
server.serve_forever()
`

// wget stands in for wget, as Portage's own FETCHCOMMAND calls it.
const wget = `#!/usr/bin/env python3
import sys, urllib.request
urllib.request.urlretrieve(sys.argv[-1], sys.argv[sys.argv.index("-O") + 1])
`

// noMirrors keeps Portage from asking the internet.
const noMirrors = "GENTOO_MIRRORS=\"\"\n"

// TestDistfiles: what a client has of sources and a builder cannot get is sent; what is corrupt is not; and what one
// job has downloaded no other job downloads.
func TestDistfiles(t *testing.T) {
	t.Parallel()
	l := newLab(t,
		lab.HostSpec{Name: "tower", Builder: true},
		lab.HostSpec{Name: "lappy", Files: map[string]string{"make.conf": clientConf("shout", "lappy") + noMirrors + "FEATURES=-distlocks\n"}},
		lab.HostSpec{Name: "red", Files: map[string]string{"make.conf": clientConf("shout", "red") + noMirrors}})
	tower, lappy, red := l.Host("tower"), l.Host("lappy"), l.Host("red")
	server := "http://" + red.IP() + ":8000/"
	ebuilds := map[string]string{
		"byhand":  "RESTRICT=fetch\nSRC_URI=https://example.org/byhand.txt",
		"gone":    "SRC_URI=http://127.0.0.1:9/gone.txt",
		"corrupt": "RESTRICT=fetch\nSRC_URI=http://127.0.0.1:9/corrupt.txt",
		"both":    "SRC_URI=\"" + server + "once.txt " + server + "later.txt\"",
		"once":    "SRC_URI=" + server + "once.txt",
		"renamed": "SRC_URI=\"" + server + "gone -> later.txt\"",
	}
	distfiles := map[string]string{
		"byhand.txt": "of the hand\n", "gone.txt": "of a mirror that is gone\n", "corrupt.txt": "sound\n",
		"once.txt": "of the server\n", "later.txt": "of the server, too\n",
	}
	for _, h := range []*lab.Host{tower, lappy, red} {
		sourceRepo(t, h, ebuilds, distfiles)
		put(t, h, "/usr/local/bin/wget", wget)
		in(t, h, nil, "chmod", "755", "/usr/local/bin/wget").ok(t)
	}
	const dir = "/var/cache/distfiles/"
	put(t, lappy, dir+"byhand.txt", distfiles["byhand.txt"])
	put(t, lappy, dir+"gone.txt", distfiles["gone.txt"])
	put(t, lappy, dir+"corrupt.txt", "wrong\n")
	put(t, red, dir+"byhand.txt", distfiles["byhand.txt"])
	serve(t, tower, "--bases=auto", "--max-jobs=2")

	installed := func(t *testing.T, h *lab.Host, file string) {
		t.Helper()
		if got := in(t, h, nil, "cat", "/usr/share/lab-src/"+file).ok(t).out; got != distfiles[file] {
			t.Errorf("%s from the builder is %q", file, got)
		}
	}
	shared := tower.Path("/var/lib/lantage/distfiles")
	t.Run("by hand, base host", func(t *testing.T) {
		lantage(t, lappy, "--base=host", "--no-fallback", "emerge", "lab-src/byhand").
			says(t, "1 distfile of this machine's sent to tower", "lab-src/byhand-1 built in").ok(t)
		installed(t, lappy, "byhand.txt")
	})
	t.Run("another client has it too, or not", func(t *testing.T) {
		has, names := dir+"byhand.txt", dir+"byhand.away"
		in(t, red, nil, "mv", has, names).ok(t)
		in(t, red, nil, "truncate", "-s", fmt.Sprint(len(distfiles["byhand.txt"])), has).ok(t) // it offers what it has not got
		lantage(t, red, "--base=host", "--no-fallback", "emerge", "lab-src/byhand").
			says(t, has+" is not sent to tower").saysNot(t, "lab-src/byhand-1 built in").is(t, 1)
		in(t, red, nil, "mv", names, has).ok(t)
		lantage(t, red, "--base=host", "--no-fallback", "emerge", "lab-src/byhand").
			says(t, "1 distfile of this machine's sent to tower", "lab-src/byhand-1 built in").ok(t)
		installed(t, red, "byhand.txt")
	})
	t.Run("a mirror that is gone, base client", func(t *testing.T) {
		lantage(t, lappy, "--base=client", "--no-fallback", "emerge", "lab-src/gone").
			says(t, "1 distfile of this machine's sent to tower", "lab-src/gone-1 built in").ok(t)
		installed(t, lappy, "gone.txt")
		if names := namesIn(t, shared); len(names) > 0 {
			t.Errorf("what was sent is in the DISTDIR of all jobs: %q", names)
		}
	})
	t.Run("corrupt", func(t *testing.T) {
		lantage(t, lappy, "--base=host", "--no-fallback", "emerge", "lab-src/corrupt").
			says(t, dir+"corrupt.txt is not sent to tower", "it is not what the Manifest says", "lab-src/corrupt-1 FAILED on the builder in fetch",
				"The following files cannot be fetched").is(t, 1)
		if n := len(namesIn(t, tower.Path("/var/lib/lantage/distfiles-sent"))); n != 2+3 {
			t.Errorf("%d files of clients are kept, want 2 and 3 notes of who has sent them", n)
		}
	})
	t.Run("one download", func(t *testing.T) {
		requests := serveSlowly(t, red)
		first := start(t, red, "--base=host", "--no-fallback", "emerge", "lab-src/both")
		requests.wait(t, "GET /once.txt")
		put(t, red, "/root/go", distfiles["once.txt"])
		requests.wait(t, "GET /later.txt")
		kept := func(n int) {
			eventually(t, time.Minute, "what was downloaded is kept", func() bool { return len(namesIn(t, shared)) == n })
		}
		kept(1) // while the job that has it goes on
		lantage(t, lappy, "--base=client", "--no-fallback", "emerge", "lab-src/once").ok(t).says(t, "lab-src/once-1 built in")
		put(t, red, "/root/go", distfiles["later.txt"])
		first.end(2*time.Minute).ok(t).says(t, "lab-src/both-1 built in")
		kept(2)
		lantage(t, lappy, "--base=host", "--no-fallback", "emerge", "lab-src/renamed").ok(t).says(t, "lab-src/renamed-1 built in")
		if n := strings.Count(requests.String(), "GET"); n != 2 {
			t.Errorf("%d downloads:\n%s", n, requests)
		}
		installed(t, red, "once.txt")
		for _, file := range []string{"once.txt", "later.txt"} {
			installed(t, lappy, file)
		}
	})
}

// serveSlowly starts slowServer on a host and returns what it prints.
func serveSlowly(t *testing.T, h *lab.Host) *watched {
	t.Helper()
	in(t, h, nil, "mkfifo", "/root/go").ok(t)
	requests := newWatched()
	cmd := h.Command(context.Background(), "python3", "-c", slowServer)
	cmd.Stdout, cmd.Stderr = requests, requests
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = signal(cmd, syscall.SIGTERM)
		_ = cmd.Wait()
	})
	requests.wait(t, "serving")
	return requests
}

// namesIn are the names in a directory but hidden ones.
func namesIn(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") {
			names = append(names, e.Name())
		}
	}
	return names
}
