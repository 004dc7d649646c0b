package build

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Limits are what one job may take of the builder. A zero is no limit.
type Limits struct {
	Memory    int64         // bytes
	CPUWeight int           // CPU time against all else here, which has 100; 1 to 10000
	Processes int           // and threads
	Time      time.Duration // from start to end
	Silence   time.Duration // without a line in any log
	Disk      int64         // bytes that it writes
	KeepFree  int64         // bytes of the state directory's file system that no job takes; at most a twentieth of it
}

// Names of limits are those of the daemon's flags.
const (
	limitMemory    = "job-memory"
	limitCPUWeight = "job-cpu-weight"
	limitProcesses = "job-processes"
	limitTime      = "job-time"
	limitSilence   = "job-silence"
	limitDisk      = "job-disk"
	limitKeepFree  = "keep-free"
)

// LimitError says that a job was ended by one of its limits: what it did, and the setting.
type LimitError struct {
	Name  string // of the limit, and of the daemon's flag; "": it is none that can be set
	Value string // that it has
	What  string // the job did
}

func (e *LimitError) Error() string {
	if e.Name == "" {
		return e.What
	}
	return fmt.Sprintf("%s (lantage serve --%s)", e.What, e.Name)
}

// on are the limits of a job whose directory is dir: on a small file system there is less to keep free.
func (l Limits) on(dir string) Limits {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err == nil {
		l.KeepFree = min(l.KeepFree, int64(fs.Blocks)*fs.Bsize/20)
	}
	return l
}

// exceeded makes a LimitError; what may have a %s for the limit's value.
func (l Limits) exceeded(name, what string) *LimitError {
	for _, f := range l.inForce(nil) {
		if f.Name == name {
			return &LimitError{name, f.Value, fmt.Sprintf(what, f.Value)}
		}
	}
	return &LimitError{name, "", what}
}

// InForce is one limit, and how it is held on this machine.
type InForce struct {
	Name  string // of the daemon's flag
	Value string // for people
	How   string // "": not at all
}

func (f InForce) String() string {
	if f.Value == noLimit {
		return f.Value
	}
	return f.Value + " (" + f.How + ")"
}

// Validate says which limit makes no sense.
func (l Limits) Validate() error {
	switch {
	case l.Memory < 0 || l.Disk < 0 || l.KeepFree < 0 || l.Processes < 0 || l.Time < 0 || l.Silence < 0:
		return errors.New("a limit of jobs is less than nothing; 0 is no limit")
	case l.Memory > 0 && l.Memory < 64<<20:
		return fmt.Errorf("--%s %d: no job can do with so little", limitMemory, l.Memory>>20)
	case l.CPUWeight < 0 || l.CPUWeight > 10000:
		return fmt.Errorf("--%s %d: 1 to 10000, or 0 for what all else has", limitCPUWeight, l.CPUWeight)
	case l.Processes > 1<<21:
		return fmt.Errorf("--%s %d: the kernel has at most %d", limitProcesses, l.Processes, 1<<22)
	}
	return nil
}

// inForceFile is where a daemon notes how its limits are held: what holds them depends on how it was started, so that another process
// cannot find out.
const inForceFile = "limits.json"

// NoteInForce keeps what Enforce has said for ReadInForce.
func NoteInForce(stateDir string, list []InForce) error {
	text, err := json.MarshalIndent(list, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(stateDir, inForceFile), append(text, '\n'), 0o600)
}

// ReadInForce says how the daemon that was last started on stateDir holds the limits of its jobs.
func ReadInForce(stateDir string) ([]InForce, error) {
	text, err := os.ReadFile(filepath.Join(stateDir, inForceFile))
	if err != nil {
		return nil, err
	}
	var list []InForce
	return list, json.Unmarshal(text, &list)
}

// inForce says how each limit is held: by the kernel, in control groups, or by a watchdog of ours that looks every second.
func (l Limits) inForce(groups *cgroups) []InForce {
	how := func(controller, else_ string) string {
		if groups.has(controller) {
			return "cgroup"
		}
		return else_
	}
	return []InForce{
		{limitMemory, mib(l.Memory), how("memory", "watchdog")},
		{limitCPUWeight, number(l.CPUWeight), how("cpu", fmt.Sprintf("nice %d instead", niceness))},
		{limitProcesses, number(l.Processes), how("pids", "watchdog, pid_max, rlimit")},
		{limitTime, duration(l.Time), "watchdog"},
		{limitSilence, duration(l.Silence), "watchdog"},
		{limitDisk, mib(l.Disk), "watchdog"},
		{limitKeepFree, mib(l.KeepFree), "watchdog"},
	}
}

const noLimit = "no limit"

func mib(n int64) string {
	if n == 0 {
		return noLimit
	}
	return strconv.FormatInt(n>>20, 10) + " MiB"
}

func number(n int) string {
	if n == 0 {
		return noLimit
	}
	return strconv.Itoa(n)
}

func duration(d time.Duration) string {
	if d == 0 {
		return noLimit
	}
	return d.String()
}

// Enforce sets up what holds the limits, once, before the first job, and says how each is held. The error says why there are no
// control groups; without them a watchdog takes their place.
func (r *Runner) Enforce() ([]InForce, error) {
	groups, err := ownCgroups()
	r.groups = groups
	return r.Limits.inForce(groups), err
}

// processCeiling is where the kernel stops a job from making processes, if control groups do not: above the limit, so that the watchdog
// sees it passed.
func (l Limits) processCeiling() uint64 {
	if l.Processes == 0 {
		return 0
	}
	return uint64(l.Processes + l.Processes/8 + 64)
}
