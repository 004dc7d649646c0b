package discovery

import (
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/miekg/dns"
)

// responder answers the questions that are multicast on one link with one family, and multicasts there what
// nobody asked for. It stands in the place of the library's server, which hears the unicast packets of the
// whole machine on port 5353 too: that answers questions from anywhere, as many in one packet as there are,
// and takes the answers away that Avahi waits for.
type responder struct {
	link   link
	family Family
	zone   *zone
	conn   net.PacketConn // hears only what is multicast on the link, so what comes from it
	log    *slog.Logger
	ended  chan struct{}
}

func startResponder(l link, f Family, z *zone, log *slog.Logger) (*responder, error) {
	conn, err := listenGroup(&l, f)
	if err != nil {
		return nil, err
	}
	log = log.With("interface", l.ifi.Name, "family", f)
	r := &responder{link: l, family: f, zone: z, conn: conn, log: log, ended: make(chan struct{})}
	go r.answer()
	return r, nil
}

// answer answers until silence. The answer goes to who asked, if that is on the link: the source of a packet
// is easily forged, and an answer that leaves the LAN helps nobody. Who asks from port 5353 listens to the
// group (RFC 6762 section 6.7), and so hears the announcement that follows the question.
func (r *responder) answer() {
	defer close(r.ended)
	buf := make([]byte, longestPacket)
	for {
		n, from, err := r.conn.ReadFrom(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
		if err != nil {
			r.log.Debug("listening for questions", "error", err)
			time.Sleep(errorRest)
			continue
		}
		udp, ok := from.(*net.UDPAddr)
		if !ok {
			continue
		}
		src, _ := netip.AddrFromSlice(udp.IP)
		near := r.link.contains(src.Unmap()) || r.link.loopback() // there the source is 0.0.0.0
		unicast := udp.Port != mdnsPort && near
		if reply := r.zone.reply(buf[:n], unicast); reply != nil {
			if _, err := r.conn.WriteTo(reply, from); err != nil {
				r.log.Debug("answering", "to", from, "error", err)
			}
		}
	}
}

// multicast sends to all on the link. An error may pass, and another announcement follows.
func (r *responder) multicast(packet []byte) {
	if _, err := r.conn.WriteTo(packet, net.UDPAddrFromAddrPort(groupOf(&r.link, r.family))); err != nil {
		r.log.Debug("announcing", "error", err)
	}
}

// silence ends the answers; it returns when there are no more. The responder can still multicast.
func (r *responder) silence() {
	_ = r.conn.SetReadDeadline(time.Unix(1, 0)) // fails only if the socket is closed
	<-r.ended
}

func (r *responder) close() {
	r.silence()
	r.conn.Close()
}

// reply is the answer to a packet, or nil. A packet gets one answer, to the first question in it that is for
// us: so an answer has a bound, and what else was asked is in the announcement, which follows each question.
// Without unicast, or when many ask, that is all there is.
func (z *zone) reply(packet []byte, unicast bool) []byte {
	var m dns.Msg
	if m.Unpack(packet) != nil || m.Response || m.Opcode != dns.OpcodeQuery || m.Rcode != dns.RcodeSuccess {
		return nil
	}
	for _, q := range m.Question {
		if !z.concerns(q) {
			continue
		}
		select {
		case z.asked <- struct{}{}:
		default:
		}
		if !unicast || !z.take() {
			return nil
		}
		records := z.records(q)
		if len(records) == 0 {
			return nil
		}
		answer := response(records)
		answer.Id, answer.Question = m.Id, []dns.Question{q} // RFC 6762 section 6.7
		reply, err := answer.Pack()
		if err != nil || len(reply) > maxPacket {
			return nil
		}
		return reply
	}
	return nil
}
