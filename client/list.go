package client

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"lantage/discovery"
	"lantage/wire"
)

// ListBuilders is `lantage list-builders`: it shows each builder that answers, and each that was announced or
// named and does not.
type ListBuilders struct {
	Where
	Wait    time.Duration // how long to listen; 0: 1.2 s, and 2.5 s where none has answered by then
	JSON    bool
	Watch   bool   // go on until ctx ends
	Version string // of this program
	Environ []string
	Stdout  io.Writer
}

const (
	listWait = 1200 * time.Millisecond
	listMost = 2500 * time.Millisecond
)

// listed is one builder of the list, as --json shows it.
type listed struct {
	Name     string   `json:"name"`
	ID       string   `json:"id"`
	Instance string   `json:"instance"`
	Address  string   `json:"address"` // where it answered; of one that does not, the best that is known
	CHOST    string   `json:"chost"`
	Arch     string   `json:"arch"`
	CPU      string   `json:"cpu"` // level of its instruction set, such as x86-64-v3
	Cores    int      `json:"cores"`
	Load     float64  `json:"load"`
	Jobs     int      `json:"jobs"`
	Waiting  int      `json:"waiting"`
	JobLimit int      `json:"jobLimit"`
	Memory   int      `json:"memoryMiB"`
	Version  string   `json:"version"`
	Portage  string   `json:"portage,omitempty"`
	Bases    []string `json:"bases,omitempty"` // what it builds on
	Trust    string   `json:"trust"`           // what this machine thinks of its key
	Key      string   `json:"key,omitempty"`   // its fingerprint; of one that does not answer, what was announced
	Found    []string `json:"found"`           // named, config, cache, loopback, mdns, dns
	Error    string   `json:"error,omitempty"` // why it cannot be used
}

// Run shows the builders. Without any that answers the error has exit status ExitNoBuilder.
func (l *ListBuilders) Run(ctx context.Context) error {
	if err := l.check(); err != nil {
		return err
	}
	if l.Watch {
		return l.watch(ctx)
	}
	rows, why, err := l.find(ctx)
	if err != nil {
		return interrupted(err)
	}
	if l.JSON {
		if err := writeJSON(l.Stdout, rows); err != nil {
			return err
		}
	} else if len(rows) > 0 {
		fmt.Fprint(l.Stdout, table(rows, widthOf(l.Stdout, l.Environ)))
	}
	if slices.ContainsFunc(rows, listed.usable) {
		return nil
	}
	return exitf(ExitNoBuilder, "%s", why.full())
}

// find looks for builders. why explains that none of them answers.
func (l *ListBuilders) find(ctx context.Context) (rows []listed, why *explanation, err error) {
	known := openCache(l.cacheFile(l.Environ), time.Now())
	keys, err := l.openKeyring(l.Environ)
	if err != nil {
		return nil, nil, err
	}
	var report discovery.Report
	s := l.search(known, &keys, &report)
	answered := make(chan struct{}, moreOffers+1)
	s.judge = func(a *sighting) error {
		err := l.wants(a)
		if err == nil {
			answered <- struct{}{}
		}
		return err
	}
	look := ctx
	switch {
	case l.fixed():
		s.timeout = dialTimeout
	case l.Wait > 0:
		s.timeout = l.Wait
	default:
		var stop context.CancelFunc
		look, stop = context.WithCancel(ctx)
		defer stop()
		defer time.AfterFunc(listWait, func() {
			if len(answered) > 0 {
				stop()
			}
		}).Stop()
	}
	found, failed := s.run(look)
	known.note(onlyAnswered(found), time.Now())
	rows = rowsOf(found, &keys)
	if !slices.ContainsFunc(rows, listed.usable) {
		why = &explanation{where: &l.Where, found: found, report: report, err: failed}
	}
	return rows, why, ctx.Err()
}

func (l *ListBuilders) search(known *cache, keys *keyring, report *discovery.Report) *search {
	return &search{
		sources: l.sources(known, report), judge: l.wants, timeout: listMost,
		dialer: &dialer{self: wire.Hello{Name: hostName(), Software: l.Version}, identity: keys.self, wanted: keys.enough},
	}
}

func onlyAnswered(found []sighting) []sighting {
	return slices.DeleteFunc(slices.Clone(found), func(f sighting) bool { return f.builder == nil })
}

// rowsOf makes the list, and closes the connections.
func rowsOf(found []sighting, keys *keyring) []listed {
	rows := []listed{}
	for _, f := range found {
		switch {
		case f.builder != nil && f.err == nil:
			f.conn.Close()
			rows = append(rows, answeredRow(&f, keys))
		case f.quiet() || errors.Is(f.err, errOther):
		default:
			rows = append(rows, silentRow(&f))
		}
	}
	slices.SortFunc(rows, func(a, b listed) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Address, b.Address))
	})
	return rows
}

// usable reports whether the builder answered.
func (l listed) usable() bool { return l.Error == "" }

func answeredRow(f *sighting, keys *keyring) listed {
	h := f.hello
	return listed{
		Name: h.Name, ID: h.ID, Instance: discovery.InstanceName(h.Name, h.ID), Address: f.addr, CHOST: h.CHOST,
		Arch: h.Arch, CPU: h.CPU, Cores: h.Cores, Load: h.Load, Jobs: h.Jobs, Waiting: h.Waiting, JobLimit: h.JobLimit,
		Memory: h.Memory, Version: h.Software, Portage: h.Portage, Bases: h.Bases, Trust: keys.trustOf(f.builder), Key: keyText(f.builder), Found: f.ways,
	}
}

// silentRow shows what a builder's packets say of it, and why it does not count.
func silentRow(f *sighting) listed {
	a := f.said
	r := listed{
		Name: oneLine(cmp.Or(a.Name, f.label), 64), ID: a.ID, CHOST: a.CHOST, Arch: a.Arch, CPU: a.CPU,
		Cores: a.Cores, Load: a.Load, Jobs: a.Jobs, JobLimit: a.JobLimit, Memory: a.Memory, Version: a.Software,
		Key: a.Fingerprint, Found: []string{f.how},
		Error: reasonLine(f.err),
	}
	if a.ID != "" {
		r.Instance = discovery.InstanceName(a.Name, a.ID)
	}
	if len(f.candidate.addrs) > 0 {
		r.Address = shownAddr(easiest(f.candidate.addrs))
	}
	return r
}

func writeJSON(w io.Writer, rows any) error {
	b, err := json.MarshalIndent(rows, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s\n", b)
	return err
}

// jobsOf is how many jobs run of how many may, and how many wait.
func jobsOf(r listed) string {
	s := fmt.Sprintf("%d/%d", r.Jobs, r.JobLimit)
	if r.Waiting > 0 {
		s += fmt.Sprintf("+%d", r.Waiting)
	}
	return s
}
