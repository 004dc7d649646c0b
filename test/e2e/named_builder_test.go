package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lantage/test/lab"
)

// TestNamedBuilder: list-builders shows whom discovery finds; LANTAGE_HOST, LANTAGE_PORT and --builder name a builder, and
// then not one mDNS packet leaves the client.
func TestNamedBuilder(t *testing.T) {
	t.Parallel()
	l := newLab(t, lab.HostSpec{Name: "tower", Builder: true}, lab.HostSpec{Name: "castle", Builder: true},
		lab.HostSpec{Name: "lappy"})
	tower, castle, lappy := l.Host("tower"), l.Host("castle"), l.Host("lappy")
	sent := watchPackets(t, lappy)

	t.Run("none", func(t *testing.T) {
		lantage(t, lappy, "list-builders").is(t, 3).says(t, "no builder", "lantage serve", "LANTAGE_HOST=")
		stdout, _, code := streams(t, lappy, nil, "lantage", "list-builders", "--json")
		if code != 3 || stdout != "[]\n" {
			t.Errorf("list-builders --json without any builder: status %d, it prints %q; want 3 and []", code, stdout)
		}
		in(t, lappy, []string{"LANTAGE_HOST=" + tower.IP()}, "lantage", "list-builders").is(t, 3).says(t, tower.IP(), "refused")
	})

	serve(t, tower)
	castled := serve(t, castle, "--listen=:9000")
	t.Run("list", func(t *testing.T) {
		sent.count(unix.IPPROTO_UDP, 5353)
		rows := listJSON(t, lappy, nil)
		if len(rows) != 2 || rows[0]["name"] != "castle" || rows[1]["name"] != "tower" {
			t.Fatalf("the builders are %v, want castle and tower", rows)
		}
		if sent.count(unix.IPPROTO_UDP, 5353) == 0 {
			t.Error("no mDNS packet was counted while discovery found builders: this test cannot see any")
		}
		hasFacts(t, rows[0], ":9000")
		hasFacts(t, rows[1], tower.IP())
		res := lantage(t, lappy, "list-builders").ok(t)
		res.says(t, "NAME", "ADDRESS", "CHOST", "CORES", "LOAD", "JOBS", "VERSION", "castle", "tower", "0/1", "-linux-gnu")
		for line := range strings.Lines(res.out) {
			if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > 80 {
				t.Errorf("a line of the table has %d columns: %q", n, line)
			}
		}
	})

	for _, c := range []struct{ host, port, flag, want string }{
		{host: "tower", want: "tower"},
		{host: tower.IP(), want: "tower"},
		{host: tower.IP6(), want: "tower"},
		{host: "castle:9000", want: "castle"},
		{host: castle.IP() + ":9000", want: "castle"},
		{host: "[" + castle.IP6() + "]:9000", want: "castle"},
		{host: "castle", port: "9000", want: "castle"},
		{host: castle.IP(), port: "9000", want: "castle"},
		{host: castle.IP6(), port: "9000", want: "castle"},
		{host: "tower:8473", port: "9000", want: "tower"},
		{flag: "--builder=castle:9000", want: "castle"},
		{host: "tower", flag: "--builder=castle:9000", want: "castle"},
	} {
		t.Run(strings.TrimSpace(strings.Join([]string{c.host, c.port, c.flag}, " ")), func(t *testing.T) {
			sent.count(unix.IPPROTO_UDP, 5353)
			env := []string{"LANTAGE_HOST=" + c.host, "LANTAGE_PORT=" + c.port}
			var flags []string
			if c.flag != "" {
				flags = append(flags, c.flag)
			}
			rows := listJSON(t, lappy, env, flags...)
			if len(rows) != 1 || rows[0]["name"] != c.want {
				t.Errorf("it leads to %v, want %s", rows, c.want)
			}
			if n := sent.count(unix.IPPROTO_UDP, 5353); n != 0 {
				t.Errorf("%d mDNS packets were sent for a builder that was named", n)
			}
		})
	}

	t.Run("emerge", func(t *testing.T) {
		sent.count(unix.IPPROTO_UDP, 5353)
		in(t, lappy, []string{"LANTAGE_HOST=" + castle.IP6(), "LANTAGE_PORT=9000"}, "lantage", "emerge", "-1", "lab-five/p1").
			ok(t).says(t, "Builder: castle")
		in(t, lappy, nil, "lab-p1").ok(t)
		if n := sent.count(unix.IPPROTO_UDP, 5353); n != 0 {
			t.Errorf("%d mDNS packets were sent for a builder that was named", n)
		}
		castled.log.wait(t, "job=")
	})
}

// listJSON runs list-builders --json and returns its rows.
func listJSON(t *testing.T, h *lab.Host, env []string, flags ...string) []map[string]any {
	t.Helper()
	stdout, stderr, code := streams(t, h, env, "lantage", append(flags, "list-builders", "--json")...)
	var rows []map[string]any
	if err := json.Unmarshal([]byte(stdout), &rows); err != nil || code != 0 {
		t.Fatalf("list-builders --json: status %d, %v\n%s%s", code, err, stdout, stderr)
	}
	return rows
}

// hasFacts checks what list-builders tells of a builder that does nothing.
func hasFacts(t *testing.T, row map[string]any, address string) {
	t.Helper()
	chost, _ := row["chost"].(string)
	load, hasLoad := row["load"].(float64)
	at, _ := row["address"].(string)
	version, _ := row["version"].(string)
	if !strings.HasSuffix(at, address) || !strings.HasSuffix(chost, "-linux-gnu") || row["cores"] != float64(runtime.NumCPU()) ||
		!hasLoad || load < 0 || row["jobs"] != 0.0 || version == "" {
		t.Errorf("list-builders tells %v of an idle builder at %s with %d cores", row, address, runtime.NumCPU())
	}
}

// streams runs a command on a host and returns its two streams and its exit status.
func streams(t *testing.T, h *lab.Host, env []string, name string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	cmd := h.Command(ctx, "env", append(append([]string{}, env...), append([]string{name}, args...)...)...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); cmd.ProcessState == nil || ctx.Err() != nil {
		t.Fatalf("%s %q on %s: %v\n%s%s", name, args, h.Name, err, out.String(), errOut.String())
	}
	return out.String(), errOut.String(), cmd.ProcessState.ExitCode()
}

// packets counts what a host sends.
type packets struct {
	t  *testing.T
	fd int
}

// watchPackets opens a packet socket (packet(7)) in the host's network namespace: it stays there when its thread has gone.
func watchPackets(t *testing.T, h *lab.Host) *packets {
	t.Helper()
	fd := inNetwork(t, h, func() (int, error) {
		const all = unix.ETH_P_ALL&0xff<<8 | unix.ETH_P_ALL>>8 // in network byte order
		return unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, all)
	})
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 32<<20); err != nil {
		t.Fatal(err)
	}
	return &packets{t, fd}
}

// count returns how many packets to this port the host has sent on its LAN since the last count.
func (p *packets) count(proto byte, port int) int {
	p.t.Helper()
	n := 0
	buf := make([]byte, 65536)
	for {
		size, from, err := unix.Recvfrom(p.fd, buf, 0)
		if err == unix.EAGAIN {
			break
		}
		if err != nil {
			p.t.Fatal(err)
		}
		link, ok := from.(*unix.SockaddrLinklayer)
		if ok && link.Pkttype == unix.PACKET_OUTGOING && link.Hatype != unix.ARPHRD_LOOPBACK && leadsTo(buf[:size], proto, port) {
			n++
		}
	}
	stats, err := unix.GetsockoptTpacketStats(p.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err != nil || stats.Drops > 0 {
		p.t.Fatalf("packets were not counted: %+v, %v", stats, err)
	}
	return n
}

// leadsTo reports whether an IPv4 or IPv6 packet is for a port. (Nothing here sends extension headers before UDP or TCP.)
func leadsTo(packet []byte, proto byte, port int) bool {
	if len(packet) < 20 {
		return false
	}
	header, next := int(packet[0]&0xf)*4, packet[9]
	if packet[0]>>4 == 6 {
		header, next = 40, packet[6]
	}
	return next == proto && len(packet) >= header+4 && int(packet[header+2])<<8|int(packet[header+3]) == port
}
