package discovery

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

// insideEnv tells the test binary that it is in a network namespace of its own.
const insideEnv = "LANTAGE_TEST_DNS_INSIDE"

// TestUnicast asks a real DNS server, dnsmasq, in a network namespace of its own, where it can have port 53.
func TestUnicast(t *testing.T) {
	if os.Getenv(insideEnv) != "" {
		return // this is the inside of the test
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestUnicastInside$", "-test.v")
	cmd.Env = append(os.Environ(), insideEnv+"=1", roleEnv+"=tests")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: TestUnicastInside") {
		t.Errorf("%v\n%s", err, out)
	}
}

const dnsRecords = `
no-resolv
no-hosts
no-daemon
bind-interfaces
listen-address=127.0.0.1
auth-ttl=60
local=/test/
ptr-record=_lantage._tcp.sd.test,tower-abc123._lantage._tcp.sd.test
srv-host=tower-abc123._lantage._tcp.sd.test,tower.sd.test,9000
txt-record=tower-abc123._lantage._tcp.sd.test,v=1,id=abc123def456,name=tower,proto=1,cores=8
host-record=tower.sd.test,10.1.2.3,fd77::3
srv-host=_lantage._tcp.service.consul.test,node2.consul.test,8473,20
srv-host=_lantage._tcp.service.consul.test,node1.consul.test,31234,10
host-record=node1.consul.test,10.1.2.4
host-record=node2.consul.test,10.1.2.5
ptr-record=_lantage._tcp.odd.test,tower-abc123._lantage._tcp.sd.test
srv-host=_lantage._tcp.odd.test,local.odd.test,8473
host-record=local.odd.test,127.0.0.1
`

func TestUnicastInside(t *testing.T) {
	if os.Getenv(insideEnv) == "" {
		return // TestUnicast runs this in a network namespace of its own
	}
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var many strings.Builder
	for i := range maxInstances + 20 { // far more than one UDP packet holds
		name := fmt.Sprintf("builder-number-%03d", i)
		fmt.Fprintf(&many, "ptr-record=_lantage._tcp.many.test,%s._lantage._tcp.many.test\n"+
			"srv-host=%s._lantage._tcp.many.test,%s.many.test,8473\nhost-record=%s.many.test,10.9.0.%d\n",
			name, name, name, name, i+1)
	}
	startDNS(t, dnsRecords+many.String())
	conf := filepath.Join(t.TempDir(), "resolv.conf")
	// The first server is not there: the second one answers.
	if err := os.WriteFile(conf, []byte("nameserver 127.0.0.9\nnameserver 127.0.0.1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		domain string
		want   []string
	}{
		{"sd.test", []string{"tower-abc123 abc123def456 8 [10.1.2.3:9000 [fd77::3]:9000]"}},
		{"service.consul.test.", []string{
			"node1.consul.test  0 [10.1.2.4:31234]", "node2.consul.test  0 [10.1.2.5:8473]",
		}},
		{"odd.test", nil}, // an instance of another domain, an address of the client itself
		{"nobody.test", nil},
	} {
		found, err := lookupDomain(t.Context(), c.domain, conf)
		var got []string
		for _, b := range found {
			got = append(got, fmt.Sprint(b.Instance, " ", b.ID, " ", b.Cores, " ", b.Addrs))
		}
		if diff := cmp.Diff(c.want, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", c.domain, err, diff)
		}
	}
	if found, err := lookupDomain(t.Context(), "many.test", conf); len(found) != maxInstances || err != nil {
		t.Errorf("%d builders, %v; want %d, over TCP", len(found), err, maxInstances)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	silent, err := net.ListenPacket("udp", "127.0.0.8:53")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	if err := os.WriteFile(conf, []byte("nameserver 127.0.0.8\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := lookupDomain(ctx, "sd.test", conf); err == nil || !strings.Contains(err.Error(), "127.0.0.8") {
		t.Errorf("a server that does not answer: %v", err)
	}
}

// startDNS starts dnsmasq and waits until it answers.
func startDNS(t *testing.T, records string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "dnsmasq.conf")
	if err := os.WriteFile(file, []byte(records), 0o644); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	cmd := exec.Command("dnsmasq", "-C", file, "-u", "root", "-x", "")
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if errors.Is(cmd.Err, exec.ErrNotFound) {
		t.Fatal("this test needs dnsmasq: install dnsmasq-base")
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
	})
	for { // a port that nobody has yet refuses at once, so this does not spin for long
		m := new(dns.Msg)
		m.SetQuestion("sd.test.", dns.TypeSOA)
		if _, _, err := new(dns.Client).Exchange(m, "127.0.0.1:53"); err == nil {
			return
		}
		select {
		case <-ended:
			t.Fatalf("dnsmasq ended:\n%s", log.String())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func TestCheckDomain(t *testing.T) {
	for domain, ok := range map[string]bool{
		"example.org": true, "example.org.": true, "svc.cluster.local": true, "": false, "a..b": false,
		strings.Repeat("a", 64) + ".org": false, strings.Repeat("abcdefg.", 31) + "org": false,
	} {
		if err := CheckDomain(domain); (err == nil) != ok {
			t.Errorf("%q: %v", domain, err)
		}
	}
}

// FuzzUnicast: whatever a server answers, what comes out is bounded, printable and fit to be dialled.
func FuzzUnicast(f *testing.F) {
	m := new(dns.Msg)
	for _, text := range []string{
		"_lantage._tcp.x.test. 60 IN PTR a-1._lantage._tcp.x.test.",
		"a-1._lantage._tcp.x.test. 60 IN SRV 0 0 8473 a.x.test.",
		`a-1._lantage._tcp.x.test. 60 IN TXT "v=1" "id=abcdef" "name=a" "proto=1"`,
		"_lantage._tcp.x.test. 60 IN SRV 0 0 8473 a.x.test.",
		"a.x.test. 60 IN A 10.0.0.1", "a.x.test. 60 IN AAAA fe80::1", "b.x.test. 60 IN CNAME a.x.test.",
	} {
		rr, err := dns.NewRR(text)
		if err != nil {
			f.Fatal(err)
		}
		m.Answer = append(m.Answer, rr)
	}
	packet, err := m.Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(packet)
	f.Add([]byte("\x00\x00\x84\x00\x00\x00\x00\x01\x00\x00\x00\x00\xc0\x0c\x00\x0c\x00\x01\x00\x00\x00\x3c\x00\x02\xc0\x0c"))
	f.Fuzz(func(t *testing.T, packet []byte) {
		var m dns.Msg
		if m.Unpack(packet) != nil {
			return
		}
		z := newUnicastZone("x.test")
		z.add(dns.Question{Name: "a.x.test.", Qtype: dns.TypeA}, &m)
		z.add(dns.Question{Name: "a.x.test.", Qtype: dns.TypeAAAA}, &m)
		if n := len(z.missing()); n > 2+4*maxInstances {
			t.Errorf("%d questions", n)
		}
		builders := z.builders()
		if len(builders) > maxInstances {
			t.Errorf("%d builders", len(builders))
		}
		for _, b := range builders {
			if len(b.Addrs) > maxAddresses || len(b.Addrs) == 0 || !madeOf(b.Instance, labelChars+".") {
				t.Errorf("%+v", b)
			}
			for _, a := range b.Addrs {
				if !a.IsValid() || a.Port() == 0 || a.Addr().IsLoopback() || a.Addr().IsMulticast() {
					t.Errorf("address %v", a)
				}
			}
		}
	})
}
