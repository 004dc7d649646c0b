package discovery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Most that one Browse remembers, whatever is sent to it.
const (
	maxBuilders  = 256
	maxAddresses = 16 // of each builder
)

// ErrNoPath is the error of [Browse] when it could not ask on any interface; the [Report] has the reasons.
var ErrNoPath = errors.New("no network interface could be used for discovery")

// Builder is a builder as its packets describe it: a hint, to be verified by connecting to it. Its text is
// safe to print.
type Builder struct {
	Info
	Instance string // the service instance, such as big-3f9a2c: [a-z0-9-], unique on the LAN
	// Addrs are where to connect, at most 16, best first: IPv4 and then IPv6 addresses in the network of an
	// interface that the builder was heard on, then link-local ones, then all others. Link-local addresses
	// have the number of the interface as zone. Not every one of them need be reachable: try the next soon.
	Addrs      []netip.AddrPort
	Interfaces []string // names of the interfaces on which it was heard, sorted
	Gone       bool     // it said goodbye; the other fields are as they were
}

// BrowseOptions are the choices of the one who looks for builders; the zero value is right for most.
type BrowseOptions struct {
	Interfaces []string     // names of the interfaces to use; nil: all that fit (see the package comment)
	Logger     *slog.Logger // nil: slog.Default()
}

// Report says what a Browse tried, for the one who explains why nothing was found.
type Report struct {
	Paths   []Path // what was tried, in the order of the interfaces' names
	Skipped []Skip // what was not tried at the end, and why
	Foreign int    // packets of other machines with answers about other services: multicast does get here
}

// Path is one interface and family on which Browse asked.
type Path struct {
	Interface string
	Family    Family
	Queries   int    // questions sent
	Packets   int    // mDNS packets seen that did not come from this machine
	Answers   int    // packets seen that tell of a builder, from any machine
	Foreign   int    // packets seen, of other machines, that tell of other services only
	Err       string // why it could not ask or listen, if so
}

// Traffic tells whether any mDNS packet of another machine was seen. If none was, a firewall or the
// network's multicast filter is the likely reason for finding nothing.
func (r Report) Traffic() bool {
	for _, p := range r.Paths {
		if p.Packets > 0 {
			return true
		}
	}
	return false
}

// Browse looks for builders until ctx ends, and then returns within milliseconds. It calls found, one call
// at a time, for each new builder and again whenever something about one changes or it says goodbye; found
// must not block, and is not called any more once Browse has returned. On an idle LAN the first call comes
// within a few milliseconds.
//
// The error is ErrNoPath if there was no interface on which it could ask. Queries of the library that are
// under way when ctx ends cannot be stopped: their goroutines end by themselves at most 400 ms later.
func Browse(ctx context.Context, opt BrowseOptions, found func(Builder)) (Report, error) {
	ctx, cancel := context.WithCancel(ctx)
	b := &browser{
		log:       logger(opt.Logger),
		library:   libraryLog(logger(opt.Logger)),
		names:     opt.Interfaces,
		collector: &collector{found: found},
		running:   map[string]*path{},
	}
	defer b.wg.Wait()
	defer cancel()
	defer b.collector.close()
	changes, err := watchLinks(ctx)
	if err != nil {
		b.log.Debug("not following changes of interfaces", "error", err)
	}
	again := time.NewTicker(recheck)
	defer again.Stop()
	for {
		b.sync(ctx)
		select {
		case <-changes:
		case <-again.C:
		case <-ctx.Done():
			return b.report()
		}
	}
}

// browser is one Browse.
type browser struct {
	log       *slog.Logger
	library   *log.Logger
	names     []string
	collector *collector
	wg        sync.WaitGroup // of what ends with the context

	running map[string]*path // by link and family
	ended   []*path
	skipped []Skip
}

// sync starts to ask on links that have come and stops on those that have gone.
func (b *browser) sync(ctx context.Context) {
	links, skipped, err := scanLinks(b.names)
	if err != nil {
		b.log.Debug("cannot list the network interfaces", "error", err)
		return
	}
	b.skipped = skipped
	current := map[string]bool{}
	for _, l := range links {
		for _, f := range families {
			if !l.has(f) {
				continue
			}
			id := fmt.Sprint(l.ifi.Name, l.zone(), f, l.prefixes)
			current[id] = true
			if b.running[id] == nil {
				b.running[id] = b.start(ctx, l, f)
			}
		}
	}
	for id, p := range b.running {
		if !current[id] {
			p.stop()
			b.ended = append(b.ended, p)
			delete(b.running, id)
		}
	}
}

func (b *browser) start(ctx context.Context, l link, f Family) *path {
	ctx, cancel := context.WithCancel(ctx)
	p := &path{link: l, family: f, collector: b.collector, log: b.log, library: b.library, stop: cancel}
	b.wg.Go(func() { p.ask(ctx) })
	if !l.loopback() { // the library cannot use it
		go p.askLibrary(ctx)
	}
	return p
}

// report adds up the paths; one that was stopped and started again (another address, another link of this
// name) counts once.
func (b *browser) report() (Report, error) {
	r := Report{Skipped: b.skipped}
	usable := false
	for _, p := range append(b.ended, slices.Collect(maps.Values(b.running))...) {
		s := p.report()
		r.Foreign += s.Foreign
		usable = usable || s.Queries > 0 || s.Err == ""
		i := slices.IndexFunc(r.Paths, func(o Path) bool {
			return o.Interface == s.Interface && o.Family == s.Family
		})
		if i < 0 {
			r.Paths = append(r.Paths, s)
			continue
		}
		o := &r.Paths[i]
		o.Queries, o.Packets, o.Answers = o.Queries+s.Queries, o.Packets+s.Packets, o.Answers+s.Answers
		o.Foreign += s.Foreign
		o.Err = cmp.Or(o.Err, s.Err)
	}
	slices.SortFunc(r.Paths, func(x, y Path) int {
		return cmp.Or(cmp.Compare(x.Interface, y.Interface), cmp.Compare(x.Family, y.Family))
	})
	if !usable {
		return r, ErrNoPath
	}
	return r, nil
}
