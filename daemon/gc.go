package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"text/tabwriter"
	"time"

	"lantage/build"
	"lantage/gentoo"
	"lantage/rootfs"
)

// How long what nobody uses is kept by a daemon that nobody tells otherwise.
const (
	KeepContents = 7 * 24 * time.Hour  // files that are in no client's root any more: a sync that was cut short needs them
	KeepUnused   = 60 * 24 * time.Hour // copies of clients that did not come, PKGDIRs and distfiles
	gcInterval   = 24 * time.Hour
)

// GC is `lantage gc`: it makes room on a builder's disk, whether a daemon runs there or not.
type GC struct {
	StateDir string
	Contents time.Duration // as KeepContents
	Unused   time.Duration // as KeepUnused
	MaxBytes int64         // what the copies may take; 0: any size
	DryRun   bool
	Forget   string // a client's copy to remove: its ID, the beginning of that, or its name
	Stdout   io.Writer
	Logger   *slog.Logger
}

// Run removes, and prints what there is and what went.
func (g *GC) Run(ctx context.Context) error {
	store, err := rootfs.OpenStore(filepath.Join(g.StateDir, rootsDir), g.Logger)
	if err != nil {
		return fmt.Errorf("the copies of clients' roots: %w", err)
	}
	defer store.Close()
	if g.Forget != "" {
		return g.forget(store)
	}
	report, err := store.GC(ctx, rootfs.GCOptions{
		OlderThan: g.Contents, Unused: g.Unused, MaxBytes: g.MaxBytes, DryRun: g.DryRun,
	})
	if errors.Is(err, rootfs.ErrBusy) {
		return fmt.Errorf("%w; run lantage gc again when it has ended", err)
	}
	if err != nil {
		return err
	}
	built, err := build.Collect(g.StateDir, g.Unused, g.DryRun)
	if err := g.print(store, report, built); err != nil {
		return err
	}
	return err
}

func (g *GC) print(store *rootfs.Store, report rootfs.GCReport, built build.Collected) error {
	copies, err := store.Clients()
	if err != nil {
		return err
	}
	if len(copies) > 0 {
		w := tabwriter.NewWriter(g.Stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "CLIENT\tID\tADDRESS\tFILES\tSIZE\tLAST SYNC")
		for _, c := range copies {
			when := "never whole"
			if !c.Synced.IsZero() {
				when = c.Synced.Local().Format("2006-01-02 15:04")
			}
			fmt.Fprintf(w, "%s\t%.8s\t%s\t%d\t%s\t%s\n", gentoo.Printable(c.Name), c.ID, gentoo.Printable(c.Address), c.Entries,
				rootfs.HumanBytes(c.Bytes), when)
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	verb := "Removed"
	if g.DryRun {
		verb = "Would remove"
	}
	if len(report.Clients)+report.Generations+report.Objects+built.PkgDirs+built.Distfiles == 0 {
		fmt.Fprintln(g.Stdout, "Nothing to remove.")
	} else {
		g.printRemoved(verb, report, built)
	}
	fmt.Fprintf(g.Stdout, "The copies take %s of disk: what is in several of them is there once.\n", rootfs.HumanBytes(report.Left))
	if report.Held > 0 {
		fmt.Fprintf(g.Stdout, "%d generations are in use by jobs and went not.\n", report.Held)
	}
	return nil
}

// printRemoved says what went, or would go.
func (g *GC) printRemoved(verb string, report rootfs.GCReport, built build.Collected) {
	fmt.Fprintf(g.Stdout, "%s: %d copies of clients' roots, %d old generations, %d files in no root, %d PKGDIRs, %d distfiles: %s.\n",
		verb, len(report.Clients), report.Generations, report.Objects, built.PkgDirs, built.Distfiles,
		rootfs.HumanBytes(report.Bytes+built.Bytes))
}

// forget removes one client's copy.
func (g *GC) forget(store *rootfs.Store) error {
	c, err := pickCopy(store, g.Forget)
	if err != nil {
		return err
	}
	if g.DryRun {
		fmt.Fprintf(g.Stdout, "Would remove the copy of %s (%.8s).\n", gentoo.Printable(c.Name), c.ID)
		return nil
	}
	if err := errors.Join(store.Forget(c.ID), build.ForgetClient(g.StateDir, c.ID)); err != nil {
		return err
	}
	fmt.Fprintf(g.Stdout, "Removed the copy of %s (%.8s), and what was built on it.\n", gentoo.Printable(c.Name), c.ID)
	return nil
}

// collect makes room now and then, as long as the daemon runs.
func (s *Server) collect(ctx context.Context) {
	for {
		var report rootfs.GCReport
		var err error
		if s.Roots != nil {
			report, err = s.Roots.GC(ctx, rootfs.GCOptions{OlderThan: KeepContents, Unused: KeepUnused})
		}
		built, buildErr := build.Collect(s.StateDir, KeepUnused, false)
		switch err = errors.Join(err, buildErr); {
		case ctx.Err() != nil:
		case err != nil && !errors.Is(err, rootfs.ErrBusy):
			s.Logger.Warn("making room on the disk", "error", err)
		case report.Bytes+built.Bytes > 0:
			s.Logger.Info("room was made on the disk", "copies", len(report.Clients), "bytes", report.Bytes+built.Bytes)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(gcInterval):
		}
	}
}
