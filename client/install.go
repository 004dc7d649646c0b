package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"lantage/gentoo"
	"lantage/wire"
)

// finish does what is left when a job is over, one way or another.
func (e *Emerge) finish(
	ctx context.Context, t *tools, args gentoo.Args, sys *system, p *plan, b *builder, o outcome,
) error {
	if o.staging {
		if err := e.keep(args, sys, p, o); err != nil {
			return err
		}
	} else if len(o.arrived) > 0 {
		if sys.signing.wanted() {
			if err := e.sign(context.WithoutCancel(ctx), t, o); err != nil {
				return err
			}
		}
		if err := refreshIndex(ctx, t); err != nil {
			return err
		}
	}
	switch {
	case o.err != nil:
		return e.unfinished(ctx, t, args, p, b, o)
	case len(o.failed) > 0 && onlyDeclined(o.failed):
		return e.declined(ctx, t, args, b, o)
	case len(o.failed) > 0:
		return e.partly(ctx, t, args, p, o)
	case o.staging:
		return nil
	case args.BuildPkgOnly && len(p.stay) == 0:
		e.say("%s built on %v; the binary packages are in %s.", count(len(o.arrived), "package"), b, o.pkgdir)
		return nil
	}
	e.say("%s from %v arrived; emerge merges here.", count(len(o.arrived), "package"), b)
	if b.base == wire.BaseClient && len(p.stay) == 0 {
		return e.mergeOnly(ctx, t, args)
	}
	return t.show(ctx, "emerge", args.MergeArgs(false))
}

// mergeOnly merges what was built in a copy of this machine's root. Nothing of it has to be compiled here, and so nothing is
// without a word.
func (e *Emerge) mergeOnly(ctx context.Context, t *tools, args gentoo.Args) error {
	err := t.show(ctx, "emerge", args.MergeArgs(true))
	if isExit(err) && ctx.Err() == nil {
		e.warn("What was built is in PKGDIR. If emerge misses a binary package, this compiles it here:\n  emerge %s",
			quoteAll(args.MergeArgs(false)))
	}
	return err
}

// refreshIndex makes Portage see what was put into PKGDIR (FEATURES=pkgdir-index-trusted is its default). It
// is done also after Ctrl-C: it is quick, and a second Ctrl-C ends it.
func refreshIndex(ctx context.Context, t *tools) error {
	out, err := t.capture(context.WithoutCancel(ctx), "emaint", []string{"--fix", "binhost"})
	if err == nil && out.status != 0 {
		err = fmt.Errorf("`emaint --fix binhost` failed with status %d, so Portage does not see the packages that "+
			"arrived:\n%s%s", out.status, out.stdout, out.stderr)
	}
	return err
}

// unfinished is a job whose end did not come: it was cancelled, this machine could not take what was sent,
// or the builder was lost. What arrived stays.
func (e *Emerge) unfinished(
	ctx context.Context, t *tools, args gentoo.Args, p *plan, b *builder, o outcome,
) error {
	kept := fmt.Sprintf("%d of %s arrived", len(o.arrived), count(len(p.send), "package"))
	if len(o.arrived) > 0 && !o.staging {
		kept += " and stay in " + o.pkgdir
	}
	if ctx.Err() != nil {
		return exitf(ExitInterrupted, "Interrupted; the job on %v was cancelled. %s.", b, kept)
	}
	if local, ok := errors.AsType[*localError](o.err); ok {
		return fmt.Errorf("%w\nThe job on %v was cancelled. %s.%s", local, b, kept, adviceFor(local))
	}
	why := fmt.Sprintf("%v: %s.", b, lostReason(o.err))
	switch {
	case o.told:
		why = "There is no other builder that can be used."
	case !o.refused():
		why += " " + kept + "."
	}
	switch {
	case (e.NoFallback || o.staging) && forGood(o.err):
		return exitf(ExitNoFallback, "%s", why)
	case e.NoFallback || o.staging:
		return exitf(ExitNoFallback, "%s\nTry again with the same command.", why)
	}
	e.warn("%s", why)
	return e.rest(ctx, t, args, len(p.send)-len(o.arrived))
}

// forGood reports whether the builder refuses a job in such a way that it would do so again.
func forGood(err error) bool {
	refused, ok := errors.AsType[*wire.Error](err)
	return ok && refused.Code == wire.CodeDeclined
}

// declined is a job of which the builder could not build all, without anything having failed: the rest is built here.
func (e *Emerge) declined(ctx context.Context, t *tools, args gentoo.Args, b *builder, o outcome) error {
	e.reportFailures(o.failed, nil)
	if e.NoFallback || o.staging {
		return exitf(ExitNoFallback, "%v could not build %s.", b, count(len(o.failed), "package"))
	}
	return e.rest(ctx, t, args, len(o.failed))
}

// rest builds here what did not come from a builder, and merges all.
func (e *Emerge) rest(ctx context.Context, t *tools, args gentoo.Args, left int) error {
	if args.Ask {
		question := fmt.Sprintf("Build the other %d packages here?", left)
		if left == 1 {
			question = "Build the other package here?"
		}
		if err := e.ask(ctx, question); err != nil {
			return err
		}
	} else {
		e.warn("Going on here, with emerge.")
	}
	return t.show(ctx, "emerge", args.MergeArgs(false))
}

// lostReason says what became of the builder.
func lostReason(err error) string {
	refused, ok := errors.AsType[*wire.Error](err)
	if !ok {
		return reasonLine(err)
	}
	text := oneLine(refused.Text, 500)
	switch refused.Code {
	case wire.CodeShutdown:
		return "its daemon ends: " + text
	case wire.CodeDeclined:
		return "it declines this job: " + text
	case wire.CodeBusy:
		return "it is busy: " + text
	case wire.CodeUnknownJob:
		return "it does not know the job any more (" + text + ")"
	case wire.CodeBadRequest:
		return "it does not accept the job: " + text
	}
	return "it reports an error of its own: " + text
}

// adviceFor is what to do about a fault of this machine.
func adviceFor(err error) string {
	switch {
	case errors.Is(err, gentoo.ErrNoSpace):
		return "\nMake room and run the same command again; what is built already is not built anew."
	case errors.Is(err, gentoo.ErrReadOnly), errors.Is(err, gentoo.ErrPermission):
		return "\nMake it writable and run the same command again, or use `lantage --no-install emerge …`."
	}
	return ""
}

// mergeArrived merges what arrived of a job in which a package failed. The user's own command would compile
// the failed ones here, for hours perhaps, so only binpkgs are used. If emerge refuses them together,
// because one of them needs what failed, each is tried by itself. It returns the packages that were merged.
func mergeArrived(ctx context.Context, t *tools, p *plan, arrived []arrival) ([]arrival, error) {
	options := []string{
		"--ignore-default-opts", "--oneshot", "--usepkgonly", "--binpkg-respect-use=y", "--keep-going", "--ask=n",
		"--quiet-build=y",
	}
	var atoms []string
	for _, pkg := range p.list.Packages {
		if pkg.Kind == gentoo.KindBinary && pkg.Root == "" {
			atoms = append(atoms, "="+pkg.CPV.String())
			if pkg.Remote && !slices.Contains(options, "--getbinpkg") {
				options = append(options, "--getbinpkg")
			}
		}
	}
	for _, a := range arrived {
		atoms = append(atoms, "="+a.cpv.String())
	}
	out, err := t.capture(ctx, "emerge", append(append(slices.Clone(options), "--pretend"), atoms...))
	if err != nil {
		return nil, err
	}
	if out.status == 0 {
		return arrived, t.show(ctx, "emerge", append(slices.Clone(options), atoms...))
	}
	var merged []arrival
	for _, a := range arrived {
		out, err := t.capture(ctx, "emerge", append(append(slices.Clone(options), "--pretend"), "="+a.cpv.String()))
		if err == nil && out.status == 0 {
			err = t.show(ctx, "emerge", append(slices.Clone(options), "="+a.cpv.String()))
			if err == nil {
				merged = append(merged, a)
				continue
			}
		}
		if ctx.Err() != nil {
			return merged, exit(ExitInterrupted)
		}
		if err != nil && !isExit(err) {
			return merged, err
		}
	}
	return merged, nil
}

func isExit(err error) bool {
	_, ok := errors.AsType[*ExitError](err)
	return ok
}

// worldTargets returns those of the user's atoms of which a package was merged and none is missing: emerge
// would have put them into the world file.
func worldTargets(targets []string, merged []arrival, failed []failure) []string {
	var world []string
	for _, target := range targets {
		names := func(cpv gentoo.CPV) bool { return targetNames(target, cpv) }
		if slices.ContainsFunc(merged, func(a arrival) bool { return names(a.cpv) }) &&
			!slices.ContainsFunc(failed, func(f failure) bool { return names(f.cpv) }) {
			world = append(world, target)
		}
	}
	return world
}

// targetNames reports whether an atom on emerge's command line is about a package: "prog", "cat/prog",
// ">=cat/prog-1.2:0".
func targetNames(target string, cpv gentoo.CPV) bool {
	target = strings.TrimLeft(target, "<>=~!")
	target, _, _ = strings.Cut(target, "[")
	target, _, _ = strings.Cut(target, ":")
	target = strings.TrimSuffix(target, "*")
	for _, full := range []string{cpv.CP(), cpv.Name} {
		rest, ok := strings.CutPrefix(target, full)
		if ok && (rest == "" || len(rest) > 1 && rest[0] == '-' && rest[1] >= '0' && rest[1] <= '9') {
			return true
		}
	}
	return false
}
