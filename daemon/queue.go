package daemon

import (
	"errors"
	"iter"
	"maps"
	"net/netip"
	"slices"
	"time"

	"lantage/build"
	"lantage/wire"
)

// errCancelled is why a job ended that a client cancelled.
var errCancelled = errors.New("cancelled")

// reserve takes a place for a job whose inputs are on their way from an address.
func (s *Server) reserve(id string, from netip.Addr) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, isArriving := s.arriving[id]
	switch {
	case s.closed:
		return wire.Errorf(wire.CodeShutdown, "%s is shutting down", s.Hello.Name)
	case s.jobs[id] != nil || isArriving:
		return wire.Errorf(wire.CodeBadRequest, "there is a job %s already; attach to it", id)
	}
	if n := crowded(from, s.maxWaiting(), s.queued()); n != "" {
		return wire.Errorf(wire.CodeBusy, "%s has too many jobs waiting (%s), try again later", s.Hello.Name, n)
	}
	s.arriving[id] = from
	return nil
}

// queued are the addresses that the jobs came from that wait, or whose inputs are on their way. s.mu is held.
func (s *Server) queued() iter.Seq[netip.Addr] {
	return func(yield func(netip.Addr) bool) {
		for _, from := range s.arriving {
			if !yield(from) {
				return
			}
		}
		for _, j := range s.waiting {
			if !yield(j.from) {
				return
			}
		}
	}
}

// release gives a place back.
func (s *Server) release(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.arriving, id)
}

// enqueue puts a job in the place that was reserved for it. From then on it can be attached to. The caller
// watches it. A client that was revoked while its inputs came has no job any more.
func (s *Server) enqueue(ss *session, j *job) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ss.refused != nil {
		return ss.refused
	}
	if s.closed {
		return wire.Errorf(wire.CodeShutdown, "%s is shutting down", s.Hello.Name)
	}
	delete(s.arriving, j.msg.ID)
	s.jobs[j.msg.ID] = j
	j.watchers++
	s.waiting = append(s.waiting, j)
	s.dispatch()
	return nil
}

// dispatch starts what may start and tells the others their places. s.mu is held.
func (s *Server) dispatch() {
	for len(s.waiting) > 0 && s.active < s.limit() && !s.closed {
		j := s.waiting[0]
		s.waiting = slices.Delete(s.waiting, 0, 1)
		s.active++
		s.running.Go(func() { s.run(j) })
	}
	for i, j := range s.waiting {
		if j.position != i+1 {
			j.position = i + 1
			j.record(wire.Event{Kind: wire.EventQueued, Position: j.position}, nil)
		}
	}
}

// run runs a job to its end.
func (s *Server) run(j *job) {
	start := time.Now()
	j.logger.Info("job started", "packages", len(j.msg.Packages))
	report, err := s.Runner.Run(j.ctx, j.spec, j.emit)
	done := j.outcome(report, err, s.Hello.Name)
	j.logEnd(done, err, time.Since(start))
	s.mu.Lock()
	s.active--
	s.finish(j, done)
	s.dispatch()
	s.mu.Unlock()
	s.prune()
}

// logEnd tells the builder's owner.
func (j *job) logEnd(done wire.Done, err error, took time.Duration) {
	count := make(map[wire.State]int)
	for _, p := range done.Packages {
		count[p.State]++
	}
	logger := j.logger.With("outcome", done.Outcome, "took", took.Round(time.Millisecond))
	if _, declined := errors.AsType[*build.DeclineError](err); declined {
		logger.Info("job declined", "reason", err)
		return
	}
	if err != nil && done.Outcome == wire.OutcomeFailed {
		logger.Error("job ended", "error", err)
		return
	}
	logger.Info("job ended", "built", count[wire.StateBuilt], "reused", count[wire.StateReused],
		"failed", count[wire.StateFailed], "skipped", count[wire.StateSkipped],
		"declined", count[wire.StateDeclined])
}

// finish ends a job that does not run (any more). s.mu is held.
func (s *Server) finish(j *job, done wire.Done) {
	j.end(done)
	j.endedAt = time.Now()
	s.ended = append(s.ended, j)
	time.AfterFunc(keepFor+time.Second, s.prune)
}

// cancel asks for the end of a job, for a reason that its clients will read. One that waits ends at once.
func (s *Server) cancel(j *job, why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if j.endedAt.IsZero() {
		j.logger.Info("job is cancelled", "reason", why)
	}
	j.cancel(why)
	if i := slices.Index(s.waiting, j); i >= 0 {
		s.waiting = slices.Delete(s.waiting, i, i+1)
		done := j.unfinished(wire.OutcomeCancelled, wire.StateSkipped, why.Error())
		j.logEnd(done, nil, 0)
		s.finish(j, done)
		s.dispatch()
	}
}

// cancelAll ends every job, and lets none begin.
func (s *Server) cancelAll(why error) {
	s.mu.Lock()
	s.closed = true
	jobs := slices.Collect(maps.Values(s.jobs))
	s.mu.Unlock()
	for _, j := range jobs {
		s.cancel(j, why)
	}
}

// find returns a job of this session's client to watch; the caller calls leave.
func (ss *session) find(id string) (*job, error) {
	s := ss.server
	s.mu.Lock()
	defer s.mu.Unlock()
	j := s.jobs[id]
	if j == nil || ss.channel != nil && j.owner != ss.key {
		return nil, wire.Errorf(wire.CodeUnknownJob, "%s has no job %.40q; ended jobs are kept for %v",
			s.Hello.Name, id, keepFor)
	}
	j.watchers++
	return j, nil
}

func (s *Server) leave(j *job) {
	s.mu.Lock()
	j.watchers--
	s.mu.Unlock()
	s.prune()
}

// prune forgets ended jobs that are too many or too old, the oldest first, but none that is being watched.
func (s *Server) prune() {
	s.mu.Lock()
	kept, events := len(s.ended), 0
	for _, j := range s.ended {
		events += len(j.events)
	}
	var gone []*job
	s.ended = slices.DeleteFunc(s.ended, func(j *job) bool {
		if j.watchers > 0 || (kept <= keepEnded && events <= keepEvents && time.Since(j.endedAt) <= keepFor) {
			return false
		}
		kept--
		events -= len(j.events)
		delete(s.jobs, j.msg.ID)
		gone = append(gone, j)
		return true
	})
	s.mu.Unlock()
	for _, j := range gone {
		j.remove()
	}
}

// forgetAll removes what is left of the ended jobs. No session is left, and no job runs.
func (s *Server) forgetAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, j := range s.ended {
		j.remove()
	}
	s.ended, s.jobs = nil, map[string]*job{}
}
