package daemon

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lantage/discovery"
	"lantage/wire"
)

func TestAdvertisement(t *testing.T) {
	h := wire.Hello{
		Name: "tower", ID: "0123456789abcdef", CHOST: "x86_64-pc-linux-gnu", Arch: machine(), CPU: cpuLevel(),
		Portage: "3.0.66.1", Bases: []string{"/var/stage3", "host", "/var/lib/other"}, Waiting: 2,
	}
	a := advertisement(h)
	if err := a.Validate(); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"dir", "host"}, a.Bases); diff != "" {
		t.Error(diff) // what is in a directory's name is nothing for the whole LAN
	}
	if a.Arch == "" || (a.Arch == "x86_64") != (a.CPU != "") || a.Portage != h.Portage || a.Waiting != 2 {
		t.Errorf("got %+v", a)
	}
}

// What the owner said about advertising arrives, and failing at it ends nothing.
func TestAdvertising(t *testing.T) {
	for _, c := range []struct {
		no   bool
		want int
	}{{false, 1}, {true, 0}} {
		quiet := slog.New(slog.DiscardHandler)
		s := &Server{
			Runner: &steered{}, StateDir: t.TempDir(), Hello: wire.Hello{Name: "tower"}, JobLimit: 1, Logger: quiet,
		}
		ctx, cancel := context.WithCancel(t.Context())
		ln, err := net.Listen("tcp", "localhost:0")
		if err != nil {
			t.Fatal(err)
		}
		calls := 0
		asked := make(chan struct{})
		cmd := Command{NoAdvertise: c.no, Interfaces: []string{"eth7"}, Logger: quiet}
		cmd.advertise = func(
			_ context.Context, info func() discovery.Info, port int, opt discovery.AdvertiseOptions,
		) error {
			defer close(asked)
			calls++
			if info().Name != "tower" || port != ln.Addr().(*net.TCPAddr).Port {
				t.Errorf("advertised %+v, port %d", info(), port)
			}
			if !slices.Equal(opt.Interfaces, cmd.Interfaces) {
				t.Errorf("advertised on %v", opt.Interfaces)
			}
			return errors.New("no network here")
		}
		ended := make(chan error)
		go func() { ended <- cmd.serve(ctx, s, ln) }()
		if !c.no {
			receive(t, asked)
		}
		conn, err := net.Dial("tcp", ln.Addr().String()) // it serves all the same
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
		cancel()
		if err := receive(t, ended); err != nil || calls != c.want {
			t.Errorf("%v, advertised %d times; want %d", err, calls, c.want)
		}
	}
}
