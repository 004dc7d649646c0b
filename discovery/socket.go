package discovery

import (
	"context"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

const (
	mdnsPort      = 5353
	longestPacket = 9000 // RFC 6762 section 17

	// errorRest is how long to wait after an error of a socket: it may last, and must not keep a CPU busy.
	errorRest = 100 * time.Millisecond
)

var (
	group4 = netip.MustParseAddr("224.0.0.251")
	group6 = netip.MustParseAddr("ff02::fb")
)

// groupOf is where to send to on the link.
func groupOf(l *link, f Family) netip.AddrPort {
	if f == IPv4 {
		return netip.AddrPortFrom(group4, mdnsPort)
	}
	return netip.AddrPortFrom(group6.WithZone(l.zone()), mdnsPort)
}

// listenGroup opens a socket that receives what is multicast to the mDNS group on this link, and nothing
// else; it sends from port 5353 with the link's address. It shares the port with other programs, and
// because it is bound to the group itself it never gets their unicast packets. (Package net binds such
// sockets to the wildcard address.)
func listenGroup(l *link, f Family) (net.PacketConn, error) {
	family, level := unix.AF_INET, unix.IPPROTO_IP
	var addr unix.Sockaddr = &unix.SockaddrInet4{Port: mdnsPort, Addr: group4.As4()}
	if f == IPv6 {
		family, level = unix.AF_INET6, unix.IPPROTO_IPV6
		// The zone binds the socket to the interface.
		addr = &unix.SockaddrInet6{Port: mdnsPort, Addr: group6.As16(), ZoneId: uint32(l.ifi.Index)}
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	file := os.NewFile(uintptr(fd), "mdns")
	defer file.Close() // FilePacketConn has a copy
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return nil, os.NewSyscallError("SO_REUSEADDR", err)
	}
	if f == IPv4 {
		// Without this the socket hears the groups that any program has joined on any interface.
		if err := unix.SetsockoptInt(fd, level, unix.IP_MULTICAST_ALL, 0); err != nil {
			return nil, os.NewSyscallError("IP_MULTICAST_ALL", err)
		}
	} else if err := unix.SetsockoptInt(fd, level, unix.IPV6_V6ONLY, 1); err != nil {
		return nil, os.NewSyscallError("IPV6_V6ONLY", err)
	}
	if err := unix.Bind(fd, addr); err != nil {
		return nil, os.NewSyscallError("bind to port 5353", err)
	}
	conn, err := net.FilePacketConn(file)
	if err != nil {
		return nil, err
	}
	if err := setUp(conn, l, f, true); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// listenAsker opens a socket on a free port that asks on this link and gets the unicast answers.
func listenAsker(ctx context.Context, l *link, f Family) (net.PacketConn, error) {
	network, addr := "udp4", "0.0.0.0:0"
	if f == IPv6 {
		network, addr = "udp6", "[::]:0"
	}
	var lc net.ListenConfig
	conn, err := lc.ListenPacket(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	if err := setUp(conn, l, f, false); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// setUp chooses the link for what conn sends, with the TTL of RFC 6762 section 11 and copies to this
// machine, and for what it hears.
func setUp(conn net.PacketConn, l *link, f Family, join bool) error {
	if f == IPv4 {
		p := ipv4.NewPacketConn(conn)
		err := firstError(p.SetMulticastInterface(&l.ifi), p.SetMulticastTTL(255), p.SetMulticastLoopback(true))
		if err == nil && join {
			err = p.JoinGroup(&l.ifi, &net.UDPAddr{IP: group4.AsSlice()})
		}
		return err
	}
	p := ipv6.NewPacketConn(conn)
	err := firstError(p.SetMulticastInterface(&l.ifi), p.SetMulticastHopLimit(255), p.SetMulticastLoopback(true))
	if err == nil && join {
		err = p.JoinGroup(&l.ifi, &net.UDPAddr{IP: group6.AsSlice()})
	}
	return err
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
