package build

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// greedyOnce builds testdata/greedy.
var greedyOnce = sync.OnceValues(func() ([]byte, error) {
	file := filepath.Join(programs, "greedy")
	cmd := exec.Command("go", "build", "-o", file, "./testdata/greedy")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, errors.New(string(out))
	}
	return os.ReadFile(file)
})

// greedyRoots is realRoots with a base that has /bin/greedy in it.
func greedyRoots(t *testing.T) (*Runner, DirBase) {
	t.Helper()
	r, base := realRoots(t)
	greedy, err := greedyOnce()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(base.Dir, "bin/greedy"), greedy, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(base.Dir, "var"), 0o755); err != nil {
		t.Fatal(err)
	}
	return r, base
}

// TestLimitsEndJobs: a job that takes too much is ended, and the error says what of, how much there is, and what to change.
func TestLimitsEndJobs(t *testing.T) {
	r, base := greedyRoots(t)
	for _, c := range []struct {
		greedy string
		limits Limits
		name   string
		says   string
	}{
		{"memory", Limits{Memory: 128 << 20}, "job-memory", "more than 128 MiB of memory"},
		{"tmpfs", Limits{Memory: 64 << 20}, "", ""},                                   // its file systems in memory have no room for that
		{"churn", Limits{Processes: 300}, "job-processes", "more than 300 processes"}, // after all process numbers have been used once
		{"disk", Limits{Disk: 64 << 20}, "job-disk", "more than 64 MiB to the builder's disk"},
		{"wait", Limits{Time: 200 * time.Millisecond}, "job-time", "longer than 200ms"},
		{"wait", Limits{Silence: 200 * time.Millisecond}, "job-silence", "for 200ms"},
		{"talk", Limits{Silence: 2 * time.Second}, "", ""}, // for longer than that
	} {
		t.Run(c.greedy+" "+c.name, func(t *testing.T) {
			r.Limits = c.limits
			limit := 60 * time.Second
			if c.greedy == "tmpfs" {
				limit = 3 * time.Second
			}
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			err := r.try(ctx, base, "", []string{"/bin/greedy", c.greedy})
			over, ended := errors.AsType[*LimitError](err)
			switch {
			case ended != (c.name != ""):
				t.Errorf("it ended with %v", err)
			case !ended:
			case over.Name != c.name || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "--"+c.name):
				t.Errorf("the error is: %v", err)
			}
			first, release := r.ranges.take() // the same again
			defer release()
			if use := usageOf("/proc", first); use.processes > 0 {
				t.Errorf("there are %d processes left", use.processes)
			}
		})
	}
}

// TestNicerDaemon: a daemon that is nicer than its jobs would be builds all the same.
func TestNicerDaemon(t *testing.T) {
	r, base := greedyRoots(t)
	own := ownNiceness(t)
	nice := max(niceness+5, own)
	beAll := func(nice int) { // threads have each their own
		threads, err := filepath.Glob("/proc/self/task/*")
		for _, thread := range threads {
			tid, _ := strconv.Atoi(filepath.Base(thread))
			if e := unix.Setpriority(unix.PRIO_PROCESS, tid, nice); e != unix.ESRCH { // it has ended
				err = cmp.Or(err, e)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	beAll(nice)
	defer beAll(own)
	err := r.try(t.Context(), base, "", []string{"/bin/greedy", "limits"})
	if want := fmt.Sprintf("nice %d", nice); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("it said %v, which has no %q", err, want)
	}
}

func ownNiceness(t *testing.T) int {
	t.Helper()
	n, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
	if err != nil {
		t.Fatal(err)
	}
	return 20 - n
}

// TestKernelLimits: what the watchdog looks for the kernel holds, too, a little further on; and a job gives way to others.
func TestKernelLimits(t *testing.T) {
	r, base := greedyRoots(t)
	r.Limits = Limits{Processes: 400}
	err := r.try(t.Context(), base, "", []string{"/bin/greedy", "limits"})
	if err == nil {
		t.Fatal("it said nothing")
	}
	lines := strings.Join(strings.Fields(err.Error()), " ")
	ceiling := strconv.FormatUint(r.Limits.processCeiling(), 10)
	nice := fmt.Sprintf("nice %d", max(niceness, ownNiceness(t)))
	for _, want := range []string{"Max core file size 1 1 ", "Max processes " + ceiling + " " + ceiling, " 500 pid_max ", nice} {
		if !strings.Contains(lines, want) {
			t.Errorf("there is no %q in %s", want, lines)
		}
	}
	if major, minor := kernelVersion(t); major > 6 || major == 6 && minor >= 14 {
		most := strconv.FormatUint(r.Limits.processCeiling()+reservedPIDs, 10)
		if want := "pid_max " + most + " "; !strings.Contains(lines, want) {
			t.Errorf("there is no %q in %s", want, lines)
		}
		if text, err := os.ReadFile("/proc/sys/kernel/pid_max"); err != nil || strings.TrimSpace(string(text)) == most {
			t.Errorf("the builder's own pid_max is %s, %v", text, err)
		}
	}
}

// TestAbstractSockets: those of the builder's are out of reach, although a job shares its network.
func TestAbstractSockets(t *testing.T) {
	r, base := greedyRoots(t)
	name := "@lantage-test-" + strconv.Itoa(os.Getpid())
	ln, err := net.Listen("unix", name)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	err = r.try(t.Context(), base, "", []string{"/bin/greedy", "connect", name})
	fd, errno := socketScope()
	if errno != 0 {
		t.Skipf("this kernel cannot keep them out: %v", errno)
	}
	syscall.Close(fd)
	if err == nil || !strings.Contains(err.Error(), "operation not permitted") {
		t.Errorf("it ended with %v", err)
	}
}

func kernelVersion(t *testing.T) (major, minor int) {
	t.Helper()
	text, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.SplitN(string(text), ".", 3)
	major, err = strconv.Atoi(parts[0])
	if err == nil {
		minor, err = strconv.Atoi(parts[1])
	}
	if err != nil {
		t.Fatal(err)
	}
	return major, minor
}

// TestUsageOf reads a /proc with a job of another range, and one without.
func TestUsageOf(t *testing.T) {
	proc := t.TempDir()
	for pid, status := range map[string]string{
		"10": "Name:\ta b\nRssAnon:\t   1000 kB\nRssFile:\t 5000 kB\nRssShmem:\t    300 kB\nThreads:\t4\n",
		"11": "RssAnon:\t 24 kB\nRssShmem:\t 500 kB\nThreads:\t1\n",
		"12": "RssAnon:\t 7777 kB\nThreads:\t9\n", // of another job
		"x":  "RssAnon:\t 7777 kB\nThreads:\t9\n",
	} {
		dir := filepath.Join(proc, pid)
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "status"), []byte(status), 0o644); err != nil {
			t.Fatal(err)
		}
		owner := firstID + 65535
		if pid == "12" {
			owner++
		}
		if err := os.Chown(dir, owner, owner); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := usageOf(proc, firstID), (usage{1524 << 10, 5}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// TestKeepFree: a job is ended before the disk is full, and small disks have to be emptier only by their size.
func TestKeepFree(t *testing.T) {
	dir := t.TempDir()
	const first = firstID
	w := newWatch(Limits{KeepFree: 1 << 60}, nil, nil, first, nil, []string{dir})
	if over, _ := errors.AsType[*LimitError](w.check()); over == nil || over.Name != "keep-free" {
		t.Errorf("a full disk is met with %v", over)
	}
	if l := (Limits{KeepFree: 1 << 60}).on(dir); l.KeepFree >= 1<<50 || l.KeepFree == 0 {
		t.Errorf("%d bytes are to be kept free", l.KeepFree)
	}
	if err := newWatch(Limits{KeepFree: 1}, nil, nil, first, nil, []string{dir}).check(); err != nil {
		t.Error(err)
	}
}

// TestDiskUsage: what a job puts in the way leads nowhere else, and no name hides it.
func TestDiskUsage(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "\xff/a"), strings.Repeat("a", 1<<20))
	if err := os.Symlink("/usr", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	deep := dir
	for range 3 * maxDepth {
		deep += "/d"
	}
	if err := os.MkdirAll(deep, 0o755); err != nil {
		t.Fatal(err)
	}
	if got := diskUsage([]string{dir, filepath.Join(dir, "none")}); got < 1<<20 || got > 2<<20 {
		t.Errorf("it is %d bytes", got)
	}
}
