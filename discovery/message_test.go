package discovery

import (
	"fmt"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

func testZone(t testing.TB, info Info, ips ...string) *zone {
	t.Helper()
	z, err := newZone(func() Info { return info }, 8473)
	if err != nil {
		t.Fatal(err)
	}
	z.setAddresses(addrs(ips...))
	return z
}

func addrs(ips ...string) []netip.Addr {
	var all []netip.Addr
	for _, ip := range ips {
		all = append(all, netip.MustParseAddr(ip))
	}
	return all
}

func pack(t testing.TB, m *dns.Msg) []byte {
	t.Helper()
	packet, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return packet
}

func TestZoneIsReadBack(t *testing.T) {
	z := testZone(t, largest(), "10.0.0.1", "10.0.0.2", "fd00::1", "fe80::1")
	packet := pack(t, z.announcement())
	got, _ := parsePacket(packet, false)
	if len(got) != 1 || !reflect.DeepEqual(got[0].info, largest()) || got[0].port != 8473 || got[0].instance != z.instance ||
		!slices.Equal(got[0].ips, z.ips) {
		t.Errorf("got %+v", got)
	}
	got, _ = parsePacket(pack(t, z.goodbye()), false)
	if len(got) != 1 || !got[0].gone || got[0].instance != z.instance {
		t.Errorf("goodbye: %+v", got)
	}
}

func TestLargestZoneFits(t *testing.T) {
	ips := slices.Repeat([]string{"fd00:1234:5678:9abc:def0:1234:5678:9abc"}, maxAddresses)
	z := testZone(t, largest(), ips...)
	if n := len(pack(t, z.announcement())); n > maxPacket {
		t.Errorf("%d bytes; at most %d are wanted", n, maxPacket)
	}
}

func TestZoneAnswers(t *testing.T) {
	z := testZone(t, testInfo("h1", id1), "10.0.0.1")
	for _, c := range []struct {
		name  string
		qtype uint16
		want  int // records
		asked bool
	}{
		{serviceName, dns.TypePTR, 4, true},
		{"_LANTAGE._TCP.Local.", dns.TypePTR, 4, true},
		{z.instance + "." + serviceName, dns.TypeANY, 3, true},
		{z.host, dns.TypeA, 1, false},
		{"_services._dns-sd._udp.local.", dns.TypePTR, 1, false},
		{"_http._tcp.local.", dns.TypePTR, 0, false},
	} {
		got := z.Records(dns.Question{Name: c.name, Qtype: c.qtype, Qclass: dns.ClassINET})
		if len(got) != c.want || len(z.asked) > 0 != c.asked {
			t.Errorf("%s: %d records, asked %v; want %d, %v", c.name, len(got), len(z.asked) > 0, c.want, c.asked)
		}
		for len(z.asked) > 0 {
			<-z.asked
		}
	}
}

// A packet of many questions does not get as many answers.
func TestZoneIsBounded(t *testing.T) {
	z := testZone(t, testInfo("h1", id1), "10.0.0.1")
	begin, answered := time.Now(), 0
	for range 1000 {
		if len(z.Records(dns.Question{Name: serviceName, Qtype: dns.TypePTR})) > 0 {
			answered++
		}
	}
	most := answerBurst + int(answersPerSecond*time.Since(begin).Seconds()) + 1
	if answered < answerBurst || answered > most {
		t.Errorf("%d answers; want %d to %d", answered, answerBurst, most)
	}
}

func TestZoneKeepsTheLastValidInfo(t *testing.T) {
	info := testInfo("h1", id1)
	z, err := newZone(func() Info { return info }, 8473)
	if err != nil {
		t.Fatal(err)
	}
	z.setAddresses(addrs("10.0.0.1"))
	info.Jobs = 2
	z.service()
	info.Load = -1
	seen, _ := parsePacket(pack(t, z.announcement()), false)
	if got := seen[0].info; got.Jobs != 2 || got.Load != 0.25 {
		t.Errorf("got %+v", got)
	}
}

func TestZoneRefusesPort(t *testing.T) {
	for _, port := range []int{-1, 0, 65536} {
		if _, err := newZone(func() Info { return testInfo("h1", id1) }, port); err == nil {
			t.Errorf("port %d can be advertised", port)
		}
	}
}

func TestParsePacketLeavesOut(t *testing.T) {
	for what, spoil := range map[string]func(*dns.Msg, *dns.SRV, *dns.A){
		"a question":             func(m *dns.Msg, _ *dns.SRV, _ *dns.A) { m.Response = false },
		"port 0":                 func(_ *dns.Msg, s *dns.SRV, _ *dns.A) { s.Port = 0 },
		"another service":        func(_ *dns.Msg, s *dns.SRV, _ *dns.A) { s.Hdr.Name = "web._http._tcp.local." },
		"a name with an escape":  func(_ *dns.Msg, s *dns.SRV, _ *dns.A) { s.Hdr.Name = `h1\027x.` + serviceName },
		"no instance":            func(_ *dns.Msg, s *dns.SRV, _ *dns.A) { s.Hdr.Name = serviceName },
		"another target":         func(_ *dns.Msg, s *dns.SRV, _ *dns.A) { s.Target = "other.local." },
		"a loopback address":     func(_ *dns.Msg, _ *dns.SRV, a *dns.A) { a.A = net.IPv4(127, 0, 0, 1) },
		"a multicast address":    func(_ *dns.Msg, _ *dns.SRV, a *dns.A) { a.A = net.IPv4(224, 0, 0, 1) },
		"an unspecified address": func(_ *dns.Msg, _ *dns.SRV, a *dns.A) { a.A = net.IPv4zero },
		"an address taken back":  func(_ *dns.Msg, _ *dns.SRV, a *dns.A) { a.Hdr.Ttl = 0 },
	} {
		m := testZone(t, testInfo("h1", id1), "10.0.0.1").announcement()
		spoil(m, m.Answer[1].(*dns.SRV), m.Answer[2].(*dns.A))
		if got, _ := parsePacket(pack(t, m), false); len(got) != 0 {
			t.Errorf("%s: %+v", what, got)
		}
	}
}

func TestSeveralBuildersInOnePacket(t *testing.T) {
	m := testZone(t, testInfo("h1", id1), "10.0.0.1").announcement()
	m.Extra = testZone(t, testInfo("h2", id2), "10.0.0.2").announcement().Answer
	if got, _ := parsePacket(pack(t, m), false); len(got) != 2 || got[0].info.ID != id1 || got[1].info.ID != id2 {
		t.Errorf("got %+v", got)
	}
}

func FuzzParsePacket(f *testing.F) {
	z := testZone(f, testInfo("h1", id1), "10.0.0.1", "fd00::1", "fe80::1")
	f.Add(pack(f, z.announcement()))
	f.Add(pack(f, z.goodbye()))
	f.Fuzz(func(t *testing.T, packet []byte) {
		c := &collector{found: func(b Builder) {
			printable(t, b.Instance, b.Name)
			if len(b.Addrs) == 0 || len(b.Addrs) > maxAddresses {
				t.Errorf("addresses %v", b.Addrs)
			}
			for _, a := range b.Addrs {
				if a.Port() == 0 || a.Addr().IsMulticast() || a.Addr().IsUnspecified() || a.Addr().IsLoopback() {
					t.Errorf("address %v", a)
				}
			}
		}}
		seen, _ := parsePacket(packet, false)
		for _, s := range seen {
			c.add(s, link{}, netip.IPv4Unspecified())
		}
	})
}

func TestAgenda(t *testing.T) {
	at := func(s float64) time.Time { return time.Unix(1000, 0).Add(time.Duration(s * float64(time.Second))) }
	var g agenda
	var got []float64
	run := func(until float64) {
		for ; len(g.times) > 0 && !g.next().After(at(until)); g.done(g.next()) {
			got = append(got, g.next().Sub(at(0)).Seconds())
		}
	}
	g.changed(at(0))
	run(0)
	for range 3 {
		g.asked(at(0.5)) // not before 1 s after the last
	}
	run(5)
	g.asked(at(5))
	run(5)
	g.asked(at(5.1)) // deferred, not dropped
	run(10)
	if want := "[0 1 3 5 6]"; fmt.Sprint(got) != want {
		t.Errorf("announced at %v; want %s", got, want)
	}
	if strings.Contains(g.next().String(), "1970") {
		t.Error("an empty agenda has a time")
	}
}
