package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"lantage/test/lab"
	"lantage/trust"
)

// Flags of a client that nobody has told whom to trust.
const asksAboutNew = "--accept-new=false"

var fingerprintRE = regexp.MustCompile(`SHA256:[A-Za-z0-9+/]{43}`)

// keyOf is the key of a host that runs a daemon, as it shows it itself.
func keyOf(t *testing.T, h *lab.Host) string {
	t.Helper()
	res := lantage(t, h, "trust", "list").ok(t)
	key := fingerprintRE.FindString(res.out)
	if key == "" {
		t.Fatalf("%s shows no key of its own: %s", h.Name, res.out)
	}
	return key
}

// answer types a line once the terminal shows a text.
func (r *running) answer(t *testing.T, question, line string) {
	t.Helper()
	r.out.wait(t, question)
	if _, err := r.tty.WriteString(line + "\n"); err != nil {
		t.Fatal(err)
	}
}

// TestMeeting: a builder that was never met is asked about once, is known by its key from then on, and can be revoked and forgotten; a
// client is noted at first sight, and its revocation ends what runs of it.
func TestMeeting(t *testing.T) {
	t.Parallel()
	_, tower, lappy := pair(t, sleeperEnv(600))
	d := serve(t, tower)
	key := keyOf(t, tower)

	t.Run("nobody to ask", func(t *testing.T) {
		lantage(t, lappy, asksAboutNew, "--no-fallback", "emerge", "-1", "lab-five/p1").is(t, 4).
			says(t, "never met before", key, "in a terminal", "lantage pair", "--accept-new")
		if said := d.log.String(); strings.Contains(said, "job accepted") || strings.Contains(said, "first time") {
			t.Errorf("the builder was told something:\n%s", said)
		}
		lantage(t, lappy, "list-builders").ok(t).says(t, "TRUST", "new")
	})
	t.Run("no", func(t *testing.T) {
		r := startTTY(t, lappy, 100, asksAboutNew, "--no-fallback", "emerge", "-1", "lab-five/p1")
		r.answer(t, "[yes/no/fingerprint]", "no")
		r.end(time.Minute).is(t, 4).says(t, key, tower.IP())
	})
	t.Run("fingerprint", func(t *testing.T) {
		r := startTTY(t, lappy, 100, asksAboutNew, "--no-fallback", "emerge", "-B", "lab-five/p1")
		r.answer(t, "[yes/no/fingerprint]", "SHA256:"+strings.Repeat("A", 43))
		r.answer(t, "That is not its key", key)
		r.end(2*time.Minute).ok(t).says(t, "is known from now on")
		lantage(t, lappy, "trust", "list").ok(t).says(t, "builder", "tower", key, "trusted")
		lantage(t, tower, "trust", "list").ok(t).says(t, "client", "lappy", "seen")
	})
	t.Run("known", func(t *testing.T) {
		lantage(t, lappy, asksAboutNew, "--no-fallback", "emerge", "-B", "lab-five/p2").ok(t).saysNot(t, "known from now on")
		lantage(t, lappy, "list-builders").ok(t).says(t, "known")
		lantage(t, lappy, "verify", "lab-five/p2").ok(t).says(t, key)
	})
	t.Run("doctor", func(t *testing.T) {
		lantage(t, tower, "doctor").ok(t).says(t, "pass  lantage serve runs as tower", "--allow=lan", key, "clients that are known: 0 trusted, 1 seen",
			"pass  a build root was made", "limit job-memory", "limit job-disk")
		lantage(t, lappy, "doctor").ok(t).says(t, "pass  Portage answers", "builders that are known: 1 trusted", "pass  builder tower",
			"this machine is no builder")
		in(t, lappy, nil, "chmod", "644", "/var/lib/lantage/key.pem").ok(t)
		lantage(t, lappy, "doctor").is(t, 1).says(t, "fail  ", "others may read", "→ rm /var/lib/lantage/key.pem", "1 of these must be mended")
		in(t, lappy, nil, "chmod", "600", "/var/lib/lantage/key.pem").ok(t)
	})
	t.Run("builder revoked", func(t *testing.T) {
		lantage(t, lappy, "trust", "revoke", "tower").ok(t)
		lantage(t, lappy, "--no-fallback", "emerge", "-1", "lab-five/p1").is(t, 4).says(t, "revoked", "lantage trust allow tower")
		lantage(t, lappy, "trust", "forget", "tower").ok(t)
		lantage(t, lappy, asksAboutNew, "--no-fallback", "emerge", "-1", "lab-five/p1").is(t, 4).says(t, "never met before")
		lantage(t, lappy, "--no-fallback", "emerge", "-B", "lab-five/p1").ok(t).says(t, "is known from now on")
	})
	t.Run("builder revoked while it builds", func(t *testing.T) {
		r := start(t, lappy, "--no-fallback", "emerge", "-1", "lab-apps/sleeper")
		eventually(t, 2*time.Minute, "sleeper is compiled", func() bool { return sleepers(t, tower) })
		lantage(t, lappy, "trust", "revoke", "tower").ok(t)
		if res := r.end(time.Minute); res.code == 0 || !strings.Contains(res.out, "was revoked here meanwhile") {
			t.Errorf("exit status %d; it said:\n%s", res.code, res.out)
		}
		eventually(t, time.Minute, "the job has ended", func() bool { return !sleepers(t, tower) })
		lantage(t, lappy, "trust", "allow", "tower").ok(t)
	})
	t.Run("client revoked", func(t *testing.T) {
		r := start(t, lappy, "--no-fallback", "emerge", "-1", "lab-apps/sleeper")
		eventually(t, 2*time.Minute, "sleeper is compiled", func() bool { return sleepers(t, tower) })
		lantage(t, tower, "trust", "revoke", "lappy").ok(t)
		if res := r.end(time.Minute); res.code == 0 || !strings.Contains(res.out, "revoked") {
			t.Errorf("exit status %d; it said:\n%s", res.code, res.out)
		}
		eventually(t, time.Minute, "the job has ended", func() bool { return !sleepers(t, tower) })
		lantage(t, lappy, "--no-fallback", "emerge", "-B", "lab-five/p2").is(t, 4).says(t, "its owner has revoked")
		lantage(t, tower, "trust", "allow", "lappy").ok(t)
		lantage(t, lappy, "--no-fallback", "emerge", "-B", "lab-five/p2").ok(t)
	})
}

// TestPairing: a builder that takes only paired machines takes those that have typed its code, and no others.
func TestPairing(t *testing.T) {
	t.Parallel()
	_, tower, lappy := pair(t, nil)
	lantage(t, tower, "pair").is(t, 1) // as a client: nobody types a code
	serve(t, tower, "--allow=paired")
	lantage(t, lappy, "--no-fallback", "emerge", "-1", "lab-five/p1").is(t, 4).says(t, "paired machines only", "lantage pair")
	lantage(t, lappy, "pair", "123456").is(t, 1).says(t, "does not wait for a machine to be paired")

	waiting := start(t, tower, "pair")
	waiting.out.wait(t, "has the key")
	code := regexp.MustCompile(`\d{3}-\d{3}`).FindString(waiting.out.String())
	wrong := "000-000"
	if code == wrong {
		wrong = "000-001"
	}
	lantage(t, lappy, "pair", wrong).is(t, 1).says(t, "nothing is paired", "the code is another")
	lantage(t, lappy, asksAboutNew, "pair", code).ok(t).says(t, "Paired with tower", keyOf(t, tower))
	waiting.end(time.Minute).ok(t).says(t, "Paired with lappy")
	lantage(t, lappy, "pair", code).is(t, 1) // it was for once
	lantage(t, lappy, asksAboutNew, "--no-fallback", "emerge", "-B", "lab-five/p1").ok(t)

	waiting = start(t, tower, "pair")
	waiting.out.wait(t, "has the key")
	code = regexp.MustCompile(`\d{3}-\d{3}`).FindString(waiting.out.String())
	if code == wrong {
		t.Skip("the code is the one that is to be wrong") // once in a million
	}
	for range 3 {
		lantage(t, lappy, "pair", wrong).is(t, 1)
	}
	waiting.end(time.Minute).is(t, 1).says(t, "nothing is paired", "3 tries with a wrong code", lappy.IP())
	lantage(t, lappy, "pair", code).is(t, 1)
}

// recorder keeps what goes over a connection, both ways.
type recorder struct {
	mu       sync.Mutex
	up, down bytes.Buffer
}

func (r *recorder) relay(down, up net.Conn) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(lockedWriter{r, &r.up, up}, down)
		up.Close()
	}()
	_, _ = io.Copy(lockedWriter{r, &r.down, down}, up)
	down.Close()
	<-done
}

type lockedWriter struct {
	r    *recorder
	keep *bytes.Buffer
	to   io.Writer
}

func (w lockedWriter) Write(p []byte) (int, error) {
	w.r.mu.Lock()
	w.keep.Write(p)
	w.r.mu.Unlock()
	return w.to.Write(p)
}

func (r *recorder) texts() (up, down []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return bytes.Clone(r.up.Bytes()), bytes.Clone(r.down.Bytes())
}

// TestAttackers: a third machine on the LAN pretends to be a known builder, sits between both, replays, talks the encryption away, or comes
// from elsewhere. It gets no byte of a client's configuration and nothing of it is installed.
func TestAttackers(t *testing.T) {
	t.Parallel()
	whole := t
	l := newLab(t, lab.HostSpec{Name: "tower", Builder: true}, lab.HostSpec{Name: "mallory", Builder: true}, lab.HostSpec{Name: "lappy"})
	tower, mallory, lappy := l.Host("tower"), l.Host("mallory"), l.Host("lappy")
	d := serve(t, tower)
	lantage(t, lappy, "emerge", "-B", "lab-five/p1").ok(t)
	key := keyOf(t, tower)
	at := func(port string) []string {
		return []string{"--builder", mallory.IP() + ":" + port, "--no-fallback", "emerge", "-1", "lab-five/p2"}
	}
	refused := func(t *testing.T, args []string, why ...string) {
		t.Helper()
		lantage(t, lappy, args...).is(t, 4).says(t, why...)
		in(t, lappy, nil, "test", "!", "-e", "/var/db/pkg/lab-five/p2-1").ok(t)
	}

	t.Run("blind relay, and what it recorded played again", func(t *testing.T) {
		var kept recorder
		listenOn(t, mallory, 9301, func(down net.Conn) { kept.relay(down, dialFrom(t, mallory, tower.IP()+":8473")) })
		refused(t, at("9301"), "comes through", mallory.IP(), "a proxy or a router between")
		up, down := kept.texts()
		if len(up) < 1000 || len(down) < 1000 {
			t.Fatalf("the relay saw %d and %d bytes: this test sees nothing", len(up), len(down))
		}
		for _, secret := range []string{"lab-five", "LANTAGE", "lappy", "tower", "make.conf"} {
			if bytes.Contains(up, []byte(secret)) || bytes.Contains(down, []byte(secret)) {
				t.Errorf("the relay can read %q", secret)
			}
		}
		mark := d.log.mark()
		conn := dialFrom(t, mallory, tower.IP()+":8473")
		_, _ = conn.Write(up)
		answer, _ := io.ReadAll(conn) // until the builder ends it
		d.log.wait(t, "refused or not understood")
		if bytes.Contains(answer, []byte("accepted")) || strings.Contains(d.log.since(mark), "job accepted") {
			t.Errorf("what was recorded has an effect again:\n%s", d.log.since(mark))
		}
	})
	t.Run("proxy with a key of its own", func(t *testing.T) {
		self, err := trust.NewIdentity()
		if err != nil {
			t.Fatal(err)
		}
		var kept recorder
		listenOn(t, mallory, 9302, func(down net.Conn) {
			client, err := trust.Server(context.Background(), down, self)
			if err != nil {
				return
			}
			builder, err := trust.Client(context.Background(), dialFrom(t, mallory, tower.IP()+":8473"), self)
			if err != nil {
				return
			}
			kept.relay(client, builder)
		})
		refused(t, at("9302"), "has not the key", key, self.Key.String(), "lantage trust forget tower")
		lantage(t, lappy, "--builder", mallory.IP()+":9302", "list-builders").ok(t).says(t, "KEY CHANGED")
		up, _ := kept.texts()
		if !bytes.Contains(up, []byte("LANTAGE")) || bytes.Contains(up, []byte("lab-five")) || bytes.Contains(up, []byte("make.conf")) {
			t.Errorf("the proxy saw of the client: %q", up)
		}
	})
	t.Run("no encryption", func(t *testing.T) {
		listenOn(t, mallory, 9303, func(down net.Conn) { // what comes is for tower, what goes back says that tower does not encrypt
			_, _ = down.Write(preface(1, 1))
			_, _ = io.Copy(io.Discard, down)
		})
		refused(t, at("9303"), "does not encrypt", "--plain")
		lantage(t, lappy, "--plain", "--builder", "tower", "--no-fallback", "emerge", "-1", "lab-five/p2").is(t, 4).
			says(t, "takes only encrypted connections")
		d.log.wait(t, "it does not encrypt (--plain)")
	})
	t.Run("older encryption", func(t *testing.T) {
		self, err := trust.NewIdentity()
		if err != nil {
			t.Fatal(err)
		}
		conn := tls.Client(dialFrom(t, mallory, tower.IP()+":8473"), &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12})
		if err := conn.Handshake(); err == nil {
			t.Error("the builder speaks TLS 1.2")
		}
		// And on the way: a hello that offers less than the client did.
		listenOn(t, mallory, 9304, func(down net.Conn) {
			client := tls.Server(down, &tls.Config{Certificates: []tls.Certificate{self.Certificate()}, MaxVersion: tls.VersionTLS12})
			_ = client.Handshake()
		})
		refused(t, at("9304"), "the encrypted channel")
	})
	t.Run("its name, its ID and its announcement", func(t *testing.T) {
		put(t, mallory, "/var/lib/lantage/id", readFile(t, tower, "/var/lib/lantage/id"))
		in(t, mallory, nil, "hostname", "tower").ok(t)
		impostor := serve(t, mallory, "--name=tower")
		// Beside the real one the real one is used …
		lantage(t, lappy, "--no-fallback", "emerge", "-B", "lab-five/p4").ok(t)
		// … and alone it is refused.
		d.stop(syscall.SIGTERM)
		refused(t, []string{"--no-fallback", "emerge", "-1", "lab-five/p2"}, "has not the key", key, "lantage trust forget tower")
		if said := impostor.log.String(); strings.Contains(said, "accepted") || strings.Contains(said, "first time") {
			t.Errorf("the impostor got something:\n%s", said)
		}
		impostor.stop(syscall.SIGTERM)
		d = serve(whole, tower)
	})
	t.Run("from elsewhere", func(t *testing.T) {
		in(t, lappy, nil, "sh", "-c", `ip addr add 10.99.0.1/32 dev lo && dev=$(ip -o -4 route show 10.77.0.0/24 | sed "s/.* dev \([^ ]*\).*/\1/") &&
			ip route replace 10.77.0.0/24 dev "$dev" src 10.99.0.1`).ok(t)
		in(t, tower, nil, "ip", "route", "add", "10.99.0.1/32", "via", lappy.IP()).ok(t)
		lantage(t, lappy, "--builder", tower.IP(), "--no-fallback", "emerge", "-1", "lab-five/p2").is(t, 4).
			says(t, "10.99.0.1 is on no network", "--allow=paired")
	})
}
