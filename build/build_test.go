package build

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"lantage/gentoo"
)

func cpv(t *testing.T, s string) gentoo.CPV {
	t.Helper()
	c, err := gentoo.ParseCPV(s)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestParallelism(t *testing.T) {
	for _, c := range []struct {
		cores           int
		memory          int64
		processes, jobs int
	}{
		{1, 1 << 30, 1, 1},    // a small machine still builds
		{2, 24 << 30, 2, 2},   //
		{16, 64 << 30, 16, 8}, //
		{16, 8 << 30, 4, 2},   // memory is the limit
		{64, 256 << 30, 64, 8},
	} {
		if p, j := parallelism(c.cores, c.memory); p != c.processes || j != c.jobs {
			t.Errorf("parallelism(%d, %d) = %d, %d, want %d, %d", c.cores, c.memory, p, j, c.processes, c.jobs)
		}
	}
}

func TestEmergeArgv(t *testing.T) {
	got := emergeArgv([]Package{{cpv(t, "dev-libs/lzo-2.10"), "gentoo"}, {cpv(t, "app-arch/lzop-1.04-r1"), "local"}}, false, 2, 4)
	tail := []string{"--jobs=2", "--load-average=4", "=dev-libs/lzo-2.10::gentoo", "=app-arch/lzop-1.04-r1::local"}
	if !slices.Equal(got[len(got)-4:], tail) {
		t.Errorf("the end is %q, want %q", got[len(got)-4:], tail)
	}
	for _, want := range []string{
		"--ignore-default-opts", "--oneshot", "--buildpkg", "--usepkg", "--binpkg-respect-use=y", "--getbinpkg=n",
		"--keep-going", "--jobs-tmpdir-require-free-gb=0",
	} {
		if !slices.Contains(got, want) {
			t.Errorf("%s is missing in %q", want, got)
		}
	}
	if slices.Contains(got, "--nodeps") || !slices.Contains(emergeArgv(nil, true, 2, 4), "--nodeps") {
		t.Error("--nodeps is for those alone who asked for it")
	}
}

func TestEmergeEnv(t *testing.T) {
	env := emergeEnv(Job{Env: []string{"USE=shout", "FEATURES=test getbinpkg"}}, distDirs{}, func(name string) string { return "of " + name })
	features := ""
	for _, v := range env {
		if f, ok := strings.CutPrefix(v, "FEATURES="); ok {
			features = f
		}
	}
	if !slices.Contains(env, "USE=shout") {
		t.Error("the client's USE is lost")
	}
	words := strings.Fields(features)
	if slices.Index(words, "test") != 0 || slices.Index(words, "-getbinpkg") < slices.Index(words, "getbinpkg") {
		t.Errorf("FEATURES=%s: the client's must come first and getbinpkg must be off", features)
	}
}

// TestBuilderVariables: what the table says is the builder's is set in the build root, whatever the client's files say, and
// nothing of the client's is.
func TestBuilderVariables(t *testing.T) {
	set := map[string]bool{}
	for _, v := range emergeEnv(Job{Env: []string{"USE=shout"}, Clear: gentoo.SeenByBuilds()}, distDirs{}, func(string) string { return "" }) {
		name, _, _ := strings.Cut(v, "=")
		set[name] = true
		if whose := gentoo.WhoseVariable(name); whose == gentoo.Client && name != "USE" && name != "FEATURES" {
			t.Errorf("%s is the client's, and the builder sets it", name)
		}
	}
	for line := range strings.Lines(makeConfTail(4)) {
		if name, _, ok := strings.Cut(line, "="); ok {
			set[name] = true
		}
	}
	all := append(gentoo.BuilderVariables(), "EMERGE_DEFAULT_OPTS", "PORTAGE_BINHOST", "FETCHCOMMAND_HTTPS", "RESUMECOMMAND_HTTP")
	// Without effect because of FEATURES, of PORTAGE_SCHEDULING_POLICY, PORTAGE_ELOG_SYSTEM, and of their own new names.
	for _, name := range []string{
		"PORTAGE_CGROUP_ROOT", "CCACHE_SIZE", "PORTAGE_SCHEDULING_PRIORITY", "PORTAGE_ELOG_CLASSES", "PORTAGE_ELOG_COMMAND",
		"PORTAGE_ELOG_MAILFROM", "PORTAGE_ELOG_MAILSUBJECT", "PORTAGE_ELOG_MAILURI", "PORT_LOGDIR", "PORT_LOGDIR_CLEAN",
	} {
		set[name] = true
	}
	if len(all) < 40 {
		t.Fatalf("the table has only %d variables of the builder's", len(all))
	}
	for _, name := range all {
		if !set[name] {
			t.Errorf("%s is the builder's, and a client's value would act in the build root", name)
		}
	}
}

func TestStatements(t *testing.T) {
	got := statements(`# a comment, don't

CFLAGS="-O2 # not a comment
  -pipe"   # a comment with a " in it
	USE="a
b"
MAKEOPTS=-j9# this is one, too
export PORTAGE_NICENESS=3
PORTAGE_TMPDIR=/x
export EXTRA_ECONF="--with-dir=${PORTAGE_TMPDIR}"
FEATURES='x "y'`, map[string]bool{"PORTAGE_TMPDIR": true})
	want := []string{"CFLAGS=\"-O2 # not a comment\n  -pipe\"", "PORTAGE_TMPDIR=/x", "EXTRA_ECONF=\"--with-dir=${PORTAGE_TMPDIR}\"", `FEATURES='x "y'`}
	if !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
	for _, odd := range []string{`LDFLAGS="a\"b"`, "FEATURES='x \\'", "source /etc/portage/extra", "# Lügen"} {
		text := "# a comment\nCFLAGS=-O2\n" + odd + "\nMAKEOPTS=-j9\n"
		if got := statements(text, nil); !slices.Equal(got, []string{text}) {
			t.Errorf("%s: %q, want the whole text", odd, got)
		}
	}
}

// TestSettingsKey holds the rule of the key: it changes with all that changes a package, and with nothing
// else.
func TestSettingsKey(t *testing.T) {
	base := map[string]string{
		"make.conf": "CFLAGS=-O2\nUSE=a\n", "package.use/x": "a/b c\n", "patches/a/b/1.patch": "x\n", "env/x": "CFLAGS=-O1\n",
	}
	key := func(change func(j *Job, files map[string]string)) string {
		t.Helper()
		job := Job{Inputs: t.TempDir(), Profile: gentoo.Profile{Repo: "lab", Path: "default"}, Env: []string{"USE=x"}}
		files := map[string]string{}
		for k, v := range base {
			files[k] = v
		}
		change(&job, files)
		for name, data := range files {
			p := filepath.Join(job.Inputs, insideConfig, name)
			if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(p, []byte(data), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		k, err := keyOfJob(t, job)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	plain := key(func(*Job, map[string]string) {})
	for name, same := range map[string]func(*Job, map[string]string){
		"nothing":                func(*Job, map[string]string) {},
		"package.use":            func(_ *Job, f map[string]string) { f["package.use/x"] = "a/b -c\n" },
		"USE in make.conf":       func(_ *Job, f map[string]string) { f["make.conf"] = "CFLAGS=-O2\nUSE=\"b\n c\"\n" },
		"a comment":              func(_ *Job, f map[string]string) { f["make.conf"] = "# hello\nCFLAGS=-O2 # x\nUSE=a\n" },
		"USE of the environment": func(j *Job, _ map[string]string) { j.Env = []string{"USE=y"} },
		"the builder's": func(_ *Job, f map[string]string) {
			f["make.conf"] = "CFLAGS=-O2\nFETCHCOMMAND=\"x y\"\nUSE=a\nPKGDIR=/c\n"
		},
		"another package's order": func(j *Job, _ map[string]string) { j.Packages = []Package{{Repo: "lab"}} },
	} {
		if key(same) != plain {
			t.Errorf("%s changes the key; it must not", name)
		}
	}
	for name, other := range map[string]func(*Job, map[string]string){
		"CFLAGS in make.conf":       func(_ *Job, f map[string]string) { f["make.conf"] = "CFLAGS=-O3\nUSE=a\n" },
		"CFLAGS of the environment": func(j *Job, _ map[string]string) { j.Env = append(j.Env, "CFLAGS=-O3") },
		"what builds see":           func(_ *Job, f map[string]string) { f["make.conf"] += "http_proxy=x\n" },
		"repos.conf":                func(_ *Job, f map[string]string) { f["repos.conf"] = "[a]\nlocation = /etc/portage/sets\n" },
		"a set that is a program":   func(_ *Job, f map[string]string) { f["sets.conf"] = "[x]\nclass = x\n" },
		"--nodeps":                  func(j *Job, _ map[string]string) { j.Nodeps = true },
		"a patch":                   func(_ *Job, f map[string]string) { f["patches/a/b/1.patch"] = "y\n" },
		"a new patch":               func(_ *Job, f map[string]string) { f["patches/a/b/2.patch"] = "x\n" },
		"env":                       func(_ *Job, f map[string]string) { f["env/x"] = "CFLAGS=-O0\n" },
		"package.env":               func(_ *Job, f map[string]string) { f["package.env"] = "a/b x\n" },
		"bashrc":                    func(_ *Job, f map[string]string) { f["bashrc"] = "x\n" },
		"the profile":               func(j *Job, _ map[string]string) { j.Profile.Path = "other" },
		"profile overrides":         func(_ *Job, f map[string]string) { f["profile/use.mask"] = "x\n" },
	} {
		if key(other) == plain {
			t.Errorf("%s does not change the key; it must", name)
		}
	}
	using := func(opts string) string {
		return key(func(_ *Job, f map[string]string) {
			f["make.conf"] += "MAKEOPTS=" + opts + "\n"
			f["env/x"] = "NINJAOPTS=\"${MAKEOPTS}\"\n"
		})
	}
	if using("-j1") == using("-j2") {
		t.Error("a variable of the builder's that another file uses does not change the key; it must")
	}
}

func TestMountOf(t *testing.T) {
	target, fstype := mountOf(`36 35 98:0 /mnt1 /var/db/my\040repos rw,noatime master:1 - ext4 /dev/root rw,errors=continue`)
	if target != "/var/db/my repos" || fstype != "ext4" {
		t.Errorf("got %q, %q", target, fstype)
	}
	if target, fstype := mountOf("garbage"); target != "" || fstype != "" {
		t.Errorf("garbage gives %q, %q", target, fstype)
	}
}

func TestBuildID(t *testing.T) {
	for name, want := range map[string]int{
		"lzo-2.10-1.gpkg.tar": 1, "lzo-2.10-12.xpak": 12, "lzo-2.10-0.gpkg.tar": 0, "lzo-2.10-r1-1.gpkg.tar": 0,
		"lzo-2.10.gpkg.tar": 0, "lzo-2.10-1.gpkg.tar.partial": 0, "other-1-1.xpak": 0,
	} {
		id, ok := buildID(name, "lzo-2.10")
		if ok != (want > 0) || ok && id != want {
			t.Errorf("buildID(%q) = %d, %v", name, id, ok)
		}
	}
}

// TestOpenRegular holds the border to a job's files: what a job puts in place of one must not be followed
// or waited for.
func TestOpenRegular(t *testing.T) {
	dir := t.TempDir()
	outside := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(outside, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"link": os.Symlink(outside, filepath.Join(dir, "link")),
		"up":   os.Symlink(filepath.Dir(outside), filepath.Join(dir, "up")),
		"fifo": mkfifo(filepath.Join(dir, "fifo")),
		"dir":  os.Mkdir(filepath.Join(dir, "dir"), 0o755),
		"good": os.WriteFile(filepath.Join(dir, "good"), []byte("x"), 0o600),
	} {
		if err != nil {
			t.Fatal(name, err)
		}
	}
	for _, path := range []string{"link", "up/secret", "fifo", "dir", "../x", "missing"} {
		if f, err := (Result{Dir: dir, Path: path}).Open(); err == nil {
			f.Close()
			t.Errorf("%s was opened", path)
		}
	}
	f, err := Result{Dir: dir, Path: "good"}.Open()
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
}

func TestKeyLocks(t *testing.T) {
	var k keyLocks
	never := make(chan struct{})
	unlock, waited, ok := k.lock("a", never)
	if !ok || waited {
		t.Fatal("a free key was refused")
	}
	if _, waited, ok := k.lock("b", never); !ok || waited {
		t.Fatal("another key was refused")
	}
	gaveUp := make(chan struct{})
	close(gaveUp)
	if _, waited, ok := k.lock("a", gaveUp); ok || !waited {
		t.Fatal("a held key was given twice")
	}
	got := make(chan bool)
	go func() {
		_, _, ok := k.lock("a", never)
		got <- ok
	}()
	unlock()
	if !<-got {
		t.Fatal("the one who waits does not get the key")
	}
}

func mkfifo(name string) error { return syscall.Mkfifo(name, 0o600) }

// TestBuildersProxy: a proxy of the client's is not the builder's, and the builder's own is there once.
func TestBuildersProxy(t *testing.T) {
	job := Job{Env: []string{"USE=shout"}, Clear: []string{"http_proxy", "https_proxy"}}
	env := emergeEnv(job, distDirs{}, func(name string) string {
		if name == "http_proxy" {
			return "http://proxy:3128"
		}
		return ""
	})
	got := slices.DeleteFunc(slices.Clone(env), func(v string) bool { return !strings.Contains(v, "_proxy=") })
	slices.Sort(got)
	if want := []string{"http_proxy=http://proxy:3128", "https_proxy="}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
