package e2e

import (
	"strings"
	"testing"
)

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
