package discovery

import (
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// sighting is what one packet, or one entry of the library, tells of one builder.
type sighting struct {
	info     Info
	instance string
	port     uint16
	ips      []netip.Addr // without zones, 1 to maxAddresses
	gone     bool         // a goodbye: only instance is set
}

// parsePacket returns what a packet tells of builders, and whether it has answers about other services only.
// It may come from anyone: what cannot be used is left out. The loopback address is taken only if the packet
// came over the loopback interface.
func parsePacket(packet []byte, loopback bool) (seen []sighting, foreign bool) {
	var m dns.Msg
	if m.Unpack(packet) != nil || !m.Response || m.Opcode != dns.OpcodeQuery || m.Rcode != dns.RcodeSuccess {
		return nil, false
	}
	records := append(m.Answer, m.Extra...)
	ours := slices.ContainsFunc(records, func(rr dns.RR) bool {
		return strings.HasSuffix(strings.ToLower(rr.Header().Name), serviceName)
	})
	return sightings(records, loopback), len(records) > 0 && !ours
}

// sightings joins the records of one packet: each SRV record with the TXT record of its name and the
// addresses of its target.
func sightings(records []dns.RR, loopback bool) []sighting {
	var seen []sighting
	var srvs []*dns.SRV
	txts := map[string][]string{}
	ips := map[string][]netip.Addr{}
	for _, rr := range records {
		name := strings.ToLower(rr.Header().Name)
		last := rr.Header().Ttl == 0 // the record is taken back
		switch rr := rr.(type) {
		case *dns.PTR:
			if instance, ok := instanceOf(rr.Ptr); ok && last && name == serviceName {
				seen = append(seen, sighting{instance: instance, gone: true})
			}
		case *dns.SRV:
			if !last {
				srvs = append(srvs, rr)
			}
		case *dns.TXT:
			txts[name] = rr.Txt
		case *dns.A:
			ips[name] = appendIP(ips[name], rr.A.To4(), last, loopback)
		case *dns.AAAA:
			ips[name] = appendIP(ips[name], rr.AAAA, last, loopback)
		}
	}
	for _, srv := range srvs {
		name, target := strings.ToLower(srv.Hdr.Name), strings.ToLower(srv.Target)
		s, ok := newSighting(name, srv.Port, txts[name], ips[target])
		if ok && len(seen) < maxBuilders {
			seen = append(seen, s)
		}
	}
	return seen
}

// newSighting judges one instance.
func newSighting(name string, port uint16, txt []string, ips []netip.Addr) (sighting, bool) {
	instance, ok := instanceOf(name)
	if !ok || port == 0 || len(ips) == 0 {
		return sighting{}, false
	}
	info, err := ParseTXT(txt)
	if err != nil {
		return sighting{}, false
	}
	return sighting{info: info, instance: instance, port: port, ips: ips}, true
}

// instanceOf returns the instance of a service name of ours, if it is one that [InstanceName] could have
// made.
func instanceOf(name string) (string, bool) {
	instance, ok := strings.CutSuffix(strings.ToLower(name), "."+serviceName)
	return instance, ok && instance != "" && len(instance) <= maxLabel && madeOf(instance, labelChars)
}

// appendIP appends the address unless it is of no use for a connection.
func appendIP(ips []netip.Addr, raw net.IP, last, loopback bool) []netip.Addr {
	ip, ok := netip.AddrFromSlice(raw)
	if !ok || last || len(ips) == maxAddresses {
		return ips
	}
	usable := ip.IsGlobalUnicast() || ip.IsLinkLocalUnicast() || (loopback && ip.IsLoopback())
	if !usable || ip.Is4In6() || slices.Contains(ips, ip) {
		return ips
	}
	return append(ips, ip)
}
