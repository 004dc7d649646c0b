package client

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Times of the search for a builder.
const (
	searchTimeout = 2500 * time.Millisecond // without any builder that is suitable
	settleTime    = 300 * time.Millisecond  // for others to answer after the first suitable one
	moreOffers    = 256                     // candidates that wait to be dialled: more than a LAN has
)

// sighting is a builder that answered, or a candidate that did not.
type sighting struct {
	candidate
	*builder                  // nil if it did not answer
	err      error            // why, or why it is not suitable
	fit      int              // how well it fits the bare word that was asked for
	spots    []netip.AddrPort // where it answered
	ways     []string         // all the ways in which it was found, sorted
}

// search finds builders: each candidate of each source is dialled at once, and counts when it has answered
// the hello.
type search struct {
	sources []source
	dialer  *dialer
	judge   func(*sighting) error // why a builder that answered is of no use, or nil

	timeout time.Duration
	// settle is how long to wait for others after this one, the first that is of use; nil: until timeout.
	settle func(*sighting) time.Duration
}

// dialKey is an address that was dialled; for a name that may be a bare word in its own right, since it is
// judged in another way.
type dialKey struct {
	addr  netip.AddrPort
	named bool
}

// run looks for builders and returns each that answered once, however many ways led to it, in the order of
// their answers, and the candidates that did not. The connections of those with err == nil are open; every
// other one is closed. The error has what the sources failed of. It ends early when all sources have ended
// and all candidates are tried.
func (s *search) run(ctx context.Context) ([]sighting, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	offers := make(chan candidate, moreOffers)
	var failed []error
	exhausted := s.start(ctx, offers, &failed)
	var offered []candidate
	var found []sighting
	answers := make(chan sighting)
	dialled := map[dialKey]bool{}
	pending := 0
	var settled <-chan time.Time
	looking, ended, sources := true, ctx.Done(), exhausted
	for looking && (sources != nil || len(offers) > 0) || pending > 0 {
		select {
		case c := <-offers:
			if !looking || c.gone || len(offered) == moreOffers {
				break
			}
			offered = append(offered, c)
			fresh := slices.DeleteFunc(slices.Clone(c.addrs), func(a netip.AddrPort) bool {
				key := dialKey{a, c.how == byName}
				done := dialled[key]
				dialled[key] = true
				return done
			})
			if len(fresh) > 0 || len(c.addrs) == 0 {
				pending++
				go func() { answers <- s.ask(ctx, c, fresh) }()
			}
		case a := <-answers:
			pending--
			found = append(found, a)
			if a.err == nil && s.settle != nil && settled == nil {
				settled = time.After(s.settle(&a))
			}
		case <-settled:
			cancel()
		case <-sources:
			sources = nil
		case <-ended:
			looking, ended = false, nil // dials under way end by themselves now
		}
	}
	cancel()
	<-exhausted
	return merge(found, offered), errors.Join(failed...)
}

// start starts the sources and returns a channel that is closed when all have ended.
func (s *search) start(ctx context.Context, offers chan<- candidate, failed *[]error) <-chan struct{} {
	var running sync.WaitGroup
	var mu sync.Mutex
	for _, look := range s.sources {
		running.Go(func() {
			err := look(ctx, func(c candidate) {
				select {
				case offers <- c:
				default:
				}
			})
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				*failed = append(*failed, err)
			}
		})
	}
	done := make(chan struct{})
	go func() {
		running.Wait()
		close(done)
	}()
	return done
}

// ask dials a candidate at those of its addresses that no other dial has.
func (s *search) ask(ctx context.Context, c candidate, fresh []netip.AddrPort) sighting {
	a := sighting{candidate: c, err: c.err}
	if a.err != nil {
		return a
	}
	if a.builder, a.err = s.dialer.dial(ctx, fresh); a.err == nil {
		if a.err = s.judge(&a); a.err != nil {
			a.conn.Close()
		}
	}
	return a
}

// merge makes one of those that are one builder: it has one key, or one ID where keys are not known, whatever led to it.
func merge(found []sighting, offered []candidate) []sighting {
	var merged []sighting
	for _, f := range found {
		same := func(o sighting) bool { return o.builder != nil && o.is(f.builder) }
		i := -1
		if f.builder != nil {
			f.spots = []netip.AddrPort{f.at}
			i = slices.IndexFunc(merged, same)
		} else if i = slices.IndexFunc(merged, f.fails); i >= 0 {
			merged[i].join(f)
			continue
		}
		if i < 0 {
			merged = append(merged, f)
			continue
		}
		one := &merged[i]
		one.spots = append(one.spots, f.at)
		switch {
		case f.err == nil && one.err == nil:
			f.conn.Close()
			one.fit = min(one.fit, f.fit)
		case f.err == nil: // such as one that the word fits by its host's name only
			one.builder, one.err, one.fit = f.builder, nil, f.fit
		}
	}
	for i := range merged {
		if merged[i].builder != nil {
			merged[i].credit(offered)
		}
	}
	return slices.DeleteFunc(merged, func(f sighting) bool { // it answered, if at another address
		return f.builder == nil && f.said.ID != "" && slices.ContainsFunc(merged, func(o sighting) bool {
			return o.builder != nil && o.hello.ID == f.said.ID
		})
	})
}

// fails reports whether two candidates are called the same, and somebody answered at both who cannot be talked to: that is one
// builder, of which the cache knows one address and its packets tell others.
func (f sighting) fails(o sighting) bool {
	return f.builder == nil && o.builder == nil && f.label == o.label &&
		(f.said.ID == "" || o.said.ID == "" || f.said.ID == o.said.ID) &&
		errors.Is(f.err, errAnswered) && errors.Is(o.err, errAnswered)
}

// join adds what is known of the same builder from elsewhere.
func (f *sighting) join(o sighting) {
	f.candidate.addrs = slices.Concat(f.candidate.addrs, o.candidate.addrs)
	f.err = dialErrors(slices.Concat(each(f.err), each(o.err)))
	if f.said.ID == "" {
		f.how, f.said = o.how, o.said
	}
}

// each is the errors that one is made of.
func each(err error) []error {
	if list, ok := err.(dialErrors); ok {
		return list
	}
	return []error{err}
}

// credit notes all the ways that led to a builder, and all its addresses.
func (f *sighting) credit(offered []candidate) {
	shown := easiest(f.spots)
	f.builder.addr = shownAddr(shown)
	addrs := append([]netip.AddrPort{shown, f.at}, f.spots...)
	for _, c := range offered {
		here := func(a netip.AddrPort) bool { return slices.Contains(c.addrs, a) }
		if c.said.ID != f.hello.ID && !slices.ContainsFunc(f.spots, here) {
			continue
		}
		f.ways = append(f.ways, c.how)
		if c.how == byCache { // what it had before may be another's now
			continue
		}
		addrs = append(addrs, c.addrs...)
	}
	slices.Sort(f.ways)
	f.ways = slices.Compact(f.ways)
	f.builder.addrs = nil
	for _, a := range addrs {
		if !slices.Contains(f.builder.addrs, a) {
			f.builder.addrs = append(f.builder.addrs, a)
		}
	}
}
