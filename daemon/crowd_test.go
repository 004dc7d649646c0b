package daemon

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"
)

// TestCrowded: neither an address nor a network of IPv6 addresses gets all that there is.
func TestCrowded(t *testing.T) {
	const limit = 32
	many := func(format string, n int) (list []netip.Addr) {
		for i := range n {
			list = append(list, netip.MustParseAddr(fmt.Sprintf(format, i)))
		}
		return list
	}
	times := func(n int, addr string) []netip.Addr {
		return slices.Repeat([]netip.Addr{netip.MustParseAddr(addr)}, n)
	}
	for name, tt := range map[string]struct {
		addr string
		held []netip.Addr
		want string
	}{
		"nobody":                 {"192.0.2.1", nil, ""},
		"one less than its part": {"192.0.2.1", times(7, "192.0.2.1"), ""},
		"its part":               {"192.0.2.1", times(8, "192.0.2.1"), "8 from 192.0.2.1"},
		"another's part":         {"192.0.2.2", times(8, "192.0.2.1"), ""},
		"all":                    {"192.0.2.2", many("198.51.100.%d", limit), "32"},
		"all but one":            {"192.0.2.2", many("198.51.100.%d", limit-1), ""},
		"its part over IPv6":     {"2001:db8::1", times(8, "2001:db8::1"), "8 from 2001:db8::1"},
		"one less than half":     {"2001:db8::ffff", many("2001:db8::%x", limit/2-1), ""},
		"half is its network's":  {"2001:db8::ffff", many("2001:db8::%x", limit/2), "16 from 2001:db8::/64"},
		"half is another's":      {"2001:db8:0:1::1", many("2001:db8::%x", limit/2), ""},
		"pipes":                  {"", make([]netip.Addr, limit-1), ""},
		"too many pipes":         {"", make([]netip.Addr, limit), "32"},
	} {
		addr, _ := netip.ParseAddr(tt.addr)
		if got := crowded(addr, limit, slices.Values(tt.held)); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
	if got := crowded(netip.MustParseAddr("192.0.2.1"), 1, slices.Values([]netip.Addr(nil))); got != "" {
		t.Errorf("the only place is not given: %q", got)
	}
}

// TestIPOf: a machine is the same one however its address is written.
func TestIPOf(t *testing.T) {
	for _, tt := range []struct {
		peer net.Addr
		want string
	}{
		{&net.TCPAddr{IP: net.ParseIP("192.0.2.1"), Port: 1}, "192.0.2.1"},
		{&net.TCPAddr{IP: net.ParseIP("::ffff:192.0.2.1"), Port: 2}, "192.0.2.1"},
		{&net.TCPAddr{IP: net.ParseIP("fe80::1"), Zone: "eth0", Port: 3}, "fe80::1"},
	} {
		if got := ipOf(tt.peer); got != netip.MustParseAddr(tt.want) {
			t.Errorf("%v is %v, want %s", tt.peer, got, tt.want)
		}
	}
	if got := ipOf(&net.UnixAddr{Name: "pipe"}); got.IsValid() {
		t.Errorf("a pipe has the address %v", got)
	}
}
