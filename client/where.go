package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strings"

	"lantage/discovery"
	"lantage/wire"
)

// ConfigFile is where the machine's configuration is.
const ConfigFile = "/etc/lantage/lantage.toml"

// Where says where builders are looked for. The first of these that is set is the only one that counts:
// Builder, Host, Builders. With none of them it is, all at once: the builders that are known from before, this
// machine itself, the LAN and Domains.
type Where struct {
	// Builder is --builder. An address, or a name with a dot or a port in it, is dialled and nothing else is
	// done. A bare word is a builder's name, instance, or the beginning (4 characters or more) of its ID,
	// looked for everywhere; or else a host name.
	Builder  string
	Host     string   // LANTAGE_HOST: host name or address, with or without port; never looked for on the LAN
	Port     string   // of Builder or Host, where they do not say it (LANTAGE_PORT)
	Builders []string // of the configuration file: host names or addresses
	Domains  []string // DNS domains to look for builders in

	Plain     bool   // do not encrypt, and know builders by their address alone
	AcceptNew bool   // use a builder that was never met, without a question
	StateDir  string // for the identity, and the keys of builders; empty: /var/lib/lantage, or below XDG_STATE_HOME for others than root

	CacheFile string // of builders known from before; empty: see cacheFile

	network *network // nil: the real one
}

// network is what a search touches; tests put their own in its place.
type network struct {
	browse   browseFunc
	loopback []netip.AddrPort
	lookup   func(ctx context.Context, network, name string) ([]netip.Addr, error)
	domain   func(ctx context.Context, domain string) ([]discovery.Builder, error)
}

// browseFunc is discovery.Browse.
type browseFunc func(ctx context.Context, found func(discovery.Builder)) (discovery.Report, error)

var realNetwork = network{
	browse: func(ctx context.Context, found func(discovery.Builder)) (discovery.Report, error) {
		return discovery.Browse(ctx, discovery.BrowseOptions{}, found)
	},
	loopback: []netip.AddrPort{
		netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), wire.DefaultPort),
		netip.AddrPortFrom(netip.IPv6Loopback(), wire.DefaultPort),
	},
	lookup: net.DefaultResolver.LookupNetIP,
	domain: discovery.LookupDomain,
}

// How a builder was found, as list-builders says it.
const (
	byName     = "named"    // --builder, LANTAGE_HOST
	byConfig   = "config"   // builders of the configuration file
	byCache    = "cache"    // known from before
	byLoopback = "loopback" // on this machine
	byMDNS     = "mdns"
	byDNS      = "dns"
)

// candidate is where a builder may be. Only what answers the hello there is a builder.
type candidate struct {
	how   string
	label string         // what to call it until it has answered
	said  discovery.Info // what its packets say of it, if there were any
	addrs []netip.AddrPort
	guess bool  // nothing is amiss if nothing answers there
	gone  bool  // it said goodbye
	err   error // why there is no address
}

// source offers candidates until it knows no more or ctx ends. The error is for the one who finds nothing.
type source func(ctx context.Context, offer func(candidate)) error

// check tells at once what is wrong with what the user said.
func (w *Where) check() error {
	if w.Port != "" { // also where no host is named that it would be for
		if _, err := parseOwnPort(w.Port); err != nil {
			return err
		}
	}
	for _, h := range w.hosts() {
		if _, _, err := h.parse(w.Port); err != nil {
			return err
		}
	}
	for _, d := range w.Domains {
		if err := discovery.CheckDomain(d); err != nil {
			return fmt.Errorf("domains: %w", err)
		}
	}
	return nil
}

// host is a machine that the user wrote down.
type host struct {
	how, text string
	origin    string // where it is written
	guess     bool   // it may be something else than a host
}

// parse returns its name or address, and its port.
func (h host) parse(port string) (string, uint16, error) { return parseHost(h.origin, h.text, port) }

// hosts are the machines that the user wrote down; when there is one, nothing else is dialled, with the
// exception of a bare word.
func (w *Where) hosts() []host {
	switch {
	case w.Builder != "":
		return []host{{byName, w.Builder, "--builder", w.word() != ""}}
	case w.Host != "":
		return []host{{byName, w.Host, "LANTAGE_HOST", false}}
	}
	var list []host
	for _, b := range w.Builders {
		list = append(list, host{byConfig, b, "builders of the configuration file", false})
	}
	return list
}

// word is the bare word of --builder, or "".
func (w *Where) word() string {
	if strings.ContainsAny(w.Builder, ".:") {
		return ""
	}
	return w.Builder
}

// fixed reports whether the user said where builders are, so that nothing is looked for.
func (w *Where) fixed() bool { return w.word() == "" && len(w.hosts()) > 0 }

// onlyOne reports whether the user named one builder, so that no other is to be asked.
func (w *Where) onlyOne() bool { return w.word() != "" || len(w.hosts()) == 1 }

// sources are where to look. report is filled in by the time that the source of the LAN has ended.
func (w *Where) sources(known *cache, report *discovery.Report) []source {
	n := cmp.Or(w.network, &realNetwork)
	var list []source
	for _, h := range w.hosts() {
		port := w.Port
		if h.how == byConfig {
			port = ""
		}
		list = append(list, h.source(n, port))
	}
	if w.fixed() {
		return list
	}
	here := candidate{how: byLoopback, label: "this machine", addrs: n.loopback, guess: true}
	list = append(list, fixedSource(append(known.candidates(), here)...),
		func(ctx context.Context, offer func(candidate)) (err error) {
			*report, err = n.browse(ctx, func(b discovery.Builder) {
				offer(candidate{how: byMDNS, label: b.Name, said: b.Info, addrs: b.Addrs, gone: b.Gone})
			})
			return err
		})
	for _, d := range w.Domains {
		list = append(list, func(ctx context.Context, offer func(candidate)) error {
			builders, err := n.domain(ctx, d)
			for _, b := range builders {
				offer(candidate{how: byDNS, label: cmp.Or(b.Name, b.Instance), said: b.Info, addrs: b.Addrs})
			}
			if err != nil {
				err = fmt.Errorf("domain %s: %w", d, err)
			}
			return err
		})
	}
	return list
}

// fixedSource offers what is known already.
func fixedSource(candidates ...candidate) source {
	return func(_ context.Context, offer func(candidate)) error {
		for _, c := range candidates {
			offer(c)
		}
		return nil
	}
}

// source looks the host up the usual way, never by mDNS.
func (h host) source(n *network, port string) source {
	return func(ctx context.Context, offer func(candidate)) error {
		c := candidate{how: h.how, label: h.text, guess: h.guess}
		name, number, err := h.parse(port)
		var ips []netip.Addr
		if err == nil {
			if ip, notAddr := netip.ParseAddr(name); notAddr == nil {
				ips = []netip.Addr{ip}
			} else if ips, err = n.lookup(ctx, "ip", name); err != nil {
				if dns, ok := errors.AsType[*net.DNSError](err); ok {
					err = errors.New(dns.Err) // without the name, which is said already
				}
				err = fmt.Errorf("look up %s: %w", name, err)
			}
		}
		for _, ip := range ips {
			c.addrs = append(c.addrs, netip.AddrPortFrom(ip.Unmap(), number))
		}
		c.err = err
		offer(c)
		return nil
	}
}

// How well a builder fits a bare word; the lower the better.
const (
	fitsExactly = iota // its instance or its whole ID
	fitsName
	fitsPrefix // of its ID
	fitsHost   // the word is the name of its host for the resolver
)

// minPrefix is how many characters of an ID name a builder.
const minPrefix = 4

var errOther = errors.New("it is not the one that was named")

// fit tells how well a builder that answered fits the word.
func fit(word string, how string, h wire.Hello) (int, error) {
	word = strings.ToLower(word)
	switch {
	case word == h.ID || word == discovery.InstanceName(h.Name, h.ID):
		return fitsExactly, nil
	case word == strings.ToLower(h.Name):
		return fitsName, nil
	case len(word) >= minPrefix && strings.HasPrefix(h.ID, word):
		return fitsPrefix, nil
	case how == byName:
		return fitsHost, nil
	}
	return 0, errOther
}

// wants leaves out a builder that the bare word does not fit.
func (w *Where) wants(a *sighting) (err error) {
	if word := w.word(); word != "" {
		a.fit, err = fit(word, a.how, a.hello)
	}
	return err
}

// cacheFile is where the builders are that are known from before: below /var/cache for root, and where the
// XDG base directory specification puts what can be lost for others.
func (w *Where) cacheFile(environ []string) string {
	const file = "builders.json"
	const name = "lantage/" + file
	if w.CacheFile != "" {
		return w.CacheFile
	}
	if isRoot() {
		return filepath.Join(cacheHome, file)
	}
	if dir := lookupEnv(environ, "XDG_CACHE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, name)
	}
	return filepath.Join(lookupEnv(environ, "HOME"), ".cache", name)
}
