package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"lantage/gentoo"
	"lantage/wire"
)

// Emerge is `lantage emerge`: what emerge does with the same arguments, with the building done by a builder.
type Emerge struct {
	Where
	Args       []string // emerge's own, without its name
	Base       string   // auto, client, host, or a directory that the builder offers; empty: the builder's choice
	Copy       []string // directories that are part of the copy of this machine's root, too
	NoCopy     []string // files and directories that are not
	Local      []string // packages that are built here, as patterns
	Remote     []string // packages that a builder builds, whatever speaks against it
	NoInstall  bool     // keep what was built in an archive, instead of merging it
	NoFallback bool     // without a builder, or having lost it, stop instead of building here
	IgnoreCPU  bool     // take also builders whose CPU lacks what this machine's flags ask for
	Verbose    bool     // show the build logs as they are written
	ShowInputs bool     // show what would leave this machine, and do nothing

	// IgnoreRevisions has packages built on a builder's own base also where its repositories are in another state.
	IgnoreRevisions bool

	CacheDir string // for lists of this machine's root; empty: /var/cache/lantage
	LogDir   string // for logs of failed packages; empty: /var/log/lantage, or below XDG_STATE_HOME
	Version  string // of this program

	Environ        []string // NAME=value; of equal names the last counts
	Stdin          io.Reader
	Stdout, Stderr io.Writer

	terminal func(any) bool // nil: isTerminal
	// facts is what asks Portage about packages; nil: queryFacts.
	facts      func(context.Context, *tools, []gentoo.Package) (map[gentoo.CPV]facts, error)
	passedOver []passed
	// unproved is for tests whose binary packages are none.
	unproved bool
	patience time.Duration // 0: reconnectFor
}

// passed is a builder that this job does not go to any more.
type passed struct {
	*builder
	why error
}

// Run does it all. Errors with an ExitCode method carry emerge's own status or one of the Exit constants;
// those with an empty text have been told already.
func (e *Emerge) Run(ctx context.Context) error {
	return interrupted(e.run(ctx))
}

func (e *Emerge) run(ctx context.Context) error {
	t := &tools{environ: e.Environ, stdin: e.Stdin, stdout: e.Stdout, stderr: e.Stderr, onlyShow: e.ShowInputs}
	defer t.end()
	if _, local := gentoo.ParseArgs(e.Args).Local(); local {
		return t.replace(ctx, "emerge", e.Args)
	}
	if err := e.checkHost(); err != nil {
		return err
	}
	if e.Base == wire.BaseClient && !isRoot() {
		return errors.New("--base client: a copy of this machine's root has files that root alone may read; run lantage as root, " +
			"or leave --base out")
	}
	h, err := e.newHome()
	if err != nil {
		return err
	}
	sys, err := querySystem(ctx, t)
	if err != nil {
		return e.plainEmerge(ctx, t, err)
	}
	args, err := gentoo.ParseArgsWithDefaults(e.Args, sys.defaultOpts)
	if _, local := args.Local(); err != nil || local {
		return t.replace(ctx, "emerge", e.Args) // it has its own words for EMERGE_DEFAULT_OPTS that are wrong
	}
	if args.Ask && !e.ShowInputs && !e.isTerminal(e.Stdin) {
		e.warn(`!!! "--ask" should only be used in a terminal. Exiting.`) // emerge's words, and its status
		return exit(ExitFailed)
	}
	if sys.signing.wanted() && e.mayMerge() && !e.ShowInputs {
		if err := sys.signing.ready(t); err != nil {
			return e.plainEmerge(ctx, t, err)
		}
	}
	sys.env = args.Environment(sys.env)
	if err := sys.readRepos(); err != nil {
		return e.plainEmerge(ctx, t, err)
	}
	flags := make(chan struct{})
	go func() { // as long as emerge makes the plan
		sys.queryFlags(ctx, t)
		close(flags)
	}()
	p, err := makePlan(ctx, t, args)
	<-flags
	if parse, ok := errors.AsType[*gentoo.ParseError](err); ok {
		return e.plainEmerge(ctx, t, fmt.Errorf("%w\nPlease report this line as an error of Lantage", parse))
	}
	if errors.Is(err, errChangesConfig) {
		return t.replace(ctx, "emerge", e.Args) // which makes it, or asks
	}
	if err != nil {
		return err
	}
	if err := e.divide(ctx, t, sys, p, h); err != nil {
		return e.plainEmerge(ctx, t, err)
	}
	tiny := len(p.send) > 0 && e.mayMerge() && !args.BuildPkgOnly && p.onlyTiny(h)
	switch {
	case e.ShowInputs && tiny:
		e.say("Nothing of this plan has to be fetched or compiled; plain emerge does it, and nothing would leave this machine.")
		return nil
	case e.ShowInputs:
		return e.showInputs(ctx, sys, p)
	case len(p.send) == 0:
		return e.nothingToSend(ctx, t, args, p)
	case tiny:
		e.say("Nothing of this plan has to be fetched or compiled; plain emerge goes on.")
		return t.replace(ctx, "emerge", e.Args)
	}
	return e.offload(ctx, t, args, sys, p)
}

// divide asks Portage about the packages of a plan and decides which of them a builder builds.
func (e *Emerge) divide(ctx context.Context, t *tools, sys *system, p *plan, h *home) (err error) {
	query := e.facts
	if query == nil {
		query = queryFacts
	}
	p.facts, err = query(ctx, t, p.list.Builds())
	t.end()
	if err != nil {
		return err
	}
	h.repos, h.configRoot, h.facts, h.unresolved = sys.repos, sys.configRoot, p.facts, sys.flags.unresolved
	p.send, p.stay = h.split(p.list)
	for _, name := range slices.Sorted(maps.Keys(h.unresolved)) {
		if !h.used[name] {
			sys.flags.warnings = append(sys.flags.warnings, gentoo.FirstLine(h.unresolved[name].Error())+" (no package of this plan uses that file)")
		}
	}
	return nil
}

// offload has the packages of a plan built by a builder and merges them. If a builder declines the job as a whole, the next one
// is asked.
func (e *Emerge) offload(ctx context.Context, t *tools, args gentoo.Args, sys *system, whole *plan) error {
	if sys.flags.err != nil {
		return e.plainEmerge(ctx, t, sys.flags.err)
	}
	e.showPlan(args, whole)
	if _, lose := sentEnv(sys.env); len(lose) > 0 {
		e.warn("%s in the environment: the builder does not get the credentials in it.", strings.Join(lose, ", "))
	}
	var last *builder // declined the job
	var o outcome
	p := whole // as a builder can do it
	for {
		b, err := e.findBuilder(ctx, sys)
		if errors.Is(err, errUnwanted) {
			continue // with the next one
		}
		if none, ok := errors.AsType[*errNoBuilder](err); ok {
			if last != nil {
				o.told = true
				return e.finish(ctx, t, args, sys, p, last, o)
			}
			return e.withoutBuilder(ctx, t, args, p, none.why)
		}
		if err != nil {
			return err
		}
		var moved []staying
		if p, moved = whole.forBuilder(b); len(p.send) == 0 {
			b.conn.Close()
			return e.nothingToSend(ctx, t, args, p)
		}
		for _, s := range moved {
			e.say("%s stays here: %s", s.CPV, s.why)
		}
		if b, err = e.confirmed(ctx, args, sys, p, b); err != nil {
			if gone, ok := errors.AsType[*errNoBuilder](err); ok {
				return e.withoutBuilder(ctx, t, args, p, gone.why)
			}
			return err
		}
		e.tellNative(sys)
		o, err = e.build(ctx, t, sys, p, b)
		b.conn.Close()
		if err != nil {
			return err
		}
		if !o.refused() || e.onlyOne() {
			return e.finish(ctx, t, args, sys, p, b, o)
		}
		e.warn("%v: %s.\nLooking for another builder.", b, lostReason(o.err))
		e.passedOver = append(e.passedOver, passed{b, errors.New("it declined this job")})
		last = b
	}
}

// confirmed asks the question of --ask, if it is to be asked. Meanwhile the connection is given up: people take their time.
func (e *Emerge) confirmed(ctx context.Context, args gentoo.Args, sys *system, p *plan, b *builder) (*builder, error) {
	if !args.Ask {
		return b, nil
	}
	b.conn.Close()
	if err := e.ask(ctx, e.question(p, b)); err != nil {
		return nil, err
	}
	again, err := b.again(ctx)
	if err != nil {
		return nil, &errNoBuilder{"the builder has gone: " + reasonLine(err)}
	}
	again.base = b.base
	return again, nil
}

// checkHost tells at once what is wrong with what the user says of builders.
func (e *Emerge) checkHost() error {
	if err := e.check(); err != nil {
		return err
	}
	if e.Port != "" && e.Host == "" && e.Builder == "" {
		e.warn("--port and LANTAGE_PORT have no effect without --builder or LANTAGE_HOST: other builders tell their port.")
	}
	return nil
}

// plainEmerge goes on without Lantage where it does not understand this machine: nothing is guessed.
func (e *Emerge) plainEmerge(ctx context.Context, t *tools, why error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case e.NoFallback || e.NoInstall || e.ShowInputs:
		return &ExitError{ExitNoFallback, why}
	}
	e.warn("%v\nGoing on with plain emerge.", why)
	return t.replace(ctx, "emerge", e.Args)
}

// nothingToSend is a plan without a package for a builder.
func (e *Emerge) nothingToSend(ctx context.Context, t *tools, args gentoo.Args, p *plan) error {
	for _, s := range p.stay {
		e.say("%s is built here: %s", s.CPV, s.why)
	}
	switch {
	case e.NoInstall && !p.nothing():
		e.say("No package of this plan is for a builder.")
		return nil
	case !p.nothing():
		e.say("No package of this plan is for a builder; plain emerge goes on.")
	case args.Oneshot || !e.mayMerge():
		e.showPlan(args, p)
		e.say("Nothing to merge; quitting.\n")
		return nil
	default:
		e.say("Nothing to build; emerge itself does the rest.") // such as a new entry of the world file
	}
	return t.replace(ctx, "emerge", e.Args)
}

// showPlan shows what emerge would do, as emerge shows it, and what stays here.
func (e *Emerge) showPlan(args gentoo.Args, p *plan) {
	if !args.Quiet || args.Ask {
		text := p.shown
		if e.isTerminal(e.Stdout) && lookupEnv(e.Environ, "NO_COLOR") == "" {
			text = coloured(text)
		}
		fmt.Fprint(e.Stdout, text)
	}
	fmt.Fprint(e.Stderr, p.warnings)
	fmt.Fprintln(e.Stdout)
	for _, s := range p.stay {
		if !p.nothing() {
			e.say("%s stays here: %s", s.CPV, s.why)
		}
	}
}

// withoutBuilder goes on here, after one line that says why and what else could be done.
func (e *Emerge) withoutBuilder(ctx context.Context, t *tools, args gentoo.Args, p *plan, why string) error {
	const next = "To name a builder: LANTAGE_HOST=… lantage emerge …, or builders in " + ConfigFile + "; " +
		"to see what was tried: lantage list-builders"
	if e.NoFallback || e.NoInstall {
		return exitf(ExitNoFallback, "%s.\n%s", why, next)
	}
	e.warn("%s.\n%s", why, next)
	if args.Ask {
		if err := e.ask(ctx, fmt.Sprintf("Build %s here?", these(p.merges()))); err != nil {
			return err
		}
		return t.replace(ctx, "emerge", withoutAsk(e.Args))
	}
	e.warn("Building here, with plain emerge.")
	return t.replace(ctx, "emerge", e.Args)
}

// withoutAsk is a command line whose question was asked already.
func withoutAsk(args []string) []string {
	for i, a := range args {
		if a == "--" {
			return append(append(append([]string{}, args[:i]...), "--ask=n"), args[i:]...)
		}
	}
	return append(append([]string{}, args...), "--ask=n")
}

// question is the one question of --ask.
func (e *Emerge) question(p *plan, b *builder) string {
	switch {
	case e.mayMerge() && p.merges() == 1:
		return fmt.Sprintf("Would you like to merge this package, built on %v?", b)
	case e.mayMerge():
		return fmt.Sprintf("Would you like to merge these packages, %d of them built on %v?", len(p.send), b)
	}
	return fmt.Sprintf("Would you like to have %s built on %v?", count(len(p.send), "package"), b)
}

// these are n packages, in a question about them.
func these(n int) string {
	if n == 1 {
		return "this package"
	}
	return fmt.Sprintf("these %d packages", n)
}

// ask asks; anything but Yes is an error with emerge's status for it.
func (e *Emerge) ask(ctx context.Context, question string) error {
	a := asker{in: e.Stdin, out: e.Stdout, enterInvalid: slices.Contains(e.Args, "--ask-enter-invalid")}
	yes, err := a.yes(ctx, question)
	if err == nil && !yes {
		e.say("\nQuitting.\n")
		err = exit(ExitInterrupted)
	}
	return err
}

func (e *Emerge) dialer(keys *keyring) *dialer {
	return &dialer{
		self: wire.Hello{Name: hostName(), Software: e.Version}, identity: keys.self, secret: keys.secret, wanted: keys.enough,
	}
}

func (e *Emerge) isTerminal(stream any) bool {
	if e.terminal != nil {
		return e.terminal(stream)
	}
	return isTerminal(stream)
}

// say tells the user something, and warn does so where the answers of programs do not go. A terminal gets lines that fit.
func (e *Emerge) say(format string, args ...any)  { e.tell(e.Stdout, format, args) }
func (e *Emerge) warn(format string, args ...any) { e.tell(e.Stderr, format, args) }

func (e *Emerge) tell(out io.Writer, format string, args []any) {
	width := 0
	if e.isTerminal(out) {
		width = widthOf(out, e.Environ)
	}
	fmt.Fprintln(out, wrapped(fmt.Sprintf(format, args...), width))
}
