package daemon

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"lantage/build"
	"lantage/wire"
)

func TestJob(t *testing.T) {
	r := newRig(t, 1)
	p := r.dial()
	if p.hello.Name != "tower" || p.hello.JobLimit != 1 || p.hello.Jobs != 0 {
		t.Errorf("hello %+v", p.hello)
	}
	msg := jobOf(1, "a/one-1", "a/two-2")
	msg.Log, msg.Env = true, []string{"USE=x"}
	p.submit(msg)
	run := r.next()
	conf, err := os.ReadFile(filepath.Join(run.job.Inputs, "etc/portage/make.conf"))
	if err != nil || string(conf) != "USE=\"x\"\n" {
		t.Errorf("make.conf is %q, %v", conf, err)
	}
	if h := r.dial().hello; h.Jobs != 1 {
		t.Errorf("while a job runs the hello says %d", h.Jobs)
	}
	run.emit(build.Event{Kind: build.EventStarted})
	run.emit(build.Event{
		Kind: build.EventPackage, CPV: cpv("a/one-1"), N: 1, Of: 2, State: build.StateBuilding, Phase: "compile",
	})
	if err := os.WriteFile(run.job.Log, []byte("a/one-1> cc\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	want := []wire.Event{
		{Seq: 1, Kind: wire.EventStarted},
		{Seq: 2, Kind: wire.EventPackage, CPV: "a/one-1", N: 1, Of: 2, State: wire.StateBuilding, Phase: "compile"},
	}
	got := []wire.Event{receive(t, p.events), receive(t, p.events)}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(wire.Event{}, "Time")); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}

	// A result is with the client while the job still runs.
	res := run.result(t, "a/one-1", "content")
	e := receive(t, p.events)
	if e.Kind != wire.EventResult || e.Result.Path != res.Path || e.Result.Size != 7 ||
		e.Result.Kind != wire.ResultBinpkg {
		t.Errorf("result event %+v %+v", e, e.Result)
	}
	if m := receive(t, p.members); m != "binpkgs/a/one-1-1.gpkg.tar=content" {
		t.Errorf("member %q", m)
	}
	log := build.Result{CPV: cpv("a/two-2"), Dir: run.job.Dir, Path: "log", Log: true, Size: 12}
	run.emit(build.Event{Kind: build.EventResult, CPV: log.CPV, Result: &log})
	if m := receive(t, p.members); m != "logs/log=a/one-1> cc\n" {
		t.Errorf("member %q", m)
	}
	run.end <- runEnd{report: build.Report{ExitCode: 1, Text: "emerge's words", Packages: []build.PackageReport{
		{CPV: cpv("a/one-1"), State: build.StateBuilt},
		{CPV: cpv("a/two-2"), State: build.StateFailed, Phase: "compile"},
	}}}
	if m := receive(t, p.members); m != "end: EOF" {
		t.Errorf("the results ended with %q", m)
	}
	if text := receive(t, p.log); text != "a/one-1> cc\n" {
		t.Errorf("log %q", text)
	}
	wantDone := wire.Done{Outcome: wire.OutcomeFailed, Text: "emerge's words", Packages: []wire.PackageResult{
		{CPV: "a/one-1", State: wire.StateBuilt}, {CPV: "a/two-2", State: wire.StateFailed, Phase: "compile"},
	}}
	if diff := cmp.Diff(wantDone, receive(t, p.done)); diff != "" {
		t.Errorf("done (-want +got):\n%s", diff)
	}
	if err := receive(t, p.err); !errors.Is(err, wire.ErrLost) {
		t.Errorf("after done came %v", err)
	}
	journal, err := os.ReadFile(filepath.Join(run.job.Dir, "events.jsonl"))
	if err != nil || strings.Count(string(journal), "\n") != 5 {
		t.Errorf("events.jsonl is\n%s%v", journal, err)
	}
	for _, line := range []string{
		"job accepted", "job started", "job ended", "client=laptop", "built=1", "failed=1",
	} {
		r.log.await(t, line)
	}
}

func TestOutcomes(t *testing.T) {
	built := func(names ...string) (rep build.Report) {
		for _, name := range names {
			rep.Packages = append(rep.Packages, build.PackageReport{CPV: cpv(name), State: build.StateBuilt})
		}
		return rep
	}
	pkg := func(name string, state wire.State, text string) wire.PackageResult {
		return wire.PackageResult{CPV: name, State: state, Text: text}
	}
	fault := "tower could not go on: no space left"
	limit := "tower ended the job: it took longer than 1h0m0s (lantage serve --job-time)"
	tests := map[string]struct {
		steps func(*testing.T, *run)
		end   runEnd
		want  wire.Done
	}{
		"all built": {
			func(t *testing.T, r *run) { r.result(t, "a/one-1", "1"); r.result(t, "a/two-2", "2") },
			runEnd{built("a/one-1", "a/two-2"), nil},
			wire.Done{Outcome: wire.OutcomeDone, Packages: []wire.PackageResult{
				pkg("a/one-1", wire.StateBuilt, ""), pkg("a/two-2", wire.StateBuilt, ""),
			}},
		},
		"built without a result": {
			func(t *testing.T, r *run) { r.result(t, "a/one-1", "1") },
			runEnd{built("a/one-1", "a/two-2"), nil},
			wire.Done{Outcome: wire.OutcomeFailed, Packages: []wire.PackageResult{
				pkg("a/one-1", wire.StateBuilt, ""),
				pkg("a/two-2", wire.StateFailed, "it was built, but there is no binpkg of it"),
			}},
		},
		"not reported": {
			func(t *testing.T, r *run) { r.result(t, "a/two-2", "2") },
			runEnd{built("a/two-2"), nil},
			wire.Done{Outcome: wire.OutcomeFailed, Packages: []wire.PackageResult{
				pkg("a/one-1", wire.StateSkipped, "emerge said nothing of it"), pkg("a/two-2", wire.StateBuilt, ""),
			}},
		},
		"declined": {
			func(*testing.T, *run) {},
			runEnd{err: &build.DeclineError{Reason: "no repository x here"}},
			wire.Done{Outcome: wire.OutcomeFailed, Text: "no repository x here", Packages: []wire.PackageResult{
				pkg("a/one-1", wire.StateDeclined, "no repository x here"),
				pkg("a/two-2", wire.StateDeclined, "no repository x here"),
			}},
		},
		"ended by a limit": {
			func(t *testing.T, r *run) { r.result(t, "a/one-1", "1"); r.state("a/one-1", build.StateBuilt) },
			runEnd{err: &build.LimitError{Name: "job-time", Value: "1h0m0s", What: "it took longer than 1h0m0s"}},
			wire.Done{Outcome: wire.OutcomeFailed, Text: limit, Packages: []wire.PackageResult{
				pkg("a/one-1", wire.StateBuilt, ""), pkg("a/two-2", wire.StateDeclined, limit),
			}},
		},
		"fault half-way": {
			func(t *testing.T, r *run) {
				r.result(t, "a/one-1", "1")
				r.state("a/one-1", build.StateBuilt)
				r.state("a/two-2", build.StateBuilding)
			},
			runEnd{err: errors.New("no space left")},
			wire.Done{Outcome: wire.OutcomeFailed, Text: fault, Packages: []wire.PackageResult{
				pkg("a/one-1", wire.StateBuilt, ""),
				pkg("a/two-2", wire.StateDeclined, fault),
			}},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 1)
			p := r.dial()
			p.submit(jobOf(1, "a/one-1", "a/two-2"))
			run := r.next()
			tt.steps(t, run)
			run.end <- tt.end
			if diff := cmp.Diff(tt.want, receive(t, p.done)); diff != "" {
				t.Errorf("done (-want +got):\n%s", diff)
			}
		})
	}
}

// TestAttach loses a client that has one result of two and half of a third, and lets it come back.
func TestAttach(t *testing.T) {
	r := newRig(t, 1)
	p := r.dial()
	p.submit(jobOf(1, "a/one-1", "a/two-2", "a/three-3"))
	run := r.next()
	run.emit(build.Event{Kind: build.EventStarted})
	run.result(t, "a/one-1", "1")
	run.result(t, "a/two-2", "2")
	var have []string
	var after int
	for after < 3 {
		e := receive(t, p.events)
		after = e.Seq
		if e.CPV == "a/one-1" {
			have = append(have, e.Result.SHA256)
		}
	}
	p.close()
	receive(t, p.err)
	run.result(t, "a/three-3", "3")
	if run.ctx.Err() != nil {
		t.Fatal("the job ended with its connection")
	}

	q := r.dial()
	q.send(wire.TypeAttach, wire.Attach{ID: run.job.ID, After: after, Have: have})
	receive(t, q.accepted)
	if e := receive(t, q.events); e.Seq != 4 || e.CPV != "a/three-3" {
		t.Errorf("the first event after attach is %+v", e)
	}
	for _, want := range []string{"binpkgs/a/two-2-1.gpkg.tar=2", "binpkgs/a/three-3-1.gpkg.tar=3"} {
		if m := receive(t, q.members); m != want {
			t.Errorf("member %q, want %q", m, want)
		}
	}
	run.finish(build.StateBuilt)
	if d := receive(t, q.done); d.Outcome != wire.OutcomeDone {
		t.Errorf("done %+v", d)
	}
	receive(t, q.err)

	// Also after the end, and everything at once for one that has nothing.
	late := r.dial()
	late.send(wire.TypeAttach, wire.Attach{ID: run.job.ID})
	if d := receive(t, late.done); d.Outcome != wire.OutcomeDone {
		t.Errorf("done %+v", d)
	}
	receive(t, late.err)
	if len(late.events) != 4 || len(late.members) != 4 {
		t.Errorf("%d events and %d members, want 4 and 3 with their end", len(late.events), len(late.members))
	}
	unknown := r.dial()
	unknown.send(wire.TypeAttach, wire.Attach{ID: strings.Repeat("f", 32)})
	unknown.refused(wire.CodeUnknownJob)
}

// TestTwoWatchers: two sessions see the same job, each all of it.
func TestTwoWatchers(t *testing.T) {
	r := newRig(t, 1)
	p, q := r.dial(), r.dial()
	p.submit(jobOf(1, "a/one-1"))
	run := r.next()
	q.send(wire.TypeAttach, wire.Attach{ID: run.job.ID, Log: true})
	receive(t, q.accepted)
	run.result(t, "a/one-1", "1")
	for _, w := range []*peer{p, q} {
		receive(t, w.events)
		receive(t, w.members)
	}
	run.finish(build.StateReused)
	for _, w := range []*peer{p, q} {
		if d := receive(t, w.done); d.Outcome != wire.OutcomeDone || d.Packages[0].State != wire.StateReused {
			t.Errorf("done %+v", d)
		}
	}
}

func TestCancel(t *testing.T) {
	r := newRig(t, 1)
	p, waits := r.dial(), r.dial()
	p.submit(jobOf(1, "a/one-1"))
	run := r.next()
	waits.submit(jobOf(2, "a/two-2"))
	if e := receive(t, waits.events); e.Kind != wire.EventQueued || e.Position != 1 {
		t.Errorf("event %+v", e)
	}
	// One that waits, from its own connection.
	waits.send(wire.TypeCancel, wire.Cancel{ID: jobOf(2).ID})
	want := wire.Done{Outcome: wire.OutcomeCancelled, Text: "cancelled", Packages: []wire.PackageResult{
		{CPV: "a/two-2", State: wire.StateSkipped, Text: "cancelled"},
	}}
	if diff := cmp.Diff(want, receive(t, waits.done)); diff != "" {
		t.Errorf("done (-want +got):\n%s", diff)
	}
	// One that runs, from another connection.
	q := r.dial()
	q.send(wire.TypeCancel, wire.Cancel{ID: run.job.ID})
	receive(t, q.accepted)
	<-run.ctx.Done()
	for _, w := range []*peer{p, q} {
		if d := receive(t, w.done); d.Outcome != wire.OutcomeCancelled {
			t.Errorf("done %+v", d)
		}
	}
	if len(r.runner.runs) != 0 {
		t.Error("a job that was cancelled while it waited was run")
	}
	// One that has ended, and one that there is not.
	q = r.dial()
	q.send(wire.TypeCancel, wire.Cancel{ID: run.job.ID})
	receive(t, q.done)
	q = r.dial()
	q.send(wire.TypeCancel, wire.Cancel{ID: "x"})
	q.refused(wire.CodeUnknownJob)
	// One of which the inputs are on their way.
	q = r.dial()
	q.send(wire.TypeSubmit, jobOf(3, "a/one-1"))
	if _, err := q.conn.Writer(wire.StreamInputs).Write([]byte("\x1f\x8b")); err != nil {
		t.Fatal(err)
	}
	q.send(wire.TypeCancel, wire.Cancel{ID: jobOf(3).ID})
	if d := receive(t, q.done); d.Outcome != wire.OutcomeCancelled {
		t.Errorf("done %+v", d)
	}
	receive(t, q.err)
	if dirs := r.jobDirs(); len(dirs) != 2 {
		t.Errorf("directories %q, want those of the two jobs that were accepted", dirs)
	}
}

// TestCancelOfAnother: a session is about one job.
func TestCancelOfAnother(t *testing.T) {
	r := newRig(t, 2)
	p, q := r.dial(), r.dial()
	p.submit(jobOf(1, "a/one-1"))
	first := r.next()
	q.submit(jobOf(2, "a/one-1"))
	second := r.next()
	p.send(wire.TypeCancel, wire.Cancel{ID: second.job.ID})
	p.refused(wire.CodeBadRequest)
	if first.ctx.Err() != nil || second.ctx.Err() != nil {
		t.Error("a job was cancelled")
	}
}

func TestShutdown(t *testing.T) {
	r := newRig(t, 1)
	running, waits, idle, sends := r.dial(), r.dial(), r.dial(), r.dial()
	running.submit(jobOf(1, "a/one-1"))
	run := r.next()
	run.result(t, "a/one-1", "1")
	run.state("a/one-1", build.StateBuilt)
	waits.submit(jobOf(2, "a/one-1"))
	sends.send(wire.TypeSubmit, jobOf(3, "a/one-1"))
	if _, err := sends.conn.Writer(wire.StreamInputs).Write([]byte("\x1f\x8b")); err != nil {
		t.Fatal(err)
	}
	r.stop()
	text := "tower is shutting down"
	if d := receive(t, running.done); d.Outcome != wire.OutcomeCancelled || d.Text != text ||
		d.Packages[0].State != wire.StateBuilt {
		t.Errorf("done of a job that ran: %+v", d)
	}
	if d := receive(t, waits.done); d.Outcome != wire.OutcomeCancelled || d.Text != text {
		t.Errorf("done of a job that waited: %+v", d)
	}
	for _, p := range []*peer{idle, sends} {
		if got := p.refused(wire.CodeShutdown); got != text {
			t.Errorf("error %q", got)
		}
	}
	for _, p := range []*peer{running, waits} {
		receive(t, p.err)
		p.close()
	}
	idle.close()
	sends.close()
	r.shutDown()
	if dirs := r.jobDirs(); len(dirs) != 0 {
		t.Errorf("directories are left: %q", dirs)
	}
}

func TestQueue(t *testing.T) {
	r := newRig(t, 2)
	var peers []*peer
	var runs []*run
	for i := range 5 {
		p := r.dial()
		p.submit(jobOf(i, "a/one-1"))
		peers = append(peers, p)
		if i < 2 {
			runs = append(runs, r.next())
		}
	}
	if h := r.dial().hello; h.Jobs != 2 || h.Waiting != 3 || h.JobLimit != 2 {
		t.Errorf("hello %+v", h)
	}
	position := func(i, want int) {
		t.Helper()
		if e := receive(t, peers[i].events); e.Kind != wire.EventQueued || e.Position != want {
			t.Errorf("job %d: %+v, want queued at %d", i, e, want)
		}
	}
	position(2, 1)
	position(3, 2)
	position(4, 3)
	runs[0].finish(build.StateSkipped)
	if run := r.next(); run.job.ID != jobOf(2).ID {
		t.Errorf("job %s runs next", run.job.ID)
	}
	position(3, 1)
	position(4, 2)
	peers[3].send(wire.TypeCancel, wire.Cancel{ID: jobOf(3).ID})
	position(4, 1)
	runs[1].finish(build.StateSkipped)
	if run := r.next(); run.job.ID != jobOf(4).ID {
		t.Errorf("job %s runs next", run.job.ID)
	}
	if n := len(peers[0].events) + len(peers[1].events); n != 0 {
		t.Errorf("jobs that did not wait have %d events", n)
	}
}

// countedBase is a base whose Portage counts how often it is started.
type countedBase struct {
	build.HostBase
	mu      *sync.Mutex
	started *int
	fails   string // the question that it does not answer
}

func (b countedBase) Query(_ context.Context, argv ...string) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	*b.started++
	question := strings.Join(argv, " ")
	if question == b.fails {
		return nil, errors.New("it fails")
	}
	answer := map[string]string{"portageq envvar CHOST": "x86_64-pc-linux-gnu" + "\n", "portageq --version": "Portage 3.0.83\n"}[question]
	return []byte(answer), nil
}

// A base's Portage, which takes long to start, is asked once, and nothing is kept of a base without one.
func TestAskPortageOnce(t *testing.T) {
	b := countedBase{mu: new(sync.Mutex), started: new(int)}
	var c Command
	for range 2 {
		if said, err := c.askPortage(t.Context(), b); err != nil || said != (ownPortage{"x86_64-pc-linux-gnu", "3.0.83"}) {
			t.Errorf("it says %+v, %v", said, err)
		}
	}
	if *b.started != 2 {
		t.Errorf("Portage was started %d times for two questions", *b.started)
	}
	for _, b.fails = range []string{"portageq envvar CHOST", "portageq --version"} {
		c = Command{}
		if said, err := c.askPortage(t.Context(), b); err == nil || len(c.portages) > 0 {
			t.Errorf("without %s it says %+v, and %v is kept", b.fails, said, c.portages)
		}
	}
}
