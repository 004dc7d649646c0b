package discovery

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// recheck is how often interfaces and the clock are looked at without a reason: it brings back what failed
// for a passing reason, such as another program that held port 5353 alone.
const recheck = 2 * time.Second

// clock notices that the machine was suspended. It looks at the two clocks that a [time.Time] has: the one
// on the wall goes on meanwhile, the monotonic one does not. One that was set by hand looks the same; that
// does no harm.
type clock struct {
	seen bool
	lead time.Duration // of the wall clock, when it was last looked at
}

func (c *clock) jumped() bool {
	before, seen := c.lead, c.seen
	c.lead, c.seen = wallLead(), true
	return seen && (c.lead-before).Abs() > time.Second
}

var started = time.Now()

// wallLead is how much more time has passed on the wall than by the monotonic clock. Tests replace it.
var wallLead = func() time.Duration {
	now := time.Now()
	return now.Round(0).Sub(started.Round(0)) - now.Sub(started)
}

// watchLinks returns a channel that has a value after interfaces or addresses changed, until ctx ends. What
// changed is not told: many changes come together, and looking at everything is cheap.
func watchLinks(ctx context.Context) (<-chan struct{}, error) {
	kind := unix.SOCK_RAW | unix.SOCK_CLOEXEC | unix.SOCK_NONBLOCK
	fd, err := unix.Socket(unix.AF_NETLINK, kind, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("opening a netlink socket: %w", err)
	}
	f := os.NewFile(uintptr(fd), "netlink")
	groups := uint32(unix.RTMGRP_LINK | unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV6_IFADDR)
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		f.Close()
		return nil, fmt.Errorf("binding a netlink socket: %w", err)
	}
	changes := make(chan struct{}, 1)
	stop := context.AfterFunc(ctx, func() { f.Close() })
	go func() {
		defer stop()
		defer f.Close()
		buf := make([]byte, 8192)
		for {
			// ENOBUFS says that changes were lost: one more change.
			if _, err := f.Read(buf); err != nil && !errors.Is(err, unix.ENOBUFS) {
				return
			}
			select {
			case changes <- struct{}{}:
			default:
			}
		}
	}()
	return changes, nil
}
