// Bench measures the program against the goals for its speed and memory, on hosts in network namespaces
// of this machine, and prints one table. What is compared is measured side by side in the same run, so
// that a slow or busy machine shifts both.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"lantage/test/lab"
)

// bench is one run.
type bench struct {
	tower, store, lappy, plain *host
	main                       serving
	binary                     string // lantage
	rounds                     int
	makeConf                   string // of the clients
	gigabyte                   peaks  // while 1 GB was transferred

	began time.Time
	rows  []string
	notes []string
	short int // of how many goals
}

func main() {
	lab.Main()
	if len(os.Args) > 1 && roles[os.Args[1]] != nil {
		if err := roles[os.Args[1]](os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	only := flag.String("only", "discovery,transfers,tls,memory,connections,whole,sync,host,root", "what to measure, in this order")
	rounds := flag.Int("rounds", 1, "how often each comparison is made; the medians count")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	if err := run(ctx, strings.Split(*only, ","), max(*rounds, 1)); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, parts []string, rounds int) (err error) {
	b := &bench{rounds: rounds, began: time.Now()}
	measure := map[string]func(context.Context) error{
		"discovery": b.discovery, "transfers": b.transfers, "tls": b.tls, "memory": b.memory, "connections": b.connections, "whole": b.whole,
		"sync": b.sync, "host": b.hostBase, "root": b.buildRoot,
	}
	for _, part := range parts {
		if measure[part] == nil {
			return fmt.Errorf("there is no part %q", part)
		}
	}
	dir, err := os.MkdirTemp("", "lantage-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	binary := filepath.Join(dir, "lantage")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", binary, "lantage")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building lantage: %w\n%s", err, out)
	}
	b.binary = binary
	l, err := newLab(binary)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	b.tower, b.store, b.lappy, b.plain = l.Host("tower"), l.Host("store"), l.Host("lappy"), l.Host("plain")
	if b.main.daemon, err = start(ctx, b.tower, "lantage", "serve"); err != nil {
		return err
	}
	defer b.main.daemon.stop()
	if err := b.main.daemon.await(ctx, "advertising", 1); err != nil {
		return err
	}
	defer b.print() // of a run that is cut short, what it has
	for _, part := range parts {
		if err := measure[part](ctx); err != nil {
			return fmt.Errorf("%s: %w", part, err)
		}
	}
	return nil
}

// say tells what goes on now.
func (b *bench) say(format string, args ...any) {
	fmt.Printf("%4.0f s  %s\n", time.Since(b.began).Seconds(), fmt.Sprintf(format, args...))
}

// note keeps a detail for below the table.
func (b *bench) note(format string, args ...any) {
	b.notes = append(b.notes, fmt.Sprintf(format, args...))
}

// row adds a line to the table.
func (b *bench) row(what, measured, beside, ratio, goal string, good bool) {
	verdict := "reached"
	if !good {
		verdict = "SHORT OF IT"
		b.short++
	}
	b.rows = append(b.rows, strings.Join([]string{what, measured, beside, ratio, goal, verdict}, "\t"))
}

func times(n int) string {
	if n == 1 {
		return "1 round"
	}
	return fmt.Sprintf("%d rounds", n)
}

// load tells how busy the machine is: much more than its cores, and the numbers say little.
func load() string {
	b, _ := os.ReadFile("/proc/loadavg")
	one, _, _ := strings.Cut(string(b), " ")
	return one
}

func (b *bench) print() {
	fmt.Printf("\nMeasured in %.0f s on %d cores, medians of %s; load average now %s.\n\n",
		time.Since(b.began).Seconds(), runtime.NumCPU(), times(b.rounds), load())
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\tLANTAGE\tSIDE BY SIDE WITH\tRATIO\tGOAL\t")
	for _, r := range b.rows {
		fmt.Fprintln(w, r)
	}
	w.Flush()
	fmt.Println()
	for _, n := range b.notes {
		fmt.Println("-", n)
	}
	if b.short > 0 {
		fmt.Printf("\n%d of %d goals are not reached.\n", b.short, len(b.rows))
	}
}
