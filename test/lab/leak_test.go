package lab_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"lantage/test/lab"
)

var pair = []lab.HostSpec{{Name: "tower", Builder: true}, {Name: "lappy"}}

// ownedLab is what the owner in TestNothingIsLeft says about its lab.
type ownedLab struct {
	Dir  string
	PIDs []int
}

// own makes a lab with much going on in it, prints what it is, and waits for a line before it does what it
// was told to.
func own(args []string) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	l, err := lab.New(ctx, lab.Options{Hosts: pair})
	if err != nil {
		return err
	}
	said := ownedLab{Dir: l.Dir}
	for _, h := range l.Hosts {
		said.PIDs = append(said.PIDs, h.PID())
		// One that is waited for, one in a session of its own that heeds no signal, with a mount and files
		// of its own.
		if err := h.Command(ctx, "sleep", "1000").Start(); err != nil {
			return err
		}
		const busy = `trap '' HUP INT TERM; mkdir /root/m; mount -t tmpfs m /root/m
			cd /root/m; exec sleep 1000 >file 2>&1`
		if out, errOut, code := h.Run(ctx, "setsid", "-f", "unshare", "-m", "sh", "-c", busy); code != 0 {
			return errors.New(out + errOut)
		}
	}
	if err := json.NewEncoder(os.Stdout).Encode(said); err != nil {
		return err
	}
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	switch args[0] {
	case "close":
		return errors.Join(l.Close(), l.Close())
	case "cancel":
		cancel()
		return l.Close()
	case "panic":
		panic("as told")
	case "exit":
		os.Exit(0)
	}
	return nil
}

func TestNothingIsLeft(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		end    string
		signal syscall.Signal // sent to the owner's process group instead
	}{
		{end: "close"},
		{end: "cancel"},
		{end: "exit"},
		{end: "panic"},
		{end: "kill -9", signal: syscall.SIGKILL},
		{end: "Ctrl-C", signal: syscall.SIGINT},
	} {
		t.Run(test.end, func(t *testing.T) {
			t.Parallel()
			owner := exec.Command("/proc/self/exe", "own", test.end)
			owner.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			in, err := owner.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			out, err := owner.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := owner.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = owner.Process.Kill() }()
			var l ownedLab
			if err := json.NewDecoder(out).Decode(&l); err != nil {
				t.Fatal(err)
			}
			namespaces, now := namespacesOf(t, l), ticks(t)
			if found := traces(l.Dir, namespaces, now); len(found) < 5 {
				t.Fatalf("a running lab leaves too few traces for this test to mean something: %q", found)
			}
			if test.signal != 0 {
				err = syscall.Kill(-owner.Process.Pid, test.signal)
			} else {
				err = in.Close()
			}
			if err != nil {
				t.Fatal(err)
			}
			_ = owner.Wait()
			eventually(t, func() error {
				if found := traces(l.Dir, namespaces, now); len(found) > 0 {
					return fmt.Errorf("left over: %s", strings.Join(found, "\n"))
				}
				return nil
			})
		})
	}
}

// namespacesOf returns the names, such as "net:[4026532201]", of the namespaces that a lab made.
func namespacesOf(t *testing.T, l ownedLab) []string {
	t.Helper()
	var names []string
	pids := l.PIDs
	for _, pid := range l.PIDs {
		p, err := stat(strconv.Itoa(pid))
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, p.parent) // the keeper
	}
	for _, pid := range pids {
		for _, kind := range []string{"net", "mnt", "pid", "uts", "ipc"} {
			name, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, kind))
			if err != nil {
				t.Fatal(err)
			}
			ours, err := os.Readlink("/proc/self/ns/" + kind)
			if err != nil {
				t.Fatal(err)
			}
			if name != ours && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	if want := 2*5 + 1; len(names) != want {
		t.Fatalf("a lab of two hosts has %d namespaces, want %d: %q", len(names), want, names)
	}
	return names
}

// traces lists what there is of a lab on this machine: its files, processes in its namespaces or directory,
// and mounts, in whatever mount namespace, of its files or namespaces. Processes that started after the time
// born are of no interest: the kernel gives the numbers of namespaces that are gone to new ones.
func traces(dir string, namespaces []string, born int) []string {
	var found []string
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		found = append(found, dir)
	}
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dirOfProcess := range dirs {
		p, err := stat(filepath.Base(dirOfProcess))
		if err != nil || p.start > born {
			continue
		}
		if p.state == "Z" && p.parent == 1 { // dead, and the machine's to bury
			continue
		}
		links, _ := filepath.Glob(dirOfProcess + "/ns/*")
		for _, link := range append(links, dirOfProcess+"/root", dirOfProcess+"/cwd") {
			target, err := os.Readlink(link)
			if err == nil && (slices.Contains(namespaces, target) || strings.HasPrefix(target, dir)) {
				found = append(found, "process: "+link+" is "+target)
			}
		}
		mounts, _ := os.ReadFile(dirOfProcess + "/mountinfo")
		for line := range strings.Lines(string(mounts)) {
			ours := func(name string) bool { return strings.Contains(line, name) }
			if ours(filepath.Base(dir)) || slices.ContainsFunc(namespaces, ours) {
				found = append(found, "mount: "+dirOfProcess+": "+strings.TrimSpace(line))
			}
		}
	}
	return found
}

// process is some of what proc_pid_stat(5) tells.
type process struct {
	state  string
	parent int
	start  int // in clock ticks since the machine started
}

func stat(pid string) (p process, err error) {
	data, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return p, err
	}
	_, rest, _ := strings.Cut(string(data), ") ")
	fields := strings.Fields(rest)
	p.state = fields[0]
	p.parent, err = strconv.Atoi(fields[1])
	if err != nil {
		return p, err
	}
	p.start, err = strconv.Atoi(fields[19])
	return p, err
}

// ticks is the time now as the kernel counts the starts of processes, 100 times a second.
func ticks(t *testing.T) int {
	t.Helper()
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		t.Fatal(err)
	}
	return int(now.Nano() / 1e7)
}

func TestKilledKeeper(t *testing.T) {
	t.Parallel()
	l, err := lab.New(t.Context(), lab.Options{Hosts: pair})
	if err != nil {
		t.Fatal(err)
	}
	owned := ownedLab{l.Dir, []int{l.Hosts[0].PID(), l.Hosts[1].PID()}}
	namespaces := namespacesOf(t, owned)
	host, err := stat(strconv.Itoa(owned.PIDs[0]))
	if err != nil {
		t.Fatal(err)
	}
	now := ticks(t)
	if err := syscall.Kill(host.parent, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err == nil {
		t.Error("Close does not tell that the keeper was killed")
	}
	eventually(t, func() error {
		if found := traces(l.Dir, namespaces, now); len(found) > 0 {
			return fmt.Errorf("left over: %s", strings.Join(found, "\n"))
		}
		return nil
	})
}

func TestFailedLabLeavesNothing(t *testing.T) {
	t.Parallel()
	dir, err := lab.Cache()
	if err != nil {
		t.Fatal(err)
	}
	if dir, err = os.MkdirTemp(dir, "test-"); err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	one := []lab.HostSpec{{Name: "lappy"}}
	noShare := []lab.HostSpec{{Name: "lappy", Share: map[string]string{"/x": "/none"}}}
	for name, o := range map[string]lab.Options{
		"is on a tmpfs": {Hosts: one, Dir: "/dev/shm"},
		"none/such":     {Hosts: one, Dir: dir, RepoDir: "none/such"},
		"no/binary":     {Hosts: one, Dir: dir, Binary: "no/binary"},
		"a lab has":     {Dir: dir},
		"host name":     {Dir: dir, Hosts: []lab.HostSpec{{Name: "../x"}}},
		"bind /none":    {Dir: dir, Hosts: noShare},
	} {
		if l, err := lab.New(t.Context(), o); err == nil {
			t.Errorf("%s: no error", name)
			_ = l.Close()
		} else if !strings.Contains(err.Error(), name) {
			t.Errorf("%s: the error does not say so: %v", name, err)
		}
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("left over: %v, %v", left, err)
	}
}
