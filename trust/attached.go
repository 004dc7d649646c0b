package trust

import (
	"fmt"
	"net"
	"net/netip"
)

// Attached tells whether peer is this machine or on a network that one of its interfaces is on now; the error says why not.
func Attached(peer netip.Addr) error {
	interfaces, err := net.Interfaces()
	if err != nil {
		return fmt.Errorf("this machine's networks: %w", err)
	}
	var addrs []net.Addr
	for _, i := range interfaces {
		if i.Flags&net.FlagUp == 0 { // it has its addresses still, and what comes from that network comes by a router
			continue
		}
		more, err := i.Addrs()
		if err != nil {
			continue // it has gone meanwhile
		}
		addrs = append(addrs, more...)
	}
	return attachedTo(addrs, peer)
}

func attachedTo(addrs []net.Addr, peer netip.Addr) error {
	peer = peer.Unmap().WithZone("")
	if !peer.IsValid() {
		return fmt.Errorf("its address is not known")
	}
	if peer.IsLoopback() || peer.IsLinkLocalUnicast() && peer.Is6() { // a router does not forward these (RFC 4291 section 2.5.6)
		return nil
	}
	for _, a := range addrs {
		n, ok := a.(*net.IPNet)
		if !ok {
			continue
		}
		ip, ok := netip.AddrFromSlice(n.IP)
		bits, size := n.Mask.Size()
		if !ok || size == 0 {
			continue
		}
		ip = ip.Unmap()
		if ip.Is4() && size == 128 {
			bits -= 96
		}
		if network, err := ip.Prefix(bits); err == nil && bits > 0 && network.Contains(peer) {
			return nil
		}
	}
	return fmt.Errorf("%v is on no network that this machine is on itself", peer)
}
