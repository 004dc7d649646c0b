package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
)

// tlsPairs is how often a transfer over TLS is compared with one without, at least: the difference is about as large as what
// else goes on in a machine makes it.
const tlsPairs = 5

// plainPort is where a second daemon on tower listens.
const plainPort = "8474"

// carried is a transfer of size bytes.
type carried struct {
	size           int64
	took           time.Duration
	daemon, client time.Duration // that each kept cores busy
	busy           float64       // the share of the machine's cores that was, by whatever
}

func (c carried) speed() float64 { return float64(c.size) / 1e6 / c.took.Seconds() }

// tls measures what encryption costs where a client gets results: over a link as fast as a good LAN's, and over one without
// limits, where the processors are the limit, and both ends share this machine's.
func (b *bench) tls(ctx context.Context) error {
	args := []string{"lantage", "--plain", "serve", "--no-advertise", "--listen=:" + plainPort, "--state-dir=/var/lib/lantage-plain"}
	daemon, err := start(ctx, b.tower, args...)
	if err != nil {
		return err
	}
	defer daemon.stop()
	if err := daemon.await(ctx, "ready for jobs", 1); err != nil {
		return err
	}
	plain := serving{daemon: daemon, flags: []string{"--plain", "--builder", net.JoinHostPort(b.tower.IP(), plainPort)}}
	for _, from := range []serving{b.main, plain} {
		b.say("building 1 GB of incompressible packages on tower, if it has none yet")
		if _, err := b.fetch(ctx, from, gigabyte); err != nil {
			return err
		}
	}
	const what = "results of 1 GB over TLS"
	if err := b.compareTLS(ctx, what+", no limit", plain); err != nil {
		return err
	}
	limit := strings.Fields("dev eth0 root tbf rate 2500mbit burst 4mb latency 50ms")
	if _, _, err := on(ctx, b.tower, append([]string{"tc", "qdisc", "add"}, limit...)...); err != nil {
		return err
	}
	err = b.compareTLS(ctx, what+", 2.5 Gbit/s", plain)
	_, _, delErr := on(context.WithoutCancel(ctx), b.tower, append([]string{"tc", "qdisc", "del"}, limit...)...)
	return errors.Join(err, delErr)
}

// compareTLS makes pairs of transfers, one of each over TLS, in turn the first and the second, so that what slows the machine
// down slows both. What counts is the median of the pairs' ratios.
func (b *bench) compareTLS(ctx context.Context, what string, plain serving) error {
	from := [2]serving{plain, b.main}
	var sides [2][]carried // plain, TLS
	var ratios []float64
	pairs := max(b.rounds, tlsPairs)
	for pair := range pairs {
		b.say("%s and over --plain, pair %d of %d", what, pair+1, pairs)
		var did [2]carried
		for turn := range 2 {
			side := (pair + turn) % 2
			f, err := b.fetchAtOnce(ctx, from[side], gigabyte)
			if err != nil {
				return err
			}
			size, err := b.size(f.files)
			if err != nil {
				return err
			}
			did[side] = carried{size, f.transfer, f.daemonCPU, f.clientCPU, f.busy}
			sides[side] = append(sides[side], did[side])
		}
		ratios = append(ratios, did[1].speed()/did[0].speed())
		b.say("%.0f and %.0f MB/s", did[1].speed(), did[0].speed())
	}
	said := func(all []carried) string {
		return fmt.Sprintf("%.0f MB/s, cores %.0f %% busy",
			medianOf(all, carried.speed), 100*medianOf(all, func(c carried) float64 { return c.busy }))
	}
	ratio := median(ratios)
	b.row(what, said(sides[1]), "--plain: "+said(sides[0]), fmt.Sprintf("%.2f", ratio), "≥ 0.85", ratio >= 0.85)
	perGB := func(cpu func(carried) time.Duration) func(carried) float64 {
		return func(c carried) float64 { return cpu(c).Seconds() / float64(c.size) * 1e9 }
	}
	daemon, client := perGB(func(c carried) time.Duration { return c.daemon }), perGB(func(c carried) time.Duration { return c.client })
	b.note("%s: ratios %.2f; for each GB the daemon computes %.2f s and the client %.2f s, over --plain %.2f s and %.2f s", what, ratios,
		medianOf(sides[1], daemon), medianOf(sides[1], client), medianOf(sides[0], daemon), medianOf(sides[0], client))
	return nil
}

func medianOf(all []carried, of func(carried) float64) float64 {
	var list []float64
	for _, c := range all {
		list = append(list, of(c))
	}
	return median(list)
}
