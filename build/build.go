// Package build runs one job on this machine: it makes a build root, has the client's emerge arguments run
// in it by real Portage, and reports what comes of it. It knows no network and no client.
//
// # What isolation promises
//
// A build root is an overlay file system over a read-only Base, in mount, PID, IPC and UTS namespaces of
// its own and in a user namespace whose root is an unprivileged ID range of the builder. What a job writes
// is thrown away; only its PKGDIR lasts, and copies of what it has downloaded (fetched.go). The job cannot see other processes, the paths that its
// Base masks, or write to anything of the builder. It has the capabilities in keptCapabilities, over its own namespaces
// only, and no way to others; deniedCalls are the system calls that it cannot make. All this is proved in each build root before
// anything runs there (prove.go). What it takes of the machine has Limits. It does share the builder's network (Portage's own network-sandbox closes it for the phases
// that compile) and its kernel.
package build

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"lantage/gentoo"
)

// Job is what to build, already validated.
type Job struct {
	ID       string    // names the build root's directory; [0-9a-f]{32}
	Dir      string    // the job's own directory, made and in the end removed by the caller
	Inputs   string    // a directory with etc/portage as the client has it, repos/NAME that only it has, resolvedDir; owned by root
	Packages []Package // in merge-list order
	Profile  gentoo.Profile
	Parents  []gentoo.Profile // further ones, where the client's make.profile is a directory with several parents
	Repos    []gentoo.Repo    // the client's, with the locations of its repos.conf
	Base     string           // the name of the base asked for; empty: the preferred one
	Env      []string         // NAME=value: the client's Portage variables that change what is built
	Clear    []string         // variables that are empty in the build root, since the client's value is not for it
	Nodeps   bool             // build without what the packages ask for
	Log      string           // file that takes all build logs, each line prefixed with its package

	// Distfiles are those of the job's that its client says it has; Client is who it is, as StoreSent was told.
	Distfiles []gentoo.Distfile
	Client    string
	// HostName is what the machine is called inside; empty: as this one.
	HostName string
	// Root is the copy of the client's root that the job is built on; nil: it is built on Base.
	Root *Root
	// Revisions are states of the client's repositories, by name: the job is declined unless the base's are in the same.
	Revisions map[string]string
}

// Package is one package of a job.
type Package struct {
	gentoo.CPV
	Repo string
}

// EventKind says what an Event tells.
type EventKind int

// Kinds of events.
const (
	EventStarted EventKind = iota // the build root is ready and emerge runs
	EventPackage                  // a package changed its State or Phase
	EventResult                   // Result is ready
	EventNote                     // Text is for the user
)

// State is how far a package is.
type State int

// States of a package. The zero State is a package that was not begun.
const (
	StateWaiting State = iota
	StateBuilding
	StateBuilt
	StateReused   // answered from PKGDIR without a compile
	StateFailed   // in Phase
	StateSkipped  // not tried, because of another; Text says why
	StateDeclined // this builder cannot build it; Text says why
)

// Event is one step of a job.
type Event struct {
	Kind  EventKind
	CPV   gentoo.CPV
	N, Of int // the package's place among those that emerge handles, 1-based
	State State
	Phase gentoo.Phase
	Text  string
	// Result is set with EventResult.
	Result *Result
}

// Result is a file that the job made: a binpkg, or the build log of a package that failed.
type Result struct {
	CPV    gentoo.CPV
	Dir    string // PKGDIR or the log directory, on this machine
	Path   string // below Dir, and the name for the client
	Log    bool   // it is a build log
	Size   int64
	SHA256 [32]byte
	Reused bool // it was in PKGDIR before the job
}

// Report is how a job ended.
type Report struct {
	Packages []PackageReport // one for each of Job.Packages, in order
	ExitCode int             // emerge's
	Text     string          // the end of emerge's own words when ExitCode is not 0
}

// PackageReport is how one package ended: one of the states from StateBuilt on.
type PackageReport struct {
	CPV   gentoo.CPV
	State State
	Phase gentoo.Phase
	Text  string
}

// A DeclineError says that this builder cannot do this job as it is configured; another builder might.
type DeclineError struct{ Reason string }

func (e *DeclineError) Error() string { return e.Reason }

// Runner runs jobs. Its fields are set before the first Run and not changed.
type Runner struct {
	StateDir string       // for PKGDIRs and distfiles; jobs' directories are on the same file system
	Bases    []OwnBase    // what jobs without a Root may be built on, the preferred one first
	Cores    int          // CPUs that jobs may use
	Memory   int64        // bytes that jobs may use
	Limits   Limits       // of each job
	Logger   *slog.Logger // what the daemon's owner reads

	keys   keyLocks
	ranges idRanges
	groups *cgroups // see Enforce
}

// Run runs a job to its end and reports. It calls emit, from one goroutine, for each step. Results stay
// readable until the caller removes the job's directory. The error says why there is no report: a
// DeclineError, a LimitError, ctx's error when the job was cancelled, or a fault of this machine. When Run returns no
// process and no mount of the job is left.
func (r *Runner) Run(ctx context.Context, job Job, emit func(Event)) (Report, error) {
	base, err := r.base(job)
	if err != nil {
		return Report{}, err
	}
	if job.Root != nil {
		if err := r.proveRoot(ctx, job.Root, job.Inputs); err != nil {
			return Report{}, err
		}
	}
	a, unlock, err := r.adaptAndLock(ctx, base, job)
	if err != nil {
		return Report{}, err
	}
	defer unlock()
	if len(a.pkgs) == 0 {
		return Report{Packages: a.declined}, nil
	}
	letGo, err := holdPkgDir(r.pkgDir(a))
	if err != nil {
		return Report{}, err
	}
	defer letGo()
	first, release := r.ranges.take()
	defer release()
	spec, err := r.spec(job, base, a, first)
	if err != nil {
		return Report{}, err
	}
	defer func() {
		if err := removeRoot(spec.Dir); err != nil {
			r.Logger.Warn("a build root could not be removed", "job", job.ID, "error", err)
		}
	}()
	report, err := r.emerge(ctx, job, base, spec, a, emit)
	report.Packages = inOrder(job, append(report.Packages, a.declined...))
	return report, err
}

// adaptAndLock has the base adapt the job, and locks the PKGDIR that it then has. Repositories may be synchronised while that
// is waited for, so that afterwards it looks again.
func (r *Runner) adaptAndLock(ctx context.Context, base Base, job Job) (adapted, func(), error) {
	for {
		a, err := base.adapt(ctx, job)
		if err != nil || len(a.pkgs) == 0 {
			return a, func() {}, err
		}
		unlock, waited, ok := r.keys.lock(a.pkgDir, ctx.Done())
		if !ok {
			return a, func() {}, ctx.Err()
		}
		if !waited || a.still(ctx) == nil {
			return a, unlock, nil
		}
		unlock()
	}
}

// base returns what a job is built on.
func (r *Runner) base(job Job) (Base, error) {
	if job.Root != nil {
		return ClientBase{job.Root}, nil
	}
	for i, b := range r.Bases {
		if b.Name() == job.Base || job.Base == "" && i == 0 {
			return b, nil
		}
	}
	return nil, &DeclineError{fmt.Sprintf("there is no base %q here", job.Base)}
}

// pkgDir is where on this machine a job's PKGDIR is.
func (r *Runner) pkgDir(a adapted) string { return filepath.Join(r.StateDir, PkgDirs, a.pkgDir) }

// emerge runs the job's emerge in its build root and follows it.
func (r *Runner) emerge(
	ctx context.Context, job Job, base Base, spec *rootSpec, a adapted, emit func(Event),
) (Report, error) {
	pkgDir, pkgs := r.pkgDir(a), a.pkgs
	before, err := base.Fingerprint()
	if err != nil {
		return Report{}, err
	}
	trust := func(reused bool) error {
		if now, err := base.Fingerprint(); err != nil || now != before {
			return fmt.Errorf("packages were merged on the builder itself while the job ran on its %s base: what the job builds "+
				"from now on is not trusted", base.Name())
		}
		if reused { // built for an earlier job, when the repositories were as this one found them
			return nil
		}
		return a.still(ctx)
	}
	logDir, err := os.OpenRoot(filepath.Join(job.Dir, "logs"))
	if err != nil {
		return Report{}, err
	}
	defer logDir.Close()
	output, err := os.OpenFile(filepath.Join(job.Dir, "emerge.out"), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return Report{}, err
	}
	defer output.Close()
	found := newResults(ctx, pkgDir, pkgs, trust, emit)
	if found.complete() {
		spec.Argv = cachedArgv(spec.Argv)
	}
	f, err := newFollower(job, logDir, found, emit)
	if err != nil {
		return Report{}, err
	}
	begun := time.Now()
	p := r.start(ctx, spec, output)
	if err := <-p.started; err != nil {
		<-p.done
		return Report{}, errors.Join(ctx.Err(), err)
	}
	r.Logger.Info("job root is ready", "job", job.ID[:8], "base", base.Name(), "took", time.Since(begun).Round(time.Microsecond))
	emit(Event{Kind: EventStarted})
	kept := make(chan struct{})
	go func() {
		defer close(kept)
		r.keepFetched(ctx, spec.Dir, p.done)
	}()
	f.run(p.done)
	<-kept
	f.planned()
	if err := ctx.Err(); err != nil {
		return Report{}, err
	}
	if p.err != nil {
		return Report{}, p.err
	}
	return f.report(pkgs, p.code, tailText(output, 16<<10)), nil
}
