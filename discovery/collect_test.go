package discovery

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func testLink(index int, name string, prefixes ...string) link {
	l := link{ifi: net.Interface{Index: index, Name: name}}
	for _, p := range prefixes {
		l.prefixes = append(l.prefixes, netip.MustParsePrefix(p))
	}
	return l
}

func testSighting(id string, ips ...string) sighting {
	return sighting{
		info: testInfo("h1", id), instance: InstanceName("h1", id), port: 8473, ips: addrs(ips...), lifetime: shortLife,
	}
}

// collected returns a collector and the calls of found, as text.
func collected() (*collector, *[]string) {
	var calls []string
	return &collector{found: func(b Builder) {
		call := fmt.Sprint(b.ID, " ", b.Addrs, " ", b.Interfaces)
		if b.Gone {
			call += " gone"
		}
		calls = append(calls, call)
	}}, &calls
}

func TestCollectorMergesAndOrders(t *testing.T) {
	c, calls := collected()
	eth0 := testLink(2, "eth0", "10.0.0.9/24", "fd00::9/64")
	wlan0 := testLink(3, "wlan0", "10.1.0.9/24")
	s := testSighting(id1, "172.17.0.1", "10.1.0.1", "10.0.0.2", "10.0.0.1", "fe80::1", "fd00::1")
	c.add(s, eth0, netip.MustParseAddr("10.0.0.2"))
	c.add(s, eth0, netip.MustParseAddr("10.0.0.2")) // nothing new
	c.add(s, wlan0, netip.MustParseAddr("fe80::1%3"))
	s.info.Jobs = 1
	c.add(s, wlan0, netip.MustParseAddr("fe80::1%3"))
	want := []string{
		id1 + " [10.0.0.2:8473 10.0.0.1:8473 [fd00::1]:8473 [fe80::1%2]:8473 10.1.0.1:8473 172.17.0.1:8473] [eth0]",
		id1 + " [10.0.0.2:8473 10.0.0.1:8473 10.1.0.1:8473 [fd00::1]:8473 [fe80::1%3]:8473 [fe80::1%2]:8473 " +
			"172.17.0.1:8473] [eth0 wlan0]",
	}
	want = append(want, want[1])
	if got := strings.Join(*calls, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
}

func TestCollectorFollowsGoodbyesAndNewAddresses(t *testing.T) {
	c, calls := collected()
	eth0 := testLink(2, "eth0", "10.0.0.9/24")
	src := netip.MustParseAddr("10.0.0.1")
	c.addPartial(testSighting(id1, "10.0.0.1"), eth0)
	c.addPartial(testSighting(id1, "fd00::1"), eth0) // merged
	c.add(testSighting(id1, "10.0.0.2"), eth0, src)  // complete: replaces
	c.addPartial(testSighting(id1, "10.0.0.1"), eth0)
	c.add(sighting{instance: InstanceName("h1", id1), gone: true}, eth0, src)
	c.add(sighting{instance: InstanceName("h1", id1), gone: true}, eth0, src)
	c.add(sighting{instance: "unknown", gone: true}, eth0, src)
	c.addPartial(testSighting(id1, "10.0.0.2"), eth0) // older than the goodbye
	c.add(testSighting(id1, "10.0.0.2"), eth0, src)
	c.close()
	c.add(testSighting(id2, "10.0.0.2"), eth0, src)
	want := []string{
		id1 + " [10.0.0.1:8473] [eth0]",
		id1 + " [10.0.0.1:8473 [fd00::1]:8473] [eth0]",
		id1 + " [10.0.0.2:8473] [eth0]",
		id1 + " [10.0.0.2:8473] [eth0] gone",
		id1 + " [10.0.0.2:8473] [eth0]",
	}
	if got := strings.Join(*calls, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
}

func TestCollectorIsBounded(t *testing.T) {
	c, calls := collected()
	for i := range 2 * maxBuilders {
		c.add(testSighting(fmt.Sprintf("id%06d", i), "10.0.0.1"), link{}, netip.Addr{})
	}
	if len(*calls) != maxBuilders {
		t.Errorf("%d builders", len(*calls))
	}
	s := testSighting("id000000")
	for i := range maxAddresses {
		s.ips = append(s.ips, netip.MustParseAddr(fmt.Sprintf("fe80::%d", i+1)))
	}
	for i := range 20 {
		c.add(s, testLink(i+2, "eth"), netip.MustParseAddr(fmt.Sprintf("10.0.0.%d", i)))
	}
	k := c.builders["id000000"]
	if n := len(k.told.Addrs); n != maxAddresses || len(k.sources) > maxAddresses {
		t.Errorf("%d addresses, %d sources", n, len(k.sources))
	}
}

// A builder that goes without a word is told to be gone, and makes room.
func TestCollectorForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, calls := collected()
		m := testZone(t, testInfo("h1", id1), "10.0.0.1").announcement() // TTL 120
		seen, _ := parsePacket(pack(t, m), false)
		c.add(seen[0], link{}, netip.Addr{})
		c.addPartial(testSighting(id2, "10.0.0.2"), link{}) // of the library: a minute
		for range maxBuilders {
			c.add(testSighting(fmt.Sprintf("id%06d", len(c.builders)), "10.0.0.3"), link{}, netip.Addr{})
		}
		*calls = nil
		for ; len(c.builders) > 0; time.Sleep(time.Second) {
			c.expire(time.Now())
		}
		if last := (*calls)[len(*calls)-1]; len(*calls) != maxBuilders || !strings.HasPrefix(last, id1) ||
			!strings.HasSuffix(last, "gone") {
			t.Errorf("%d calls, the last: %s", len(*calls), last)
		}
	})
}

func TestAddressesOf(t *testing.T) {
	eth0 := testLink(2, "eth0", "fe80::1/64", "10.0.0.1/24",
		"fd00::1/64", "fd00::2/64", "fd00::3/64", "fd00::4/64", "fd00::5/64")
	eth1 := testLink(3, "eth1", "10.1.0.1/24", "fe80::2/64")
	got := fmt.Sprint(addressesOf([]link{eth0, eth1}))
	if want := "[10.0.0.1 10.1.0.1 fd00::1 fd00::2 fd00::3 fd00::4 fe80::1 fe80::2]"; got != want {
		t.Errorf("got %s; want %s", got, want)
	}
}
