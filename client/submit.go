package client

import (
	"cmp"
	"context"
	"errors"
	"path/filepath"
	"time"

	"lantage/wire"
)

// outcome is what came of a job.
type outcome struct {
	id      string    // the job's, short
	arrived []arrival // in the order of the plan
	failed  []failure // packages that have no binpkg, in the order of the plan; only where err is nil
	err     error     // why the builder's last word is missing; nil where it came
	pkgdir  string    // where the binpkgs are
	staging bool      // pkgdir is ours and not PKGDIR
	told    bool      // the user knows err already
}

// refused reports whether the builder took nothing of the job, so that another may be asked.
func (o outcome) refused() bool {
	why, ok := errors.AsType[*wire.Error](o.err)
	return ok && len(o.arrived) == 0 && (why.Code == wire.CodeDeclined || why.Code == wire.CodeBusy)
}

// build submits the job, watches it to its end and takes what arrives.
func (e *Emerge) build(ctx context.Context, t *tools, sys *system, p *plan, b *builder) (outcome, error) {
	sent, msg := e.newJob(ctx, sys, p, b)
	o := outcome{id: msg.ID[:8], pkgdir: sys.pkgdir}
	if !e.mayMerge() {
		o.pkgdir, o.staging = filepath.Join(e.stateDir(e.Environ), o.id, "binpkgs"), true
	}
	store, err := openStore(o.pkgdir)
	if err != nil {
		return o, err
	}
	defer store.Close()
	if b.base == wire.BaseClient {
		if o.err = e.copyFor(ctx, sys, p, b, &msg); o.err != nil {
			return o, nil
		}
	}
	dist := e.distfilesFor(sys, p, b)
	in := e.inputs(sys, b, sent)
	file, size, err := in.pack(ctx)
	if err != nil {
		return o, err
	}
	defer file.Close()

	screen := newScreen(e.Stdout, e.Environ)
	var tick <-chan time.Time
	if screen.tty {
		ticker := time.NewTicker(time.Second)
		defer ticker.Stop()
		tick = ticker.C
	}
	show := newDisplay(screen, newBoard(b.hello.Name, len(p.send)), time.Now, tick)
	defer show.close()
	rs := newResults(p.send, store, filepath.Join(e.logDir(), o.id), show.transfer)
	if !e.unproved {
		pr := newProof(p, sys, b.base != wire.BaseClient)
		rs.check, rs.arrive = pr.check, e.newRecorder(ctx, t, sys, p, b, msg, o.pkgdir, pr).write
	}
	j := &job{
		msg: msg, inputs: file, size: size, builder: b, results: rs, display: show,
		redial:   func(ctx context.Context) (*builder, error) { return b.again(ctx) },
		patience: cmp.Or(e.patience, reconnectFor),
	}
	if b.channel != nil {
		j.distrust = func() error { return revokedSince(KnownBuilders(e.stateDir(e.Environ)), b) }
	}
	if dist != nil {
		dist.say, j.dist = show.say, dist
	}
	done, err := j.run(ctx)
	o.arrived = rs.inOrder(p.send)
	if err == nil {
		o.failed, o.err = judge(p.send, done, rs)
	} else {
		o.err = err
	}
	return o, nil
}

// inputs are the files that go with a job.
func (e *Emerge) inputs(sys *system, b *builder, sent []overlay) *inputs {
	return &inputs{
		root: sys.configRoot, repos: sys.repoLocations(), profiles: sys.profiles, overlays: sent, warn: e.warn,
		none: b.base == wire.BaseClient, resolved: sys.flags.resolved,
	}
}

// newJob is the message that asks for a plan's packages, and the repositories that go with it.
func (e *Emerge) newJob(ctx context.Context, sys *system, p *plan, b *builder) ([]overlay, wire.Job) {
	env, _ := sentEnv(sys.env)
	msg := wire.Job{
		ID: newJobID(), Client: hostName(), CHOST: sys.chost, Env: env, Log: e.Verbose, Base: b.base, Identity: b.secret, Nodeps: p.nodeps, Clear: p.seenByBuilds(),
		Profile: wire.Profile(sys.profiles[0]),
	}
	for _, parent := range sys.profiles[1:] {
		msg.Parents = append(msg.Parents, wire.Profile(parent))
	}
	for _, pkg := range p.send {
		msg.Packages = append(msg.Packages, wire.Package{CPV: pkg.CPV.String(), Repo: pkg.Repo})
	}
	for _, r := range sys.repos {
		msg.Repos = append(msg.Repos, wire.Repo{Name: r.Name, Location: r.Location})
	}
	if b.base == wire.BaseClient {
		return nil, msg
	}
	return e.planRepos(ctx, sys, p, msg.Repos), msg
}

// copyFor brings the builder's copy of this machine's root to where the job can be built on it.
func (e *Emerge) copyFor(ctx context.Context, sys *system, p *plan, b *builder, msg *wire.Job) error {
	c, err := e.rootCopy(sys)
	if err == nil {
		err = c.withKernel(kernelFor(p.send, p.facts))
	}
	if err != nil {
		return &localError{err}
	}
	done, err := e.syncRoot(ctx, sys, c, b)
	if err != nil {
		return err
	}
	msg.Root = done.digest
	return nil
}
