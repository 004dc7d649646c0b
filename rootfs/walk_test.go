package rootfs

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// entries walks a root and returns what is found by path.
func entries(t *testing.T, r Rules) map[string]found {
	t.Helper()
	m, err := r.compile()
	check(t, err)
	got := map[string]found{}
	last := ""
	_, err = m.walk(t.Context(), false, func(f *found) error {
		if last != "" && Compare(last, f.Path) >= 0 {
			t.Errorf("%q comes after %q", f.Path, last)
		}
		last = f.Path
		got[f.Path] = *f
		return nil
	})
	check(t, err)
	return got
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("this needs root")
	}
}

// setXattr sets an extended attribute, or skips the test where the file system has none.
func setXattr(t *testing.T, p, name, value string) {
	t.Helper()
	err := unix.Lsetxattr(p, name, []byte(value), 0)
	if errors.Is(err, unix.ENOTSUP) {
		t.Skipf("%s: %v", name, err)
	}
	check(t, err)
}

// Values as the kernel wants them: cap_net_raw=ep, and u::rw-,u:1000:r--,g::r--,m::r--,o::r--.
const (
	capability = "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	acl        = "\x02\x00\x00\x00\x01\x00\x06\x00\xff\xff\xff\xff\x02\x00\x04\x00\xe8\x03\x00\x00" +
		"\x04\x00\x04\x00\xff\xff\xff\xff\x10\x00\x04\x00\xff\xff\xff\xff\x20\x00\x04\x00\xff\xff\xff\xff"
)

func TestWalkKeepsAll(t *testing.T) {
	needRoot(t)
	root := t.TempDir()
	plant(t, root, "usr/bin/ping", "usr/bin/su", "usr/link -> ../nowhere\n", "usr/dir/ #2750", "usr/dense", "usr/holes", "usr/small")
	at := func(p string) string { return filepath.Join(root, p) }
	check(t, os.WriteFile(at("usr/dense"), make([]byte, minSparse), 0o644))
	check(t, os.Truncate(at("usr/holes"), minSparse))
	check(t, os.Truncate(at("usr/small"), minSparse-1))
	check(t, os.Link(at("usr/bin/ping"), at("usr/bin/ping6")))
	check(t, os.Chown(at("usr/bin/su"), 250, 65535))
	check(t, unix.Chmod(at("usr/bin/su"), 0o6711))
	check(t, os.Lchown(at("usr/link"), 1, 2))
	setXattr(t, at("usr/bin/ping"), "user.z", "\x00last")
	setXattr(t, at("usr/bin/ping"), "user.a", "")
	setXattr(t, at("usr/bin/ping"), "security.capability", capability)
	setXattr(t, at("usr/bin/ping"), "security.selinux", "a:b:c")
	setXattr(t, at("usr/bin/ping"), "trusted.overlay.opaque", "y")
	setXattr(t, at("usr/dir"), "system.posix_acl_default", acl)
	setXattr(t, at("usr/dir"), "user.d", "of a directory")
	check(t, os.Chtimes(at("usr/bin/su"), time.Time{}, time.Unix(-5, 123456789)))

	got := entries(t, Rules{Root: root})
	su := got["usr/bin/su"].Entry
	if su.Mode != 0o6711 || su.UID != 250 || su.GID != 65535 || su.Sec != -5 || su.Nsec != 123456789 || su.Size != 10 {
		t.Errorf("su is %+v", su)
	}
	want := []Xattr{{"security.capability", capability}, {"user.a", ""}, {"user.z", "\x00last"}}
	for _, p := range []string{"usr/bin/ping", "usr/bin/ping6"} {
		if diff := cmp.Diff(want, got[p].Xattrs); diff != "" {
			t.Errorf("attributes of %s:\n%s", p, diff)
		}
	}
	if a, b := got["usr/bin/ping"], got["usr/bin/ping6"]; a.Stamp != b.Stamp || a.Stamp.Inode == 0 || a.links != 2 {
		t.Errorf("two names of one file: %+v, %+v", a, b)
	}
	if link := got["usr/link"].Entry; link.Target != "../nowhere\n" || link.UID != 1 || link.GID != 2 || link.Type != TypeSymlink {
		t.Errorf("the link is %+v", link)
	}
	want = []Xattr{{"system.posix_acl_default", acl}, {"user.d", "of a directory"}}
	if dir := got["usr/dir"].Entry; dir.Mode != 0o2750 || dir.Type != TypeDir || cmp.Diff(want, dir.Xattrs) != "" {
		t.Errorf("the directory is %+v", dir)
	}
	for p, want := range map[string]bool{"usr/dense": false, "usr/holes": true, "usr/small": false} {
		if got[p].Sparse != want {
			t.Errorf("%s sparse: %v", p, got[p].Sparse)
		}
	}
}

// While it is on its way to the disk, a file has fewer blocks than bytes.
func TestWalkCountsNoBlocks(t *testing.T) {
	root := t.TempDir()
	name := filepath.Join(root, "dense")
	check(t, os.WriteFile(name, make([]byte, minSparse), 0o644))
	rules := Rules{Root: root}
	m, err := rules.compile()
	check(t, err)
	fd, err := openat(unix.AT_FDCWD, root, unix.O_DIRECTORY)
	check(t, err)
	defer unix.Close(fd)
	var st unix.Stat_t
	check(t, unix.Lstat(name, &st))
	st.Blocks = 0
	w := &walker{ruler: m, ctx: t.Context(), names: make([]byte, maxXattr), value: make([]byte, maxXattr)}
	f, err := w.found(&dir{fd: fd, path: "."}, -1, "dense", "dense", row{}, &st)
	if check(t, err); f.Sparse {
		t.Error("the walk took it for sparse")
	}
	file, err := os.Open(name)
	check(t, err)
	defer file.Close()
	p := &pending{found: &found{}}
	if check(t, p.renew(file, &st)); p.Size != minSparse || p.Sparse {
		t.Errorf("opened it is %+v", p.Entry)
	}
	if at, err := file.Seek(0, 1); at != 0 || err != nil {
		t.Errorf("it is at %d, %v, where its content is to be read", at, err)
	}
}

func TestWalkOddNames(t *testing.T) {
	root := t.TempDir()
	names := []string{
		"a", "a-b", "a.b", "a/x", "a0", "\xff\xfe", "new\nline", "quo\"te", "-rf", " ", "ü", "\x01", "*",
		"a-b/!", strings.Repeat("n", 255),
	}
	for _, name := range names {
		if name == "a" || name == "a-b" {
			name += "/"
		}
		plant(t, root, "usr/"+name)
	}
	check(t, os.MkdirAll(filepath.Join(root, "usr/deep/", strings.Repeat("d/", 300)), 0o755))
	got := entries(t, Rules{Root: root})
	for _, name := range names {
		if _, ok := got["usr/"+name]; !ok {
			t.Errorf("%q is not listed", name)
		}
	}
	if want := len(names) + 303; len(got) != want {
		t.Errorf("%d entries, want %d", len(got), want)
	}
}

// What is of the machine, or on the way to what is copied, has no times: they change all the while.
func TestWalkNoTimesOfEmpty(t *testing.T) {
	root := t.TempDir()
	plant(t, root, "tmp/ #1777", "var/tmp/", "var/db/pkg/a/")
	got := entries(t, Rules{Root: root})
	for _, p := range []string{".", "tmp", "var", "var/tmp", "var/db"} {
		if e := got[p].Entry; e.Sec != 0 || e.Nsec != 0 {
			t.Errorf("%s has the time %d", p, e.Sec)
		}
	}
	if got["tmp"].Mode != 0o1777 || got["var/db/pkg"].Sec == 0 {
		t.Errorf("/tmp is %+v, /var/db/pkg %+v", got["tmp"], got["var/db/pkg"])
	}
}

func TestWalkSpecialFiles(t *testing.T) {
	needRoot(t)
	root := t.TempDir()
	plant(t, root, "usr/file")
	check(t, unix.Mkfifo(filepath.Join(root, "usr/fifo"), 0o644))
	check(t, unix.Mknod(filepath.Join(root, "usr/device"), unix.S_IFCHR|0o644, 0x103))
	check(t, unix.Mknod(filepath.Join(root, "usr/socket"), unix.S_IFSOCK|0o644, 0))
	got, _ := listed(t, Rules{Root: root})
	if want := []string{"usr/", "usr/file"}; !slices.Equal(got, want) {
		t.Errorf("listed: %q", got)
	}
}

func TestWalkErrors(t *testing.T) {
	needRoot(t)
	cases := []struct {
		name  string
		spoil func(p string)
		want  []string
	}{
		{"usr/labelled", func(p string) { setXattr(t, p, "security.unknown", "x") }, []string{"security.unknown"}},
		{"usr/owned", func(p string) { check(t, os.Chown(p, MaxID, 0)) }, []string{"65536:0"}},
		{"usr/grouped", func(p string) { check(t, os.Chown(p, 0, MaxID)) }, []string{"0:65536"}},
	}
	for _, c := range cases {
		root := t.TempDir()
		plant(t, root, c.name, "home/alice/x")
		c.spoil(filepath.Join(root, c.name))
		r := Rules{Root: root}
		m, err := r.compile()
		check(t, err)
		_, err = m.walk(t.Context(), false, func(*found) error { return nil })
		for _, want := range append(c.want, "/"+c.name, `no-copy = ["/`+c.name+`"]`, "/etc/lantage/lantage.toml") {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: the error does not say %s: %v", c.name, want, err)
			}
		}
		r.Exclude = []string{"/" + c.name}
		if got, _ := listed(t, r); !slices.Equal(got, []string{"home/", "usr/"}) {
			t.Errorf("without it: %q", got)
		}
	}
}

func TestWalkOtherFileSystems(t *testing.T) {
	needRoot(t)
	root := t.TempDir()
	plant(t, root, "usr/mnt/", "usr/portage/", "opt/", "usr/local/", "srv/on/way/")
	mount := func(p string) {
		p = filepath.Join(root, p)
		if err := unix.Mount("tmpfs", p, "tmpfs", 0, "size=1m"); err != nil {
			t.Skip("no mounts here: ", err)
		}
		t.Cleanup(func() { check(t, unix.Unmount(p, unix.MNT_DETACH)) })
	}
	for _, p := range []string{"usr/mnt", "usr/portage", "opt", "usr/local", "srv/on"} {
		mount(p)
		plant(t, root, p+"/x")
	}
	plant(t, root, "srv/on/repo/y")
	got, left := listed(t, Rules{Root: root, Repos: []string{"/usr/portage", "/srv/on/repo"}, Include: []string{"/opt"}})
	want := []string{
		"opt/", "opt/x", "srv/", "srv/on/", "srv/on/repo/", "srv/on/repo/y", "usr/",
		"usr/local/", "usr/mnt/", "usr/portage/", "usr/portage/x",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("listed (-want +got):\n%s", diff)
	}
	for _, p := range []string{"/usr/mnt", "/usr/local"} {
		if !slices.Contains(left, LeftOut{p, "another file system"}) {
			t.Errorf("%s is not reported: %v", p, left)
		}
	}
}

// A file system of the disk that is mounted on a place of the table is part of the system. A bind mount of
// another file system stands for it here.
func TestWalkMountedPlace(t *testing.T) {
	needRoot(t)
	root := t.TempDir()
	if err := unix.Mount("tmpfs", root, "tmpfs", 0, "size=1m"); err != nil {
		t.Skip("no mounts here: ", err)
	}
	t.Cleanup(func() { check(t, unix.Unmount(root, unix.MNT_DETACH)) })
	disk := t.TempDir()
	var fs unix.Statfs_t
	check(t, unix.Statfs(disk, &fs))
	if fs.Type == unix.TMPFS_MAGIC {
		t.Skip("the temporary directory is on no disk")
	}
	plant(t, disk, "x")
	for _, p := range []string{"usr/local", "usr/other", "var", "lib64"} {
		plant(t, root, p+"/")
		p = filepath.Join(root, p)
		check(t, unix.Mount(disk, p, "", unix.MS_BIND, ""))
		t.Cleanup(func() { check(t, unix.Unmount(p, unix.MNT_DETACH)) })
	}
	plant(t, disk, "lib/portage/world")
	got, _ := listed(t, Rules{Root: root})
	want := []string{
		"lib64/", "lib64/lib/", "lib64/lib/portage/", "lib64/lib/portage/world", "lib64/x",
		"usr/", "usr/local/", "usr/local/lib/", "usr/local/lib/portage/", "usr/local/lib/portage/world", "usr/local/x",
		"usr/other/", "var/", "var/lib/", "var/lib/portage/", "var/lib/portage/world",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("listed (-want +got):\n%s", diff)
	}
}

func TestWalkEnds(t *testing.T) {
	root := t.TempDir()
	plant(t, root, "usr/a", "usr/b")
	m, err := (&Rules{Root: root}).compile()
	check(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	seen := 0
	_, err = m.walk(ctx, false, func(f *found) error {
		if f.Path == "usr/a" {
			cancel()
		}
		seen++
		return nil
	})
	if !errors.Is(err, context.Canceled) || seen != 3 {
		t.Errorf("cancelled: %d entries, %v", seen, err)
	}
	stop := errors.New("stop")
	if _, err := m.walk(t.Context(), false, func(*found) error { return stop }); err != stop {
		t.Errorf("the error of emit: %v", err)
	}
	m.root = filepath.Join(root, "none")
	if _, err := m.walk(t.Context(), false, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no root: %v", err)
	}
}

// A directory that vanishes, or becomes a link, after it has been seen is not entered.
func TestWalkVanishingDirectory(t *testing.T) {
	root := t.TempDir()
	plant(t, root, "dir/", "link -> dir")
	fd, err := openat(unix.AT_FDCWD, root, unix.O_DIRECTORY)
	check(t, err)
	defer unix.Close(fd)
	w := &walker{ruler: &ruler{}, ctx: t.Context(), bare: true, emit: func(f *found) error {
		t.Errorf("%s is listed", f.Path)
		return nil
	}}
	for _, name := range []string{"none", "link"} {
		check(t, w.subdir(&dir{fd: fd}, name, name, row{take: whole}, false, &unix.Stat_t{}))
	}
}

// What vanishes or becomes something else between being seen and being read is not listed, or as what it is.
func TestWalkVanishing(t *testing.T) {
	root := t.TempDir()
	plant(t, root, "usr/a/", "usr/b/x", "usr/c", "outside/secret")
	m, err := (&Rules{Root: root}).compile()
	check(t, err)
	var got []string
	_, err = m.walk(t.Context(), false, func(f *found) error {
		if f.Path == "usr/a" { // the names in usr have been read
			check(t, os.RemoveAll(filepath.Join(root, "usr/b")))
			check(t, os.Symlink("../outside", filepath.Join(root, "usr/b")))
			check(t, os.Remove(filepath.Join(root, "usr/c")))
		}
		got = append(got, f.Path)
		return nil
	})
	check(t, err)
	if want := []string{".", "usr", "usr/a", "usr/b"}; !slices.Equal(got, want) {
		t.Errorf("listed %q", got)
	}
}
