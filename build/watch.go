package build

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// watchEvery is how often a job is held against its limits. In that time a fast disk takes 2 GiB, which is what
// Limits.KeepFree leaves room for.
const watchEvery = 500 * time.Millisecond

// watch holds a running job to its limits.
type watch struct {
	limits Limits
	groups *cgroups
	group  *cgroup
	first  int      // of its IDs
	logs   []string // files and directories of files that it writes to as it goes on
	writes []string // directories that it writes to, all on one file system

	begun  time.Time
	before int64 // bytes in writes
	free   int64 // bytes of their file system when they were last counted
	wrote  int64 // bytes that the job had written to them then
}

// newWatch notes down how things are before the job.
func newWatch(limits Limits, groups *cgroups, group *cgroup, first int, logs, writes []string) *watch {
	w := &watch{limits: limits, groups: groups, group: group, first: first, logs: logs, writes: writes, begun: time.Now()}
	if limits.Disk > 0 {
		w.before = diskUsage(writes)
	}
	w.free, _ = freeDisk(writes[0])
	return w
}

// run calls end with the reason when the job passes one of its limits. Counting what is on the disk may take long, and nothing else
// waits for it.
func (w *watch) run(ctx context.Context, end func(error)) {
	for _, check := range []func() error{w.check, w.checkWritten} {
		go func() {
			t := time.NewTicker(watchEvery)
			defer t.Stop()
			for {
				if err := check(); err != nil {
					end(err)
					return
				}
				select {
				case <-ctx.Done():
					return
				case <-t.C:
				}
			}
		}()
	}
}

// check says which limit the job has passed, of those that are quickly looked at.
func (w *watch) check() error {
	l := w.limits
	if err := w.group.exceeded(); err != nil {
		return err
	}
	if l.Time > 0 && time.Since(w.begun) > l.Time {
		return l.exceeded(limitTime, "it took longer than %s")
	}
	heard, crowded := w.heard()
	if crowded {
		return &LimitError{What: fmt.Sprintf("it made more than %d files in its directory of logs, and no setting allows more", maxLogs)}
	}
	if l.Silence > 0 && time.Since(heard) > l.Silence {
		return l.exceeded(limitSilence, "nothing was written to its logs for %s")
	}
	if free, files := freeDisk(w.writes[0]); l.KeepFree > 0 && (free < l.KeepFree || files < keepFiles) {
		return l.exceeded(limitKeepFree, "the builder's disk has less than %s left")
	}
	if l.Memory > 0 && !w.groups.has("memory") || l.Processes > 0 && !w.groups.has("pids") {
		use := usageOf("/proc", w.first)
		if l.Memory > 0 && use.memory > l.Memory {
			return l.exceeded(limitMemory, "it used more than %s of memory")
		}
		if l.Processes > 0 && use.processes > l.Processes {
			return l.exceeded(limitProcesses, "it had more than %s processes")
		}
	}
	return nil
}

// heard is when the job last wrote to its logs, and whether they are too many to look at.
func (w *watch) heard() (last time.Time, crowded bool) {
	last = w.begun
	note := func(path string) {
		if fi, err := os.Lstat(path); err == nil && fi.ModTime().After(last) {
			last = fi.ModTime()
		}
	}
	for _, log := range w.logs {
		note(log)
		f, err := os.Open(log)
		if err != nil {
			continue
		}
		crowded = !logNames(f, func(name string) { note(filepath.Join(log, name)) }) || crowded
		f.Close()
	}
	return last, crowded
}

// checkWritten counts what a job has written only when the disk has lost so much that it may be too much: the trees of large packages
// have a million files.
func (w *watch) checkWritten() error {
	if w.limits.Disk == 0 {
		return nil
	}
	free, _ := freeDisk(w.writes[0])
	if w.free-free <= w.limits.Disk-w.wrote {
		return nil
	}
	w.wrote = diskUsage(w.writes) - w.before
	w.free = free
	if w.wrote > w.limits.Disk {
		return w.limits.exceeded(limitDisk, "it wrote more than %s to the builder's disk")
	}
	return nil
}

// keepFiles is how many files there must be room for beside what Limits.KeepFree says.
const keepFiles = 10_000

// freeDisk is what there is room for on the file system of dir. Some count no files.
func freeDisk(dir string) (bytes int64, files uint64) {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return 1 << 62, 1 << 62
	}
	if fs.Files == 0 {
		fs.Ffree = 1 << 62
	}
	return int64(fs.Bavail) * fs.Bsize, fs.Ffree
}

// maxDepth bounds how deep eachBelow looks: configure scripts, and those who mean no good, make very deep directories. What lies
// deeper is not counted; it does not escape Limits.KeepFree.
const maxDepth = 64

// eachBelow calls visit for all that is below a directory. Jobs have made that, and may change it meanwhile, so no path leads out of
// it, and names may be any.
func eachBelow(dir string, visit func(fs.FileInfo)) {
	if root, err := os.OpenRoot(dir); err == nil {
		eachIn(root, 0, visit)
	}
}

// eachIn is eachBelow for a directory at this depth, which it closes.
func eachIn(root *os.Root, depth int, visit func(fs.FileInfo)) {
	defer root.Close()
	dir, err := root.Open(".")
	if err != nil {
		return
	}
	defer dir.Close()
	for {
		names, err := dir.Readdirnames(1000)
		for _, name := range names {
			fi, err := root.Lstat(name)
			if err != nil {
				continue
			}
			visit(fi)
			if !fi.IsDir() || depth == maxDepth {
				continue
			}
			if sub, err := root.OpenRoot(name); err == nil {
				eachIn(sub, depth+1, visit)
			}
		}
		if err != nil {
			return
		}
	}
}

// diskUsage is what the files below some directories take on the disk.
func diskUsage(dirs []string) int64 {
	var sum int64
	for _, dir := range dirs {
		eachBelow(dir, func(fi fs.FileInfo) {
			if st, ok := fi.Sys().(*syscall.Stat_t); ok {
				sum += st.Blocks * 512
			}
		})
	}
	return sum
}

// usage is what a job's processes take.
type usage struct {
	memory    int64
	processes int // threads, as the kernel counts
}

// usageOf adds up what the processes take that a /proc has of a range of IDs. Memory is what they have for themselves, the largest
// part that one of them shares with others, and what lies in their file systems in memory. What is in memory and in no process's
// sight (a memfd, a pipe) is not seen; when it is short, the kernel takes the job's processes first (oom_score_adj).
func usageOf(proc string, first int) usage {
	var u usage
	var shared int64
	inMemory := false
	entries, _ := os.ReadDir(proc)
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err != nil {
			continue
		}
		dir := filepath.Join(proc, e.Name())
		fi, err := os.Lstat(dir)
		if err != nil {
			continue
		}
		if uid := int(fi.Sys().(*syscall.Stat_t).Uid); uid < first || uid >= first+idsOfJob {
			continue
		}
		status, err := processStatus(filepath.Join(dir, "status"))
		if err != nil {
			continue
		}
		u.memory += kilobytes(status["RssAnon"])
		shared = max(shared, kilobytes(status["RssShmem"]))
		threads, _ := strconv.Atoi(status["Threads"])
		u.processes += threads
		if !inMemory {
			for _, m := range memoryDirs {
				var fs unix.Statfs_t
				if err := unix.Statfs(filepath.Join(dir, "root", m.dir), &fs); err == nil && fs.Type == unix.TMPFS_MAGIC {
					u.memory += int64(fs.Blocks-fs.Bfree) * fs.Bsize
					inMemory = true
				}
			}
		}
	}
	u.memory += shared
	return u
}

// kilobytes reads a value of /proc/PID/status such as "1024 kB".
func kilobytes(text string) int64 {
	n, _ := strconv.ParseInt(strings.TrimSuffix(text, " kB"), 10, 64)
	return n << 10
}
