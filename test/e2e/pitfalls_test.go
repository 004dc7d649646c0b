package e2e

import (
	"maps"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"lantage/test/lab"
)

// TestPitfalls has what Portage was seen to do to programs that call it. Revisions are ignored, because the client's repository
// changes, and the builder's does not.
func TestPitfalls(t *testing.T) {
	t.Parallel()
	_, tower, lappy := pair(t, nil)
	d := serve(t, tower)
	plain, err := os.ReadFile(lappy.Path("/etc/portage/make.conf"))
	if err != nil {
		t.Fatal(err)
	}
	conf := func(t *testing.T, text string) { put(t, lappy, "/etc/portage/make.conf", string(plain)+text) }

	t.Run("a list, and exit status 1", func(t *testing.T) {
		jobs := strings.Count(d.log.String(), "job accepted")
		lantage(t, lappy, "--ignore-revisions", "emerge", "lab-five/p1", "lab-apps/needsuse").is(t, 1).
			says(t, "] lab-five/p1-1", "] lab-apps/needsuse-1", "The following USE changes are necessary to proceed")
		if n := strings.Count(d.log.String(), "job accepted"); n != jobs {
			t.Error("a job was made of a plan that emerge refuses")
		}
		// With --ask emerge offers to make them.
		r := startTTY(t, lappy, 100, "--base=host", "emerge", "-a", "lab-apps/needsuse")
		r.out.wait(t, "Would you like to add these changes to your config files?")
		if _, err := r.tty.WriteString("no\n"); err != nil {
			t.Fatal(err)
		}
		r.end(3*time.Minute).is(t, 1).saysNot(t, "Builder:")
	})

	t.Run("FEATURES=getbinpkg", func(t *testing.T) {
		conf(t, "FEATURES=\"getbinpkg\"\nPORTAGE_BINHOST=\"http://127.0.0.1:9/\"\n")
		lantage(t, lappy, "--ignore-revisions", "emerge", "-1", "lab-five/p1").ok(t).says(t, "lab-five/p1-1 built in", "Completed (1 of 1) lab-five/p1-1")
		in(t, lappy, nil, "lab-p1").ok(t)
	})

	t.Run("EMERGE_DEFAULT_OPTS", func(t *testing.T) {
		// emerge itself refuses --tree with --columns; with defaults it looks as if nothing but the name was typed.
		conf(t, "EMERGE_DEFAULT_OPTS=\"--ask --quiet --tree --columns --getbinpkg\"\n")
		lantage(t, lappy, "--ignore-revisions", "emerge", "-1", "lab-five/p2").is(t, 1).says(t, `can't specify both of "--tree" and "--columns"`).
			saysNot(t, "Builder:")
		conf(t, "EMERGE_DEFAULT_OPTS=\"--quiet --columns --usepkg-exclude lab-five/p2\"\n")
		lantage(t, lappy, "--ignore-revisions", "emerge", "-1", "lab-five/p2").ok(t).says(t, "lab-five/p2-1 built in", "Emerging binary (1 of 1) lab-five/p2-1")
		conf(t, "EMERGE_DEFAULT_OPTS=\"--ask --quiet --tree --getbinpkg\"\nPORTAGE_BINHOST=\"http://127.0.0.1:9/\"\n")
		r := startTTY(t, lappy, 100, "--ignore-revisions", "emerge", "-1", "lab-five/p4")
		r.out.wait(t, "[Yes/No]")
		if _, err := r.tty.WriteString("y\n"); err != nil {
			t.Fatal(err)
		}
		res := r.end(3*time.Minute).ok(t).says(t, "lab-five/p4-1 built in")
		if n := strings.Count(res.out, "[Yes/No]"); n != 1 {
			t.Errorf("%d questions were asked, want one:\n%s", n, res.out)
		}
		in(t, lappy, nil, "lab-p4").ok(t)
	})

	t.Run("news and global updates", func(t *testing.T) {
		conf(t, "FEATURES=\"news\"\n")
		repo := "/var/db/repos/lab/"
		put(t, lappy, repo+"profiles/updates/4Q-2026", "move lab-five/old lab-five/p5\n")
		put(t, lappy, repo+"metadata/news/2026-11-01-lab/2026-11-01-lab.en.txt",
			"Title: The lab has news\nAuthor: The Lantage authors <lab@example.org>\nPosted: 2026-11-01\nRevision: 1\n"+
				"News-Item-Format: 2.0\n\nEverybody has to read this.\n")
		res := lantage(t, lappy, "--ignore-revisions", "emerge", "-1", "lab-five/p5").ok(t)
		res.says(t, "lab-five/p5-1 built in", "Completed (1 of 1) lab-five/p5-1", "news items need reading")
		// Planning did the updates, and what it printed of them on standard output was no obstacle.
		in(t, lappy, nil, "cat", "/var/cache/edb/mtimedb").ok(t).says(t, "profiles/updates/4Q-2026")
		in(t, lappy, nil, "lab-p5").ok(t)
	})

	t.Run("make.profile", func(t *testing.T) { absoluteProfile(t, lappy) })
	t.Run("stale binary package", func(t *testing.T) { stale(t, lappy, conf) })
	t.Run("much output", func(t *testing.T) { muchOutput(t, lappy) })
}

// absoluteProfile has make.profile be an absolute link. The lab's is a relative one, and TestHostBase has a directory.
func absoluteProfile(t *testing.T, lappy *lab.Host) {
	profile := lappy.Path("/etc/portage/make.profile")
	if err := os.RemoveAll(profile); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/var/db/repos/lab/profiles/default", profile); err != nil {
		t.Fatal(err)
	}
	lantage(t, lappy, "--ignore-revisions", "emerge", "-1", "lab-tools/gen").ok(t).
		says(t, "lab-tools/gen-1 built in", "Completed (1 of 1) lab-tools/gen-1")
}

// stale has a binary package of another USE lie in the client's PKGDIR, made later than what the builder sends from its cache,
// with a higher build number: it must not be taken.
func stale(t *testing.T, lappy *lab.Host, conf func(*testing.T, string)) {
	conf(t, "USE=\"shout\"\n")
	lantage(t, lappy, "--ignore-revisions", "--no-install", "emerge", "-1", "lab-apps/targets").ok(t).says(t, "built in")
	conf(t, "USE=\"-shout\"\n")
	in(t, lappy, nil, "emerge", "-q1", "--buildpkg", "lab-apps/targets").ok(t)
	in(t, lappy, nil, "mv", "/var/cache/binpkgs/lab-apps/targets/targets-1-1.gpkg.tar",
		"/var/cache/binpkgs/lab-apps/targets/targets-1-7.gpkg.tar").ok(t)
	in(t, lappy, nil, "emaint", "--fix", "binhost").ok(t)
	hasFlag(t, lappy, "shout", false)
	conf(t, "USE=\"shout\"\n")
	lantage(t, lappy, "--ignore-revisions", "emerge", "-1", "lab-apps/targets").ok(t).
		says(t, "was built before", ">>> Emerging binary", "Completed (1 of 1) lab-apps/targets-1")
	hasFlag(t, lappy, "shout", true)
}

// muchOutput: emerge prints the whole log of a package that fails, which is more than a pipe holds, and does not have to
// wait for a reader.
func muchOutput(t *testing.T, lappy *lab.Host) {
	put(t, lappy, "/etc/portage/bashrc",
		"if [[ ${EBUILD_PHASE} == compile ]]; then for i in {1..40000}; do echo \"bashrc: much ado, line ${i}\"; done; fi\n")
	res := lantage(t, lappy, "--ignore-revisions", "emerge", "-1", "lab-five/p3").is(t, 1)
	res.says(t, "lab-five/p3-1 FAILED on the builder in compile", "undeclared").saysNot(t, "line 20000\n")
	m := regexp.MustCompile(`(?m)^The whole log: (/.*)$`).FindStringSubmatch(res.out)
	if m == nil {
		t.Fatalf("it does not say where the log is:\n%s", res.out)
	}
	log, err := os.ReadFile(lappy.Path(m[1]))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(log), "bashrc: much ado, line "); n != 40000 {
		t.Errorf("the log on the client has %d lines of 40000", n)
	}
}

// TestLittleRoom: emerge would want 18 GiB in PORTAGE_TMPDIR for more than one package at a time; a builder with less builds
// two all the same. Not parallel with other tests: above a load of the number of cores emerge builds one at a time,
// which is as it should be.
func TestLittleRoom(t *testing.T) {
	_, tower, lappy := pair(t, nil)
	in(t, tower, nil, "mkdir", "-p", "/var/lib/lantage").ok(t)
	in(t, tower, nil, "mount", "-t", "tmpfs", "-o", "size=600m,mode=755", "tmpfs", "/var/lib/lantage").ok(t)
	serve(t, tower)
	put(t, lappy, "/etc/portage/env/nap", "LAB_SLEEP=6\n")
	put(t, lappy, "/etc/portage/package.env", "lab-apps/sleeper nap\n")
	r := start(t, lappy, "emerge", "-1", "lab-apps/sleeper", "lab-five/p1")
	eventually(t, time.Minute, "emerge runs on the builder", func() bool {
		return slices.ContainsFunc(slices.Collect(maps.Values(processes(t, tower))), func(line string) bool {
			return strings.Contains(line, " --jobs-tmpdir-require-free-gb=0 ") && strings.Contains(line, " --jobs=")
		})
	})
	res := r.end(2 * time.Minute).ok(t)
	order := regexp.MustCompile(`(?s)lab-apps/sleeper-1 compile.*lab-five/p1-1 built.*lab-apps/sleeper-1 built`)
	if load := loadAverage(t); !order.MatchString(res.out) && load < float64(runtime.NumCPU()) {
		t.Errorf("p1 was not built while sleeper slept, at a load of %.2f:\n%s", load, res.out)
	} else {
		t.Logf("built at the same time: %v, at a load of %.2f", order.MatchString(res.out), load)
	}
}

// loadAverage is this machine's, of the last minute (proc_loadavg(5)).
func loadAverage(t *testing.T) float64 {
	t.Helper()
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		t.Fatal(err)
	}
	load, err := strconv.ParseFloat(strings.Fields(string(text))[0], 64)
	if err != nil {
		t.Fatal(err)
	}
	return load
}
