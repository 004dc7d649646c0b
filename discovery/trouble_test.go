package discovery

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestLoss(t *testing.T) {
	for name, f := range map[string][]Family{"dual stack": families, "IPv4 only": {IPv4}} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			h1, h2 := l.lan(f...)
			h2.ip("route add default via 10.77.0.254") // the library needs one over IPv4
			l.hub.nft(`table bridge loss { chain forward { type filter hook forward priority 0;
				udp sport 5353 numgen random mod 100 < 30 drop
				udp sport != 5353 udp dport 5353 numgen random mod 100 < 30 drop
			}
			}`)
			h1.advertise(id1)
			var times []time.Duration
			for range 40 {
				b := h2.browse()
				times = append(times, b.untilSeen(patience, id1))
				b.stop()
			}
			report(t, "first builder under 30 % loss", times)
			if slow := times[len(times)*95/100]; slow > time.Second {
				t.Errorf("the 95th percentile is %v; want at most 1s", slow)
			}
		})
	}
}

// The client's firewall lets in what ufw and firewalld let in by default: mDNS that is multicast, and
// nothing else.
func TestClientFirewall(t *testing.T) {
	h1, h2 := newLab(t).lan(families...)
	h2.nft(`table inet fw { chain input { type filter hook input priority 0; policy drop;
		iif lo accept
		ct state established,related accept
		meta l4proto ipv6-icmp accept
		ip daddr 224.0.0.251 udp dport 5353 accept
		ip6 daddr ff02::fb udp dport 5353 accept
		}
	}`)
	h1.advertise(id1)
	var times []time.Duration
	for range 5 { // more than the announcements at the builder's start
		b := h2.browse()
		times = append(times, b.untilSeen(patience, id1))
		b.stop()
	}
	report(t, "first builder behind a firewall", times)
}

func TestPortHeldByAnother(t *testing.T) {
	h1, h2 := newLab(t).lan(families...)
	h2.background("hog")
	h1.advertise(id1)
	stop := h2.advertise(id2) // cannot work, and goes on all the same
	b := h2.browse()
	b.untilSeen(patience, id1)
	r := b.stop().Report
	if len(r.Paths) != 2 || !strings.Contains(r.Paths[0].Err, "address already in use") {
		t.Errorf("report: %+v", r)
	}
	stop()
}

func TestNothingFound(t *testing.T) {
	l := newLab(t)
	h := l.host("h1")
	l.join(h, "eth0", "lan", "10.77.0.1/24")
	h.ip(
		"link add docker0 type veth peer name eth1", "link set docker0 up",
		"link add docker1 type veth peer name docker2", "link set docker1 up", "link set docker2 up",
		"addr add 172.17.0.1/16 dev docker0", "addr add 172.18.0.1/16 dev docker1")
	b := h.browse("eth1")
	if r := b.stop(); r.Err != ErrNoPath.Error() {
		t.Errorf("error %q", r.Err)
	}
	b = h.browse()
	h.browse() // some traffic of this machine itself
	r := b.stop()
	if r.Err != "" || r.Report.Traffic() || len(b.now) != 0 {
		t.Errorf("%q, %v, report: %+v", r.Err, b.now, r.Report)
	}
	skipped := fmt.Sprint(r.Report.Skipped)
	for _, want := range []string{
		"{docker0  has no carrier}", "{docker1  belongs to containers", "{eth1  is down}",
		"{eth0 IPv6 has no IPv6 address}", "{lo  is the loopback",
	} {
		if !strings.Contains(skipped, want) {
			t.Errorf("no %q in %s", want, skipped)
		}
	}
}

func TestNothingIsLeft(t *testing.T) {
	h1, h2 := newLab(t).lan(families...)
	h1.advertise(id1)
	var endings []time.Duration
	browse := func() {
		b := h2.browse()
		b.untilSeen(patience, id1)
		b.stop()
		endings = append(endings, b.ending)
	}
	base := h2.do(order{Op: "open"}).Open
	base[1] += 2 // the runtime's poller keeps two descriptors
	for range 50 {
		browse()
	}
	h2.settles(base)
	if median := report(t, "end of a Browse", endings); median > 50*time.Millisecond {
		t.Errorf("the median is %v; want at most 50ms", median)
	}
}

func TestFlood(t *testing.T) {
	l := newLab(t)
	h1, h2 := l.lan(IPv4)
	h3 := l.host("h3")
	l.join(h3, "eth0", "lan", "10.77.0.3/24")
	h1.advertise(id1)
	b := h2.browse()
	b.untilSeen(patience, id1)
	h3.do(order{Op: "flood"})
	h2.browse().untilSeen(patience, id1)
	b.stop()
	if len(b.now) > maxBuilders {
		t.Errorf("%d builders", len(b.now))
	}
}
