package rootfs

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestInputs(t *testing.T) {
	root := t.TempDir()
	plant(t, root, "bin -> usr/bin", "usr/bin/a", "usr/lib/b", "lib64/c", "etc/shadow", "etc/passwd", "etc/portage/make.conf",
		"etc/odd\x1bname/x.key", "repo/a/b", "home/alice/x", "data/x", "var/db/pkg/a/b/SLOT", "var/cache/x")
	r := Rules{Root: root, Repos: []string{"/repo"}}
	r.Text = func(text []byte) []byte { return bytes.Replace(text, []byte("passwd"), nil, 1) }
	var each []string
	in, err := r.Inputs(t.Context(), func(path string, size int64, blanked bool) { each = append(each, fmt.Sprint(path, size, blanked)) })
	check(t, err)
	want := Inputs{
		Places: []Place{
			{"/bin", 0, 0},
			{"/etc", 1, 4},
			{"/etc/portage", 1, 21},
			{"/lib64", 1, 7},
			{"/repo", 1, 8},
			{"/usr", 2, 18},
			{"/var/db/pkg", 1, 19},
		},
		Blanked: []string{"/etc/passwd"},
		LeftOut: []LeftOut{
			{"/data", "not a place of the system"},
			{"/etc/odd\x1bname/x.key", secret},
			{"/etc/shadow", secret},
			{"/home", "people's data"},
			{"/var/cache", "no build reads it"},
		},
	}
	if diff := cmp.Diff(want, in); diff != "" {
		t.Errorf("inputs (-want +got):\n%s", diff)
	}
	if len(each) != 7 || !slices.Contains(each, "/etc/passwd4 true") {
		t.Errorf("files: %q", each)
	}
	text := `Copied:
  0 files   0 B  /bin
   1 file   4 B  /etc
   1 file  21 B  /etc/portage
   1 file   7 B  /lib64
   1 file   8 B  /repo
  2 files  18 B  /usr
   1 file  19 B  /var/db/pkg
  7 files  77 B  in all

Of that, without credentials:
  /etc/passwd

Not copied:
  /data                     not a place of the system
  "/etc/odd\x1bname/x.key"  a secret
  /etc/shadow               a secret
  /home                     people's data
  /var/cache                no build reads it
`
	if diff := cmp.Diff(text, in.String()); diff != "" {
		t.Errorf("as text (-want +got):\n%s", diff)
	}
}

func TestSize(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1000 << 10: "1.0 MiB", 5 << 30: "5.0 GiB", 1 << 50: "1.0 PiB",
	} {
		if got := HumanBytes(n); got != want {
			t.Errorf("%d is %s, want %s", n, got, want)
		}
	}
}
