package main

import (
	"context"
	"os/exec"
	"syscall"

	"lantage/test/lab"
)

type host = lab.Host

// makeConf is what the clients have in make.conf: settings of their own, to be seen in what hello prints.
const makeConf = `USE="shout"
CFLAGS="-O1 -pipe -DMARK=mine"
`

// hosts are the demo's machines: one that builds, and is not Gentoo, and two weak ones with the same settings.
type hosts struct {
	lab                   *lab.Lab
	tower, lappy, netbook *host
}

func newHosts(binary string) (*hosts, error) {
	files := map[string]string{"make.conf": makeConf}
	// The hosts end with Close, or with this process, and not with Ctrl-C: the client's last words are
	// worth seeing.
	l, err := lab.New(context.Background(), lab.Options{Binary: binary, Hosts: []lab.HostSpec{
		{Name: "tower", Foreign: true}, {Name: "lappy", Files: files}, {Name: "netbook", Files: files},
	}})
	if err != nil {
		return nil, err
	}
	return &hosts{l, l.Host("tower"), l.Host("lappy"), l.Host("netbook")}, nil
}

// command is a command on a host.
func command(ctx context.Context, h *host, args ...string) *exec.Cmd {
	return h.Command(ctx, args[0], args[1:]...)
}

// signalTo sends a signal to the program that a command runs.
func signalTo(cmd *exec.Cmd, sig syscall.Signal) error { return cmd.Process.Signal(sig) }
