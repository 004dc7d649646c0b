package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"lantage/gentoo"
	"lantage/rootfs"
	"lantage/trust"
	"lantage/wire"
)

// session is one connection from hello to close.
type session struct {
	server *Server
	conn   *wire.Conn
	addr   net.Addr // the peer's
	name   string   // that it gave itself
	from   string   // the address that it says it connects from
	logger *slog.Logger

	channel *trust.Conn // nil: it is not encrypted
	// key is who the client is: the key of the channel; where there is none, the sum of the secret name that it sent, and
	// until then nobody's.
	key     trust.Key
	refused error // why nothing is taken of the client any more; belongs to Server.mu

	distfiles []gentoo.Distfile // that the client offered
}

// session greets a peer and does the one thing that it asks for. Whatever goes wrong, the peer is told.
func (s *Server) session(ctx context.Context, conn net.Conn) {
	ss := &session{server: s, addr: conn.RemoteAddr(), logger: s.Logger.With("from", conn.RemoteAddr())}
	stop := context.AfterFunc(ctx, func() { conn.Close() }) // there is nothing to say before the hello
	err := ss.greet(ctx, conn)
	if err == nil {
		defer ss.conn.Close()
	}
	if !stop() {
		return // the daemon ends
	}
	if err != nil {
		ss.logger.Info("a connection was refused or not understood", "error", err)
		return
	}
	defer s.enter(ss)()
	err = ss.request(ctx)
	if err == nil || errors.Is(err, wire.ErrLost) {
		return
	}
	ss.logger.Info("a request was refused or cut short", "error", err)
	ss.lastWords(err)
	ss.drain()
}

// greet makes the channel, decides whether the peer may come at all, and exchanges hellos: all of it within
// wire.HandshakeTimeout.
func (ss *session) greet(ctx context.Context, conn net.Conn) error {
	s := ss.server
	defer time.AfterFunc(wire.HandshakeTimeout, func() { conn.Close() }).Stop()
	carrier, err := ss.secure(ctx, conn)
	if err != nil {
		return err
	}
	if err := ss.mayCome(); err != nil {
		wire.Refuse(carrier, wire.AsError(err))
		return err
	}
	var peer wire.Hello
	if ss.conn, peer, err = wire.Handshake(carrier, s.hello()); err != nil {
		return err
	}
	ss.name, ss.from = peer.Name, peer.Address
	ss.logger = ss.logger.With("peer", peer.Name, "software", peer.Software)
	return nil
}

// lastWords says what went wrong, unless something was said before, and lets the peer read it.
func (ss *session) lastWords(err error) {
	if errors.Is(err, wire.ErrProtocol) {
		err = wire.Errorf(wire.CodeBadRequest, "%v", err)
	}
	_ = ss.conn.SendError(err)
	ss.conn.Finish(lingerTime)
}

// drain reads until the peer closes, or Finish's time is over.
func (ss *session) drain() {
	for {
		if _, err := ss.conn.Read(); err != nil {
			return
		}
	}
}

// limited bounds a part of the conversation: when the daemon ends, or after limit, the peer is told why the
// conversation is over, and reads end. The context's cause is what it was told.
func (ss *session) limited(ctx context.Context, limit time.Duration, what string) (context.Context, func()) {
	ctx, end := context.WithCancelCause(ctx)
	tooLate := time.AfterFunc(limit, func() {
		end(wire.Errorf(wire.CodeBadRequest, "%s did not come within %v", what, limit))
	})
	stop := context.AfterFunc(ctx, func() {
		err := context.Cause(ctx)
		if _, told := errors.AsType[*wire.Error](err); !told { // the daemon ends; its cause is a signal
			err = wire.Errorf(wire.CodeShutdown, "%s is shutting down", ss.server.Hello.Name)
		}
		ss.lastWords(err)
	})
	return ctx, func() {
		tooLate.Stop()
		stop()
		end(nil)
	}
}

// request reads the one request of a session, and the syncs and the offer before it, and answers.
func (ss *session) request(ctx context.Context) error {
	f, err := ss.first(ctx)
	if err == nil {
		err = ss.isDirect()
	}
	if err == nil && f.Type == wire.TypePair {
		return ss.pair(ctx, f)
	}
	for err == nil && (f.Type == wire.TypeSync || f.Type == wire.TypeOffer) {
		if f.Type == wire.TypeSync { // admits by itself: it may be what says who the client is
			f, err = ss.sync(ctx, f)
		} else if err = ss.admit(); err == nil {
			f, err = ss.offer(ctx, f)
		}
	}
	if err != nil {
		return err
	}
	if err := ss.admit(); err != nil {
		return err
	}
	switch f.Type {
	case wire.TypeSubmit:
		var m wire.Job
		if err := f.Decode(wire.TypeSubmit, &m); err != nil {
			return err
		}
		if err := ss.identify(m.Identity); err != nil {
			return err
		}
		m.Identity = "" // it is a secret, and not needed any more
		return ss.submit(ctx, m)
	case wire.TypeAttach:
		var a wire.Attach
		if err := f.Decode(wire.TypeAttach, &a); err != nil {
			return err
		}
		return ss.attach(a)
	case wire.TypeCancel:
		var c wire.Cancel
		if err := f.Decode(wire.TypeCancel, &c); err != nil {
			return err
		}
		return ss.cancel(c)
	}
	return fmt.Errorf("%w: a frame of type %d is no request", wire.ErrProtocol, f.Type)
}

func (ss *session) first(ctx context.Context) (wire.Frame, error) {
	_, stop := ss.limited(ctx, requestTime, "a request")
	defer stop()
	return ss.conn.Read()
}

// submit takes a job and its inputs. Once it is accepted the job needs this session no more.
func (ss *session) submit(ctx context.Context, m wire.Job) error {
	s := ss.server
	spec, err := checkJob(m, s.Hello)
	if err != nil {
		return err
	}
	spec.Distfiles, spec.Client = ss.distfiles, ss.key.ID()
	from := ipOf(ss.addr)
	if err := s.reserve(m.ID, from); err != nil {
		return err
	}
	defer s.release(m.ID)
	var gen *rootfs.Generation
	if m.Base == wire.BaseClient {
		if spec.Root, gen, err = ss.rootFor(m); err != nil {
			return err
		}
	}
	j, err := s.newJob(m, spec, gen)
	if err != nil {
		return err
	}
	j.owner, j.from = ss.key, from
	if err := ss.inputs(ctx, j); err != nil {
		j.remove()
		if errors.Is(err, errCancelled) {
			return ss.finished(j.unfinished(wire.OutcomeCancelled, wire.StateSkipped, err.Error()))
		}
		return err
	}
	j.logger.Info("job accepted", "address", ss.addr, "packages", len(m.Packages), "first", m.Packages[0].CPV)
	if err := s.enqueue(ss, j); err != nil {
		j.remove()
		return err
	}
	defer s.leave(j)
	return ss.watch(j, wire.Attach{ID: m.ID, Log: m.Log}, (*session).stream)
}

// inputs takes a job's inputs to their end, which is at an error or when they are whole.
func (ss *session) inputs(ctx context.Context, j *job) error {
	ctx, stop := ss.limited(ctx, inputsTime, "the job's configuration")
	defer stop()
	in := wire.NewStreamReader(wire.StreamInputs)
	extracted := make(chan error, 1)
	go func() {
		err := extractInputs(ctx, in, j.spec.Inputs, ss.server.Hello.Name)
		in.Close()
		extracted <- err
	}()
	for {
		ended, err := ss.feed(in, j)
		if err != nil {
			in.Fail(err)
			// What was wrong with the inputs before the connection ended is the better reason: a peer that has closed its
			// own direction only can still read it.
			if bad := <-extracted; bad != nil && errors.Is(err, wire.ErrLost) && !errors.Is(bad, wire.ErrLost) {
				err = bad
			}
		} else if ended {
			err = <-extracted
		} else {
			select {
			case err = <-extracted: // it gave up before the end
			default:
				continue
			}
		}
		if cause := context.Cause(ctx); cause != nil && err != nil {
			return cause
		}
		return err
	}
}

// feed takes one frame while inputs arrive.
func (ss *session) feed(in *wire.StreamReader, j *job) (ended bool, err error) {
	f, err := ss.conn.Read()
	if err != nil {
		return false, err
	}
	if f.Type == wire.TypeCancel {
		return false, ss.isFor(j, f)
	}
	ours, err := in.Feed(f)
	if err == nil && !ours {
		err = fmt.Errorf("%w: a frame of type %d among a job's inputs", wire.ErrProtocol, f.Type)
	}
	return f.Type == wire.TypeEnd, err
}

// isFor checks that a cancel is for the job of this session; errCancelled says that it is.
func (ss *session) isFor(j *job, f wire.Frame) error {
	var c wire.Cancel
	if err := f.Decode(wire.TypeCancel, &c); err != nil {
		return err
	}
	if c.ID != j.msg.ID {
		return fmt.Errorf("%w: a cancel of another job than this conversation's", wire.ErrProtocol)
	}
	return errCancelled
}

// attach watches a job that another session submitted.
func (ss *session) attach(a wire.Attach) error {
	if a.After < 0 || len(a.Have) > maxEvents {
		return wire.Errorf(wire.CodeBadRequest, "attach: after %d with %d results cannot be", a.After, len(a.Have))
	}
	j, err := ss.find(a.ID)
	if err != nil {
		return err
	}
	defer ss.server.leave(j)
	j.logger.Info("client attached", "address", ss.addr, "after", a.After)
	return ss.watch(j, a, (*session).stream)
}

// cancel ends a job that another session watches, or none.
func (ss *session) cancel(c wire.Cancel) error {
	j, err := ss.find(c.ID)
	if err != nil {
		return err
	}
	defer ss.server.leave(j)
	ss.server.cancel(j, errCancelled)
	return ss.watch(j, wire.Attach{ID: c.ID}, (*session).wait)
}
