package main

import (
	"context"
	"time"
)

// buildRoot measures what a job costs that does nothing: its root is set up, proved, inhabited and removed.
func (b *bench) buildRoot(ctx context.Context) error {
	b.say("build roots of jobs that do nothing")
	found, err := benchmark(ctx, "lantage/build", "BuildRoot")
	if err != nil {
		return err
	}
	for _, base := range []string{"directory", "host"} {
		median := time.Duration(found["BuildRoot/base="+base]["median-ms"] * float64(time.Millisecond))
		b.row("set-up and tear-down of a job's root, base "+base, ms(median), "", "", "≤ 300 ms", median > 0 && median <= 300*time.Millisecond)
	}
	return nil
}
