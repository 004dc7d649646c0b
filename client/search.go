package client

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"lantage/discovery"
)

// Times of the search for a builder.
const (
	searchTimeout = 2500 * time.Millisecond // without any builder that is suitable
	settleTime    = 150 * time.Millisecond  // for others to answer after the first suitable one
)

// browseFunc is discovery.Browse; tests put their own in its place.
type browseFunc func(ctx context.Context, found func(discovery.Builder)) (discovery.Report, error)

func browseLAN(ctx context.Context, found func(discovery.Builder)) (discovery.Report, error) {
	return discovery.Browse(ctx, discovery.BrowseOptions{}, found)
}

// sighting is a builder that was announced, and what came of dialling it.
type sighting struct {
	announced discovery.Builder
	*builder        // nil if it did not answer
	err       error // why, or why it is not suitable
}

// search finds builders on the LAN: each that is announced is dialled at once, and counts when it has
// answered the hello.
type search struct {
	browse browseFunc
	dialer *dialer
	judge  func(*builder) error // why a builder that answered is of no use, or nil

	timeout, settle time.Duration // settle 0: look until timeout
}

// run looks for builders and returns all that were announced, in the order of their answers. The connections
// of those with err == nil are open; every other one is closed.
func (s *search) run(ctx context.Context) ([]sighting, discovery.Report, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	announced := make(chan discovery.Builder, 64)
	var report discovery.Report
	var browseErr error
	browsed := make(chan struct{})
	go func() {
		defer close(browsed)
		report, browseErr = s.browse(ctx, func(b discovery.Builder) {
			select {
			case announced <- b:
			default: // far more builders than a LAN has
			}
		})
		if browseErr != nil {
			cancel() // nothing will be found
		}
	}()
	var found []sighting
	answers := make(chan sighting)
	dialled := map[string]bool{}
	pending := 0
	var settled <-chan time.Time
	looking, ended := true, ctx.Done()
	for looking || pending > 0 {
		select {
		case b := <-announced:
			if looking && !b.Gone && !dialled[b.ID] {
				dialled[b.ID] = true
				pending++
				go func() { answers <- s.ask(ctx, b) }()
			}
		case a := <-answers:
			pending--
			found = append(found, a)
			if a.err == nil && s.settle > 0 && settled == nil {
				settled = time.After(s.settle)
			}
		case <-settled:
			cancel()
		case <-ended:
			looking, ended = false, nil // dials under way end by themselves now
		}
	}
	<-browsed
	return found, report, browseErr
}

// ask dials one builder that was announced.
func (s *search) ask(ctx context.Context, announced discovery.Builder) sighting {
	b, err := s.dialer.dial(ctx, announced.Addrs)
	if err == nil {
		if err = s.judge(b); err != nil {
			b.conn.Close()
		}
	}
	return sighting{announced, b, err}
}

// whyNone explains in a line or two why a search found no builder to use.
func whyNone(found []sighting, report discovery.Report, err error) string {
	switch {
	case len(found) > 0:
		var reasons []string
		for _, f := range found {
			reasons = append(reasons, fmt.Sprintf("%s: %s", f.announced.Name, reasonLine(f.err)))
		}
		return "no builder on the LAN can be used: " + strings.Join(reasons, "; ")
	case errors.Is(err, discovery.ErrNoPath):
		return "no builder found: " + whereLooked(report)
	case err != nil:
		return "no builder found: " + err.Error()
	}
	line := "no builder answered on the LAN (" + whereLooked(report) + ")"
	if !report.Traffic() {
		line += "; no mDNS packet of any other machine was seen, so a firewall may drop UDP port 5353"
	}
	return line
}

// reasonLine is an error as part of a line. It may quote a peer, so it is made printable.
func reasonLine(err error) string { return oneLine(strings.ReplaceAll(err.Error(), "\n", ", "), 500) }

// whereLooked names the interfaces that were asked on, or why there was none.
func whereLooked(report discovery.Report) string {
	var asked, failed []string
	seen := map[string]bool{}
	for _, p := range report.Paths {
		switch {
		case p.Err != "":
			failed = append(failed, fmt.Sprintf("%s %s: %s", p.Interface, p.Family, p.Err))
		case !seen[p.Interface]:
			seen[p.Interface] = true
			asked = append(asked, p.Interface)
		}
	}
	if len(asked) > 0 {
		return "looked on " + strings.Join(asked, ", ")
	}
	for _, s := range report.Skipped {
		failed = append(failed, s.Interface+" "+s.Reason)
	}
	if len(failed) == 0 {
		return "this machine has no network interface"
	}
	return "no network interface could be asked: " + strings.Join(failed, "; ")
}

// errNoBuilder is the absence of a builder, with the reason in words.
type errNoBuilder struct{ why string }

func (e *errNoBuilder) Error() string { return e.why }

// findBuilder returns the builder that a job goes to: the one that Host names, or the best of those on the
// LAN.
func (e *Emerge) findBuilder(ctx context.Context, chost string) (*builder, error) {
	if e.Host != "" {
		b, err := e.dialer(chost).dialHost(ctx, e.Host, e.Port)
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err != nil:
			return nil, &errNoBuilder{"the builder cannot be reached: " + reasonLine(err)}
		}
		if why := unsuitable(b.hello, chost); why != "" {
			b.conn.Close()
			return nil, &errNoBuilder{fmt.Sprintf("%v cannot be used: %s", b, why)}
		}
		e.say("%s", whyPicked(b, 1))
		return b, nil
	}
	s := search{browse: e.browseFunc(), dialer: e.dialer(chost), timeout: searchTimeout, settle: settleTime}
	s.judge = func(b *builder) error {
		if why := unsuitable(b.hello, chost); why != "" {
			return errors.New(why)
		}
		return nil
	}
	found, report, err := s.run(ctx)
	var suitable []*builder
	for _, f := range found {
		if f.err == nil {
			suitable = append(suitable, f.builder)
		}
	}
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case len(suitable) == 0:
		return nil, &errNoBuilder{whyNone(found, report, err)}
	}
	best := pick(suitable)
	for _, b := range suitable {
		if b != best {
			b.conn.Close()
		}
	}
	e.say("%s", whyPicked(best, len(suitable)))
	return best, nil
}

func (e *Emerge) browseFunc() browseFunc {
	if e.browse != nil {
		return e.browse
	}
	return browseLAN
}
