package discovery

// The lab: hosts in network namespaces of their own, joined by bridges, for the tests that need a LAN. A
// host is this test binary, started again, which does what the test tells it over a pipe (see
// host_test.go).

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
)

// roleEnv tells the test binary to be something else: a host, or the tests inside a user namespace.
const roleEnv = "LANTAGE_TEST_ROLE"

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(roleEnv) == "host":
		os.Exit(hostMain())
	case os.Getenv(roleEnv) == "cold":
		os.Exit(coldMain())
	case os.Getenv(roleEnv) == "" && os.Geteuid() != 0:
		os.Exit(inUserNamespace())
	}
	status := m.Run()
	printTable(os.Stdout)
	os.Exit(status)
}

// inUserNamespace runs the tests as the root of a new user namespace, who may make network namespaces.
func inUserNamespace() int {
	runtime.LockOSThread() // Pdeathsig is about the thread
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), roleEnv+"=tests")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	err := cmd.Run()
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		return exit.ExitCode()
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "cannot make a user namespace for the tests: %v\nrun them as root, or allow user "+
			"namespaces (sysctl user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns)\n", err)
		return 1
	}
	return 0
}

// lab is a switch, in a network namespace of its own, with the hosts that are joined to it.
type lab struct {
	t      *testing.T
	hub    *host
	ports  int
	bridge map[string]bool
}

// newLab makes a lab that is gone at the end of the test. Tests with such labs run in parallel.
func newLab(t *testing.T) *lab {
	t.Helper()
	t.Parallel()
	return newQuietLab(t)
}

// newQuietLab makes a lab for what is measured in milliseconds: no other lab runs meanwhile.
func newQuietLab(t *testing.T) *lab {
	t.Helper()
	if _, err := exec.LookPath("ip"); err != nil {
		t.Fatal("this test needs the ip command: install iproute2")
	}
	return &lab{t: t, hub: startHost(t, "hub"), bridge: map[string]bool{}}
}

// host starts a host without a network; its loopback interface is up.
func (l *lab) host(name string) *host {
	l.t.Helper()
	h := startHost(l.t, name)
	h.ip("link set lo up")
	return h
}

// join gives the host an interface on the LAN named bridge, with the addresses, and no route but the ones
// to their networks.
func (l *lab) join(h *host, ifname, bridge string, addrs ...string) {
	l.t.Helper()
	if !l.bridge[bridge] {
		l.bridge[bridge] = true
		l.hub.ip("link add "+bridge+" type bridge mcast_snooping 0", "link set "+bridge+" addrgenmode none up")
	}
	l.ports++
	port := fmt.Sprintf("p%d", l.ports)
	l.hub.ip(
		fmt.Sprintf("link add %s type veth peer name %s netns %d", port, ifname, h.cmd.Process.Pid),
		fmt.Sprintf("link set %s addrgenmode none master %s up", port, bridge))
	h.ip("link set "+ifname+" addrgenmode none", "link set "+ifname+" up")
	h.address(ifname, addrs...)
	if len(addrs) > 0 {
		h.do(order{Op: "await", Interfaces: []string{ifname}}) // the kernel notices the carrier with some delay
	}
}

// lan returns two hosts, h1 and h2, on one LAN.
func (l *lab) lan(families ...Family) (h1, h2 *host) {
	l.t.Helper()
	hosts := []*host{l.host("h1"), l.host("h2")}
	for i, h := range hosts {
		var addrs []string
		for _, f := range families {
			if f == IPv4 {
				addrs = append(addrs, fmt.Sprintf("10.77.0.%d/24", i+1))
			} else {
				addrs = append(addrs, fmt.Sprintf("fe80::%d/64", i+1), fmt.Sprintf("fd77::%d/64", i+1))
			}
		}
		l.join(h, "eth0", "lan", addrs...)
	}
	return hosts[0], hosts[1]
}
