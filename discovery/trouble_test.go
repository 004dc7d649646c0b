package discovery

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// loss has the switch drop 30 % of the mDNS packets, each for itself.
func (l *lab) loss() {
	l.t.Helper()
	l.hub.nft(`table bridge loss { chain forward { type filter hook forward priority 0;
		udp sport 5353 numgen random mod 100 < 30 drop
		udp sport != 5353 udp dport 5353 numgen random mod 100 < 30 drop
		}
	}`)
}

// Case 8.
func TestLoss(t *testing.T) {
	for _, c := range []struct {
		name     string
		families []Family
		least    float64 // share of 200 that find the builder within 1.5 s
	}{{"IPv4 only", []Family{IPv4}, .94}, {"dual stack", families, .99}} {
		t.Run(c.name, func(t *testing.T) {
			l := newQuietLab(t)
			h1, h2 := l.lan(c.families...)
			h2.ip("route add default via 10.77.0.254") // the library needs one over IPv4
			l.loss()
			h1.advertise(id1)
			var first times
			found := 0
			for range 200 {
				b := h2.browse()
				took := b.untilSeen(patience, id1)
				b.stop()
				if first = append(first, took); took <= 1500*time.Millisecond {
					found++
				}
			}
			if share := float64(found) / 200; share < c.least {
				t.Errorf("found by %v of the clients within 1.5 s; want %v", share, c.least)
			}
			measured(t, "08: 30 % loss, "+c.name,
				"%d of 200 within 1.5 s; bound %v %%", found, 100*c.least)
			first.check(t, "08: 30 % loss, "+c.name+", first", .95, time.Second)
		})
	}
}

// Case 9.
func TestSlowBuilder(t *testing.T) {
	for _, delay := range []time.Duration{150 * time.Millisecond, 300 * time.Millisecond} {
		t.Run(delay.String(), func(t *testing.T) {
			h1, h2 := newQuietLab(t).lan(IPv4)
			h1.send(order{Op: "slow", Info: testInfo("h1", id1), Delay: delay})
			var first times
			for range 10 {
				b := h2.browse()
				first = append(first, b.untilSeen(patience, id1))
				b.stop()
			}
			first.check(t, "09: builder answers after "+delay.String(), .5, time.Second)
		})
	}
}

// Case 10: the client's firewall lets in what ufw and firewalld let in by default: mDNS that is multicast,
// and nothing else.
func TestClientFirewall(t *testing.T) {
	const what = "10: client's firewall, multicast only"
	filter := func(h *host) {
		h.nft(`table inet fw { chain input { type filter hook input priority 0; policy drop;
			iif lo accept
			ct state established,related accept
			meta l4proto ipv6-icmp accept
			ip daddr 224.0.0.251 udp dport 5353 accept
			ip6 daddr ff02::fb udp dport 5353 accept
			}
		}`)
	}
	check := func(t *testing.T, what string, h *host) {
		var first times
		for range 6 { // more than the announcements at the builder's start
			b := h.browse()
			first = append(first, b.untilSeen(patience, id1))
			b.stop()
		}
		first.check(t, what, .5, 2500*time.Millisecond)
	}
	t.Run("one interface", func(t *testing.T) {
		h1, h2 := newLab(t).lan(families...)
		filter(h2)
		h1.advertise(id1)
		check(t, what, h2)
	})
	t.Run("two interfaces", func(t *testing.T) {
		l := newLab(t)
		h1, h2 := l.host("h1"), l.host("h2")
		l.join(h1, "eth0", "lan", "10.77.0.1/24")
		l.join(h2, "eth0", "elsewhere", "10.88.0.2/24")
		l.join(h2, "eth1", "lan", "10.77.0.2/24")
		h2.ip("route add default via 10.88.0.254")
		filter(h2)
		h1.advertise(id1)
		check(t, what+", two LANs", h2)
	})
}

// Case 18.
func TestPortHeldByAnother(t *testing.T) {
	h1, h2 := newLab(t).lan(families...)
	h2.do(order{Op: "hog"}) // answers when it has the port
	h1.advertise(id1)
	stop := h2.advertise(id2) // cannot work, and goes on all the same
	b := h2.browse()
	took := b.untilSeen(patience, id1)
	r := b.stop().Report
	if len(r.Paths) != 2 || !strings.Contains(r.Paths[0].Err, "address already in use") {
		t.Errorf("report: %+v", r)
	}
	time.Sleep(recheck + time.Second) // it tries again, and says so only once
	if n := strings.Count(h2.stderr.String(), "level=WARN"); n != 2 {
		t.Errorf("%d warnings; want one for each family", n)
	}
	measured(t, "18: port 5353 held by another", "the others found after %v; one warning for each family", ms(took))
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

// Case 15.
func TestNothingIsLeft(t *testing.T) {
	h1, h2 := newQuietLab(t).lan(families...)
	h1.advertise(id1)
	base := h2.do(order{Op: "open"}).Open
	base[1] += 2 // the runtime's poller keeps two descriptors
	var endings times
	for range 100 {
		b := h2.browse()
		b.untilSeen(patience, id1)
		b.stop()
		endings = append(endings, b.ending)
	}
	h2.settles(base)
	measured(t, "15: after 100 discoveries", "goroutines, descriptors, memberships %v; before: %v", h2.settled, base)
	endings.check(t, "15: end of a Browse", .5, 50*time.Millisecond)
}

// Case 16: noise for ten seconds, against a builder and a client.
func TestFlood(t *testing.T) {
	l := newLab(t)
	h1, h2 := l.lan(IPv4)
	h3 := l.host("h3")
	l.join(h3, "eth0", "lan", "10.77.0.3/24")
	h1.advertise(id1)
	b := h2.browse()
	b.untilSeen(patience, id1)
	before := [2]int{strings.Count(h1.stderr.String(), "\n"), strings.Count(h2.stderr.String(), "\n")}
	sent := h3.do(order{Op: "flood"}).Line
	took := h2.browse().untilSeen(patience, id1)
	b.stop()
	for i, h := range []*host{h1, h2} {
		lines := strings.Count(h.stderr.String(), "\n") - before[i]
		heap := h.do(order{Op: "open"}).Heap >> 10 // KiB
		if lines >= 100 || heap > 64<<10 {
			t.Errorf("%s: %d lines of log, %d KiB", h.name, lines, heap)
		}
		measured(t, "16: noise, "+h.name,
			"%s packets in 10 s: %d lines at debug level, heap %d KiB", sent, lines, heap)
	}
	if len(b.now) > maxBuilders {
		t.Errorf("%d builders", len(b.now))
	}
	measured(t, "16: noise, then a search", "found after %v; %d false builders of at most %d", ms(took),
		len(b.now)-1, maxBuilders)
}

// Case 17: a packet of 400 questions, multicast on the LAN, sent to the builder on its LAN, and from beyond.
func TestManyQuestions(t *testing.T) {
	l := newLab(t)
	h1, h2 := l.lan(IPv4)
	router := l.host("router")
	l.join(router, "eth0", "lan", "10.77.0.254/24")
	l.join(router, "eth1", "far", "10.99.0.254/24")
	router.do(order{Op: "run", Args: []string{"sysctl", "-w", "net.ipv4.ip_forward=1"}})
	far := l.host("far")
	l.join(far, "eth0", "far", "10.99.0.9/24")
	far.ip("route add default via 10.99.0.254")
	h1.ip("route add default via 10.77.0.254")
	h2.ip("addr add 10.66.0.2/32 dev eth0") // for the builder it is beyond the router, who knows the way
	router.ip("route add 10.66.0.2 dev eth0")
	h1.advertise(id1)
	h2.browse().untilSeen(patience, id1)
	far.do(order{Op: "run", Args: []string{ // the way is open
		"bash", "-c", "(exec 3<>/dev/tcp/10.77.0.1/9) 2>&1 | grep 'Connection refused'",
	}})
	for _, c := range []struct {
		what string
		from *host
		args []string
		most int
	}{
		{"multicast on the LAN", h2, []string{"224.0.0.251:5353", "10.77.0.2"}, maxPacket},
		{"unicast on the LAN", h2, []string{"10.77.0.1:5353", "10.77.0.2"}, 0},
		{"multicast with a source from beyond", h2, []string{"224.0.0.251:5353", "10.66.0.2"}, 0},
		{"unicast from beyond", far, []string{"10.77.0.1:5353", "10.99.0.9"}, 0},
	} {
		var asked, got int
		if _, err := fmt.Sscan(c.from.do(order{Op: "ask", Args: c.args}).Line, &asked, &got); err != nil {
			t.Fatal(err)
		}
		if got > c.most || (c.most > 0 && got == 0) {
			t.Errorf("%s: %d bytes; want at most %d", c.what, got, c.most)
		}
		measured(t, "17: 400 questions, "+c.what,
			"%d bytes asked, %d answered; bound %d", asked, got, c.most)
	}
}

// Case 14: what cannot be advertised is said at the start.
func TestNamesAreJudgedAtTheStart(t *testing.T) {
	for what, spoil := range map[string]func(*Info){
		"instance of 64 bytes": func(i *Info) { i.Name = strings.Repeat("n", 64) },
		"TXT of 256 bytes":     func(i *Info) { i.Fingerprint = strings.Repeat("f", 253) },
	} {
		info := testInfo("h1", id1)
		spoil(&info)
		err := Advertise(t.Context(), func() Info { return info }, 8473, AdvertiseOptions{})
		if err == nil || !strings.Contains(err.Error(), "cannot advertise this builder: ") {
			t.Errorf("%s: %v", what, err)
			continue
		}
		measured(t, "14: "+what, "%.60s …", err)
	}
}
