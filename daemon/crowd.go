package daemon

import (
	"fmt"
	"iter"
	"net"
	"net/netip"
)

// Of the places that there are for peers one address gets a part, so that no machine can keep the others out. IPv6 addresses
// cost nothing, and a machine can have a whole /64 of them; but all machines of a LAN are in one such network. So each of its
// addresses gets the part of an address, and all of them together half.
const (
	partOfAddress = 4
	partOfNetwork = 2
	networkBits   = 64
)

// crowded says how many peers are too many for one more at addr, where there are places for limit and peers at the addresses
// held have some; "" if there is one for it. An address that is none, such as a pipe's, is only counted.
func crowded(addr netip.Addr, limit int, held iter.Seq[netip.Addr]) string {
	all, same, near := 0, 0, 0
	network := networkOf(addr)
	for other := range held {
		all++
		if other == addr {
			same++
		}
		if network.IsValid() && network.Contains(other) {
			near++
		}
	}
	switch {
	case all >= limit:
		return fmt.Sprint(limit)
	case addr.IsValid() && same >= share(limit, partOfAddress):
		return fmt.Sprintf("%d from %s", same, addr)
	case near >= share(limit, partOfNetwork):
		return fmt.Sprintf("%d from %s", near, network)
	}
	return ""
}

// share is one of so many parts of a limit. However small the limit is, two are some use.
func share(limit, parts int) int { return max(limit/parts, min(limit, 2)) }

// networkOf is the network of an IPv6 address.
func networkOf(addr netip.Addr) netip.Prefix {
	if !addr.Is6() {
		return netip.Prefix{}
	}
	return netip.PrefixFrom(addr, networkBits).Masked()
}

// ipOf is the IP address of a peer; the zero one if it has none.
func ipOf(peer net.Addr) netip.Addr {
	tcp, ok := peer.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return tcp.AddrPort().Addr().Unmap().WithZone("") // the same machine on whichever link
}
