package client

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"lantage/discovery"
)

// watchEvery is how often --watch asks each builder how it is.
const watchEvery = 2 * time.Second

// watch shows the builders until ctx ends: drawn anew in a terminal, and a line for each change elsewhere.
func (l *ListBuilders) watch(ctx context.Context) error {
	known := openCache(l.cacheFile(l.Environ), time.Now())
	keys, err := l.openKeyring(l.Environ)
	if err != nil {
		return err
	}
	var report discovery.Report
	s := l.search(known, &keys, &report)
	var mu sync.Mutex
	var candidates []candidate
	more := make(chan struct{}, 1)
	offer := func(c candidate) {
		mu.Lock()
		defer mu.Unlock()
		same := func(o candidate) bool {
			return o.how == c.how && o.said.ID == c.said.ID && (c.said.ID != "" || slices.Equal(o.addrs, c.addrs))
		}
		candidates = slices.DeleteFunc(candidates, same)
		if !c.gone && len(candidates) < moreOffers {
			candidates = append(candidates, c)
		}
		select {
		case more <- struct{}{}:
		default:
		}
	}
	var looking sync.WaitGroup
	defer looking.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	for _, look := range s.sources {
		looking.Go(func() { _ = look(ctx, offer) })
	}
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	view := watchView{screen: newScreen(l.Stdout, l.Environ), json: l.JSON}
	for {
		mu.Lock()
		round := *s
		round.sources, round.timeout = []source{fixedSource(slices.Clone(candidates)...)}, watchEvery
		mu.Unlock()
		found, _ := round.run(ctx)
		if ctx.Err() == nil {
			known.note(onlyAnswered(found), time.Now())
		}
		rows := rowsOf(found, &keys)
		if ctx.Err() == nil {
			if err := view.show(rows); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			if view.any {
				return nil
			}
			return exitf(ExitNoBuilder, "no builder was found")
		case <-more:
		case <-tick.C:
		}
	}
}

// watchView is what --watch has shown.
type watchView struct {
	screen *screen
	json   bool
	any    bool // there was a builder
	lines  int  // of the table that stands on the terminal
	before map[string]string
}

// show shows what has changed.
func (v *watchView) show(rows []listed) error {
	v.any = v.any || slices.ContainsFunc(rows, listed.usable)
	now := map[string]string{}
	for _, r := range rows {
		state := fmt.Sprintf("%s, %s, %s, jobs %s", r.Name, r.Address, count(r.Cores, "core"), jobsOf(r))
		if r.Error != "" {
			state = r.Name + " does not answer: " + r.Error
		}
		now[r.Name+" "+r.ID] = state
	}
	changed := v.before == nil || !maps.Equal(now, v.before)
	switch {
	case v.json:
		if changed {
			if err := writeJSON(v.screen.out, rows); err != nil {
				return err
			}
		}
	case v.screen.tty:
		text := "No builder yet.\n"
		if len(rows) > 0 {
			text = table(rows, v.screen.width()-1)
		}
		if v.lines > 0 {
			fmt.Fprintf(v.screen.out, "\x1b[%dA\x1b[J", v.lines)
		}
		fmt.Fprint(v.screen.out, text)
		v.lines = strings.Count(text, "\n")
	default:
		v.changes(now)
	}
	v.before = now
	return nil
}

// changes prints a line for each builder that came, changed or went.
func (v *watchView) changes(now map[string]string) {
	var lines []string
	for key, state := range now {
		if v.before[key] != state {
			lines = append(lines, state)
		}
	}
	for key := range v.before {
		if _, still := now[key]; !still {
			lines = append(lines, strings.Fields(key)[0]+" has gone")
		}
	}
	slices.Sort(lines)
	for _, line := range lines {
		v.screen.line(line)
	}
}
