package discovery

// More of what a host of the lab does.

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"
)

// open counts what a host has open.
func open() (reply, error) {
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return reply{Last: true}, err
	}
	memberships := 0
	for _, file := range []string{"/proc/self/net/igmp", "/proc/self/net/igmp6"} {
		text, err := os.ReadFile(file)
		if err != nil {
			return reply{Last: true}, err
		}
		memberships += strings.Count(string(text), "\n")
	}
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return reply{Last: true, Open: [3]int{runtime.NumGoroutine(), len(fds), memberships}, Heap: m.HeapAlloc}, nil
}

// follow runs a program and tells what it writes, line by line, until ctx ends.
func follow(ctx context.Context, args []string, line func(string)) error {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Cancel = func() error { return cmd.Process.Signal(unix.SIGTERM) }
	cmd.WaitDelay = 2 * time.Second
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		return err
	}
	for scanner := bufio.NewScanner(out); scanner.Scan(); {
		line(scanner.Text())
	}
	return cmd.Wait()
}

// slow is a builder that answers late.
func slow(ctx context.Context, info Info, delay time.Duration) error {
	_, z, conn, err := station(info)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	for buf := make([]byte, longestPacket); ; {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			return nil
		}
		if reply := z.reply(buf[:n], true); reply != nil {
			time.AfterFunc(delay, func() { _, _ = conn.WriteTo(reply, from) })
		}
	}
}

// brief multicasts one announcement whose records last for a second.
func brief(_ context.Context, info Info) error {
	links, z, conn, err := station(info)
	if err != nil {
		return err
	}
	defer conn.Close()
	m := z.announcement()
	for _, rr := range m.Answer {
		rr.Header().Ttl = 1
	}
	packet, err := m.Pack()
	if err != nil {
		return err
	}
	_, err = conn.WriteTo(packet, net.UDPAddrFromAddrPort(groupOf(&links[0], IPv4)))
	return err
}

// station is what a false builder needs to speak over IPv4.
func station(info Info) ([]link, *zone, net.PacketConn, error) {
	links, _, err := scanLinks(nil)
	if err != nil {
		return nil, nil, nil, err
	}
	z, err := newZone(func() Info { return info }, 8473)
	if err != nil {
		return nil, nil, nil, err
	}
	z.setAddresses(addressesOf(links))
	conn, err := listenGroup(&links[0], IPv4)
	return links, z, conn, err
}

// ask sends a packet of 400 questions to the first of o.Args (address:port) from the
// second (address), and reports how many bytes come back within a second.
func ask(o order) (reply, error) {
	m := &dns.Msg{Compress: true}
	for range 400 {
		m.Question = append(m.Question, dns.Question{Name: serviceName, Qtype: dns.TypePTR, Qclass: dns.ClassINET})
	}
	packet, err := m.Pack()
	if err != nil {
		return reply{}, err
	}
	conn, err := net.ListenPacket("udp4", net.JoinHostPort(o.Args[1], "0"))
	if err != nil {
		return reply{}, err
	}
	defer conn.Close()
	to := net.UDPAddrFromAddrPort(netip.MustParseAddrPort(o.Args[0]))
	if _, err := conn.WriteTo(packet, to); err != nil {
		return reply{}, err
	}
	if err := conn.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
		return reply{}, err
	}
	total := 0
	for buf := make([]byte, 65536); ; {
		n, _, err := conn.ReadFrom(buf)
		if err != nil {
			return reply{Line: fmt.Sprint(len(packet), " ", total)}, nil
		}
		total += n
	}
}

// flood multicasts 5000 packets a second for ten seconds, most of them damaged in one to eight bytes; it
// returns how many it sent.
func flood() (int, error) {
	links, z, conn, err := station(testInfo("flood", "ffffff"))
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	m := z.announcement()
	m.Question = []dns.Question{{Name: serviceName, Qtype: dns.TypePTR, Qclass: dns.ClassINET}}
	var originals [2][]byte
	for i := range originals {
		m.Response = i == 0
		if originals[i], err = m.Pack(); err != nil {
			return 0, err
		}
	}
	to := net.UDPAddrFromAddrPort(groupOf(&links[0], IPv4))
	random := rand.New(rand.NewPCG(1, 2))
	sent := 0
	for begin := time.Now(); time.Since(begin) < 10*time.Second; {
		if sent >= int(5000*time.Since(begin).Seconds()) {
			time.Sleep(time.Millisecond)
			continue
		}
		packet := []byte(string(originals[sent%2]))
		for range 1 + random.IntN(8) {
			packet[random.IntN(len(packet))] = byte(random.Uint32())
		}
		if _, err := conn.WriteTo(packet, to); err == nil { // the queue of the interface may be full
			sent++
		}
	}
	return sent, nil
}

// cold starts a process that looks for builders, and reports the time from before its start to the first.
func cold() (reply, error) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), roleEnv+"=cold")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return reply{}, err
	}
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		return reply{}, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	r := reply{After: time.Since(begin), Line: line}
	if waited := cmd.Wait(); err == nil {
		err = waited
	}
	return r, err
}

func coldMain() int {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	quiet := slog.New(slog.DiscardHandler)
	_, err := Browse(ctx, BrowseOptions{Logger: quiet}, func(b Builder) {
		if ctx.Err() == nil {
			fmt.Println(b.ID)
		}
		cancel()
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// hog holds the mDNS port for itself.
func hog(ctx context.Context, holds func()) error {
	conn, err := net.ListenPacket("udp", ":5353")
	if err != nil {
		return err
	}
	defer conn.Close()
	holds()
	<-ctx.Done()
	return nil
}
