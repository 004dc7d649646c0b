package discovery

// What a host of the lab does: it reads orders and writes replies, as JSON.

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/mdns"
	"github.com/miekg/dns"
	"golang.org/x/sys/unix"
)

type order struct {
	Seq        int
	Op         string        // see serve
	Target     int           // stop: the Seq of what to stop
	Args       []string      // run, stream
	Delay      time.Duration // slow
	Input      string        // run
	Info       Info          // advertise
	Interfaces []string      // advertise, browse
}

type reply struct {
	Seq     int
	Last    bool
	Err     string
	Builder *Builder      // browse: a call of found
	After   time.Duration // browse: since its start
	Report  Report        // browse: in the last reply
	Open    [3]int        // open: goroutines, file descriptors, multicast memberships
	Heap    uint64        // open: bytes
	Line    string        // stream
}

type hostProcess struct {
	mu      sync.Mutex
	enc     *json.Encoder
	running map[int]context.CancelFunc
	wg      sync.WaitGroup

	suspended atomic.Int64 // nanoseconds
}

// hostMain serves orders until its input ends.
func hostMain() int {
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})))
	// /run is where Avahi and others want to be the only ones.
	for _, err := range []error{
		unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
		unix.Mount("tmpfs", "/run", "tmpfs", 0, "mode=755"),
	} {
		if err != nil {
			fmt.Fprintln(os.Stderr, "mounting:", err)
			return 1
		}
	}
	p := &hostProcess{enc: json.NewEncoder(os.Stdout), running: map[int]context.CancelFunc{}}
	lead := wallLead
	wallLead = func() time.Duration { return lead() + time.Duration(p.suspended.Load()) }
	for dec := json.NewDecoder(os.Stdin); ; {
		var o order
		if err := dec.Decode(&o); err != nil {
			for _, cancel := range p.running {
				cancel()
			}
			p.wg.Wait()
			if err != io.EOF {
				return 1
			}
			return 0
		}
		p.serve(o)
	}
}

func (p *hostProcess) serve(o order) {
	switch o.Op {
	case "run":
		cmd := exec.Command(o.Args[0], o.Args[1:]...)
		cmd.Stdin = strings.NewReader(o.Input)
		out, err := cmd.CombinedOutput()
		if err != nil {
			err = fmt.Errorf("%w: %s", err, out)
		}
		p.reply(o, err, reply{Last: true, Line: string(out)})
	case "stop":
		p.running[o.Target]()
		delete(p.running, o.Target)
		p.reply(o, nil, reply{Last: true})
	case "advertise":
		p.start(o, func(ctx context.Context) (reply, error) {
			info := func() Info { return o.Info }
			return reply{}, Advertise(ctx, info, 8473, AdvertiseOptions{Interfaces: o.Interfaces})
		})
	case "browse":
		p.start(o, func(ctx context.Context) (reply, error) {
			begin := time.Now()
			report, err := Browse(ctx, BrowseOptions{Interfaces: o.Interfaces}, func(b Builder) {
				p.reply(o, nil, reply{Builder: &b, After: time.Since(begin)})
			})
			return reply{Report: report, After: time.Since(begin)}, err
		})
	case "library":
		p.start(o, func(ctx context.Context) (reply, error) {
			begin := time.Now()
			return reply{}, library(ctx, func(b Builder) {
				p.reply(o, nil, reply{Builder: &b, After: time.Since(begin)})
			})
		})
	case "listen":
		p.start(o, func(ctx context.Context) (reply, error) {
			return reply{}, listen(ctx, func(b Builder) { p.reply(o, nil, reply{Builder: &b}) })
		})
	case "foreign":
		p.start(o, func(ctx context.Context) (reply, error) { return reply{}, foreign(ctx) })
	case "hog":
		p.start(o, func(ctx context.Context) (reply, error) {
			return reply{}, hog(ctx, func() { p.reply(o, nil, reply{}) })
		})
	case "slow":
		p.start(o, func(ctx context.Context) (reply, error) { return reply{}, slow(ctx, o.Info, o.Delay) })
	case "brief":
		p.start(o, func(ctx context.Context) (reply, error) { return reply{}, brief(ctx, o.Info) })
	case "stream":
		p.start(o, func(ctx context.Context) (reply, error) {
			return reply{}, follow(ctx, o.Args, func(line string) { p.reply(o, nil, reply{Line: line}) })
		})
	case "short-lived": // what this host hears lasts only as long as its TTL says
		shortLife = 0
		p.reply(o, nil, reply{Last: true})
	case "resume": // as if it had been suspended
		p.suspended.Add(int64(time.Hour))
		p.reply(o, nil, reply{Last: true})
	case "cold":
		r, err := cold()
		r.Last = true
		p.reply(o, err, r)
	case "ask":
		r, err := ask(o)
		r.Last = true
		p.reply(o, err, r)
	case "await":
		p.reply(o, await(o.Interfaces), reply{Last: true})
	case "flood":
		sent, err := flood()
		p.reply(o, err, reply{Last: true, Line: fmt.Sprint(sent)})
	case "open":
		r, err := open()
		p.reply(o, err, r)
	default:
		p.reply(o, fmt.Errorf("no such order"), reply{Last: true})
	}
}

// start runs f, whose reply is the last one to o, until it is stopped.
func (p *hostProcess) start(o order, f func(context.Context) (reply, error)) {
	ctx, cancel := context.WithCancel(context.Background())
	p.running[o.Seq] = cancel
	p.wg.Go(func() {
		r, err := f(ctx)
		r.Last = true
		p.reply(o, err, r)
	})
}

func (p *hostProcess) reply(o order, err error, r reply) {
	r.Seq = o.Seq
	if err != nil {
		r.Err = err.Error()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.enc.Encode(r); err != nil {
		fmt.Fprintln(os.Stderr, "reply:", err)
	}
}

// await waits until the interfaces can be used.
func await(names []string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	changes, err := watchLinks(ctx)
	if err != nil {
		return err
	}
	for {
		links, skipped, err := scanLinks(names)
		if err != nil || len(links) > 0 {
			return err
		}
		select {
		case <-changes:
		case <-ctx.Done():
			return fmt.Errorf("no such link came up: %v", skipped)
		}
	}
}

// library is a Browse without our own querier.
func library(ctx context.Context, found func(Builder)) error {
	links, _, err := scanLinks(nil)
	if err != nil {
		return err
	}
	c := &collector{found: found}
	var wg sync.WaitGroup
	for _, f := range families {
		if links[0].has(f) {
			log := slog.Default()
			p := &path{link: links[0], family: f, collector: c, log: log, library: libraryLog(log)}
			wg.Go(func() { p.askLibrary(ctx) })
		}
	}
	wg.Wait()
	c.close()
	return nil
}

// listen tells what is multicast on the first link, and never asks.
func listen(ctx context.Context, heard func(Builder)) error {
	links, _, err := scanLinks(nil)
	if err != nil {
		return err
	}
	conn, err := listenGroup(&links[0], IPv4)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	heard(Builder{Instance: "listening"})
	for buf := make([]byte, 9000); ; {
		n, _, err := conn.ReadFrom(buf)
		if err != nil {
			return nil
		}
		seen, _ := parsePacket(buf[:n], false)
		for _, s := range seen {
			b := Builder{Info: s.info, Instance: s.instance, Gone: s.gone}
			for _, ip := range s.ips {
				b.Addrs = append(b.Addrs, netip.AddrPortFrom(ip, s.port))
			}
			heard(b)
		}
	}
}

// foreign serves a service that is not ours, and one that says it is but has no ID.
func foreign(ctx context.Context) error {
	links, _, err := scanLinks(nil)
	if err != nil {
		return err
	}
	for _, s := range []struct{ service, txt string }{{"_http._tcp", "id=abcdef"}, {service, "v=1"}} {
		ip := links[0].prefixes[0].Addr().AsSlice()
		zone, err := mdns.NewMDNSService("web", s.service, "", "web.local.", 80, []net.IP{ip}, []string{s.txt})
		if err != nil {
			return err
		}
		config := &mdns.Config{Zone: zone, Iface: &links[0].ifi, Logger: libraryLog(slog.Default())}
		server, err := mdns.NewServer(config)
		if err != nil {
			return err
		}
		defer server.Shutdown()
	}
	m := response([]dns.RR{&dns.PTR{
		Hdr: dns.RR_Header{Name: "_http._tcp.local.", Rrtype: dns.TypePTR, Class: dns.ClassINET, Ttl: 120},
		Ptr: "web._http._tcp.local.",
	}})
	packet, err := m.Pack()
	if err != nil {
		return err
	}
	conn, err := listenGroup(&links[0], IPv4)
	if err != nil {
		return err
	}
	defer conn.Close()
	for err == nil && ctx.Err() == nil {
		_, err = conn.WriteTo(packet, net.UDPAddrFromAddrPort(groupOf(&links[0], IPv4)))
		sleep(ctx, 5*time.Millisecond)
	}
	return err
}
