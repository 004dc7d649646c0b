package build

import (
	"strings"
	"testing"
)

// TestStatementsThatCount: whatever acts in a build root is part of the key, however it is written.
func TestStatementsThatCount(t *testing.T) {
	used := map[string]bool{"PORTAGE_LOGDIR": true}
	plain := strings.Join(statements("CFLAGS=-O2\n", used), "\n")
	for _, more := range []string{
		`MAKEOPTS="-j9"`, "PORTAGE_NICENESS=19", "PKGDIR='/x y'", `export DISTDIR="/x"`, `FETCHCOMMAND_HTTPS="x"`, "# CFLAGS=-O9", "USE=\"a\nb\"",
	} {
		if got := strings.Join(statements("CFLAGS=-O2\n"+more+"\n", used), "\n"); got != plain {
			t.Errorf("%s counts: %q", more, got)
		}
	}
	for _, more := range []string{
		`MAKEFLAGS="--eval=x"`, "RUSTC_WRAPPER=/etc/portage/sets/x", `FETCHCOMMAND_EVIL="sh"`, `RESUMECOMMAND_SFTP="sh"`,
		`USE=a LDFLAGS="-Wl,-x"`, "PORTAGE_NICENESS=19 FEATURES=splitdebug", "USE=a#\"\nCFLAGS=-x\n#\"", "USE=a\\\nCFLAGS=-x", "source /etc/portage/more",
		"PORTAGE_LOGDIR=/x",
		// What Portage, but not everybody, reads as an assignment of CC: Python's ends of lines, and shlex's of words.
		"# x\rCC=evil", "MAKEOPTS=-j9\r# x\rCC=evil", "MAKEOPTS=\"-j9\" # x\rCC=evil", "MAKEOPTS==CC=evil", "MAKEOPTS=(CC=evil", "MAKEOPTS=&CC=evil",
		"MAKEOPTS=\nCC=evil", "MAKEOPTS=source /etc/portage/x", "MAKEOPTS=source\nCC", "MAKEOPTS=\"source\" CC", "MAKEOPTS=\"a\"CC=evil",
		"MAKEOPTS= CC =evil", "MAKEOPTS=\\\nCC=evil", "# x\x0bCC=evil", "# x\x0cCC=evil", "# x\u0085CC=evil", "# x\u2028CC=evil", "# x\x00CC=evil",
	} {
		if got := strings.Join(statements("CFLAGS=-O2\n"+more+"\n", used), "\n"); got == plain {
			t.Errorf("%s does not count", more)
		}
	}
}

// TestClearCounts: what is emptied for one client is in the key, since builds see it.
func TestClearCounts(t *testing.T) {
	key := func(job Job) string {
		t.Helper()
		job.Inputs = t.TempDir()
		k, err := keyOfJob(t, job)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	if key(Job{}) == key(Job{Clear: []string{"RUSTC_WRAPPER"}}) {
		t.Error("two jobs of which builds see different things have one PKGDIR")
	}
}

// keyOfJob is a job's key where there are no repositories.
func keyOfJob(t *testing.T, job Job) (string, error) {
	settings, err := jobSettings(job)
	if err != nil {
		return "", err
	}
	return settingsKey(t.Context(), job, "host", settings, nil)
}
