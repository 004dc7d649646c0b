package discovery

import (
	"context"
	"errors"
	"log"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/mdns"
	"github.com/miekg/dns"
)

// path asks for builders on one link with one family, in two ways at once. Our own querier is quick, and
// hears answers that come late or with several builders in one packet. The library's Query listens to every
// link's multicast.
type path struct {
	link      link
	family    Family
	collector *collector
	log       *slog.Logger
	library   *log.Logger
	stop      context.CancelFunc

	mu    sync.Mutex
	stats Path
}

// pace returns how long to wait for answers to question n, counted from 0, and how long to rest after that.
// The first waits are short because packets get lost; they grow because builders may be slow: the library
// is deaf to answers that come after its wait.
func pace(n int) (wait, rest time.Duration) {
	waits := []time.Duration{10, 25, 50, 100, 200, 400}
	wait = waits[min(n, len(waits)-1)] * time.Millisecond
	if n >= 10 { // after some 2.5 s; RFC 6762 section 5.2 wants growing intervals, up to an hour
		rest = time.Second << min(n-10, 6)
	}
	return wait, rest
}

// ask sends questions and reads answers until ctx ends.
func (p *path) ask(ctx context.Context) {
	var readers sync.WaitGroup
	defer readers.Wait()
	group, err := listenGroup(&p.link, p.family)
	if err != nil {
		p.failed(err) // another program has the port for itself; unicast answers still come
	} else {
		defer group.Close()
		readers.Go(func() { p.read(ctx, group) })
	}
	asker, err := listenAsker(ctx, &p.link, p.family)
	if err != nil {
		p.failed(err)
		return
	}
	defer asker.Close()
	readers.Go(func() { p.read(ctx, asker) })

	question := new(dns.Msg)
	question.SetQuestion(serviceName, dns.TypePTR)
	question.Id, question.RecursionDesired = 0, false // RFC 6762 section 18
	packet, err := question.Pack()
	if err != nil {
		p.failed(err)
		return
	}
	to := net.UDPAddrFromAddrPort(groupOf(&p.link, p.family))
	for n := 0; ctx.Err() == nil; n++ {
		p.count(func(s *Path) { s.Queries++ })
		if _, err := asker.WriteTo(packet, to); err != nil {
			p.count(func(s *Path) { s.Queries-- })
			p.failed(err) // may pass: a new IPv6 address cannot be used for a second or two
		}
		wait, rest := pace(n)
		sleep(ctx, wait+rest)
	}
}

// read hands on what conn receives until it is closed.
func (p *path) read(ctx context.Context, conn net.PacketConn) {
	buf := make([]byte, 9000) // the longest mDNS packet (RFC 6762 section 17)
	for {
		n, from, err := conn.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			p.failed(err)
			sleep(ctx, 100*time.Millisecond) // it may last, and must not keep a CPU busy
			continue
		}
		udp, ok := from.(*net.UDPAddr)
		if !ok {
			continue
		}
		src := p.source(udp)
		heard, foreign := parsePacket(buf[:n], p.link.loopback())
		p.count(func(s *Path) {
			if !p.link.loopback() && !p.link.owns(src) {
				s.Packets++
				if foreign {
					s.Foreign++
				}
			}
			if len(heard) > 0 {
				s.Answers++
			}
		})
		for _, s := range heard {
			p.collector.add(s, p.link, src)
		}
	}
}

// source is the address that a packet came from, with our form of zone.
func (p *path) source(from *net.UDPAddr) netip.Addr {
	ip, _ := netip.AddrFromSlice(from.IP)
	if ip = ip.Unmap(); ip.Is6() && ip.IsLinkLocalUnicast() {
		return ip.WithZone(p.link.zone())
	}
	return ip
}

// askLibrary runs one Query of the library after the other until ctx ends. Each runs to its end, whatever
// becomes of ctx, and only then are its entries safe to read: the library writes to them until then.
func (p *path) askLibrary(ctx context.Context) {
	entries := make(chan *mdns.ServiceEntry, 2*maxBuilders) // the library drops what does not fit
	for n := 0; ctx.Err() == nil; n++ {
		wait, rest := pace(n)
		err := mdns.QueryContext(ctx, &mdns.QueryParam{
			Service:     service,
			Domain:      "local",
			Timeout:     wait,
			Interface:   &p.link.ifi,
			Entries:     entries,
			DisableIPv4: p.family != IPv4,
			DisableIPv6: p.family != IPv6,
			Logger:      p.library,
		})
		if err != nil {
			p.log.Debug("mDNS query of the library", "interface", p.link.ifi.Name, "family", p.family, "error", err)
			rest += time.Second // each failure leaves a socket open until the garbage is collected
		}
		for len(entries) > 0 {
			p.take(<-entries)
		}
		if rest > 0 {
			sleep(ctx, rest)
		}
	}
}

// take hands on an entry of the library if it is a builder on this link. The library hears other links too;
// our own querier on those does the rest.
func (p *path) take(e *mdns.ServiceEntry) {
	ips := appendIP(nil, e.AddrV4.To4(), false, false)
	// A link-local address has a zone only if it came over IPv6. Every link's network contains it.
	if v6 := e.AddrV6IPAddr; v6 != nil && (v6.Zone == p.link.ifi.Name || !v6.IP.IsLinkLocalUnicast()) {
		ips = appendIP(ips, v6.IP, false, false)
	}
	if e.Port < 1 || e.Port > 65535 || !slices.ContainsFunc(ips, p.link.contains) {
		return
	}
	if s, ok := newSighting(e.Name, uint16(e.Port), e.InfoFields, ips); ok {
		p.collector.addPartial(s, p.link)
	}
}

func (p *path) failed(err error) {
	p.log.Debug("looking for builders", "interface", p.link.ifi.Name, "family", p.family, "error", err)
	p.count(func(s *Path) { s.Err = err.Error() })
}

func (p *path) count(f func(*Path)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(&p.stats)
}

func (p *path) report() Path {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.stats
	s.Interface, s.Family = p.link.ifi.Name, p.family
	return s
}

// sleep waits for d or the end of ctx.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
