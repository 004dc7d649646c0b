package main

import (
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"time"
)

// hostBase measures what base host costs before a job: whether a large repository is in the same state on both ends, and the
// snapshot of /etc/portage. Both are Go benchmarks of the packages that do it.
func (b *bench) hostBase(ctx context.Context) error {
	b.say("a git repository of 150,000 files, and an /etc/portage of 500")
	revision, err := benchmark(ctx, "lantage/gentoo", "RepoRevision")
	if err != nil {
		return err
	}
	inputs, err := benchmark(ctx, "lantage/client", "Inputs")
	if err != nil {
		return err
	}
	few, many, pack := took(revision["RepoRevision/packages=10"]), took(revision["RepoRevision/packages=500"]), took(inputs["Inputs"])
	b.row("same revision? of a 150,000-file repository", ms(few), "", "", "≤ 50 ms", few <= 50*time.Millisecond)
	b.note("The same question for a plan of 500 packages takes %s: each package's directory is looked at.", ms(many))
	b.row("snapshot of /etc/portage, 500 files", ms(pack), "", "", "≤ 100 ms", pack <= 100*time.Millisecond)
	size := inputs["Inputs"]["archive-bytes"]
	b.row("its size", fmt.Sprintf("%.0f KB", size/1000), "", "", "≤ 300 KB", size <= 300e3)
	return nil
}

func took(metrics map[string]float64) time.Duration { return time.Duration(metrics["ns/op"]) }

func ms(d time.Duration) string { return fmt.Sprintf("%.0f ms", d.Seconds()*1000) }

var (
	benchmarkRE = regexp.MustCompile(`(?m)^Benchmark(\S+?)(?:-\d+)?\s+\d+\s+(.*)$`)
	metricRE    = regexp.MustCompile(`([0-9.]+) (\S+)`)
)

// benchmark runs benchmarks of a package and returns what they measured, by their names and units.
func benchmark(ctx context.Context, pkg, name string) (map[string]map[string]float64, error) {
	out, err := exec.CommandContext(ctx, "go", "test", "-run=^$", "-bench=^Benchmark"+name+"$", "-benchtime=20x", pkg).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("the benchmark %s of %s: %w\n%s", name, pkg, err, out)
	}
	found := make(map[string]map[string]float64)
	for _, m := range benchmarkRE.FindAllStringSubmatch(string(out), -1) {
		found[m[1]] = make(map[string]float64)
		for _, metric := range metricRE.FindAllStringSubmatch(m[2], -1) {
			value, err := strconv.ParseFloat(metric[1], 64)
			if err != nil {
				return nil, err
			}
			found[m[1]][metric[2]] = value
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("the benchmark %s of %s measured nothing:\n%s", name, pkg, out)
	}
	return found, nil
}
