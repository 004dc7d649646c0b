package main

import (
	"context"
	"fmt"
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
		f, err := b.fetch(ctx, pkgs)
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
