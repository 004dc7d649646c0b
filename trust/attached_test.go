package trust

import (
	"net"
	"net/netip"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

func TestAttachedTo(t *testing.T) {
	var addrs []net.Addr
	for _, s := range []string{
		"127.0.0.1/8", "::1/128", "192.168.1.7/24", "10.8.0.2/32", "172.16.5.1/30", "2001:db8:1::7/64", "2001:db8:2::7/128", "fe80::7/64",
		"169.254.9.9/16", "0.0.0.0/0", "::/0",
	} {
		ip, network, err := net.ParseCIDR(s)
		if err != nil {
			t.Fatal(err)
		}
		addrs = append(addrs, &net.IPNet{IP: ip, Mask: network.Mask})
	}
	addrs = append(addrs,
		&net.IPNet{IP: net.ParseIP("100.64.1.1"), Mask: net.CIDRMask(96+24, 128)},
		&net.IPNet{IP: net.ParseIP("100.65.1.1"), Mask: net.CIDRMask(96, 128)},
		&net.IPNet{IP: net.ParseIP("100.66.1.1"), Mask: net.CIDRMask(64, 128)},
		&net.IPNet{IP: net.ParseIP("100.67.1.1"), Mask: net.IPMask{255, 0, 255, 0}},
		&net.IPNet{IP: net.IP{1, 2, 3}, Mask: net.CIDRMask(8, 32)},
		&net.IPAddr{IP: net.ParseIP("100.68.1.1")})
	for peer, attached := range map[string]bool{
		"192.168.1.200": true, "192.168.1.7": true, "::ffff:192.168.1.200": true, "192.168.2.1": false, "::ffff:192.168.2.1": false,
		"127.0.0.1": true, "127.9.9.9": true, "::ffff:127.0.0.1": true, "::1": true,
		"10.8.0.2": true, "10.8.0.1": false, // the other end of a tunnel is no network
		"172.16.5.2": true, "172.16.5.4": false,
		"2001:db8:1::99": true, "2001:db8:1::98%eth0": true, "2001:db8:1:0:ffff::": true, "2001:db8:1:1::99": false,
		"2001:db8:2::7": true, "2001:db8:2::8": false,
		"fe80::1%eth0": true, "fe80::1": true, "fe90::1%eth9": true, // of any interface
		"169.254.1.1": true, "203.0.113.1": false, "2001:db8:ffff::1": false, "::": false, "0.0.0.0": false, "ff02::1": false,
		"100.64.1.9": true, "100.64.2.9": false, "100.65.1.2": false, "100.66.1.2": false, "100.67.1.1": false, "100.68.1.1": false,
		"::c0a8:1c8": false, "64:ff9b::c0a8:1c8": false, // 192.168.1.200 in other clothes
	} {
		err := attachedTo(addrs, netip.MustParseAddr(peer))
		if attached != (err == nil) {
			t.Errorf("%s: %v", peer, err)
		}
		if err != nil {
			wantContains(t, err, "is on no network that this machine is on itself")
		}
	}
	wantContains(t, attachedTo(addrs, netip.Addr{}), "not known")
	for peer, attached := range map[string]bool{"127.0.0.1": true, "::1": true, "fe80::1": true, "169.254.1.1": false} {
		if err := attachedTo(nil, netip.MustParseAddr(peer)); attached != (err == nil) {
			t.Errorf("without a network: %v", err)
		}
	}
}

// An interface that is down keeps its addresses, but what comes from their network comes by a router.
func TestInterfaceDown(t *testing.T) {
	cmd := exec.Command("sh", "-ec", `ip address add 203.0.113.1/24 dev lo; "$0"; ip link set lo up; "$0"`, os.Args[0])
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
	}
	cmd.Env = append(os.Environ(), "TRUST_TEST_ATTACHED=203.0.113.9")
	out, err := cmd.CombinedOutput()
	if want := "203.0.113.9 is on no network that this machine is on itself\n<nil>\n"; err != nil || string(out) != want {
		t.Errorf("%v: %s", err, out)
	}
}

// This machine is attached to itself, and to no network for documentation.
func TestAttached(t *testing.T) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		ip, _ := netip.AddrFromSlice(a.(*net.IPNet).IP)
		if err := Attached(ip); err != nil {
			t.Error(err)
		}
	}
	if Attached(netip.MustParseAddr("203.0.113.9")) == nil {
		t.Error("203.0.113.9 is attached")
	}
}
