package daemon

import (
	"context"
	"errors"
	"fmt"
	"time"

	"lantage/trust"
	"lantage/wire"
)

// pairing is an owner who waits for a client to be paired. Its fields belong to Server.mu.
type pairing struct {
	code  string
	left  int // tries
	busy  bool
	ended chan paired // has room for the one end
}

// paired is how a pairing ended.
type paired struct {
	Name        string `json:"name,omitempty"`
	Fingerprint string `json:"key,omitempty"` // of the client's key
	Why         string `json:"why,omitempty"` // it failed
}

// beginPairing waits for a client from now on, until endPairing.
func (s *Server) beginPairing() (*pairing, error) {
	if s.Identity == nil {
		return nil, errors.New("this builder does not encrypt (lantage serve --plain), and so knows no keys that could be paired")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pairing != nil {
		return nil, errors.New("another lantage pair waits already; end it, or wait for its end")
	}
	s.pairing = &pairing{code: trust.NewCode(), left: trust.PairTries, ended: make(chan paired, 1)}
	return s.pairing, nil
}

func (s *Server) endPairing(p *pairing, how paired) {
	if s.takePairing(p) {
		p.ended <- how
	}
}

// takePairing ends a pairing, unless it has ended. Who took it tells the owner how it ended.
func (s *Server) takePairing(p *pairing) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	waits := s.pairing == p
	if waits {
		s.pairing = nil
	}
	return waits
}

// try takes one of the tries of the pairing, alone.
func (s *Server) try() (*pairing, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.pairing
	switch {
	case p == nil:
		return nil, wire.Errorf(wire.CodeDeclined, "%s does not wait for a machine to be paired; run lantage pair there first", s.Hello.Name)
	case p.busy:
		return nil, wire.Errorf(wire.CodeBusy, "%s is being paired with another machine just now; try again", s.Hello.Name)
	}
	p.busy = true
	p.left--
	return p, nil
}

// pairTime is how long a client may take for its proof: nobody types any more.
const pairTime = 10 * time.Second

// pair pairs the client of this session, if it has the code.
func (ss *session) pair(ctx context.Context, f wire.Frame) error {
	s := ss.server
	if ss.channel == nil {
		return wire.Errorf(wire.CodeDeclined, "%s does not encrypt, and so knows no keys that could be paired", s.Hello.Name)
	}
	var m wire.Pair
	if err := f.Decode(wire.TypePair, &m); err != nil {
		return err
	}
	p, err := s.try()
	if err != nil {
		return err
	}
	proof, err := ss.tryPairing(ctx, p, m)
	if err != nil {
		s.failedTry(p, ss, err)
		return err
	}
	if !s.takePairing(p) { // the owner was told that nothing is paired
		return wire.Errorf(wire.CodeDeclined, "%s does not wait any more for a machine to be paired; run lantage pair there again", s.Hello.Name)
	}
	if err := clientsOf(s.StateDir).Set(ss.key, ss.name, trust.Trusted); err != nil {
		p.ended <- paired{Why: fmt.Sprintf("the client cannot be noted: %v", err)}
		return err
	}
	p.ended <- paired{Name: trust.CleanName(ss.name), Fingerprint: ss.key.String()}
	ss.logger.Info("a client is paired")
	if err := ss.conn.Send(wire.TypePair, wire.Pair{Proof: proof}); err != nil {
		return err
	}
	ss.conn.Finish(lingerTime)
	ss.drain()
	return nil
}

// tryPairing goes through a pairing and returns our proof for the client that has the code.
func (ss *session) tryPairing(ctx context.Context, p *pairing, m wire.Pair) ([]byte, error) {
	ctx, stop := ss.limited(ctx, pairTime, "the proof of a pairing")
	defer stop()
	end, err := trust.NewPairing(ss.channel, ss.server.Identity, p.code, true)
	if err != nil {
		return nil, err
	}
	answer, err := end.Answer(m.Message)
	if err != nil {
		return nil, wire.Errorf(wire.CodeBadRequest, "%v", err)
	}
	if err := ss.conn.Send(wire.TypePair, wire.Pair{Message: answer}); err != nil {
		return nil, err
	}
	f, err := ss.conn.Read()
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return nil, cause
		}
		return nil, err
	}
	if err := f.Decode(wire.TypePair, &m); err != nil {
		return nil, err
	}
	if err := end.Check(m.Proof); err != nil {
		return nil, wire.Errorf(wire.CodeDeclined, "%v", err)
	}
	return end.Proof()
}

// failedTry ends the pairing when it was the last try.
func (s *Server) failedTry(p *pairing, ss *session, why error) {
	s.mu.Lock()
	p.busy = false
	left := p.left
	s.mu.Unlock()
	ss.logger.Warn("a try to pair failed", "error", why, "left", left)
	if left <= 0 {
		s.endPairing(p, paired{Why: fmt.Sprintf("%d tries with a wrong code; the last came from %v", trust.PairTries, ss.addr)})
	}
}
