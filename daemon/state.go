package daemon

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"lantage/build"
	"lantage/rootfs"
	"lantage/trust"
	"lantage/wire"
)

// job is a job from its acceptance until it is forgotten. Sessions watch it; none owns it.
type job struct {
	spec   build.Job
	msg    wire.Job
	base   string     // that the build root has, for people
	from   netip.Addr // that it came from
	logger *slog.Logger
	root   *rootfs.Generation // that it is built on; nil: a base of this machine's own
	owner  trust.Key          // whose it is; nobody's where that is not known

	ctx    context.Context // of the run; its cause is what the user is told of the cancelling
	cancel context.CancelCauseFunc
	over   chan struct{} // closed at the end

	// These belong to Server.mu.
	position int       // told last; 0: it does not wait
	watchers int       // sessions
	endedAt  time.Time // zero: not yet

	mu       sync.Mutex                    // guards the rest
	events   []wire.Event                  // append only: sessions read what they were given without the lock
	results  map[int]build.Result          // by the number of their event
	binpkgs  map[string]bool               // packages that have their result
	final    map[string]wire.PackageResult // packages whose work is over
	changed  chan struct{}                 // closed and made anew whenever there is something to see
	done     *wire.Done
	journal  *os.File // events.jsonl
	lostLine bool     // the journal could not be written, and that was said
}

// newJob makes a job's directory. On error nothing of it is left, and the root is let go of.
func (s *Server) newJob(msg wire.Job, spec build.Job, root *rootfs.Generation) (j *job, err error) {
	spec.Dir = filepath.Join(s.StateDir, "jobs", msg.ID)
	spec.Inputs, spec.Log = filepath.Join(spec.Dir, "inputs"), filepath.Join(spec.Dir, "log")
	j = &job{
		spec: spec, msg: msg, base: spec.Base, root: root, logger: s.Logger.With("job", msg.ID[:8], "client", msg.Client),
		over: make(chan struct{}), changed: make(chan struct{}), results: make(map[int]build.Result),
		binpkgs: make(map[string]bool), final: make(map[string]wire.PackageResult),
	}
	for _, b := range s.Hello.Bases {
		if j.base == "" && b != wire.BaseClient {
			j.base = b
		}
	}
	j.ctx, j.cancel = context.WithCancelCause(context.Background())
	if err := os.Mkdir(spec.Dir, 0o700); err != nil {
		j.letGo()
		return nil, inputsError(err, spec.Dir, s.Hello.Name)
	}
	defer func() {
		if err != nil {
			j.remove()
			err = inputsError(err, spec.Dir, s.Hello.Name)
		}
	}()
	text, err := json.MarshalIndent(msg, "", "\t")
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(spec.Dir, "job.json"), append(text, '\n'), 0o600); err != nil {
		return nil, err
	}
	name := filepath.Join(spec.Dir, "events.jsonl")
	j.journal, err = os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	return j, err
}

// letGo lets the client's root be removed when there is a newer one.
func (j *job) letGo() {
	if j.root != nil {
		j.root.Release()
	}
}

// remove takes away a job's directory. Nothing of the job runs any more.
func (j *job) remove() {
	j.cancel(nil)
	j.letGo()
	if j.journal != nil {
		j.journal.Close()
	}
	if err := build.RemoveAll(j.spec.Dir); err != nil {
		j.logger.Warn("the job's directory could not be removed", "error", err)
	}
}

// record numbers an event and shows it to all who watch. It waits for nobody but the disk.
func (j *job) record(e wire.Event, res *build.Result) {
	j.mu.Lock()
	defer j.mu.Unlock()
	limit := maxEvents
	if e.Kind == wire.EventNote || (e.Kind == wire.EventPackage && e.State == wire.StateBuilding) {
		limit = maxPhaseEvents
	}
	if len(j.events) >= limit {
		return
	}
	e.Seq, e.Time = len(j.events)+1, time.Now().UTC().Truncate(time.Millisecond)
	j.events = append(j.events, e)
	switch {
	case res != nil:
		j.results[e.Seq] = *res
		j.binpkgs[e.CPV] = j.binpkgs[e.CPV] || !res.Log
	case e.Kind == wire.EventPackage && e.State != wire.StateBuilding:
		j.final[e.CPV] = wire.PackageResult{CPV: e.CPV, State: e.State, Phase: e.Phase, Text: e.Text}
	}
	j.show(e)
}

// end records how the job ended. It is the last that is heard of it.
func (j *job) end(done wire.Done) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.done = &done
	j.show(done)
	j.journal.Close()
	j.letGo()
	close(j.over)
	j.cancel(nil)
}

// show wakes those who watch. The journal is for people: that it cannot be written, because the disk is full,
// does not stop a job whose binpkgs may still find room elsewhere.
func (j *job) show(line any) {
	close(j.changed)
	j.changed = make(chan struct{})
	text, err := json.Marshal(line)
	if err == nil {
		_, err = j.journal.Write(append(text, '\n'))
	}
	if err != nil && !j.lostLine {
		j.lostLine = true
		j.logger.Warn("a job's journal cannot be written", "error", err)
	}
}

// since returns the events after number seq and the job's end if there is one, and a channel that is closed
// when there is more.
func (j *job) since(seq int) ([]wire.Event, *wire.Done, <-chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.events[min(seq, len(j.events)):], j.done, j.changed
}

// result returns the file that an event declares.
func (j *job) result(seq int) (build.Result, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	r, ok := j.results[seq]
	return r, ok
}
