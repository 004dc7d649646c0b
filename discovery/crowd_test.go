package discovery

import (
	"fmt"
	"sync"
	"testing"
	"time"
)

// Case 7: fifty builders, each on a machine of its own, and a client that wants to know them all.
func TestFiftyBuilders(t *testing.T) {
	const crowd = 50
	l := newQuietLab(t)
	client := l.host("client")
	l.join(client, "eth0", "lan", "10.77.0.200/24", "fe80::200/64")
	builders, ids := make([]*host, crowd), make([]string, crowd)
	var starts sync.WaitGroup
	for i := range builders {
		starts.Go(func() { builders[i] = l.host(fmt.Sprintf("h%d", i+1)) })
	}
	starts.Wait()
	for i, h := range builders {
		ids[i] = fmt.Sprintf("%06dffff", i)
		l.join(h, "eth0", "lan", fmt.Sprintf("10.77.0.%d/24", i+1), fmt.Sprintf("fe80::%d/64", i+1))
		h.advertise(ids[i])
	}
	client.browse().untilSeen(patience, ids...) // all are up
	all := func(what string, bound time.Duration) {
		var took times
		for range 20 {
			b := client.browse()
			took = append(took, b.untilSeen(patience, ids...))
			b.stop()
		}
		took.check(t, what, 1, bound)
	}
	all("07: 50 of 50 builders", time.Second)
	l.loss()
	all("07: 50 of 50 builders, 30 % loss", 2*time.Second)
}

// A process that has just been started finds the one builder of an idle LAN. It is this test binary, which
// the race detector makes slower than it is for users.
func TestColdStart(t *testing.T) {
	for _, c := range []struct {
		name  string
		loss  bool
		share float64
		bound time.Duration
	}{
		{"00: cold start of the process", false, .5, 50 * time.Millisecond},
		{"00: cold start of the process, 30 % loss", true, .95, time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newQuietLab(t)
			h1, h2 := l.lan(families...)
			if c.loss {
				l.loss()
			}
			h1.advertise(id1)
			h2.do(order{Op: "cold"})
			var took times
			for range 50 {
				took = append(took, h2.do(order{Op: "cold"}).After)
			}
			took.check(t, c.name, c.share, c.bound)
			if !c.loss {
				took.check(t, c.name+", tail", .99, 100*time.Millisecond)
			}
			if slow := took.at(.99); !c.loss && slow > 100*time.Millisecond {
				t.Errorf("the 99th percentile is %v; want at most 100ms", slow)
			}
		})
	}
}
