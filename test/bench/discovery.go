package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// discovery measures how soon the first builder has answered.
func (b *bench) discovery(ctx context.Context) error {
	b.say("20 discoveries")
	out, _, err := on(ctx, b.lappy, tool, "discover", "20")
	if err != nil {
		return err
	}
	var all []int
	for _, line := range strings.Fields(out) {
		n, err := strconv.Atoi(line)
		if err != nil {
			return fmt.Errorf("discover said %q", out)
		}
		all = append(all, n)
	}
	worst := slices.Max(all)
	shown := fmt.Sprintf("%.0f ms (median), %.0f ms (max)", float64(median(all))/1e3, float64(worst)/1e3)
	b.row("first builder has answered", shown, "", "", "≤ 100 ms", worst <= 100_000)
	return nil
}
