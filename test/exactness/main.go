// Command exactness proves on a real pair of machines that what a builder makes is what this machine would have made. It
// builds packages twice with emerge here and once through lantage, merges nothing, and prints what differs.
//
//	exactness [-keep DIR] LANTAGE [FLAG...] -- ATOM...
//
// LANTAGE is the program, FLAGs are its own, such as --builder and --base; with the atoms may stand options of emerge. The
// exit status is 1 if a package differs in anything in which the two builds here are equal, or one of the three is missing.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"lantage/test/exactness/compare"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	keep := flag.String("keep", "", "keep what is built in this directory")
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "usage: exactness [-keep DIR] LANTAGE [FLAG...] -- ATOM...")
	}
	flag.Parse()
	exact, err := run(ctx, *keep, flag.Args(), os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "exactness:", err)
	}
	if err != nil || !exact {
		os.Exit(1)
	}
}

// rounds are the three builds, and the names of their PKGDIRs.
var rounds = [...]struct{ dir, title string }{
	{"here", "the first build here"},
	{"again", "the second build here"},
	{"builder", "the build through the builder"},
}

// options are emerge's in all rounds. Nothing is merged, and nothing that was built before counts.
var options = []string{
	"--ignore-default-opts", "--oneshot", "--buildpkgonly", "--usepkg=n", "--getbinpkg=n", "--ask=n", "--keep-going",
	"--quiet-build=y", "--color=n",
}

func run(ctx context.Context, dir string, args []string, out io.Writer) (exact bool, err error) {
	i := slices.Index(args, "--")
	if i < 1 || i == len(args)-1 {
		flag.Usage()
		return false, errors.New("which packages? make exactness ATOMS=\"app-misc/jq …\"")
	}
	if os.Geteuid() != 0 {
		return false, errors.New("only root can build with emerge: run this as root, on the client")
	}
	if _, err := exec.LookPath("emerge"); err != nil {
		return false, fmt.Errorf("%w: run this on the client, a Gentoo machine", err)
	}
	if dir == "" {
		if dir, err = os.MkdirTemp("/var/tmp", "exactness-"); err != nil {
			return false, err
		}
		defer func() { exact, err = tidy(dir, exact, err) }()
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return false, err
	}
	if err := os.Chmod(dir, 0o755); err != nil { // fetching and compiling is not root's
		return false, err
	}
	if err := buildAll(ctx, dir, args[:i], args[i+1:], out); err != nil {
		return false, err
	}
	var builds [len(rounds)]map[string]*compare.Package
	for n, r := range rounds {
		if builds[n], err = compare.ReadDir(filepath.Join(dir, r.dir)); err != nil {
			return false, err
		}
	}
	fmt.Fprintln(out)
	return compare.Print(out, compare.Compare(builds[0], builds[1], builds[2]))
}

// tidy removes what was built, unless somebody will want to look at it.
func tidy(dir string, exact bool, err error) (bool, error) {
	if exact && err == nil {
		return true, os.RemoveAll(dir)
	}
	fmt.Fprintf(os.Stderr, "\nWhat was built, and what the programs said, is in %s.\n", dir)
	return exact, err
}

// buildAll has the packages built: here twice, one after the other, for that is in one place, and at the same time through
// the builder.
func buildAll(ctx context.Context, dir string, lantage, atoms []string, out io.Writer) error {
	emerge := slices.Concat([]string{"emerge"}, options, atoms)
	remote := slices.Concat(lantage, []string{"--no-fallback"}, emerge)
	var mu sync.Mutex
	say := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(out, format, args...)
	}
	failed := make(chan error, 1)
	go func() { failed <- build(ctx, dir, 2, remote, say) }()
	err := build(ctx, dir, 0, emerge, say)
	if err == nil {
		err = build(ctx, dir, 1, emerge, say)
	}
	return errors.Join(err, <-failed)
}

// build runs the command of one round. What it says goes to a file beside its PKGDIR. That it fails is an error only if it
// built nothing: else the table shows what is missing.
func build(ctx context.Context, dir string, round int, argv []string, say func(string, ...any)) error {
	pkgdir, title, begin := filepath.Join(dir, rounds[round].dir), rounds[round].title, time.Now()
	if err := os.MkdirAll(pkgdir, 0o755); err != nil {
		return err
	}
	log, err := os.Create(pkgdir + ".log")
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), "PKGDIR="+pkgdir)
	if argv[0] == "emerge" { // Lantage's own variables would be part of what is built, here and not there
		cmd.Env = slices.DeleteFunc(cmd.Env, func(v string) bool { return strings.HasPrefix(v, "LANTAGE_") })
	}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	err = cmd.Run()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	found := false
	walkErr := filepath.WalkDir(pkgdir, func(name string, _ os.DirEntry, err error) error {
		found = found || compare.IsBinpkg(name)
		return err
	})
	if walkErr != nil {
		return walkErr
	}
	if err != nil && !found {
		said, _ := os.ReadFile(log.Name())
		advice := ""
		if strings.Contains(string(said), "--buildpkgonly requires all dependencies to be merged") {
			advice = "\nMerge what they need to be built first: emerge --oneshot --onlydeps ATOM…"
		}
		return fmt.Errorf("%s failed: %w; it said:\n%s%s", title, err, lastLines(string(said), 30), advice)
	}
	how := "done"
	if err != nil {
		how = fmt.Sprintf("done in part (%v; see %s)", err, log.Name())
	}
	say("%s: %s, %v\n", title, how, time.Since(begin).Round(time.Second))
	return nil
}

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
