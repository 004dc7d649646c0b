package discovery

import (
	"testing"
	"time"
)

func TestSameMachine(t *testing.T) {
	h := newLab(t).host("h1") // only the loopback interface
	h.advertise(id1)
	h.advertise(id2)
	h.browse().untilSeen(patience, id1, id2)
	b := h.browse()
	took := b.untilSeen(patience, id1, id2)
	if took > 500*time.Millisecond {
		t.Errorf("found after %v: only the announcement came", took)
	}
	measured(t, "05: only lo, two daemons", "both after %v; bound 500ms", ms(took))
	if r := b.stop().Report; !hasOnly(id1, "127.0.0.1:8473")(b.now) || r.Traffic() {
		t.Errorf("addresses %s, report %+v", b.now[id1].Addrs, r)
	}
}

func TestTwoDaemonsOnOneHost(t *testing.T) {
	h1, h2 := newLab(t).lan(families...)
	stop := h1.advertise(id1)
	h1.advertise(id2)
	b := h2.browse()
	took := b.untilSeen(patience, id1, id2)
	measured(t, "13: two daemons on one host", "both after %v", ms(took))
	stop()
	b.until(patience, func(now map[string]Builder) bool { return now[id1].Gone && !now[id2].Gone })
	b.stop()
	b = h2.browse()
	b.untilSeen(patience, id2)
	b.stop()
	if _, ok := b.now[id1]; ok {
		t.Error("the builder that said goodbye is found again")
	}
}

// Who only listens hears of a builder when it starts, when its addresses change and when it stops.
func TestAnnouncements(t *testing.T) {
	h1, h2 := newLab(t).lan(IPv4)
	b := h2.listen()
	stop := h1.advertise(id1)
	b.untilSeen(patience, id1)
	h1.ip("addr add 10.77.0.7/24 dev eth0")
	b.until(patience, func(now map[string]Builder) bool { return len(now[id1].Addrs) == 2 })
	stop()
	b.until(patience, func(now map[string]Builder) bool { return now[""].Gone })
	if got := b.now[""].Instance; got != InstanceName("h1", id1) {
		t.Errorf("goodbye of %s", got)
	}
}

// Case 12. The report tells that others are heard.
func TestForeignServicesAreNotListed(t *testing.T) {
	l := newLab(t)
	h1, h2 := l.lan(IPv4)
	h1.background("foreign")
	h1.advertise(id1)
	foreign := 0
	for foreign == 0 {
		b := h2.browse()
		b.untilSeen(patience, id1)
		r := b.stop().Report
		foreign = r.Foreign
		if len(b.now) != 1 || r.Foreign > r.Paths[0].Packets-r.Paths[0].Answers {
			t.Fatalf("found %v, %+v", b.now, r)
		}
	}
	measured(t, "12: foreign services", "none listed, %d packets counted", foreign)
	h3, b := l.host("h3"), h1.browse()
	l.join(h3, "eth0", "other", "10.77.0.3/24")
	h1.do(order{Op: "open"}) // Browse has begun
	if r := b.stop().Report; r.Foreign != 0 {
		t.Errorf("%d packets of this machine itself are called foreign", r.Foreign)
	}
}

// Case 13: names do not tell builders apart, IDs do.
func TestSameHostname(t *testing.T) {
	h1, h2 := newLab(t).lan(families...)
	h1.name = "twin"
	h2.name = "twin"
	h1.advertise(id1)
	h2.advertise(id2)
	b := h2.browse()
	took := b.untilSeen(patience, id1, id2)
	if b1, b2 := b.now[id1], b.now[id2]; b1.Addrs[0] == b2.Addrs[0] || b1.Instance == b2.Instance {
		t.Errorf("got %+v", b.now)
	}
	measured(t, "13: two hosts of one name", "both after %v", ms(took))
}

// Case 4: an interface without IPv6 beside one with it, and an address that cannot be used yet.
func TestHalfOfIPv6(t *testing.T) {
	l := newLab(t)
	h1, h2 := l.host("h1"), l.host("h2")
	l.join(h1, "eth0", "lan", "10.77.0.1/24", "fe80::1/64")
	l.join(h2, "eth0", "lan", "10.77.0.2/24")
	h2.disableIPv6("eth0")
	l.join(h2, "eth1", "elsewhere", "fe80::2/64", "fd88::2/64")
	h1.advertise(id1)
	b := h2.browse()
	took := b.untilSeen(patience, id1)
	b.stop()
	measured(t, "04: IPv6 off on one interface", "found after %v", ms(took))
	l.join(h2, "eth2", "lan")
	h2.ip("addr add fe80::3/64 dev eth2") // cannot be used for a second: duplicate address detection
	b = h2.browse("eth2")
	took = b.untilSeen(patience, id1)
	if took > late {
		t.Errorf("found after %v; want at most %v", took, late)
	}
	b.stop()
	measured(t, "04: tentative address (DAD)", "found after %v; bound %v", ms(took), late)
}

// An interface of containers takes part when it is named, and then it is the only one.
func TestNamedInterface(t *testing.T) {
	l := newLab(t)
	h1, h2, h3 := l.host("h1"), l.host("h2"), l.host("h3")
	l.join(h1, "eth0", "lan", "10.77.0.1/24")
	l.join(h1, "docker0", "inside", "10.88.0.1/24")
	l.join(h2, "eth0", "lan", "10.77.0.2/24")
	l.join(h3, "eth0", "inside", "10.88.0.3/24")
	h1.advertise(id1)
	h1.advertise(id2, "docker0")
	on, in := h2.browse(), h3.browse()
	on.untilSeen(patience, id1)
	in.untilSeen(patience, id2)
	for what, b := range map[string]*browsing{"10.77.0.1:8473": on, "10.88.0.1:8473": in} {
		b.stop()
		for id, found := range b.now {
			if len(b.now) != 1 || !hasOnly(id, what)(b.now) {
				t.Errorf("found %+v; want only %s", found, what)
			}
		}
	}
}

// After a resume the builder joins its groups and announces itself again, and a client asks again.
func TestResume(t *testing.T) {
	h1, h2 := newLab(t).lan(IPv4)
	h1.advertise(id1)
	b := h1.browse()
	b.untilSeen(patience, id1)
	b.stop() // it would ask, and have sockets, too
	before := h1.sockets()
	time.Sleep(4 * time.Second) // the announcements of the start are over
	b = h2.listen()
	begin := time.Now()
	h1.do(order{Op: "resume"})
	b.untilSeen(patience, id1)
	inTime(t, "06: announced after resume", begin)
	if after := h1.sockets(); after == before {
		t.Errorf("the sockets on port 5353 are the old ones:\n%s", after)
	}
}

// A builder that was not heard again in the lifetime of its records is told to be gone.
func TestVanishedBuilder(t *testing.T) {
	h1, h2 := newLab(t).lan(IPv4)
	h2.do(order{Op: "short-lived"})
	b := h2.browse()
	for b.h.do(order{Op: "open"}); len(b.now) == 0; { // until the listening has begun
		h1.send(order{Op: "brief", Info: testInfo("h1", id1)})
		select {
		case r := <-b.ch:
			b.now[r.Builder.ID] = *r.Builder
		case <-time.After(10 * time.Millisecond):
		}
	}
	begin := time.Now()
	b.until(patience, func(now map[string]Builder) bool { return now[id1].Gone })
	measured(t, "    vanished builder", "told gone after %v; its TTL was 1s", ms(time.Since(begin)))
}
