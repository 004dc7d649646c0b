package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"lantage/wire"
)

// session is one connection of a job.
type session struct {
	job  *job
	conn *wire.Conn
	ctx  context.Context // ends with the command, or when what the builder sends cannot be taken
	stop context.CancelCauseFunc

	results, log *wire.StreamReader
	ended        bool // the end of the results has come
	readers      sync.WaitGroup
}

// session submits the job on conn, or attaches to it, and handles all that comes until done.
func (j *job) session(ctx context.Context, conn *wire.Conn) (wire.Done, error) {
	if !j.submitted && j.dist != nil {
		if err := j.dist.offer(ctx, conn); err != nil {
			return wire.Done{}, err
		}
	}
	s := &session{
		job: j, conn: conn,
		results: wire.NewStreamReader(wire.StreamResults), log: wire.NewStreamReader(wire.StreamLog),
	}
	s.ctx, s.stop = context.WithCancelCause(ctx)
	defer s.stop(nil)
	if j.distrust != nil {
		defer s.watchTrust()()
	}
	defer context.AfterFunc(s.ctx, s.cancelJob)()
	defer context.AfterFunc(ctx, func() {
		j.display.say("Interrupted: cancelling the job on %v. Ctrl-C again ends this at once.", j.builder)
	})()
	s.readers.Go(func() {
		if err := j.results.take(s.results); err != nil && !errors.Is(err, wire.ErrLost) {
			s.stop(err)
		}
		s.results.Close()
	})
	s.readers.Go(func() { j.display.logLines(s.log) })
	s.readers.Go(s.opening())
	done, err := s.read()
	if err != nil && !errors.Is(err, wire.ErrLost) && !isRefusal(err) {
		s.cancelJob() // no further byte of this builder is wanted
	}
	conn.Close() // ends begin, too
	if !s.ended {
		s.results.Fail(wire.ErrLost)
	}
	s.log.Fail(io.EOF)
	s.readers.Wait()
	switch cause := context.Cause(s.ctx); {
	case cause != nil:
		return done, cause
	case err == nil && !s.ended && done.Outcome != wire.OutcomeCancelled:
		err = fmt.Errorf("%w: the job is said to be over before its results were", wire.ErrProtocol)
	}
	return done, err
}

// trustEvery is how often a job looks whether its builder was revoked meanwhile.
const trustEvery = time.Second

// watchTrust ends the session when the user has revoked the builder, until the returned function is called.
func (s *session) watchTrust() (end func()) {
	ended := make(chan struct{})
	go func() {
		tick := time.NewTicker(trustEvery)
		defer tick.Stop()
		for {
			select {
			case <-ended:
				return
			case <-tick.C:
				if err := s.job.distrust(); err != nil {
					s.stop(err)
					return
				}
			}
		}
	}()
	return func() { close(ended) }
}

// opening returns what opens the conversation: submit the first time, then attach. Whether a connection that was
// lost meanwhile took the whole job to the builder, only the builder knows.
func (s *session) opening() func() {
	j := s.job
	if !j.submitted {
		j.submitted = true
		return s.submit
	}
	attach := wire.Attach{ID: j.msg.ID, After: j.after, Have: j.results.hashes(), Log: j.msg.Log}
	return func() { _ = s.conn.Send(wire.TypeAttach, attach) }
}

// submit sends the job and its inputs. What goes wrong with the connection here, its reader sees as well.
func (s *session) submit() {
	err := s.conn.Send(wire.TypeSubmit, s.job.msg)
	w := s.conn.Writer(wire.StreamInputs)
	if err == nil {
		_, err = io.Copy(w, io.NewSectionReader(s.job.inputs, 0, s.job.size))
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil && !errors.Is(err, wire.ErrLost) {
		s.stop(&localError{fmt.Errorf("send the configuration: %w", err)})
	}
}

// isRefusal reports whether the builder itself said why it ends the conversation.
func isRefusal(err error) bool {
	_, ok := errors.AsType[*wire.Error](err)
	return ok
}

// cancelJob asks the builder to end the job, and ends the conversation if it does not within a moment.
func (s *session) cancelJob() {
	time.AfterFunc(cancelWait, func() { s.conn.Close() })
	_ = s.conn.Send(wire.TypeCancel, wire.Cancel{ID: s.job.msg.ID})
}

// read handles frames until done.
func (s *session) read() (wire.Done, error) {
	for {
		f, err := s.conn.Read()
		if err != nil {
			return wire.Done{}, err
		}
		switch f.Type {
		case wire.TypeAccepted:
			err = s.accept(f)
		case wire.TypeEvent:
			err = s.event(f)
		case wire.TypeData, wire.TypeEnd:
			err = s.feed(f)
		case wire.TypeDone:
			var done wire.Done
			err = f.Decode(wire.TypeDone, &done)
			return done, err
		default:
			err = fmt.Errorf("%w: a builder does not send frames of type %d", wire.ErrProtocol, f.Type)
		}
		if err != nil {
			return wire.Done{}, err
		}
	}
}

func (s *session) accept(f wire.Frame) error {
	var a wire.Accepted
	if err := f.Decode(wire.TypeAccepted, &a); err != nil {
		return err
	}
	if a.ID != s.job.msg.ID {
		return fmt.Errorf("%w: the builder accepted another job", wire.ErrProtocol)
	}
	return nil
}

func (s *session) event(f wire.Frame) error {
	var e wire.Event
	if err := f.Decode(wire.TypeEvent, &e); err != nil {
		return err
	}
	j := s.job
	if e.Seq != j.after+1 {
		return fmt.Errorf("%w: event %d follows event %d", wire.ErrProtocol, e.Seq, j.after)
	}
	j.after = e.Seq
	if e.Kind == wire.EventResult {
		if e.Result == nil {
			return fmt.Errorf("%w: event %d declares no result", wire.ErrProtocol, e.Seq)
		}
		return j.results.declare(*e.Result)
	}
	j.display.event(e)
	return nil
}

// feed passes stream data on; it waits while the disk or the terminal is slower than the network.
func (s *session) feed(f wire.Frame) error {
	ours, err := s.results.Feed(f)
	if ours {
		s.ended = s.ended || f.Type == wire.TypeEnd
		return err
	}
	if ours, err = s.log.Feed(f); ours {
		return err
	}
	return fmt.Errorf("%w: data of a stream that a builder does not send", wire.ErrProtocol)
}
