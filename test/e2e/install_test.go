package e2e

import (
	"debug/elf"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lantage/test/lab"
)

// clone is a clean copy of what is committed: what `make dist` packs.
func clone(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "lantage")
	top := strings.TrimSpace(machine(t, ".", "git", "rev-parse", "--show-toplevel"))
	machine(t, ".", "git", "clone", "--quiet", "--no-hardlinks", top, dir)
	return dir
}

// machine runs a command on this machine, in a directory, and returns what it prints.
func machine(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// filesIn lists what is below a directory, and not the directories.
func filesIn(t *testing.T, dir string) (list []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			list = append(list, strings.TrimPrefix(path, dir))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// TestMakeInstall: `make install` installs one static program under both its names, and `make uninstall`
// takes all away.
func TestMakeInstall(t *testing.T) {
	t.Parallel()
	src, dest := clone(t), t.TempDir()
	machine(t, src, "make", "install", "DESTDIR="+dest, "PREFIX=/opt/lantage")
	want := []string{
		"/opt/lantage/bin/lantage", "/opt/lantage/bin/lantaged", "/opt/lantage/lib/systemd/system/lantaged.service",
		"/opt/lantage/share/man/man1/lantage.1", "/opt/lantage/share/man/man8/lantaged.8",
	}
	if got := filesIn(t, dest); !slices.Equal(got, want) {
		t.Errorf("installed: %q, want %q", got, want)
	}
	program := filepath.Join(dest, want[0])
	f, err := elf.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Errorf("%s is not static: it has a segment %v", program, p.Type)
		}
	}
	if out := machine(t, dest, program, "version"); out != "lantage 0.1\n" {
		t.Errorf("version: %q", out)
	}
	if out := machine(t, dest, filepath.Join(dest, want[1]), "--help"); !strings.Contains(out, "--listen") {
		t.Errorf("lantaged --help is not that of lantage serve:\n%s", out)
	}
	unit, err := os.ReadFile(filepath.Join(dest, want[2]))
	if err != nil || !strings.Contains(string(unit), "\nExecStart=/opt/lantage/bin/lantaged ") {
		t.Errorf("the unit (%v):\n%s", err, unit)
	}
	machine(t, src, "make", "uninstall", "DESTDIR="+dest, "PREFIX=/opt/lantage")
	if left := filesIn(t, dest); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

// installSteps are the commands that README.md prints for two Gentoo machines.
func installSteps(t *testing.T, src string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(src, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "**Install**")
	_, rest, _ = strings.Cut(rest, "\n```\n")
	block, _, ok := strings.Cut(rest, "\n```\n")
	if !ok {
		t.Fatal("README.md has no block of commands after **Install**")
	}
	return strings.Split(block, "\n")
}

// TestOverlay installs Lantage with Portage as README.md says it, word for word.
func TestOverlay(t *testing.T) {
	t.Parallel()
	l := newLab(t, lab.HostSpec{Name: "desk", Share: goShare(t), Files: map[string]string{
		"profile/package.provided": "dev-lang/go-1.26.8\n",
		"make.conf":                "FEATURES=\"-sandbox -usersandbox -merge-sync -pid-sandbox -userpriv\"\n",
		"bashrc":                   compiledBefore,
	}})
	desk := l.Host("desk")
	in(t, desk, nil, "ln", "-s", "/opt/bin/go", "/usr/local/bin/go").ok(t)
	in(t, desk, nil, "sh", "-c", writableCache).ok(t)
	src := clone(t)
	steps := installSteps(t, src)

	// The first step needs the sources' whole history and the network, so it runs here; what it makes and what the
	// others use of the sources goes to the host.
	dist, rest, ok := strings.Cut(steps[0], " && cp ")
	if dist != "make dist" || !ok {
		t.Fatalf("the first step is not make dist and the copying of what it makes: %s", steps[0])
	}
	machine(t, src, "env", "XZ_OPT=-0", "make", "dist")
	from, to, _ := strings.Cut(rest, " ")
	machine(t, src, "cp", from, desk.Path(to))
	machine(t, src, "cp", "-r", "portage", desk.Path("/root/portage"))

	script := "set -ex\ncd /root\n" + strings.Join(steps[1:], "\n")
	in(t, desk, nil, "bash", "-c", script).ok(t)

	in(t, desk, nil, "/usr/bin/lantage", "version").ok(t).says(t, "lantage 0.1")
	in(t, desk, nil, "/usr/bin/lantaged", "--help").ok(t).says(t, "--listen")
	in(t, desk, nil, "cat", "/var/lib/portage/world").ok(t).says(t, "app-admin/lantage\n", "app-admin/lantaged\n")
	in(t, desk, nil, "ls", "/usr/share/man/man1", "/usr/share/man/man8").ok(t).says(t, "lantage.1", "lantaged.8")
	for _, file := range []string{
		"/etc/init.d/lantaged", "/etc/conf.d/lantaged", "/usr/lib/systemd/system/lantaged.service",
	} {
		in(t, desk, nil, "test", "-f", file).ok(t)
	}
	in(t, desk, nil, "test", "-x", "/etc/init.d/lantaged").ok(t)
	in(t, desk, nil, "emerge", "-q", "--unmerge", "app-admin/lantaged", "app-admin/lantage").ok(t)
	in(t, desk, nil, "test", "!", "-e", "/usr/bin/lantage").ok(t)
}

// What this machine has compiled already a host need not compile again, which takes a minute: over that lies a layer of the
// host's own, and the ebuild finds it where it keeps such things.
const (
	writableCache = `mkdir /tmp/upper /tmp/work /var/cache/go-build &&
		mount -t overlay -o lowerdir=/srv,upperdir=/tmp/upper,workdir=/tmp/work overlay /var/cache/go-build`
	compiledBefore = `[[ ${EBUILD_PHASE} == compile ]] && ln -s /var/cache/go-build "${T}"/go-build
`
)

// goShare shows a host this machine's Go, where Portage finds it, and what it has compiled.
func goShare(t *testing.T) map[string]string {
	t.Helper()
	goEnv := func(name string) string { return strings.TrimSpace(machine(t, ".", "go", "env", name)) }
	return map[string]string{"/opt": goEnv("GOROOT"), "/srv": goEnv("GOCACHE")}
}
