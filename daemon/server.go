package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
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

// Runner runs a job to its end and calls emit for each step of it, from one goroutine. *build.Runner is the
// real one; its documentation has the contract.
type Runner interface {
	Run(ctx context.Context, job build.Job, emit func(build.Event)) (build.Report, error)
}

// Server takes jobs from clients and has them run. Its exported fields are set before Serve and not changed.
type Server struct {
	Runner   Runner
	Roots    *rootfs.Store // of clients' roots; nil: the base client is not offered
	StateDir string        // jobs' directories are made in its folder jobs, which is emptied at the start
	Hello    wire.Hello    // what does not change; load and numbers of jobs are filled in for every peer
	JobLimit int           // jobs that run at once; 0 is 1
	Logger   *slog.Logger

	Identity   *trust.Identity        // nil: connections are not encrypted, and say nothing of who the client is
	PairedOnly bool                   // take jobs only from clients that were paired or allowed; else from all on networks that this machine is on
	attached   func(netip.Addr) error // nil: trust.Attached

	MaxConnections int // at once; 0 is DefaultConnections
	MaxWaiting     int // jobs that wait, or whose inputs are on their way; 0 is DefaultWaiting

	// DistDirs are where bases of this machine's own have distfiles, by the base's name; "" is the preferred one.
	DistDirs map[string]string

	distfileRoom func() int64 // nil: what the disk has
	verified     verifiedFiles
	sessions     sync.WaitGroup
	running      sync.WaitGroup // jobs

	mu           sync.Mutex // guards the rest
	sessionConns connections
	refusedConns connections           // of peers that are told why they have no session
	live         map[*session]bool     // that have said hello
	pairing      *pairing              // the owner waits for a client
	jobs         map[string]*job       // that clients can attach to
	arriving     map[string]netip.Addr // IDs of jobs whose inputs are on their way, and where from
	waiting      []*job                // the next one first
	active       int                   // jobs that run
	ended        []*job                // the oldest first
	closed       bool                  // the daemon ends: no job begins any more
}

// Serve takes connections from ln until ctx ends. Then it closes ln, cancels all jobs, tells the clients so,
// and returns nil when everything has ended, which takes drainTime at most. An error says what is left
// running.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	if err := s.sweep(); err != nil {
		ln.Close()
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() { ln.Close() })()
	collected := make(chan struct{})
	go func() { defer close(collected); s.collect(ctx) }()
	defer func() { <-collected }()
	err := s.accept(ctx, ln)
	cancel()
	return errors.Join(err, s.shutDown())
}

// sweep removes what the jobs of an earlier daemon have left.
func (s *Server) sweep() error {
	s.mu.Lock() // the owner may ask already, see control
	s.sessionConns, s.refusedConns = connections{}, connections{}
	s.jobs, s.arriving = map[string]*job{}, map[string]netip.Addr{}
	s.live = map[*session]bool{}
	s.mu.Unlock()
	dir := filepath.Join(s.StateDir, "jobs")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("the directory for jobs: %w", err)
	}
	left, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("the directory for jobs: %w", err)
	}
	for _, entry := range left {
		s.Logger.Info("removing what is left of an earlier job", "job", entry.Name())
		if err := build.RemoveAll(filepath.Join(dir, entry.Name())); err != nil {
			return fmt.Errorf("what an earlier lantage serve left cannot be removed; does one of its builds still "+
				"run? %w", err)
		}
	}
	return nil
}

// accept starts a session for each connection. Errors of Accept pass (no file descriptors are left, for
// instance), but that of a closed listener.
func (s *Server) accept(ctx context.Context, ln net.Listener) error {
	for {
		conn, err := ln.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				conn.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("cannot take connections any more: %w", err)
		case err != nil:
			s.Logger.Error("a connection could not be taken", "error", err)
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
			continue
		}
		s.receive(ctx, conn)
	}
}

// receive gives a connection a session if there is a place for it. If not, the peer is told so, unless that is being said to
// too many already.
func (s *Server) receive(ctx context.Context, conn net.Conn) {
	full := s.start(conn, s.sessionConns, s.maxConnections(), func() { s.session(ctx, conn) })
	if full == "" {
		return
	}
	s.Logger.Warn("a connection was refused: there are too many", "from", conn.RemoteAddr(), "open", full)
	busy := wire.Errorf(wire.CodeBusy, "%s has too many connections (%s), try again later", s.Hello.Name, full)
	if s.start(conn, s.refusedConns, maxRefusals, func() { s.refuse(ctx, conn, busy) }) != "" {
		conn.Close()
	}
}

// connections are those that are open, each with its peer's address.
type connections map[net.Conn]netip.Addr

// start runs fn for a connection and then closes it, if there is a place for it among those that are open. If not, it says
// how many are too many.
func (s *Server) start(conn net.Conn, open connections, limit int, fn func()) (full string) {
	addr := ipOf(conn.RemoteAddr())
	s.mu.Lock()
	if full = crowded(addr, limit, maps.Values(open)); full == "" {
		open[conn] = addr
	}
	s.mu.Unlock()
	if full != "" {
		return full
	}
	s.sessions.Go(func() {
		defer func() {
			conn.Close()
			s.mu.Lock()
			delete(open, conn)
			s.mu.Unlock()
		}()
		fn()
	})
	return ""
}

// shutDown ends all jobs and sessions.
func (s *Server) shutDown() error {
	s.cancelAll(fmt.Errorf("%s is shutting down", s.Hello.Name))
	jobs, sessions := closedWhenDone(&s.running), closedWhenDone(&s.sessions)
	deadline := time.NewTimer(drainTime)
	defer deadline.Stop()
	var err error
	select {
	case <-jobs:
		select {
		case <-sessions:
		case <-deadline.C:
		}
	case <-deadline.C:
		err = fmt.Errorf("jobs did not end within %v of being cancelled", drainTime)
	}
	s.mu.Lock()
	for _, open := range []connections{s.sessionConns, s.refusedConns} {
		for conn := range open {
			conn.Close()
		}
	}
	s.mu.Unlock()
	if err != nil {
		return err // sessions may wait for these jobs, and their directories are in use
	}
	<-sessions
	s.forgetAll()
	return nil
}

func closedWhenDone(wg *sync.WaitGroup) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		wg.Wait()
		close(done)
	}()
	return done
}

// hello is what this builder says of itself now.
func (s *Server) hello() wire.Hello {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.Hello
	h.Load, h.Jobs, h.Waiting, h.JobLimit = loadAverage(), s.active, len(s.waiting), s.limit()
	h.Pairing = s.pairing != nil
	return h
}

func (s *Server) limit() int { return max(1, s.JobLimit) }

func (s *Server) maxConnections() int { return cmp.Or(s.MaxConnections, DefaultConnections) }

func (s *Server) maxWaiting() int { return cmp.Or(s.MaxWaiting, DefaultWaiting) }
