package main

import (
	"context"
	"fmt"
	"os"
	"time"
)

// some is what the whole command is measured with: a few small packages and one that compiles for a while.
var some = []string{"lab-five/p1", "lab-five/p2", "lab-apps/hello", "lab-apps/busy"}

// whole measures the whole command against plain emerge of the same packages on a host with the same
// root, both compiling everything; and then with everything in the builder's cache.
func (b *bench) whole(ctx context.Context) error {
	var plain, ours, cached, local []time.Duration
	for round := range b.rounds {
		b.say("the whole command, round %d of %d: Lantage, then plain emerge", round+1, b.rounds)
		for _, h := range []*host{b.lappy, b.plain} {
			if err := b.fresh(ctx, h, round); err != nil {
				return err
			}
		}
		_, took, err := on(ctx, b.lappy, with(some, "lantage", "--no-fallback", "emerge", "-q")...)
		if err != nil {
			return err
		}
		ours = append(ours, took)
		if _, took, err = on(ctx, b.plain, with(some, "emerge", "-q")...); err != nil {
			return err
		}
		plain = append(plain, took)
		c, l, err := b.cached(ctx, round)
		if err != nil {
			return err
		}
		cached, local = append(cached, c), append(local, l)
	}
	o, p := median(ours).Seconds(), median(plain).Seconds()
	b.row("whole command, all compiled", fmt.Sprintf("%.1f s", o), fmt.Sprintf("plain emerge: %.1f s", p),
		fmt.Sprintf("%+.1f s", o-p), fmt.Sprintf("≤ +%.1f s (3 %% + 2 s)", p*0.03+2), o-p <= p*0.03+2)
	o, p = median(cached).Seconds(), median(local).Seconds()
	b.row("whole command, all in the builder's cache", fmt.Sprintf("%.1f s", o),
		fmt.Sprintf("emerge --pretend, and the merge: %.1f s", p), fmt.Sprintf("%+.1f s", o-p),
		"≤ +2 s", o-p <= 2)
	return nil
}

// cached is the whole command with everything in the builder's cache, and beside it what of that plain
// emerge would do on the same host: to plan, and to merge the binary packages once they are there.
func (b *bench) cached(ctx context.Context, round int) (ours, local time.Duration, err error) {
	if err := b.fresh(ctx, b.lappy, round); err != nil {
		return 0, 0, err
	}
	_, ours, err = on(ctx, b.lappy, with(some, "lantage", "--no-fallback", "emerge", "-q")...)
	if err != nil {
		return 0, 0, err
	}
	if err := unmerge(ctx, b.lappy); err != nil {
		return 0, 0, err
	}
	_, pretend, err := on(ctx, b.lappy, with(some, "emerge", "--pretend")...)
	if err != nil {
		return 0, 0, err
	}
	_, merge, err := on(ctx, b.lappy, with(some, "emerge", "-qK")...)
	b.note("whole command, round %d: of these, merging the binary packages here takes emerge %.1f s, with nothing of Lantage in it; "+
		"plain emerge merges while it compiles", round+1, merge.Seconds())
	return ours, pretend + merge, err
}

// with is a command line that ends in these packages.
func with(pkgs []string, words ...string) []string { return append(words, pkgs...) }

// unmerge takes what was merged off a host.
func unmerge(ctx context.Context, h *host) error {
	_, _, err := on(ctx, h, "sh", "-c", "rm -rf /var/db/pkg/* /var/lib/portage/world "+
		"/usr/bin/hello /usr/bin/lab-* /usr/include/greet.h /usr/lib*/libgreet.so*")
	return err
}

// fresh takes off a host what an earlier round has put there. Each round has CFLAGS of its own, so that
// the builder has nothing of it yet.
func (b *bench) fresh(ctx context.Context, h *host, round int) error {
	if err := unmerge(ctx, h); err != nil {
		return err
	}
	if _, _, err := on(ctx, h, "sh", "-c", "rm -rf /var/cache/binpkgs/*"); err != nil {
		return err
	}
	conf := h.Path("/etc/portage/make.conf")
	text, err := os.ReadFile(conf)
	if err != nil {
		return err
	}
	if b.makeConf == "" {
		b.makeConf = string(text)
	}
	changed := fmt.Sprintf("%sCFLAGS=\"-O2 -pipe -DROUND=%d\"\n", b.makeConf, round)
	return os.WriteFile(conf, []byte(changed), 0o644)
}
