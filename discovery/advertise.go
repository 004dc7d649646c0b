package discovery

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/miekg/dns"
)

// AdvertiseOptions are the choices of the one who starts a builder; the zero value is right for most.
type AdvertiseOptions struct {
	Interfaces []string     // names of the interfaces to use; nil: all that fit (see the package comment)
	Logger     *slog.Logger // nil: slog.Default()
}

// Advertise makes the builder that listens on the TCP port visible on the LAN until ctx ends; then it says
// goodbye and returns nil. It asks info for every answer, from several goroutines: info must not block. ID
// and Name must stay the same.
//
// Having no interface, or one that cannot be used, is no error: it waits for things to get better. It
// returns an error only at once, when port or what info returns cannot be advertised.
func Advertise(ctx context.Context, info func() Info, port int, opt AdvertiseOptions) error {
	z, err := newZone(info, port)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	a := &advertiser{
		log:        logger(opt.Logger),
		names:      opt.Interfaces,
		zone:       z,
		responders: map[string]*responder{},
		failed:     map[string]bool{},
	}
	changes, err := watchLinks(ctx)
	if err != nil {
		a.log.Warn("changes of network interfaces will be noticed late", "within", recheck, "error", err)
	}
	a.run(ctx, changes)
	return nil
}

// advertiser is one Advertise. Everything but the zone belongs to the goroutine that runs it.
type advertiser struct {
	log   *slog.Logger
	names []string
	zone  *zone

	alone      bool                  // there is no link
	responders map[string]*responder // by link and family
	failed     map[string]bool       // which could not be started, so that each is logged once
	clock      clock
	agenda     agenda
}

func (a *advertiser) run(ctx context.Context, changes <-chan struct{}) {
	again := time.NewTicker(recheck)
	defer again.Stop()
	announce := time.NewTimer(0)
	defer announce.Stop()
	a.sync()
	for {
		announce.Reset(time.Until(a.agenda.next()))
		select {
		case <-changes:
			a.sync()
		case <-again.C:
			a.sync()
			if a.zone.refresh() {
				a.agenda.asked(time.Now())
			}
		case <-a.zone.asked:
			a.agenda.asked(time.Now())
		case now := <-announce.C:
			a.agenda.done(now)
			a.send(a.zone.announcement())
		case <-ctx.Done():
			for _, r := range a.responders {
				r.silence() // no answer after the goodbye
			}
			a.send(a.zone.goodbye())
			a.drop(nil)
			return
		}
	}
}

// sync brings responders and zone in line with the interfaces as they are.
func (a *advertiser) sync() {
	links, skipped, err := scanLinks(a.names)
	if err != nil {
		a.log.Warn("cannot list the network interfaces; trying again", "within", recheck, "error", err)
		return
	}
	if a.clock.jumped() {
		a.drop(nil) // the network has forgotten our memberships, and clients have forgotten us
	}
	current := map[string]bool{}
	changed := false
	for _, l := range links {
		for _, f := range families {
			if !l.has(f) {
				continue
			}
			id := l.id(f)
			current[id] = true
			if a.responders[id] == nil {
				changed = a.start(id, l, f) || changed
			}
		}
	}
	a.drop(current)
	if alone := len(links) == 0; alone != a.alone {
		a.alone = alone
		if alone {
			a.log.Warn("clients do not find this builder until a network interface can be used", "skipped", skipped)
		}
	}
	if a.zone.setAddresses(addressesOf(links)) || changed {
		a.agenda.changed(time.Now())
		a.log.Info("advertising on the LAN", "instance", a.zone.instance, "addresses", addressesOf(links))
		a.log.Debug("interfaces not used", "skipped", skipped)
	}
}

// start starts a responder; it tells whether that worked.
func (a *advertiser) start(id string, l link, f Family) bool {
	r, err := startResponder(l, f, a.zone, a.log)
	if err != nil {
		if !a.failed[id] {
			a.log.Warn("clients may not find this builder: is UDP port 5353 held by another program alone?",
				"interface", l.ifi.Name, "family", f, "error", err)
		}
		a.failed[id] = true
		return false
	}
	a.responders[id] = r
	return true
}

// drop closes all responders but the current ones.
func (a *advertiser) drop(current map[string]bool) {
	for id, r := range a.responders {
		if !current[id] {
			r.close()
			delete(a.responders, id)
		}
	}
	maps.DeleteFunc(a.failed, func(id string, _ bool) bool { return !current[id] })
}

// send multicasts m on every link and family. Unicast answers do not pass the usual firewall of a client,
// nor reach the other programs on it that browse.
func (a *advertiser) send(m *dns.Msg) {
	if m == nil {
		return
	}
	packet, err := m.Pack()
	if err != nil {
		a.log.Debug("packing an announcement", "error", err)
		return
	}
	for _, r := range a.responders {
		r.multicast(packet)
	}
}

// agenda is when to announce: three times after each change, because packets get lost, and after questions,
// but then at most once a second (RFC 6762 sections 6 and 8.3). A question too many is answered late, not
// forgotten.
type agenda struct {
	times []time.Time // sorted
	last  time.Time
}

func (g *agenda) changed(now time.Time) {
	g.times = []time.Time{now, now.Add(time.Second), now.Add(3 * time.Second)}
}

func (g *agenda) asked(now time.Time) {
	t := g.last.Add(time.Second)
	if t.Before(now) {
		t = now
	}
	if len(g.times) == 0 || t.Before(g.times[0]) {
		g.times = slices.Insert(g.times, 0, t)
	}
}

func (g *agenda) done(now time.Time) {
	g.last = now
	g.times = slices.DeleteFunc(g.times, func(t time.Time) bool { return !t.After(now) })
}

// next is the time of the next announcement; without one it is far away.
func (g *agenda) next() time.Time {
	if len(g.times) == 0 {
		return time.Now().Add(time.Hour)
	}
	return g.times[0]
}
