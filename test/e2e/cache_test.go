package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"lantage/test/lab"
)

// TestCache: what was built before with the same settings is not built again, whoever asks; other CFLAGS or
// USE flags are never answered with it.
func TestCache(t *testing.T) {
	t.Parallel()
	conf := func(use, mark string) string { return clientConf(use, mark) + "LAB_TARGETS=\"green\"\n" }
	files := map[string]string{"make.conf": conf("shout", "one")}
	l := newLab(t,
		lab.HostSpec{Name: "tower", Builder: true},
		lab.HostSpec{Name: "lappy", Files: files}, lab.HostSpec{Name: "twin", Files: files})
	lappy, twin := l.Host("lappy"), l.Host("twin")
	d := serve(t, l.Host("tower"))

	// builds has one package built and says what became of it, with the last of the builder's logs.
	builds := func(t *testing.T, h *lab.Host, built, reused int) {
		t.Helper()
		mark := d.log.mark()
		res := lantage(t, h, "--verbose", "--no-fallback", "emerge", "-1", "lab-five/p1").ok(t)
		in(t, h, nil, "lab-p1").ok(t)
		want := fmt.Sprintf("built=%d reused=%d failed=0", built, reused)
		if said := d.log.since(mark); !strings.Contains(said, want) {
			t.Fatalf("the daemon did not say %q but:\n%s", want, said)
		}
		const compiling = "Compiling source in"
		if built > 0 {
			res.says(t, compiling, "lab-five/p1-1 built in")
		} else {
			res.saysNot(t, compiling, " compile ").says(t, "lab-five/p1-1 was built before")
		}
	}
	builds(t, lappy, 1, 0)
	t.Run("another client", func(t *testing.T) { builds(t, twin, 0, 1) })
	t.Run("other CFLAGS", func(t *testing.T) {
		addTo(t, twin, "/etc/portage/make.conf", "CFLAGS=\"-O1 -DMARK=two\"\n")
		builds(t, twin, 1, 0)
		builds(t, lappy, 0, 1)
	})
	t.Run("other USE flags", func(t *testing.T) {
		targets := func(use string, built, reused int) {
			t.Helper()
			mark := d.log.mark()
			in(t, lappy, []string{"USE=" + use}, "lantage", "--no-fallback", "emerge", "-1", "lab-apps/targets").ok(t)
			if want := fmt.Sprintf("built=%d reused=%d", built, reused); !strings.Contains(d.log.since(mark), want) {
				t.Errorf("with USE=%s the daemon did not say %q but:\n%s", use, want, d.log.since(mark))
			}
		}
		targets("shout", 1, 0)
		targets("-shout", 1, 0)
		hasFlag(t, lappy, "shout", false)
		targets("shout", 0, 1)
		hasFlag(t, lappy, "shout", true)
	})
}

// hasFlag checks a flag of the installed lab-apps/targets.
func hasFlag(t *testing.T, h *lab.Host, flag string, want bool) {
	t.Helper()
	text, err := os.ReadFile(h.Path("/var/db/pkg/lab-apps/targets-1/USE"))
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Contains(" "+strings.TrimSpace(string(text))+" ", " "+flag+" "); got != want {
		t.Errorf("installed with USE=%q, want %s to be %v", text, flag, want)
	}
}

// TestKilledClient: a client that is killed loses nothing: its job goes on, and its results answer the next
// try.
func TestKilledClient(t *testing.T) {
	t.Parallel()
	_, tower, lappy := pair(t, sleeperEnv(7))
	d := serve(t, tower)
	r := start(t, lappy, "emerge", "-1", "lab-apps/sleeper")
	eventually(t, 2*time.Minute, "sleeper is compiled", func() bool { return runs(t, tower, "sleep 7") })
	r.signal(syscall.SIGKILL)
	<-r.done
	lantage(t, lappy, "--no-fallback", "emerge", "-B", "lab-apps/sleeper").ok(t).says(t, "was built before")
	said := d.log.String()
	if !strings.Contains(said, "built=1 reused=0") || !strings.Contains(said, "built=0 reused=1") {
		t.Errorf("not built once and reused once:\n%s", said)
	}
	// The killed client's pending files go with the next run.
	pending, err := filepath.Glob(lappy.Path("/var/cache/binpkgs/.lantage-*"))
	if err != nil || len(pending) > 0 {
		t.Errorf("left in PKGDIR: %q, %v", pending, err)
	}
}
