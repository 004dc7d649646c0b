package build

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// cgroups is the place where this process makes a control group for each job (cgroups(7), version 2). A nil one has none.
type cgroups struct {
	dir         string
	controllers []string
}

// wantedControllers are those that hold limits. io and cpu share out, and end nothing.
var wantedControllers = []string{"memory", "pids", "cpu", "io"}

func (c *cgroups) has(controller string) bool {
	return c != nil && slices.Contains(c.controllers, controller)
}

// ownCgroups finds the control group of this process and makes room in it.
func ownCgroups() (*cgroups, error) {
	mounts, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer mounts.Close()
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, err
	}
	for lines := bufio.NewScanner(mounts); lines.Scan(); {
		if target, fstype := mountOf(lines.Text()); fstype == "cgroup2" {
			path, ok := unifiedPath(string(own))
			if !ok {
				break
			}
			return openCgroups(target, path, os.Getpid())
		}
	}
	return nil, errors.New("cgroup version 2 is not mounted")
}

// unifiedPath is the place of a process in version 2, of /proc/PID/cgroup.
func unifiedPath(text string) (string, bool) {
	for line := range strings.Lines(text) {
		if path, ok := strings.CutPrefix(line, "0::"); ok {
			return strings.TrimSuffix(path, "\n"), true
		}
	}
	return "", false
}

// openCgroups makes the group of process pid a place for jobs' groups. Only groups without processes can have such with controllers,
// the root excepted; so the process moves into one of its own beside them. It leaves a group alone that it shares with other
// programs, such as that of somebody's terminal.
func openCgroups(mount, path string, pid int) (*cgroups, error) {
	dir := filepath.Join(mount, path)
	there, err := words(dir, "cgroup.controllers")
	if err != nil {
		return nil, err
	}
	c := &cgroups{dir: dir}
	if !slices.ContainsFunc(wantedControllers, func(w string) bool { return slices.Contains(there, w) }) {
		return nil, fmt.Errorf("the cgroup %s has none of the controllers %s", path, strings.Join(wantedControllers, ", "))
	}
	if path == "/" {
		c.dir = filepath.Join(dir, "lantage")
		if err := mkdir(c.dir); err != nil {
			return nil, err
		}
		enable(dir, there)
	} else {
		members, err := words(dir, "cgroup.procs")
		if err != nil {
			return nil, err
		}
		self := strconv.Itoa(pid)
		if slices.ContainsFunc(members, func(m string) bool { return m != self }) {
			return nil, fmt.Errorf("there are other programs in the cgroup %s; as a service lantaged has one of its own", path)
		}
		leaf := filepath.Join(dir, "daemon")
		if err := mkdir(leaf); err != nil {
			return nil, err
		}
		if err := set(leaf, "cgroup.procs", self); err != nil {
			return nil, err
		}
	}
	stale, _ := filepath.Glob(filepath.Join(c.dir, jobPrefix+"*")) // of a daemon that was killed
	for _, dir := range stale {
		_ = unix.Rmdir(dir) // not one that has processes
	}
	c.controllers = enable(c.dir, there)
	if len(c.controllers) == 0 {
		return nil, fmt.Errorf("no controllers can be enabled in the cgroup %s", path)
	}
	return c, nil
}

// jobPrefix begins the names of jobs' groups.
const jobPrefix = "job-"

// enable gives controllers to the groups in dir and returns those that they have then.
func enable(dir string, there []string) []string {
	for _, name := range wantedControllers {
		if slices.Contains(there, name) {
			_ = set(dir, "cgroup.subtree_control", "+"+name) // what cannot be is not there below
		}
	}
	on, _ := words(dir, "cgroup.subtree_control")
	return slices.DeleteFunc(on, func(name string) bool { return !slices.Contains(wantedControllers, name) })
}

// cgroup is the control group of one job. A nil one does nothing.
type cgroup struct {
	dir    string
	file   *os.File // the directory, to start processes in
	limits Limits
}

// forJob makes a job's group.
func (c *cgroups) forJob(name string, l Limits) (*cgroup, error) {
	if c == nil {
		return nil, nil
	}
	g := &cgroup{dir: filepath.Join(c.dir, jobPrefix+name), limits: l}
	if err := mkdir(g.dir); err != nil {
		return nil, err
	}
	type setting struct{ controller, file, value string }
	settings := []setting{{"memory", "memory.oom.group", "1"}} // all of a job or nothing: what is left would build on without it
	if l.Memory > 0 {
		settings = append(settings, setting{"memory", "memory.max", strconv.FormatInt(l.Memory, 10)})
	}
	if l.Processes > 0 {
		settings = append(settings, setting{"pids", "pids.max", strconv.Itoa(l.Processes)})
	}
	if l.CPUWeight > 0 {
		settings = append(settings, setting{"cpu", "cpu.weight", strconv.Itoa(l.CPUWeight)})
	}
	for _, s := range settings {
		if !c.has(s.controller) {
			continue
		}
		if err := set(g.dir, s.file, s.value); err != nil {
			_ = os.Remove(g.dir)
			return nil, err
		}
	}
	if c.has("io") && l.CPUWeight > 0 {
		_ = set(g.dir, "io.weight", "default "+strconv.Itoa(l.CPUWeight)) // only some schedulers have it
	}
	var err error
	if g.file, err = os.Open(g.dir); err != nil {
		_ = os.Remove(g.dir)
		return nil, err
	}
	return g, nil
}

// exceeded says which of its limits the kernel has held against the job.
func (g *cgroup) exceeded() error {
	if g == nil {
		return nil
	}
	if g.limits.Memory > 0 && count(g.dir, "memory.events", "oom_kill") > 0 {
		return g.limits.exceeded(limitMemory, "it used more than %s of memory")
	}
	if g.limits.Processes > 0 && count(g.dir, "pids.events", "max") > 0 {
		return g.limits.exceeded(limitProcesses, "it had more than %s processes")
	}
	return nil
}

// remove ends what is left in the group, and the group.
func (g *cgroup) remove() error {
	if g == nil {
		return nil
	}
	g.file.Close()
	_ = set(g.dir, "cgroup.kill", "1")
	// A group is in use until the last of its processes is gone from the kernel's books, a moment after it has ended.
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		err := unix.Rmdir(g.dir)
		if !errors.Is(err, unix.EBUSY) || time.Now().After(deadline) {
			return ignoreMissing(err)
		}
	}
}

func mkdir(dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return nil
}

// set writes one of a group's files, which are there from the beginning.
func set(dir, file, value string) error {
	f, err := os.OpenFile(filepath.Join(dir, file), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}

func words(dir, file string) ([]string, error) {
	text, err := os.ReadFile(filepath.Join(dir, file))
	return strings.Fields(string(text)), err
}

// count is a number in a file of names and numbers.
func count(dir, file, name string) int {
	list, _ := words(dir, file)
	for i := 0; i+1 < len(list); i += 2 {
		if list[i] == name {
			n, _ := strconv.Atoi(list[i+1])
			return n
		}
	}
	return 0
}
