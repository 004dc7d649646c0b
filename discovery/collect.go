package discovery

import (
	"cmp"
	"net/netip"
	"reflect"
	"slices"
	"sync"
)

// collector puts together what is heard on all links and tells found about it.
type collector struct {
	found func(Builder)

	mu       sync.Mutex // also held while found runs, so that calls do not overlap
	closed   bool
	builders map[string]*known // by ID
}

// known is a builder as heard so far.
type known struct {
	sighting
	direct  bool                // heard by our own querier, which hears more than the library
	links   map[int]link        // by number: where it was heard
	sources map[netip.Addr]bool // where its packets came from; at most maxAddresses
	told    Builder             // as found knows it
}

// close ends calls of found; one that runs is waited for.
func (c *collector) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
}

// add takes what our own querier heard on l from src.
func (c *collector) add(s sighting, l link, src netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.gone {
		c.sayGone(s.instance)
		return
	}
	k := c.know(s.info.ID)
	if k == nil {
		return
	}
	k.sighting, k.direct = s, true // one packet has everything: addresses that it lacks are no more
	k.links[l.ifi.Index] = l
	if len(k.sources) < maxAddresses {
		k.sources[src] = true
	}
	c.tell(k)
}

// addPartial takes what the library heard on l. Its entries have at most one address of each family, and
// may be older than a goodbye or a new address; so they count only as long as our own querier has not heard
// the builder itself.
func (c *collector) addPartial(s sighting, l link) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.know(s.info.ID)
	if k == nil || k.direct {
		return
	}
	for _, ip := range k.ips {
		if !slices.Contains(s.ips, ip) && len(s.ips) < maxAddresses {
			s.ips = append(s.ips, ip)
		}
	}
	k.sighting = s
	k.links[l.ifi.Index] = l
	c.tell(k)
}

// know returns the builder with the ID, or nil if there is no room for it.
func (c *collector) know(id string) *known {
	if k := c.builders[id]; k != nil {
		return k
	}
	if c.closed || len(c.builders) >= maxBuilders {
		return nil
	}
	k := &known{links: map[int]link{}, sources: map[netip.Addr]bool{}}
	if c.builders == nil {
		c.builders = map[string]*known{}
	}
	c.builders[id] = k
	return k
}

// tell calls found if there is something new to tell.
func (c *collector) tell(k *known) {
	b := k.builder()
	if c.closed || reflect.DeepEqual(b, k.told) {
		return
	}
	k.told = b
	c.found(b.clone())
}

func (c *collector) sayGone(instance string) {
	for _, k := range c.builders {
		if k.instance != instance || k.told.Gone {
			continue
		}
		k.told.Gone = true
		k.direct = true // what the library still has is older
		clear(k.links)
		clear(k.sources)
		if !c.closed {
			c.found(k.told.clone())
		}
	}
}

// clone is for found, which may do with its own as it likes.
func (b Builder) clone() Builder {
	b.Addrs, b.Interfaces, b.Bases = slices.Clone(b.Addrs), slices.Clone(b.Interfaces), slices.Clone(b.Bases)
	return b
}

func (k *known) builder() Builder {
	b := Builder{Info: k.info, Instance: k.instance, Addrs: k.addrs()}
	for _, l := range k.links {
		b.Interfaces = append(b.Interfaces, l.ifi.Name)
	}
	slices.Sort(b.Interfaces)
	return b
}

// addrs returns the addresses in the order that [Builder] promises. An address that a packet came from is
// before its equals.
func (k *known) addrs() []netip.AddrPort {
	type candidate struct {
		addr netip.Addr
		rank int
	}
	var all []candidate
	for _, ip := range k.ips {
		if !ip.IsLinkLocalUnicast() || ip.Is4() {
			all = append(all, candidate{ip, k.rank(ip)})
			continue
		}
		for _, l := range k.links {
			zoned := ip.WithZone(l.zone())
			all = append(all, candidate{zoned, k.rank(zoned)})
		}
	}
	slices.SortFunc(all, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.rank, b.rank), a.addr.Compare(b.addr))
	})
	var addrs []netip.AddrPort
	for _, a := range all[:min(len(all), maxAddresses)] {
		addrs = append(addrs, netip.AddrPortFrom(a.addr, k.port))
	}
	return slices.Compact(addrs)
}

func (k *known) rank(ip netip.Addr) int {
	onLink := false
	for _, l := range k.links {
		onLink = onLink || l.contains(ip)
	}
	rank := 6 // off-link
	switch {
	case onLink && ip.Is4():
		rank = 0
	case onLink:
		rank = 2
	case ip.Zone() != "":
		rank = 4
	}
	if !k.sources[ip] {
		rank++
	}
	return rank
}
