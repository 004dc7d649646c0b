package discovery

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Family is an IP version.
type Family string

// The families.
const (
	IPv4 Family = "IPv4"
	IPv6 Family = "IPv6"
)

var families = []Family{IPv4, IPv6}

// Skip says that an interface, or one family of it, takes no part, and why.
type Skip struct {
	Interface string
	Family    Family // empty: the whole interface
	Reason    string // for people, such as "is down"
}

// link is one interface that takes part.
type link struct {
	ifi      net.Interface
	prefixes []netip.Prefix // its addresses (without zone) with their networks, in the system's order
}

// denied are the prefixes of names of interfaces that take part only when they are named: networks inside
// one machine.
var denied = []string{"docker", "br-", "veth", "virbr", "vnet", "lxc", "lxd", "podman", "cni"}

// scanLinks returns the interfaces that take part, in the system's order, and those that do not. With
// names, only the named ones may take part. Without any other interface it is the loopback interface.
func scanLinks(names []string) ([]link, []Skip, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, nil, err
	}
	var links, loopback []link
	var skipped []Skip
	for _, ifi := range all {
		l := link{ifi: ifi}
		if l.prefixes, err = prefixesOf(&ifi); err != nil {
			skipped = append(skipped, Skip{ifi.Name, "", err.Error()}) // such as: it vanished just now
			continue
		}
		named := slices.Contains(names, ifi.Name)
		switch reason := l.unfit(named); {
		case reason != "":
			skipped = append(skipped, Skip{ifi.Name, "", reason})
		case len(names) > 0 && !named:
			skipped = append(skipped, Skip{ifi.Name, "", "is not one of those named"})
		case ifi.Flags&net.FlagLoopback != 0:
			loopback = append(loopback, l)
		default:
			links = append(links, l)
		}
	}
	for _, name := range names {
		if !slices.ContainsFunc(all, func(ifi net.Interface) bool { return ifi.Name == name }) {
			skipped = append(skipped, Skip{name, "", "does not exist"})
		}
	}
	if len(links) == 0 {
		links, loopback = loopback, nil
	}
	for _, l := range loopback {
		skipped = append(skipped, Skip{l.ifi.Name, "", "is the loopback interface"})
	}
	for _, l := range links {
		for _, f := range families {
			if !l.has(f) {
				skipped = append(skipped, Skip{l.ifi.Name, f, "has no " + string(f) + " address"})
			}
		}
	}
	return links, skipped, nil
}

// unfit says why the interface cannot take part, or "".
func (l *link) unfit(named bool) string {
	flags := l.ifi.Flags
	switch {
	case flags&net.FlagUp == 0:
		return "is down"
	case flags&net.FlagRunning == 0:
		return "has no carrier"
	case len(l.prefixes) == 0:
		return "has no address"
	case flags&net.FlagLoopback != 0:
		return ""
	case flags&net.FlagMulticast == 0:
		return "cannot multicast"
	case named:
		return ""
	case flags&net.FlagPointToPoint != 0:
		return "is point-to-point"
	}
	for _, prefix := range denied {
		if strings.HasPrefix(l.ifi.Name, prefix) {
			return "belongs to containers or virtual machines (name it to use it)"
		}
	}
	return ""
}

func prefixesOf(ifi *net.Interface) ([]netip.Prefix, error) {
	addrs, err := ifi.Addrs()
	if err != nil {
		return nil, err
	}
	var prefixes []netip.Prefix
	for _, a := range addrs {
		ipNet, ok := a.(*net.IPNet)
		if !ok {
			continue
		}
		ip, ok := netip.AddrFromSlice(ipNet.IP)
		ones, bits := ipNet.Mask.Size()
		if !ok || bits == 0 {
			continue
		}
		if ip = ip.Unmap(); ip.Is4() && bits == 128 {
			ones -= 96
		}
		prefixes = append(prefixes, netip.PrefixFrom(ip, ones))
	}
	return prefixes, nil
}

func (l *link) has(f Family) bool {
	if l.loopback() && f == IPv6 {
		return false // one family is enough to find a builder on the same machine
	}
	return slices.ContainsFunc(l.prefixes, func(p netip.Prefix) bool { return p.Addr().Is4() == (f == IPv4) })
}

func (l *link) loopback() bool { return l.ifi.Flags&net.FlagLoopback != 0 }

// zone is the link's scope for link-local addresses: its number. Package net remembers names for a minute,
// during which an interface that was made anew is not found by its name.
func (l *link) zone() string { return strconv.Itoa(l.ifi.Index) }

// contains tells whether ip is on the link: in the network of one of its addresses.
func (l *link) contains(ip netip.Addr) bool {
	return slices.ContainsFunc(l.prefixes, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// id tells one family of one link from another over time. An interface that was made anew has another
// number.
func (l *link) id(f Family) string { return fmt.Sprint(l.ifi.Name, "%", l.zone(), " ", f, l.prefixes) }

// owns tells whether ip is one of the link's own addresses.
func (l *link) owns(ip netip.Addr) bool {
	ip = ip.WithZone("")
	return slices.ContainsFunc(l.prefixes, func(p netip.Prefix) bool { return p.Addr() == ip })
}
