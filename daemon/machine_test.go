package daemon

import (
	"testing"

	"github.com/google/go-cmp/cmp"

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
