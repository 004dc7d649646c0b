package e2e

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"lantage/test/lab"
)

// sleeperEnv makes lab-apps/sleeper sleep for so many seconds.
func sleeperEnv(seconds int) map[string]string {
	return map[string]string{
		"make.conf":   "USE=\"escape\"\n",
		"package.env": "lab-apps/sleeper nap\n",
		"env/nap":     fmt.Sprintf("LAB_SLEEP=%d\n", seconds),
	}
}

// sleepers says whether the builder is in sleeper's src_compile, with both its processes.
func sleepers(t *testing.T, h *lab.Host) bool {
	return runs(t, h, "sleep 600") && runs(t, h, "sleep 601")
}

// quiet is what is on an idle builder.
type quiet struct {
	processes int
	mounts    []string
}

func idle(t *testing.T, h *lab.Host) quiet { return quiet{len(processes(t, h)), mounts(t, h)} }

// goneWithin fails unless all that jobs run on the builder is gone in time: their processes, their mounts,
// and what the build root had on disk.
func (q quiet) goneWithin(t *testing.T, h *lab.Host, limit time.Duration) {
	t.Helper()
	begin := time.Now()
	for {
		now := processes(t, h)
		if len(now) <= q.processes {
			break
		}
		if time.Since(begin) > limit {
			t.Fatalf("after %v there still are: %q", limit, slices.Collect(maps.Values(now)))
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Logf("all processes of the job were gone after %v", time.Since(begin).Round(time.Millisecond))
	if now := mounts(t, h); !slices.Equal(now, q.mounts) {
		t.Errorf("mounts that were not there before:\n%s", difference(q.mounts, now))
	}
}

// leftOvers are files of build roots in the daemon's state directory.
func leftOvers(t *testing.T, h *lab.Host) (left []string) {
	t.Helper()
	jobs, err := os.ReadDir(h.Path("/var/lib/lantage/jobs"))
	if err != nil {
		t.Fatal(err)
	}
	for _, j := range jobs {
		files, _ := os.ReadDir(h.Path("/var/lib/lantage/jobs/" + j.Name()))
		for _, f := range files {
			kind, _, _ := strings.Cut(f.Name(), "-")
			if slices.Contains([]string{"root", "lower", "upper", "work", "merged", "tmp"}, kind) {
				left = append(left, j.Name()+"/"+f.Name())
			}
		}
	}
	return left
}

// TestInterrupt is every way to end a job before its end, with processes that leave their session.
func TestInterrupt(t *testing.T) {
	t.Parallel()
	_, tower, lappy := pair(t, sleeperEnv(600))
	d := serve(t, tower)
	before := idle(t, tower)

	begin := func(t *testing.T, flags ...string) *running {
		t.Helper()
		r := start(t, lappy, append(flags, "emerge", "-1", "lab-apps/sleeper")...)
		eventually(t, 2*time.Minute, "sleeper is compiled", func() bool { return sleepers(t, tower) || r.over() })
		if r.over() {
			t.Fatalf("the client ended; it said:\n%s", r.out)
		}
		return r
	}

	t.Run("Ctrl-C", func(t *testing.T) {
		r := begin(t)
		r.signal(syscall.SIGINT)
		before.goneWithin(t, tower, 2*time.Second)
		r.end(5*time.Second).is(t, 130).says(t, "Interrupted; the job on tower", "was cancelled")
		eventually(t, 10*time.Second, "the build root's files are removed",
			func() bool { return len(leftOvers(t, tower)) == 0 })
	})

	t.Run("second Ctrl-C", func(t *testing.T) {
		r := begin(t)
		mark := r.out.mark()
		d.signal(syscall.SIGSTOP) // the cancel gets no answer
		t.Cleanup(d.thaw)
		r.signal(syscall.SIGINT)
		eventually(t, 5*time.Second, "the client takes the first interrupt",
			func() bool { return strings.Contains(r.out.since(mark), "Ctrl-C again") })
		if r.over() {
			t.Fatal("the first interrupt ended the client without an answer of the builder")
		}
		second := time.Now()
		r.signal(syscall.SIGINT)
		<-r.done
		if took := time.Since(second); took > time.Second {
			t.Errorf("the second interrupt took %v", took)
		}
		if !endedBy(r.cmd, syscall.SIGINT) {
			t.Errorf("the client ended with %v and not by the interrupt", r.cmd.ProcessState)
		}
		d.thaw()
		before.goneWithin(t, tower, 5*time.Second) // its cancel was on its way
	})

	t.Run("SIGTERM to the daemon", func(t *testing.T) {
		r := begin(t)
		put(t, lappy, "/etc/portage/env/nap", "LAB_SLEEP=0\n") // for what is built here
		d.stop(syscall.SIGTERM)
		if d.err != nil {
			t.Errorf("the daemon ended with %v", d.err)
		}
		r.end(2*time.Minute).ok(t).says(t, "tower is shutting down", "Going on here", "lab-apps/sleeper-1")
		in(t, lappy, nil, "test", "-e", "/usr/share/lab-sleeper/slept").ok(t)
		if left := leftOvers(t, tower); len(left) > 0 {
			t.Errorf("left: %q", left)
		}
		put(t, lappy, "/etc/portage/env/nap", "LAB_SLEEP=600\n")
	})

	t.Run("kill -9 of the daemon", func(t *testing.T) {
		d := serve(t, tower)
		before := idle(t, tower)
		r := begin(t, "--no-fallback")
		d.signal(syscall.SIGKILL)
		<-d.done
		before.processes-- // the daemon itself
		before.goneWithin(t, tower, 2*time.Second)
		if len(leftOvers(t, tower)) == 0 {
			t.Fatal("a killed daemon cannot have cleaned up: this test looks in the wrong place")
		}
		d = serve(t, tower)
		d.log.wait(t, "removing what is left of an earlier job")
		eventually(t, 10*time.Second, "the next start removes it", func() bool { return len(leftOvers(t, tower)) == 0 })
		r.end(time.Minute).is(t, 4).says(t, "is back", "it does not know the job any more")
		lantage(t, lappy, "emerge", "-1", "lab-five/p1").ok(t).says(t, "lab-five/p1-1 built")
		in(t, lappy, nil, "lab-p1").ok(t)
	})
}

// over says whether the command has ended.
func (r *running) over() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

// thaw lets a daemon go on that was stopped. What waits for it was stopped with it.
func (d *daemon) thaw() {
	_ = d.cmd.Process.Signal(syscall.SIGCONT)
	_ = signal(d.cmd, syscall.SIGCONT)
}

// endedBy says whether a signal ended what a command ran: the one that waited for it ends likewise, or says
// so as a shell does.
func endedBy(cmd *exec.Cmd, sig syscall.Signal) bool {
	st := cmd.ProcessState.Sys().(syscall.WaitStatus)
	return st.Signaled() && st.Signal() == sig || st.ExitStatus() == 128+int(sig)
}

// TestLostNetwork: a job goes on while nobody can reach its builder, and the client comes back to it.
func TestLostNetwork(t *testing.T) {
	t.Parallel()
	_, tower, lappy := pair(t, sleeperEnv(600))
	d := serve(t, tower)
	put(t, lappy, "/etc/portage/env/nap", "LAB_SLEEP=4\n")
	r := start(t, lappy, "--no-fallback", "emerge", "-1", "lab-apps/sleeper", "lab-five/p1")
	eventually(t, 2*time.Minute, "sleeper is compiled", func() bool { return runs(t, tower, "sleep 4") })
	link(t, tower, "down")
	d.log.wait(t, "job ended") // with nobody to tell
	r.out.wait(t, "trying to reach it again")
	link(t, tower, "up")
	res := r.end(2 * time.Minute).ok(t)
	res.says(t, "tower", "is back", "lab-apps/sleeper-1 built", "lab-five/p1-1 built")
	in(t, lappy, nil, "test", "-d", "/var/db/pkg/lab-apps/sleeper-1").ok(t)
	in(t, lappy, nil, "lab-p1").ok(t)
	if n := strings.Count(d.log.String(), "job accepted"); n != 1 {
		t.Errorf("%d jobs were accepted, want the one", n)
	}
	if !strings.Contains(d.log.String(), "client attached") {
		t.Error("the client did not attach again")
	}
}

// link takes a host's link to the LAN down, or up again.
func link(t *testing.T, h *lab.Host, state string) {
	t.Helper()
	cmd := exec.Command("nsenter", "-t", strconv.Itoa(h.PID()), "-n", "ip", "link", "set", "eth0", state)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}
