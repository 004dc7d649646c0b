package daemon

import (
	"context"
	"crypto/sha256"
	"errors"
	"net"
	"net/netip"
	"path/filepath"
	"regexp"
	"time"

	"lantage/trust"
	"lantage/wire"
)

// clientsOf is the book of the clients of a builder with this state directory.
func clientsOf(stateDir string) trust.Book {
	return trust.Book{File: filepath.Join(stateDir, trust.KnownClients)}
}

// secure encrypts a connection, unless this builder was told not to. One that does not encrypt is told so in the clear.
func (ss *session) secure(ctx context.Context, conn net.Conn) (wire.Carrier, error) {
	s := ss.server
	if s.Identity == nil {
		return conn, nil
	}
	channel, err := trust.Server(ctx, conn, s.Identity)
	if errors.Is(err, trust.ErrPlain) {
		wire.Refuse(conn, wire.Errorf(wire.CodeDeclined, "%s takes only encrypted connections; leave --plain out", s.Hello.Name))
		return nil, errors.New("it does not encrypt (--plain), and this builder does")
	}
	if err != nil {
		return nil, err
	}
	ss.channel, ss.key = channel, channel.Peer
	ss.logger = ss.logger.With("key", channel.Peer)
	return channel, nil
}

// mayCome refuses a peer for where it is.
func (ss *session) mayCome() error {
	s := ss.server
	tcp, ok := ss.addr.(*net.TCPAddr)
	if s.PairedOnly || !ok {
		return nil
	}
	attached := s.attached
	if attached == nil {
		attached = trust.Attached
	}
	addr, _ := netip.AddrFromSlice(tcp.IP)
	if err := attached(addr.WithZone(tcp.Zone)); err != nil {
		return wire.Errorf(wire.CodeDeclined, "%s takes jobs from its own networks only, and %v. With lantage serve --allow=paired it takes "+
			"those of paired machines from anywhere", s.Hello.Name, err)
	}
	return nil
}

// isDirect refuses a client that somebody is between: what the network says of it is of somebody else then. A client that lies can
// do so only with the help of a machine of the LAN, which could come itself.
func (ss *session) isDirect() error {
	s := ss.server
	if s.PairedOnly || ss.from == "" {
		return nil
	}
	if from, err := netip.ParseAddr(ss.from); err != nil || from.Unmap() != ipOf(ss.addr) {
		return wire.Errorf(wire.CodeDeclined, "%s takes jobs from machines of its own networks only, and this one (%.60q) comes through %v: there is a proxy or "+
			"a router between. With lantage serve --allow=paired it takes those of paired machines from anywhere", s.Hello.Name, ss.from, ipOf(ss.addr))
	}
	return nil
}

var identityRE = regexp.MustCompile(`^[0-9a-f]{32,128}$`)

// identify notes who a client says it is where its connection does not. The name is a secret, and is not kept.
func (ss *session) identify(identity string) error {
	if ss.channel != nil || identity == "" {
		return nil
	}
	if !identityRE.MatchString(identity) {
		return wire.Errorf(wire.CodeBadRequest, "the identity is not 32 to 128 hexadecimal digits")
	}
	ss.setKey(sha256.Sum256([]byte(identity)))
	return ss.admit()
}

// admit refuses a client that was revoked, and, if this builder takes only paired ones, every other one. A client that
// comes for the first time is noted, so that its owner can be asked about it by name.
func (ss *session) admit() error {
	s := ss.server
	if ss.key.IsZero() {
		return nil
	}
	clients := clientsOf(s.StateDir)
	peers, err := clients.Peers()
	if err != nil {
		return err
	}
	if _, known := trust.Find(peers, ss.key); !known {
		if err := clients.Note(ss.key, ss.name); err != nil {
			if errors.Is(err, trust.ErrFull) {
				err = wire.Errorf(wire.CodeDeclined, "%s knows too many clients to take another one; there: lantage trust forget NAME", s.Hello.Name)
			}
			return err
		}
		ss.logger.Info("a client came for the first time")
	}
	return s.verdict(peers, ss.key)
}

// verdict says why nothing is taken of a client, or nil.
func (s *Server) verdict(peers []trust.Peer, key trust.Key) error {
	switch p, _ := trust.Find(peers, key); {
	case p.State == trust.Revoked:
		return wire.Errorf(wire.CodeDeclined, "%s takes nothing of this machine any more: its owner has revoked it", s.Hello.Name)
	case s.PairedOnly && p.State != trust.Trusted:
		return wire.Errorf(wire.CodeDeclined, "%s takes jobs of paired machines only, and this one (%v) is not: run lantage pair there, and "+
			"then here", s.Hello.Name, key)
	}
	return nil
}

// enter makes a session known until the returned function is called.
func (s *Server) enter(ss *session) (leave func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.live[ss] = true
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.live, ss)
	}
}

// setKey says whose session it is.
func (ss *session) setKey(key trust.Key) {
	ss.server.mu.Lock()
	defer ss.server.mu.Unlock()
	ss.key = key
}

// reconsider ends what there is of clients that nothing is taken of any more, since the book was changed: sessions and jobs.
func (s *Server) reconsider() error {
	peers, err := clientsOf(s.StateDir).Peers()
	if err != nil {
		return err
	}
	s.mu.Lock()
	sessions := map[*session]error{}
	for ss := range s.live {
		if err := s.verdict(peers, ss.key); err != nil && !ss.key.IsZero() {
			sessions[ss], ss.refused = err, err
		}
	}
	jobs := map[*job]error{}
	for _, j := range s.jobs {
		if err := s.verdict(peers, j.owner); err != nil && !j.owner.IsZero() && j.endedAt.IsZero() {
			jobs[j] = err
		}
	}
	s.mu.Unlock()
	for ss, why := range sessions {
		ss.logger.Info("a session is ended", "reason", why)
		time.AfterFunc(lingerTime, func() { ss.conn.Close() }) // a peer that does not read is not waited for
		go ss.lastWords(why)
	}
	for j, why := range jobs {
		s.cancel(j, why)
	}
	return nil
}

// refuse tells a peer for which there is no place so.
func (s *Server) refuse(ctx context.Context, conn net.Conn, why *wire.Error) {
	ss := &session{server: s, addr: conn.RemoteAddr(), logger: s.Logger}
	defer time.AfterFunc(refuseTime, func() { conn.Close() }).Stop()
	if carrier, err := ss.secure(ctx, conn); err == nil {
		wire.Refuse(carrier, why)
	}
}
