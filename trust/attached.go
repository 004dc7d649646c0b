package trust

import (
	"fmt"
	"net"
	"net/netip"
)

// Attached tells whether peer is this machine or on a network that one of its interfaces is on now; the error says why not.
func Attached(peer netip.Addr) error {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return fmt.Errorf("this machine's networks: %w", err)
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
		if !ok || size == 0 || bits == 0 {
			continue
		}
		ip = ip.Unmap()
		if ip.Is4() && size == 128 {
			bits -= 96
		}
		if network, err := ip.Prefix(bits); err == nil && network.Contains(peer) {
			return nil
		}
	}
	return fmt.Errorf("%v is on no network that this machine is on itself", peer)
}
