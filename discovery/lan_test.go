package discovery

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

const (
	id1 = "aaaaaa1111"
	id2 = "bbbbbb2222"
)

// patience is how long a test waits for what takes milliseconds: other programs may keep the machine busy.
// What is promised of times is checked with the median of many.
const patience = 15 * time.Second

// late is how long after a change of the network clients may have to wait for the right address.
const late = 3 * time.Second

// Cases 1 and 2: the families, with and without default routes, and with IPv6 off.
func TestFamilies(t *testing.T) {
	for _, c := range []struct {
		name     string
		families []Family
		routes   bool
	}{
		{"dual stack, default routes", families, true},
		{"dual stack, no default route", families, false},
		{"IPv4 only, no default route, IPv6 off", []Family{IPv4}, false},
		{"IPv6 only, no default route", []Family{IPv6}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			h1, h2 := newQuietLab(t).lan(c.families...)
			for _, h := range []*host{h1, h2} {
				if len(c.families) == 1 && c.families[0] == IPv4 {
					h.disableIPv6("all")
				}
				if c.routes {
					h.ip("route add default via 10.77.0.254", "route add default via fd77::254")
				}
			}
			h1.advertise(id1)
			h1.browse().untilSeen(patience, id1) // it is up, and is found on its own machine
			var first times
			for range 20 {
				b := h2.browse()
				first = append(first, b.untilSeen(patience, id1))
				r := b.stop()
				if r.Err != "" || !r.Report.Traffic() || len(r.Report.Paths) != len(c.families) {
					t.Errorf("%s, report: %+v", r.Err, r.Report)
				}
			}
			first.check(t, "01, 02: "+c.name, .5, 100*time.Millisecond)
		})
	}
}

// The library alone finds builders where it can: over IPv4 it needs a default route.
func TestLibraryAlone(t *testing.T) {
	for name, f := range map[string][]Family{"IPv4": {IPv4}, "IPv6": {IPv6}} {
		t.Run(name, func(t *testing.T) {
			h1, h2 := newLab(t).lan(f...)
			if f[0] == IPv4 {
				h2.ip("route add default via 10.77.0.254")
			}
			h1.advertise(id1)
			h1.background("foreign")
			b := h2.browseWith("library")
			t.Logf("first builder after %v", b.untilSeen(patience, id1))
			if b.stop(); len(b.now) != 1 || len(b.now[id1].Addrs) == 0 {
				t.Errorf("found %v", b.now)
			}
		})
	}
}

// Case 3: both machines have another LAN, the same network on each but not joined, and the client's default route
// leads there.
func TestTwoLANs(t *testing.T) {
	l := newLab(t)
	h1, h2 := l.host("h1"), l.host("h2")
	l.join(h1, "eth0", "elsewhere1", "10.88.0.1/24", "fe80::a/64")
	l.join(h2, "eth0", "elsewhere2", "10.88.0.2/24", "fe80::b/64")
	l.join(h1, "eth1", "lan", "10.99.0.1/24", "fe80::1/64", "fd99::1/64")
	l.join(h2, "eth1", "lan", "10.99.0.2/24", "fe80::2/64", "fd99::2/64")
	h2.ip("route add default via 10.88.0.254")
	h1.advertise(id1)
	want := []string{"10.99.0.1:8473", "[fd99::1]:8473", "[fe80::1%3]:8473"}
	var first times
	for range 100 {
		b := h2.browse()
		first = append(first, b.untilSeen(patience, id1))
		b.stop()
		for _, r := range b.calls {
			if got := fmt.Sprint(r.Builder.Addrs[0]); got != want[0] {
				t.Fatalf("first address is %s; want %s; all: %v", got, want[0], r.Builder.Addrs)
			}
			if !slices.Equal(r.Builder.Interfaces, []string{"eth1"}) {
				t.Fatalf("heard on %v; want eth1", r.Builder.Interfaces)
			}
		}
	}
	measured(t, "03: two LANs, default route on the wrong one", "on-link address first in %d of %d, median %v",
		len(first), len(first), ms(first.at(.5)))
	b := h2.browse()
	b.until(patience, func(now map[string]Builder) bool { // when IPv6 has answered too
		var got []string
		for _, a := range now[id1].Addrs {
			got = append(got, a.String())
		}
		return len(got) >= 3 && slices.Equal(got[:3], want)
	})
	b = h2.browse("eth0")
	for range 5 { // what is multicast on eth1 is not heard on eth0
		b1 := h2.browse("eth1")
		b1.untilSeen(patience, id1)
		stop := h1.advertise(id2)
		b1.untilSeen(patience, id2)
		stop()
		b1.until(patience, func(now map[string]Builder) bool { return now[id2].Gone })
	}
	if r := b.stop(); len(b.now) != 0 || len(r.Report.Paths) != 2 {
		t.Errorf("on eth0 alone: %v, report %+v", b.now, r.Report)
	}
}

func hasOnly(id, addr string) func(map[string]Builder) bool {
	return func(now map[string]Builder) bool {
		b := now[id]
		return fmt.Sprint(b.Addrs) == "["+addr+"]"
	}
}

func inTime(t *testing.T, what string, begin time.Time) {
	t.Helper()
	took := time.Since(begin)
	if took > late {
		t.Errorf("%s after %v; want at most %v", what, took, late)
	}
	measured(t, what, "after %v; bound %v", ms(took), late)
}

func TestNetworkChanges(t *testing.T) {
	t.Run("renumbered", func(t *testing.T) {
		h1, h2 := newLab(t).lan(IPv4)
		h1.advertise(id1)
		b := h2.browse()
		b.untilSeen(patience, id1)
		begin := time.Now()
		h1.ip("addr del 10.77.0.1/24 dev eth0", "addr add 10.77.0.7/24 dev eth0")
		b.until(patience, hasOnly(id1, "10.77.0.7:8473"))
		inTime(t, "06: renumbered", begin)
	})
	t.Run("interface made anew", func(t *testing.T) {
		l := newLab(t)
		h1, h2 := l.lan(families...)
		h1.advertise(id1)
		b := h2.browse()
		b.untilSeen(patience, id1)
		base := h1.do(order{Op: "open"}).Open
		h1.ip("link del eth0")
		begin := time.Now()
		l.join(h1, "eth0", "lan", "10.77.0.8/24", "fe80::8/64")
		b.until(patience, hasOnly(id1, "10.77.0.8:8473 [fe80::8%2]:8473"))
		inTime(t, "06: interface deleted and made anew", begin)
		h1.settles(base)
		b = h2.browse() // the server answers questions too
		b.until(patience, hasOnly(id1, "10.77.0.8:8473 [fe80::8%2]:8473"))
	})
	t.Run("link down and up", func(t *testing.T) {
		h1, h2 := newLab(t).lan(IPv4)
		h1.advertise(id1)
		h2.browse().untilSeen(patience, id1)
		begin := time.Now()
		h1.ip("link set eth0 down", "link set eth0 up")
		h2.browse().untilSeen(patience, id1)
		inTime(t, "06: link down and up", begin)
	})
	t.Run("address comes late", func(t *testing.T) {
		l := newLab(t)
		h1, h2 := l.lan(IPv4)
		h1.ip("addr flush dev eth0")
		h1.advertise(id1)
		h1.browse().untilSeen(patience, id1)
		b := h2.browse()
		begin := time.Now()
		h1.ip("addr add 10.77.0.7/24 dev eth0")
		b.until(patience, hasOnly(id1, "10.77.0.7:8473"))
		inTime(t, "06: address (DHCP) after the start", begin)
	})
	t.Run("interfaces come late", func(t *testing.T) {
		l := newLab(t)
		h1, h2 := l.host("h1"), l.host("h2")
		h1.advertise(id1)
		b := h2.browse()
		h1.browse().untilSeen(patience, id1) // through the loopback interface
		begin := time.Now()
		l.join(h1, "eth0", "lan", "10.77.0.1/24")
		l.join(h2, "eth0", "lan", "10.77.0.2/24")
		h2.ip("addr add fd77::2/64 dev eth0") // cannot be used for a second: duplicate address detection
		b.untilSeen(patience, id1)
		inTime(t, "05: only lo, then an interface", begin)
		if !hasOnly(id1, "10.77.0.1:8473")(b.now) {
			t.Errorf("addresses %v", b.now[id1].Addrs)
		}
	})
}
