package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"lantage/discovery"
)

// errNoBuilder is the absence of a builder, with the reason in words.
type errNoBuilder struct{ why string }

func (e *errNoBuilder) Error() string { return e.why }

// findBuilder returns the builder that a job goes to: the one that was named, or the best there is.
func (e *Emerge) findBuilder(ctx context.Context, sys *system) (*builder, error) {
	known := openCache(e.cacheFile(e.Environ), time.Now())
	keys, err := e.openKeyring(e.Environ)
	if err != nil {
		return nil, err
	}
	var report discovery.Report
	found, err := e.search(sys, known, &keys, &report).run(ctx)
	var suitable []sighting
	var answered []sighting
	for _, f := range found {
		if f.err == nil {
			suitable = append(suitable, f)
		}
		if f.builder != nil && keys.distrust(f.builder, true) == nil {
			answered = append(answered, f)
		}
	}
	if ctx.Err() != nil {
		closeAll(suitable, nil)
		return nil, ctx.Err()
	}
	known.note(answered, time.Now())
	if len(suitable) == 0 {
		x := explanation{where: &e.Where, found: found, report: report, err: err}
		return nil, &errNoBuilder{x.short()}
	}
	best, why, err := e.choose(suitable, known)
	closeAll(suitable, best)
	if err != nil {
		return nil, err
	}
	met, err := e.meet(ctx, &keys, best)
	if errors.Is(err, errUnwanted) {
		e.passedOver = append(e.passedOver, passed{best, err})
	}
	if err != nil {
		return nil, err
	}
	e.say("%s", whyPicked(met, why))
	return met, nil
}

// search looks for builders that can build for this machine.
func (e *Emerge) search(sys *system, known *cache, keys *keyring, report *discovery.Report) *search {
	s := &search{sources: e.sources(known, report), dialer: e.dialer(keys), timeout: searchTimeout}
	if e.fixed() {
		s.timeout = dialTimeout
	}
	s.settle = func(a *sighting) time.Duration {
		if known.only(a.hello.ID) && a.known || e.word() != "" && a.fit == fitsExactly && a.known {
			return 0
		}
		return settleTime
	}
	s.judge = func(a *sighting) error {
		if err := e.wants(a); err != nil {
			return err
		}
		for _, p := range e.passedOver {
			if p.is(a.builder) {
				return p.why
			}
		}
		if err := keys.distrust(a.builder, e.mayMeet()); err != nil {
			return err
		}
		a.known = keys.knows(a.builder)
		base, why := e.baseFor(a.hello, sys)
		if why != "" {
			return errors.New(why)
		}
		a.base = base
		return nil
	}
	return s
}

// choose picks the builder and says why it is that one.
func (w *Where) choose(suitable []sighting, known *cache) (*builder, string, error) {
	if word := w.word(); word != "" {
		suitable = fitting(suitable)
		if len(suitable) > 1 {
			return nil, "", fmt.Errorf("--builder=%s fits %s; write an instance: %s", word,
				count(len(suitable), "builder"), strings.Join(instances(suitable), ", "))
		}
	}
	var list []*builder
	met := 0 // how many of them are known by their keys
	for _, s := range suitable {
		list = append(list, s.builder)
		met += btoi(s.known)
	}
	best := pick(list)
	switch {
	case len(list) > 1 && met == 1: // which comes before any other one
		return best, fmt.Sprintf("the one of %d that is known", len(list)), nil
	case len(list) > 1 && !freeSlot(best.hello):
		return best, fmt.Sprintf("the shortest wait of %d", len(list)), nil
	case len(list) > 1:
		return best, fmt.Sprintf("the freest of %d", len(list)), nil
	case len(w.hosts()) == 1:
		return best, "it was named", nil
	case best.known && known.only(best.hello.ID) && slices.Contains(suitable[0].ways, byCache):
		return best, "the one that is known", nil
	}
	return best, "the only one that answered", nil
}

// fitting leaves those that fit the bare word best.
func fitting(found []sighting) []sighting {
	best := slices.MinFunc(found, func(a, b sighting) int { return a.fit - b.fit }).fit
	return slices.DeleteFunc(slices.Clone(found), func(s sighting) bool { return s.fit != best })
}

// instances are names that tell builders apart, with their addresses.
func instances(found []sighting) []string {
	var list []string
	for _, f := range found {
		list = append(list, discovery.InstanceName(f.hello.Name, f.hello.ID)+" ("+f.addr+")")
	}
	slices.Sort(list)
	return list
}

func closeAll(found []sighting, but *builder) {
	for _, f := range found {
		if f.builder != but {
			f.conn.Close()
		}
	}
}
