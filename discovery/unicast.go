package discovery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// Bounds of one LookupDomain, whatever servers answer.
const (
	maxInstances   = 64 // builders of one domain
	maxRecords     = 1024
	parallelAsks   = 8
	dnsAnswerWait  = 2 * time.Second // for one server's answer to one question
	dnsUDPSize     = 1232            // bytes; https://www.dnsflagday.net/2020/
	resolvConf     = "/etc/resolv.conf"
	unicastService = service + "."
)

// LookupDomain finds the builders that the domain's ordinary DNS servers know, asked through the resolvers of
// /etc/resolv.conf: DNS-SD (RFC 6763), which is PTR records of _lantage._tcp.<domain> with an SRV and a TXT
// record for each instance, and SRV records of _lantage._tcp.<domain> itself, as Consul and Kubernetes serve
// them (RFC 2782). Of a builder without a TXT record that [ParseTXT] reads only Instance and Addrs are known.
//
// At most 64 builders with 16 addresses each are returned, by priority (RFC 2782). That there is no builder
// is not an error; the error says that the servers could not be asked or refused to answer.
func LookupDomain(ctx context.Context, domain string) ([]Builder, error) {
	return lookupDomain(ctx, domain, resolvConf)
}

// CheckDomain tells whether [LookupDomain] can ask for the domain.
func CheckDomain(domain string) error {
	if _, ok := dns.IsDomainName(domain); !ok || domain == "" || len(unicastService+domain) > 253 {
		return fmt.Errorf("%.80q is not a DNS domain", domain)
	}
	return nil
}

func lookupDomain(ctx context.Context, domain, conf string) ([]Builder, error) {
	if err := CheckDomain(domain); err != nil {
		return nil, err
	}
	config, err := dns.ClientConfigFromFile(conf)
	if err == nil && len(config.Servers) == 0 {
		err = fmt.Errorf("%s names no server", conf)
	}
	if err != nil {
		return nil, fmt.Errorf("DNS: %w", err)
	}
	r := &resolver{config: config, zone: newUnicastZone(domain)}
	// What to ask next depends on what has been answered: instances, then their records, then addresses. A
	// server may have sent them along already.
	for range 3 {
		questions := r.zone.missing()
		if len(questions) == 0 || ctx.Err() != nil {
			break
		}
		r.ask(ctx, questions)
	}
	builders := r.zone.builders()
	if len(builders) > 0 {
		return builders, nil
	}
	return nil, cmp.Or(r.err, ctx.Err())
}

// resolver asks the system's DNS servers.
type resolver struct {
	config *dns.ClientConfig

	mu   sync.Mutex
	zone *unicastZone
	err  error // the first failure
}

// ask asks all questions, some at once, and puts the answers into the zone.
func (r *resolver) ask(ctx context.Context, questions []dns.Question) {
	var wg sync.WaitGroup
	turn := make(chan struct{}, parallelAsks)
	for _, q := range questions {
		turn <- struct{}{}
		wg.Go(func() {
			defer func() { <-turn }()
			m, err := r.exchange(ctx, q)
			r.mu.Lock()
			defer r.mu.Unlock()
			if err != nil {
				r.err = cmp.Or(r.err, err)
				return
			}
			r.zone.add(q, m)
		})
	}
	wg.Wait()
}

// exchange asks one server after the other until one answers. An answer too long for UDP is fetched over TCP.
func (r *resolver) exchange(ctx context.Context, q dns.Question) (*dns.Msg, error) {
	m := new(dns.Msg)
	m.SetQuestion(q.Name, q.Qtype)
	m.SetEdns0(dnsUDPSize, false)
	var errs []error
	for _, server := range r.config.Servers {
		addr := net.JoinHostPort(server, r.config.Port)
		answer, _, err := (&dns.Client{Timeout: dnsAnswerWait}).ExchangeContext(ctx, m, addr)
		if err == nil && answer.Truncated {
			answer, _, err = (&dns.Client{Net: "tcp", Timeout: dnsAnswerWait}).ExchangeContext(ctx, m, addr)
		}
		switch {
		case ctx.Err() != nil:
			return nil, fmt.Errorf("DNS server %s: no answer in time", server)
		case err != nil:
			errs = append(errs, fmt.Errorf("DNS server %s: %w", server, err))
		case answer.Rcode == dns.RcodeSuccess || answer.Rcode == dns.RcodeNameError:
			return answer, nil
		default:
			code := dns.RcodeToString[answer.Rcode]
			errs = append(errs, fmt.Errorf("DNS server %s: %s for %s", server, code, q.Name))
		}
	}
	return nil, errors.Join(errs...)
}

// unicastZone is what is known of a domain's builders. Answers may hold anything: what is not about them is
// left out, and so is all that is beyond the bounds.
type unicastZone struct {
	service   string // _lantage._tcp.<domain>. in lower case
	asked     map[dns.Question]bool
	instances []string // of PTR records, in lower case
	srvs      map[string][]*dns.SRV
	txts      map[string][]string
	ips       map[string][]netip.Addr
	records   int
}

func newUnicastZone(domain string) *unicastZone {
	return &unicastZone{
		service: strings.ToLower(dns.Fqdn(unicastService + domain)),
		asked:   map[dns.Question]bool{},
		srvs:    map[string][]*dns.SRV{},
		txts:    map[string][]string{},
		ips:     map[string][]netip.Addr{},
	}
}

// add takes the records of the answer to q.
func (z *unicastZone) add(q dns.Question, m *dns.Msg) {
	for _, rr := range slices.Concat(m.Answer, m.Extra) {
		if z.records++; z.records > maxRecords {
			return
		}
		name := strings.ToLower(rr.Header().Name)
		switch rr := rr.(type) {
		case *dns.PTR:
			instance := strings.ToLower(rr.Ptr)
			if name == z.service && strings.HasSuffix(instance, "."+z.service) &&
				len(z.instances) < maxInstances && !slices.Contains(z.instances, instance) {
				z.instances = append(z.instances, instance)
			}
		case *dns.SRV:
			if len(z.srvs[name]) < maxInstances && rr.Port != 0 && rr.Target != "." { // "." is: not offered
				z.srvs[name] = append(z.srvs[name], rr)
			}
		case *dns.TXT:
			z.txts[name] = rr.Txt
		case *dns.A:
			z.addIP(q, name, rr.A.To4())
		case *dns.AAAA:
			z.addIP(q, name, rr.AAAA)
		}
	}
}

// addIP notes an address: of its name, and of the name that was asked for, whose alias (CNAME) it may be.
func (z *unicastZone) addIP(q dns.Question, name string, ip net.IP) {
	names := []string{name}
	if asked := strings.ToLower(q.Name); asked != name && (q.Qtype == dns.TypeA || q.Qtype == dns.TypeAAAA) {
		names = append(names, asked)
	}
	for _, n := range names {
		z.ips[n] = appendIP(z.ips[n], ip, false, false)
	}
}

// missing returns the questions that the zone's records leave open and that were not asked before.
func (z *unicastZone) missing() []dns.Question {
	var open []dns.Question
	want := func(name string, types ...uint16) {
		for _, t := range types {
			q := dns.Question{Name: name, Qtype: t, Qclass: dns.ClassINET}
			if !z.asked[q] {
				z.asked[q] = true
				open = append(open, q)
			}
		}
	}
	want(z.service, dns.TypePTR, dns.TypeSRV)
	for _, instance := range z.instances {
		if len(z.srvs[instance]) == 0 {
			want(instance, dns.TypeSRV)
		}
		if z.txts[instance] == nil {
			want(instance, dns.TypeTXT)
		}
	}
	for _, o := range z.offers() {
		if target := strings.ToLower(o.srv.Target); len(z.ips[target]) == 0 {
			want(target, dns.TypeA, dns.TypeAAAA)
		}
	}
	return open
}

// offer is one SRV record of ours, of an instance or of the service itself.
type offer struct {
	owner string
	srv   *dns.SRV
}

func (z *unicastZone) offers() []offer {
	var all []offer
	for _, owner := range append(slices.Clone(z.instances), z.service) {
		for _, srv := range z.srvs[owner] {
			if len(all) < maxInstances {
				all = append(all, offer{owner, srv})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b offer) int { return cmp.Compare(a.srv.Priority, b.srv.Priority) })
	return all
}

// builders joins the records.
func (z *unicastZone) builders() []Builder {
	var all []Builder
	for _, o := range z.offers() {
		b := Builder{Instance: printableName(strings.TrimSuffix(o.owner, "."+z.service))}
		if o.owner == z.service || b.Instance == "" {
			b.Instance = printableName(strings.TrimSuffix(strings.ToLower(o.srv.Target), "."))
		}
		if info, err := ParseTXT(z.txts[o.owner]); err == nil {
			b.Info = info
		}
		for _, ip := range z.ips[strings.ToLower(o.srv.Target)] {
			if !ip.IsLinkLocalUnicast() || ip.Is4() { // without a zone it leads nowhere
				b.Addrs = append(b.Addrs, netip.AddrPortFrom(ip, o.srv.Port))
			}
		}
		if len(b.Addrs) > 0 {
			all = append(all, b)
		}
	}
	return all
}

// printableName returns a DNS name that is of our usual characters, or "".
func printableName(name string) string {
	if len(name) > 253 || !madeOf(name, labelChars+".") {
		return ""
	}
	return name
}
