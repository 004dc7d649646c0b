package build

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// fakeCgroup makes a directory with the files of a control group, as far as ours are concerned.
func fakeCgroup(t *testing.T, dir string, files map[string]string) string {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"cgroup.procs", "cgroup.subtree_control", "cgroup.controllers"} {
		if _, ok := files[name]; !ok {
			files[name] = ""
		}
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func read(t *testing.T, path ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestOpenCgroups: of a group of its own the daemon makes the place of its jobs' groups; one that it shares it leaves alone.
func TestOpenCgroups(t *testing.T) {
	const all = "cpuset cpu io memory pids\n"
	mount := t.TempDir()
	self := strconv.Itoa(os.Getpid())
	service := fakeCgroup(t, filepath.Join(mount, "system.slice/lantaged.service"), map[string]string{
		"cgroup.controllers": all, "cgroup.procs": self + "\n", "cgroup.subtree_control": "cpu memory pids\n",
	})
	fakeCgroup(t, filepath.Join(service, "daemon"), map[string]string{})
	c, err := openCgroups(mount, "/system.slice/lantaged.service", os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if !c.has("memory") || !c.has("pids") || c.has("hugetlb") {
		t.Errorf("the jobs' groups have %q", c.controllers)
	}
	if got := read(t, service, "daemon/cgroup.procs"); got != self {
		t.Errorf("%q moved to the group beside the jobs'", got)
	}
	if got := read(t, service, "cgroup.subtree_control"); !strings.Contains(got, "+io") {
		t.Errorf("the controllers %q were enabled", got)
	}

	for name, files := range map[string]map[string]string{
		"a terminal's":        {"cgroup.controllers": all, "cgroup.procs": "1\n" + self + "\n"},
		"without controllers": {"cgroup.controllers": "cpuset hugetlb\n", "cgroup.procs": self},
		"not delegated":       {"cgroup.controllers": all, "cgroup.procs": self},
	} {
		dir := fakeCgroup(t, filepath.Join(mount, name), files) // one of its own: the order of cases is another each time
		if name == "not delegated" {
			fakeCgroup(t, filepath.Join(dir, "daemon"), map[string]string{})
			if err := os.Remove(filepath.Join(dir, "cgroup.subtree_control")); err != nil {
				t.Fatal(err)
			}
		}
		if c, err := openCgroups(mount, "/"+name, os.Getpid()); err == nil {
			t.Errorf("%s: it is used: %v", name, c)
		}
		if name == "a terminal's" {
			if _, err := os.Stat(filepath.Join(dir, "daemon")); err == nil {
				t.Error("a terminal's group was changed")
			}
		}
	}

	root := fakeCgroup(t, filepath.Join(mount, "root"), map[string]string{"cgroup.controllers": all, "cgroup.procs": "1\n2\n" + self})
	fakeCgroup(t, filepath.Join(root, "lantage"), map[string]string{"cgroup.subtree_control": "memory pids\n"})
	if err := os.Mkdir(filepath.Join(root, "lantage/job-stale"), 0o755); err != nil {
		t.Fatal(err)
	}
	if c, err = openCgroups(root, "/", os.Getpid()); err != nil || c.dir != filepath.Join(root, "lantage") {
		t.Fatalf("the root group: %v, %v", c, err)
	}
	if read(t, root, "cgroup.procs") != "1\n2\n"+self {
		t.Error("the daemon left the root group")
	}
	if _, err := os.Stat(filepath.Join(root, "lantage/job-stale")); err == nil {
		t.Error("the group of a job that ended with a daemon stays")
	}
}

// TestJobCgroup: a job's limits are written into its group, and what the kernel counts there is told.
func TestJobCgroup(t *testing.T) {
	dir := t.TempDir()
	c := &cgroups{dir, []string{"memory", "pids", "cpu"}}
	job := fakeCgroup(t, filepath.Join(dir, "job-x"), map[string]string{
		"memory.max": "", "memory.oom.group": "", "pids.max": "", "cpu.weight": "", "memory.events": "low 0\noom 0\noom_kill 0\n", "pids.events": "max 0\n",
		"cgroup.kill": "",
	})
	g, err := c.forJob("x", Limits{Memory: 1 << 30, Processes: 500, CPUWeight: 20})
	if err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{"memory.max": "1073741824", "memory.oom.group": "1", "pids.max": "500", "cpu.weight": "20"} {
		if got := read(t, job, file); got != want {
			t.Errorf("%s is %q, want %q", file, got, want)
		}
	}
	if err := g.exceeded(); err != nil {
		t.Errorf("nothing happened, and it says %v", err)
	}
	for file, text := range map[string]string{"memory.events": "low 0\noom 1\noom_kill 3\n", "pids.events": "max 7\n"} {
		before := read(t, job, file)
		fakeCgroup(t, job, map[string]string{file: text})
		over, _ := errors.AsType[*LimitError](g.exceeded())
		if over == nil || over.Value != map[string]string{"memory.events": "1024 MiB", "pids.events": "500"}[file] {
			t.Errorf("%s says %q, and it says %v", file, text, over)
		}
		fakeCgroup(t, job, map[string]string{file: before})
	}
	if _, err := c.forJob("y", Limits{Memory: 1}); err == nil { // the kernel would have made the files
		t.Error("a group that takes no limit is used")
	}
	if _, err := os.Stat(filepath.Join(dir, "job-y")); err == nil {
		t.Error("it is left behind")
	}
	var none *cgroups
	if g, err := none.forJob("x", Limits{Memory: 1}); g != nil || err != nil || g.exceeded() != nil || g.remove() != nil {
		t.Errorf("without groups there is %v, %v", g, err)
	}
}

// TestInForce: the daemon's owner is told of every limit how it is held.
func TestInForce(t *testing.T) {
	l := Limits{Memory: 2 << 30, Processes: 100, Silence: time.Hour}
	with, without := l.inForce(&cgroups{controllers: []string{"memory"}}), l.inForce(nil)
	if len(with) != 7 || len(without) != 7 {
		t.Fatalf("%d and %d limits", len(with), len(without))
	}
	for _, want := range []InForce{{"job-memory", "2048 MiB", "cgroup"}, {"job-silence", "1h0m0s", "watchdog"}, {"job-disk", "no limit", "watchdog"}} {
		if !slices.Contains(with, want) {
			t.Errorf("%v is not among %v", want, with)
		}
	}
	if want := (InForce{"job-memory", "2048 MiB", "watchdog"}); !slices.Contains(without, want) {
		t.Errorf("%v is not among %v", want, without)
	}
}

// TestNoteInForce: another process reads how the daemon holds the limits.
func TestNoteInForce(t *testing.T) {
	dir := t.TempDir()
	if _, err := ReadInForce(dir); err == nil {
		t.Error("there is nothing to read yet")
	}
	want := Limits{Memory: 2 << 30}.inForce(nil)
	if err := NoteInForce(dir, want); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadInForce(dir); err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
}

func TestLimitsValidate(t *testing.T) {
	for _, bad := range []Limits{{Memory: -1}, {Memory: 1 << 20}, {CPUWeight: 10001}, {Silence: -time.Second}, {Processes: 1 << 30}} {
		if bad.Validate() == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
	if err := (Limits{Memory: 1 << 30, CPUWeight: 20, Processes: 16384}).Validate(); err != nil {
		t.Error(err)
	}
}

func TestUnifiedPath(t *testing.T) {
	for text, want := range map[string]string{
		"12:pids:/x\n1:name=systemd:/y\n0::/user.slice/a\n": "/user.slice/a", "0::/\n": "/", "3:cpu:/\n": "",
	} {
		if got, ok := unifiedPath(text); got != want || ok != (want != "") {
			t.Errorf("%q: %q, %v", text, got, ok)
		}
	}
}
