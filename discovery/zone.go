package discovery

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/mdns"
	"github.com/miekg/dns"
)

const (
	service     = "_lantage._tcp"
	serviceName = service + ".local."

	// servicesName is the question for all services (RFC 6763 section 9).
	servicesName = "_services._dns-sd._udp.local."

	// infoAge is how long what a builder says of itself is told again before it is asked anew.
	infoAge = 10 * time.Second

	// maxPacket keeps answers in one packet on any link: IPv6's least MTU (RFC 8200 section 5) less headers.
	maxPacket = 1200

	// answersPerSecond and answerBurst bound what we answer. A client asks some 30 times in its first
	// second, on each link; who gets no answer when many ask is served by the multicast announcement that
	// follows.
	answersPerSecond = 200
	answerBurst      = 100

	// linkAddresses is how many addresses of one kind an interface may contribute. Temporary IPv6 addresses
	// pile up.
	linkAddresses = 4
)

// zone is what we say of ourselves, the same on all links.
type zone struct {
	instance string
	host     string // the SRV target
	port     int
	info     func() Info
	asked    chan struct{} // has a value after a question for the builder; capacity 1

	mu     sync.Mutex
	last   Info      // the last valid one
	fresh  time.Time // when info was asked
	ips    []netip.Addr
	bucket bucket
}

// newZone fails if what info returns, or port, cannot be advertised: the library would fail later, and
// silently.
func newZone(info func() Info, port int) (*zone, error) {
	first := info()
	if err := first.Validate(); err != nil {
		return nil, fmt.Errorf("cannot advertise this builder: %w", err)
	}
	if port < 1 || port > 65535 {
		return nil, fmt.Errorf("cannot advertise this builder: port is %d; 1 to 65535 is possible", port)
	}
	z := &zone{
		instance: InstanceName(first.Name, first.ID),
		host:     "lantage-" + first.ID[:min(len(first.ID), 32)] + ".local.",
		port:     port,
		info:     info,
		asked:    make(chan struct{}, 1),
		last:     first,
		fresh:    time.Now(),
		bucket:   bucket{rate: answersPerSecond, burst: answerBurst},
	}
	z.ips = slices.Repeat([]netip.Addr{netip.IPv6Unspecified()}, maxAddresses)
	packet, err := z.announcement().Pack()
	if err != nil {
		return nil, fmt.Errorf("cannot advertise this builder: %w", err)
	}
	if len(packet) > maxPacket {
		return nil, fmt.Errorf("cannot advertise this builder: its records have %d bytes; %d are possible",
			len(packet), maxPacket)
	}
	z.ips = nil
	return z, nil
}

// setAddresses replaces the addresses and tells whether they are others than before.
func (z *zone) setAddresses(ips []netip.Addr) bool {
	z.mu.Lock()
	defer z.mu.Unlock()
	changed := !slices.Equal(z.ips, ips)
	z.ips = ips
	return changed
}

// concerns tells whether a question is for us.
func (z *zone) concerns(q dns.Question) bool {
	switch strings.ToLower(q.Name) { // names are without case
	case serviceName, z.instance + "." + serviceName, z.host, servicesName:
		return true
	}
	return false
}

// take takes a token for one answer.
func (z *zone) take() bool {
	z.mu.Lock()
	defer z.mu.Unlock()
	return z.bucket.take(time.Now())
}

// records returns what answers a question that concerns us.
func (z *zone) records(q dns.Question) []dns.RR {
	svc := z.service()
	if svc == nil {
		return nil
	}
	q.Name = strings.ToLower(q.Name) // the library compares bytes
	return svc.Records(q)
}

// refresh asks for what we say of ourselves, if the last answer is old; it tells whether jobs have come or
// gone.
func (z *zone) refresh() bool {
	z.mu.Lock()
	defer z.mu.Unlock()
	now := time.Now()
	if now.Sub(z.fresh) < infoAge {
		return false
	}
	z.fresh = now
	info, last := z.info(), z.last
	if info.Validate() != nil {
		return false
	}
	z.last = info
	return info.Jobs != last.Jobs || info.Waiting != last.Waiting
}

// service returns the library's form of the builder as it is now, or nil if it has no address.
func (z *zone) service() *mdns.MDNSService {
	z.refresh()
	z.mu.Lock()
	defer z.mu.Unlock()
	if len(z.ips) == 0 {
		return nil // the library would look the name up, and block
	}
	ips := make([]net.IP, len(z.ips))
	for i, ip := range z.ips {
		ips[i] = ip.AsSlice()
	}
	svc, err := mdns.NewMDNSService(z.instance, service, "local.", z.host, z.port, ips, FormatTXT(z.last))
	if err != nil {
		return nil
	}
	return svc
}

// cacheFlush marks records that replace all others of their name and type (RFC 6762 section 10.2).
const cacheFlush = 1 << 15

// announcement is the unsolicited response that tells everything, or nil if there is nothing to tell.
func (z *zone) announcement() *dns.Msg {
	svc := z.service()
	if svc == nil {
		return nil
	}
	records := slices.Concat(
		svc.Records(dns.Question{Name: servicesName, Qtype: dns.TypePTR}),
		svc.Records(dns.Question{Name: serviceName, Qtype: dns.TypePTR}))
	for _, rr := range records {
		if rr.Header().Rrtype != dns.TypePTR { // the PTR is shared with the other builders
			rr.Header().Class |= cacheFlush
		}
	}
	return response(records)
}

// goodbye is the response that takes the builder back (RFC 6762 section 10.1: TTL 0).
func (z *zone) goodbye() *dns.Msg {
	return response([]dns.RR{&dns.PTR{
		Hdr: dns.RR_Header{Name: serviceName, Rrtype: dns.TypePTR, Class: dns.ClassINET},
		Ptr: z.instance + "." + serviceName,
	}})
}

func response(records []dns.RR) *dns.Msg {
	m := &dns.Msg{Answer: records, Compress: true}
	m.Response, m.Authoritative = true, true
	return m
}

// addressesOf returns what a builder on these links advertises: IPv4 before IPv6 before link-local
// addresses, at most maxAddresses. The loopback address is told only where no one else can hear it.
func addressesOf(links []link) []netip.Addr {
	var v4, v6, local []netip.Addr
	for _, l := range links {
		var l4, l6, ll []netip.Addr
		for _, p := range l.prefixes {
			switch ip := p.Addr(); {
			case ip.Is4():
				l4 = append(l4, ip)
			case ip.IsLinkLocalUnicast():
				ll = append(ll, ip)
			case !l.loopback():
				l6 = append(l6, ip)
			}
		}
		v4 = append(v4, l4[:min(len(l4), linkAddresses)]...)
		v6 = append(v6, l6[:min(len(l6), linkAddresses)]...)
		local = append(local, ll[:min(len(ll), 1)]...)
	}
	ips := slices.Concat(v4, v6, local)
	return ips[:min(len(ips), maxAddresses)]
}

// bucket is a token bucket.
type bucket struct {
	rate, burst float64 // tokens a second, and at most
	tokens      float64
	filled      time.Time
}

func (b *bucket) take(now time.Time) bool {
	if b.filled.IsZero() {
		b.tokens = b.burst
	} else {
		b.tokens = min(b.burst, b.tokens+b.rate*now.Sub(b.filled).Seconds())
	}
	b.filled = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}
