package build

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestMain is the processes of a build root, too, and what tries attempts without one.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "build-root" {
		ChildMain(os.Args[2])
	}
	if os.Getenv("TRY_ATTEMPTS") != "" {
		tryAttempts()
		return
	}
	var err error
	if programs, err = os.MkdirTemp("", "lantage-build-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(programs)
	os.Exit(code)
}

// programs is where the tests' programs are built.
var programs string

// lantageOnce builds the program, which is static: a test binary would not run in an empty root.
var lantageOnce = sync.OnceValues(func() (string, error) {
	file := filepath.Join(programs, "lantage")
	cmd := exec.Command("go", "build", "-o", file, "lantage")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, out)
	}
	return file, err
})

// realRoots has the test make real build roots, on a base that has only lantage in it, as /bin/lantage.
func realRoots(t testing.TB) (*Runner, DirBase) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("only root can make build roots: run this as root")
	}
	lantage, err := lantageOnce()
	if err != nil {
		t.Fatal(err)
	}
	program = lantage
	t.Cleanup(func() { program = "/proc/self/exe" })
	base := DirBase{t.TempDir()}
	if err := os.Mkdir(filepath.Join(base.Dir, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(lantage)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(base.Dir, "bin", "lantage"), data, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{base.Dir, filepath.Dir(base.Dir)} {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	r := &Runner{StateDir: t.TempDir(), ranges: idRanges{taken: map[int]bool{}}}
	for n := range 100 + os.Getpid()%100 { // are other tests' daemons'
		r.ranges.taken[n] = true
	}
	return r, base
}

// TestBuildRootProves: on this machine a build root comes about, and finds that nothing of what must fail works.
func TestBuildRootProves(t *testing.T) {
	r, base := realRoots(t)
	if err := r.try(t.Context(), base, "", []string{"/bin/lantage", "version"}); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(filepath.Join(r.StateDir, "jobs")); err != nil || len(left) > 0 {
		t.Errorf("it leaves %v, %v", left, err)
	}
}

// otherFS is a base with something of another file system in it.
type otherFS struct {
	DirBase
	layer  Layer
	hidden string
}

func (b otherFS) Layers() ([]Layer, error)    { return []Layer{{b.Dir, "/"}, b.layer}, nil }
func (b otherFS) Masks() ([]string, []string) { return nil, []string{b.hidden} }

// TestLayerAsItIs: nothing can be taken away from a file system that cannot shift owners. What only its owner may read there the job
// cannot read all the same, and one that it could is found.
func TestLayerAsItIs(t *testing.T) {
	r, base := realRoots(t)
	dir := t.TempDir()
	for name, mode := range map[string]os.FileMode{"private": 0o600, "public": 0o644} {
		put(t, filepath.Join(dir, "lower", name), "x")
		if err := os.Chmod(filepath.Join(dir, "lower", name), mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"none", "merged"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	merged := filepath.Join(dir, "merged") // overlayfs is one
	if err := unix.Mount("overlay", merged, "overlay", 0, "lowerdir="+dir+"/lower:"+dir+"/none"); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Unmount(merged, 0) }()
	if err := os.Mkdir(filepath.Join(base.Dir, "opt"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"private": "<nil>", "public": "/opt/public can be read"} {
		err := r.try(t.Context(), otherFS{base, Layer{merged, "/opt"}, "/opt/" + name}, "", []string{"/bin/lantage", "version"})
		if got := fmt.Sprint(err); !strings.HasSuffix(got, want) {
			t.Errorf("with a %s file: %s", name, got)
		}
	}
}

// BenchmarkBuildRoot is a whole job that does nothing: the root is set up, proved, inhabited and removed, with limits. base=host needs
// a root file system that can be a layer.
func BenchmarkBuildRoot(b *testing.B) {
	r, dir := realRoots(b)
	r.Limits = Limits{Memory: 1 << 30, Processes: 16384, Silence: time.Hour, KeepFree: 1 << 20}
	for name, job := range map[string]struct {
		base Base
		argv []string
	}{
		"base=directory": {dir, []string{"/bin/lantage", "version"}},
		"base=host":      {HostBase{r.StateDir}, []string{"/bin/true"}},
	} {
		b.Run(name, func(b *testing.B) {
			var took []time.Duration
			for b.Loop() {
				began := time.Now()
				if err := r.try(b.Context(), job.base, "", job.argv); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(began))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "median-ms")
		})
	}
}

// TestAttemptsCanWork: what must fail in a build root works in namespaces that nothing was taken from, so that its failing says
// something.
func TestAttemptsCanWork(t *testing.T) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), "TRY_ATTEMPTS=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS,
		UidMappings: idMappings(firstID), GidMappings: idMappings(firstID), GidMappingsEnableSetgroups: true,
		Credential: &syscall.Credential{Uid: 0, Gid: 0},
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, what := range []string{
		"file systems can be mounted", "what hides can be taken away", "what is read-only can be made writable", "mounts can be copied",
		"file systems can be made", "other namespaces can be entered", "user namespaces can be made, with all capabilities in them",
		"the kernel's keys can be reached", "io_uring can be used", "files can be opened without their directories", "settings of the kernel can be written",
		"it has capabilities that it must not have", "/proc/interrupts can be read", "/sys/kernel/notes can be read",
	} {
		if !strings.Contains(string(out), what+"\n") && !strings.Contains(string(out), what+" (") {
			t.Errorf("without a build root it does not work, or is not tried: %s; there are\n%s", what, out)
		}
	}
}

// tryAttempts prints what of prove's attempts works, in mounts of its own.
func tryAttempts() {
	runtime.LockOSThread()
	for _, err := range []error{
		unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""), unix.Mount("proc", "/proc", "proc", 0, ""),
		unix.Mount("tmpfs", "/run", "tmpfs", 0, ""), unix.Mount("/dev/null", "/proc/keys", "", unix.MS_BIND, ""),
		unix.Mount("/sys", "/sys", "", unix.MS_BIND|unix.MS_REC, ""),
	} {
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
	for _, a := range attempts {
		if a.try() == nil {
			fmt.Println(a.what)
		}
	}
	for _, path := range maskedInside {
		if err := proveMasked(path); err != nil {
			fmt.Println(err)
		}
	}
	fmt.Println(proveCapabilities(map[string]string{"CapEff": "000001ffffffffff"}))
}
