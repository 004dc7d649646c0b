package lab

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

// hostNamespaces are what a host has for itself.
const hostNamespaces = syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWUTS |
	syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC

// A role is argv[0] of this program when it was started by this package.
const (
	roleKeeper = "lantage-lab-keeper"
	roleHost   = "lantage-lab-host"
	roleEnter  = "lantage-lab-enter"
)

var mainCalled bool

// Main must be called first thing in main, or TestMain, of every program that calls [New]. It returns,
// unless the program was started by this package to keep a lab, to be process 1 of a host, or to enter one.
func Main() {
	mainCalled = true
	var role func(args []string) (int, error)
	switch os.Args[0] {
	case roleKeeper:
		role = keep
	case roleHost:
		role = processOne
	case roleEnter:
		role = enter
	default:
		return
	}
	// Namespaces belong to threads, and so does the wish to die with one's parent.
	runtime.LockOSThread()
	code, err := role(os.Args[1:])
	if err != nil {
		fmt.Fprintf(os.Stderr, "lab: %v\n", err)
		code = 127
	}
	os.Exit(code)
}

// again returns a command that starts this program again, in a role.
func again(role string, args ...string) *exec.Cmd {
	// The link works even after the file was removed or replaced, as `go run` and `go test` do.
	return &exec.Cmd{Path: "/proc/self/exe", Args: append([]string{role}, args...)}
}
