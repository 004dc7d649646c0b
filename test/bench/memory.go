package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// peaks are the peaks of resident memory during a transfer, MiB.
type peaks struct{ daemon, client int }

// memory measures the peaks of resident memory by the size of what is sent.
func (b *bench) memory(ctx context.Context) error {
	var all []peaks
	for _, pkgs := range [][]string{gigabyte[:1], gigabyte, huge} {
		if len(pkgs) == len(gigabyte) && b.gigabyte.daemon > 0 {
			all = append(all, b.gigabyte) // known from the transfers
			continue
		}
		b.say("memory: %s", strings.Join(pkgs, " "))
		f, err := b.fetch(ctx, b.main, pkgs)
		if err != nil {
			return err
		}
		all = append(all, peaks{f.daemonKiB >> 10, f.clientKiB >> 10})
	}
	row := func(what string, of func(peaks) int) {
		a, z := of(all[0]), of(all[2])
		m := of(all[1])
		b.row(what, fmt.Sprintf("%d, %d, %d MiB", a, m, z), "", "", "≤ 64 MiB each", max(a, m, z) <= 64)
		b.row("", fmt.Sprintf("%+d MiB from 0.2 to 4 GB", z-a), "", "", "no growth", z-a <= 8)
	}
	row("peak RSS, daemon: 0.2, 1, 4 GB", func(p peaks) int { return p.daemon })
	row("peak RSS, client: 0.2, 1, 4 GB", func(p peaks) int { return p.client })
	return nil
}

// greetings is how many connections the daemon's memory is measured with.
const greetings = 64

// connections measures what they cost the daemon when they said hello, and nothing since.
func (b *bench) connections(ctx context.Context) error {
	b.say("memory: %d connections that only said hello", greetings)
	if err := b.main.daemon.forget(); err != nil {
		return err
	}
	before := b.main.daemon.look()
	p, err := start(ctx, b.lappy, tool, "greet", b.tower.IP(), strconv.Itoa(greetings))
	if err != nil {
		return err
	}
	defer p.stop()
	if err := p.await(ctx, "greeted", 1); err != nil {
		return err
	}
	each := (b.main.daemon.look() - before) / greetings
	what := fmt.Sprintf("peak RSS, daemon: %d connections that said hello", greetings)
	b.row(what, fmt.Sprintf("%+d KiB each", each), "", "", "≤ 256 KiB each", each <= 256)
	return nil
}
