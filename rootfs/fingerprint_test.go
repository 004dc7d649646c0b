package rootfs

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// fingerprintSystem is a system with repositories of all kinds.
var fingerprintSystem = []string{
	"usr/bin/gcc -> /opt/gcc-13", "usr/lib64/libc.so", "usr/local/bin/mine", "usr/share/doc/deep/file", "bin -> usr/bin",
	"etc/env.d/04gcc", "etc/shadow", "etc/portage/make.conf", "etc/portage/repos.conf/a.conf",
	"var/db/pkg/dev-libs/icu-75/SLOT", "var/lib/portage/world", "var/lib/gentoo/news/x", "var/lib/misc/x",
	"var/tmp/x", "home/alice/x", "opt/x/y/z",
	"repo/stamped/metadata/timestamp.commit", "repo/stamped/metadata/timestamp.chk", "repo/stamped/profiles/package.mask",
	"repo/stamped/eclass/a.eclass", "repo/stamped/dev-libs/icu/icu-75.ebuild",
	"repo/git/metadata/timestamp.chk", "repo/git/.git/HEAD", "repo/git/.git/refs/heads/main", "repo/git/.git/index",
	"repo/detached/metadata/timestamp.chk", "repo/detached/.git/HEAD",
	"repo/packed/metadata/timestamp.chk", "repo/packed/.git/HEAD", "repo/packed/.git/packed-refs",
	"repo/local/dev-libs/mine/files/a.patch", "usr/portage/local/tree/deep/overlay/a/a.ebuild",
}

func TestFingerprint(t *testing.T) {
	write := func(name string) func(*testing.T, string, *Rules) {
		return func(t *testing.T, root string, r *Rules) {
			check(t, os.WriteFile(filepath.Join(root, name), []byte("other"), 0o644))
		}
	}
	add := func(names ...string) func(*testing.T, string, *Rules) {
		return func(t *testing.T, root string, r *Rules) { plant(t, root, names...) }
	}
	remove := func(name string) func(*testing.T, string, *Rules) {
		return func(t *testing.T, root string, r *Rules) { check(t, os.RemoveAll(filepath.Join(root, name))) }
	}
	rules := func(f func(*Rules)) func(*testing.T, string, *Rules) {
		return func(t *testing.T, root string, r *Rules) { f(r) }
	}
	cases := []struct {
		name    string
		change  func(*testing.T, string, *Rules)
		changes bool
	}{
		{"nothing", func(*testing.T, string, *Rules) {}, false},
		{"merge", add("var/db/pkg/dev-libs/new-1/SLOT"), true},
		{"merge in a new category", add("var/db/pkg/new/a-1/SLOT"), true},
		{"unmerge", remove("var/db/pkg/dev-libs/icu-75"), true},
		{"VDB entry written again", func(t *testing.T, root string, r *Rules) {
			plant(t, root, "var/db/pkg/dev-libs/icu-75/new")
		}, true},
		{"configuration changed", write("etc/portage/make.conf"), true},
		{"configuration added", add("etc/portage/package.use/x"), true},
		{"configuration changed with the old time", func(t *testing.T, root string, r *Rules) {
			p := filepath.Join(root, "etc/portage/make.conf")
			fi, err := os.Stat(p)
			check(t, err)
			check(t, os.WriteFile(p, []byte("etc/portage/make.CONF"), 0o644))
			check(t, os.Chtimes(p, time.Time{}, fi.ModTime()))
		}, true},
		{"mode in /etc", func(t *testing.T, root string, r *Rules) {
			check(t, os.Chmod(filepath.Join(root, "etc/env.d/04gcc"), 0o755))
		}, true},
		{"secret in /etc", write("etc/shadow"), false},
		{"world", write("var/lib/portage/world"), true},
		{"news", add("var/lib/gentoo/news/y"), true},
		{"news read", write("var/lib/gentoo/news/x"), true},
		{"gcc-config", func(t *testing.T, root string, r *Rules) {
			check(t, os.Remove(filepath.Join(root, "usr/bin/gcc")))
			check(t, os.Symlink("/opt/gcc-14", filepath.Join(root, "usr/bin/gcc")))
		}, true},
		{"/usr/local/bin", add("usr/local/bin/other"), true},
		{"below /usr", add("usr/share/doc/new"), true},
		{"/usr/lib64", remove("usr/lib64/libc.so"), true},
		{"/bin", func(t *testing.T, root string, r *Rules) {
			check(t, os.Remove(filepath.Join(root, "bin")))
			check(t, os.Symlink("usr/sbin", filepath.Join(root, "bin")))
		}, true},
		{"/var/lib/misc", add("var/lib/misc/y"), true},
		{"far below /usr", add("usr/share/doc/deep/new"), false},
		{"/var/tmp", add("var/tmp/y"), false},
		{"/home", add("home/bob/x"), false},
		{"/opt, which is not copied", add("opt/y"), false},
		{"repository synced", write("repo/stamped/metadata/timestamp.commit"), true},
		{"repository checked", write("repo/stamped/metadata/timestamp.chk"), true},
		{"profiles edited", write("repo/stamped/profiles/package.mask"), true},
		{"eclass edited", write("repo/stamped/eclass/a.eclass"), true},
		{"eclass added", add("repo/stamped/eclass/b.eclass"), true},
		{"category added", add("repo/stamped/app-new/"), true},
		{"ebuild of a stamped repository edited", write("repo/stamped/dev-libs/icu/icu-75.ebuild"), false},
		{"commit", write("repo/git/.git/refs/heads/main"), true},
		{"index of git", write("repo/git/.git/index"), false},
		{"another commit without a branch", write("repo/detached/.git/HEAD"), true},
		{"other branch", write("repo/git/.git/HEAD"), true},
		{"packed commit", func(t *testing.T, root string, r *Rules) {
			p := filepath.Join(root, "repo/packed/.git/packed-refs")
			check(t, os.WriteFile(p, []byte("# x\n4321 refs/heads/main\n"), 0o644))
		}, true},
		{"packed commit of another branch", func(t *testing.T, root string, r *Rules) {
			p := filepath.Join(root, "repo/packed/.git/packed-refs")
			check(t, os.WriteFile(p, []byte("1234 refs/heads/main\n1 refs/heads/x\n"), 0o644))
		}, false},
		{"local overlay edited", write("repo/local/dev-libs/mine/files/a.patch"), true},
		{"local overlay added to", add("repo/local/dev-libs/mine/files/b.patch"), true},
		{"overlay far down in another place", write("usr/portage/local/tree/deep/overlay/a/a.ebuild"), true},
		{"another version with another rule", func(t *testing.T, root string, r *Rules) {
			whole := table
			t.Cleanup(func() { table = whole })
			table = slices.DeleteFunc(slices.Clone(whole), func(w row) bool { return w.place == "/etc/wireguard" })
		}, true},
		{"another version with another secret", func(t *testing.T, root string, r *Rules) {
			re := secretRE
			t.Cleanup(func() { secretRE = re })
			secretRE = namesRE(secretNames[1:])
		}, true},
		{"kernel", rules(func(r *Rules) { r.Kernel = KernelSources }), true},
		{"include", rules(func(r *Rules) { r.Include = []string{"/opt"} }), true},
		{"exclude", rules(func(r *Rules) { r.Exclude = []string{"/nothing"} }), true},
		{"skip", rules(func(r *Rules) { r.Skip = []string{"/nothing"} }), true},
		{"own", rules(func(r *Rules) { r.Own = []string{"/nothing"} }), true},
		{"repos", rules(func(r *Rules) { r.Repos = r.Repos[1:] }), true},
		{"repos in another order", rules(func(r *Rules) { slices.Reverse(r.Repos) }), false},
	}
	for _, c := range cases {
		root := t.TempDir()
		plant(t, root, fingerprintSystem...)
		for name, text := range map[string]string{
			"repo/git/.git/HEAD":           "ref: refs/heads/main\n",
			"repo/packed/.git/HEAD":        "ref: refs/heads/main\n",
			"repo/packed/.git/packed-refs": "# x\n1234 refs/heads/main\n",
		} {
			check(t, os.WriteFile(filepath.Join(root, name), []byte(text), 0o644))
		}
		r := Rules{Root: root, Repos: []string{
			"/repo/stamped", "/repo/git", "/repo/detached", "/repo/packed", "/repo/local",
			"/usr/portage/local/tree/deep/overlay",
		}}
		age(t, root)
		before, err := r.Fingerprint()
		check(t, err)
		c.change(t, root, &r)
		after, err := r.Fingerprint()
		check(t, err)
		if (before != after) != c.changes {
			t.Errorf("%s: changed is %v, want %v", c.name, before != after, c.changes)
		}
	}
}

// age puts all times back, so that a change is one whatever the steps of the file system's clock.
func age(t *testing.T, root string) {
	t.Helper()
	check(t, filepath.Walk(root, func(p string, fi os.FileInfo, err error) error {
		if err != nil || fi.Mode()&os.ModeSymlink != 0 {
			return err
		}
		return os.Chtimes(p, time.Time{}, time.Unix(1e9, 0))
	}))
}

func TestFingerprintInclude(t *testing.T) {
	root := t.TempDir()
	plant(t, root, "opt/x/y/z")
	age(t, root)
	r := Rules{Root: root, Include: []string{"/opt"}}
	before, err := r.Fingerprint()
	check(t, err)
	plant(t, root, "opt/x/y2")
	if after, err := r.Fingerprint(); err != nil || before == after {
		t.Errorf("a new file in an include changes nothing, %v", err)
	}
}

func BenchmarkFingerprint(b *testing.B) {
	root := b.TempDir()
	for i := range 1500 {
		dir := filepath.Join(root, "var/db/pkg", fmt.Sprint("category", i%150), fmt.Sprint("package-", i))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			b.Fatal(err)
		}
	}
	for _, dir := range []string{"usr/bin", "usr/lib64", "usr/include", "etc"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			b.Fatal(err)
		}
		for i := range 4000 {
			if err := os.WriteFile(filepath.Join(root, dir, fmt.Sprint("file-", i)), nil, 0o644); err != nil {
				b.Fatal(err)
			}
		}
	}
	r := Rules{Root: root}
	for b.Loop() {
		if _, err := r.Fingerprint(); err != nil {
			b.Fatal(err)
		}
	}
}
