package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"lantage/gentoo"
	"lantage/trust"
	"lantage/wire"
)

// Times of dialling.
const (
	stagger     = 100 * time.Millisecond // between the tries of one builder's addresses
	dialTimeout = 5 * time.Second        // for a builder that is known
)

// builder is a builder that answered the hello.
type builder struct {
	hello   wire.Hello // its text is safe to print
	addr    string     // where it answered, as people write it; of several such addresses the easiest
	at      netip.AddrPort
	conn    *wire.Conn
	key     trust.Key        // whose it is; nobody's without encryption
	secret  string           // by which it knows this machine, where the connection does not say whose it is
	channel *trust.Conn      // below conn; nil without encryption
	known   bool             // its key is
	base    string           // that a job of ours is built on; empty: the builder's choice
	addrs   []netip.AddrPort // all that are known, to reach it again
	dialer  *dialer
}

// dialer opens connections to builders.
type dialer struct {
	self     wire.Hello
	identity *trust.Identity // nil: do not encrypt
	secret   string          // by which builders know this machine then
	// wanted reports whether a builder that answered is one that is looked for; nil: any is. Who answers at an address
	// may be somebody else.
	wanted func(*builder) bool
}

// errNoAnswer is a dial that was given up.
var errNoAnswer = errors.New("no answer in time")

// errAnswered is in each error of somebody who answered and cannot be talked to: to say nothing of that would hide what is wrong.
var errAnswered = errors.New("somebody answered")

// DialError is why a builder could not be used.
type DialError struct {
	Addr     string
	Err      error
	answered bool // it took the connection, and then it failed otherwise than by taking too long
}

func (e *DialError) Error() string        { return e.Addr + ": " + reasonLine(e.Err) }
func (e *DialError) Unwrap() error        { return e.Err }
func (e *DialError) Is(target error) bool { return target == errAnswered && e.answered }

// dialErrors are those of one builder's addresses.
type dialErrors []error

// Error says each reason once, after all addresses that it holds for.
func (e dialErrors) Error() string {
	var reasons []string
	addrs := map[string][]string{}
	for _, err := range e {
		reason, addr := reasonLine(err), ""
		if dial, ok := errors.AsType[*DialError](err); ok {
			reason, addr = reasonLine(dial.Err), dial.Addr
		}
		if !slices.Contains(reasons, reason) {
			reasons = append(reasons, reason)
		}
		if addr != "" {
			addrs[reason] = append(addrs[reason], addr)
		}
	}
	for i, reason := range reasons {
		if list := addrs[reason]; len(list) > 0 {
			reasons[i] = strings.Join(list, ", ") + ": " + reason
		}
	}
	return strings.Join(reasons, "; ")
}

func (e dialErrors) Unwrap() []error { return e }

// dial tries addrs, each a little after the one before it or as soon as that one failed, and returns the
// first that answers the hello and is wanted; if none is, one that answers. The others are given up.
func (d *dialer) dial(ctx context.Context, addrs []netip.AddrPort) (*builder, error) {
	if len(addrs) == 0 {
		return nil, errors.New("no address is known")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type answer struct {
		b   *builder
		err error
	}
	answers := make(chan answer, len(addrs))
	next := time.NewTimer(0)
	defer next.Stop()
	var errs []error
	var unwanted *builder
	started, ended := 0, 0
	use := func(b *builder) (*builder, error) {
		if unwanted != nil && unwanted != b {
			unwanted.conn.Close()
		}
		go func(rest int) { // those that answer too late
			for range rest {
				if a := <-answers; a.b != nil {
					a.b.conn.Close()
				}
			}
		}(started - ended)
		b.addrs, b.dialer = addrs, d
		return b, nil
	}
	for ended < len(addrs) {
		select {
		case <-next.C:
			if started < len(addrs) {
				addr := addrs[started]
				started++
				go func() {
					b, err := d.try(ctx, addr)
					answers <- answer{b, err}
				}()
				next.Reset(stagger)
			}
		case a := <-answers:
			ended++
			switch {
			case a.err != nil:
				errs = append(errs, a.err)
			case d.wanted == nil || d.wanted(a.b):
				return use(a.b)
			case unwanted == nil:
				unwanted = a.b
			default:
				a.b.conn.Close()
			}
			next.Reset(0)
		}
	}
	if unwanted != nil {
		return use(unwanted)
	}
	return nil, dialErrors(errs)
}

func (d *dialer) try(ctx context.Context, addr netip.AddrPort) (*builder, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr.String())
	if err != nil {
		if ctx.Err() != nil {
			err = errNoAnswer
		}
		if op, ok := errors.AsType[*net.OpError](err); ok {
			err = op.Err
		}
		return nil, &DialError{Addr: withName(addr).String(), Err: err}
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	b := &builder{addr: shownAddr(addr), at: addr, secret: d.secret}
	err = d.greet(ctx, conn, b)
	if !stop() {
		err = errNoAnswer
	}
	if err != nil {
		conn.Close()
		return nil, &DialError{withName(addr).String(), err, !errors.Is(err, errNoAnswer)}
	}
	return b, nil
}

// greet makes the channel and exchanges hellos.
func (d *dialer) greet(ctx context.Context, conn net.Conn, b *builder) error {
	carrier := wire.Carrier(conn)
	if d.identity != nil {
		ctx, cancel := context.WithTimeout(ctx, wire.HandshakeTimeout)
		defer cancel()
		channel, err := trust.Client(ctx, conn, d.identity)
		if errors.Is(err, trust.ErrPlain) {
			return errors.New("it does not encrypt (lantage serve --plain), and this machine does; if the link is private already, " +
				"say --plain here, too")
		}
		if err != nil {
			return err
		}
		carrier, b.key, b.channel = channel, channel.Peer, channel
	}
	self := d.self
	if local, err := netip.ParseAddrPort(conn.LocalAddr().String()); err == nil {
		self.Address = local.Addr().Unmap().WithZone("").String()
	}
	c, hello, err := wire.Handshake(carrier, self)
	b.conn, b.hello = c, tidy(hello)
	return err
}

// tidy makes what a builder says of itself fit to be shown and computed with.
func tidy(h wire.Hello) wire.Hello {
	for _, s := range []*string{&h.Name, &h.Software, &h.ID, &h.CHOST, &h.Arch, &h.CPU, &h.Portage} {
		*s = oneLine(*s, 64)
	}
	h.Bases = slices.Clone(h.Bases[:min(len(h.Bases), 32)])
	for i := range h.Bases {
		h.Bases[i] = oneLine(h.Bases[i], 255)
	}
	h.Features = slices.Clone(h.Features[:min(len(h.Features), 1024)])
	for i := range h.Features {
		h.Features[i] = oneLine(h.Features[i], 64)
	}
	for _, n := range []*int{&h.Cores, &h.Memory, &h.Jobs, &h.Waiting, &h.JobLimit} {
		*n = min(max(*n, 0), 1<<30)
	}
	if !(h.Load >= 0 && h.Load < 1<<20) { // NaN too
		h.Load = 0
	}
	if h.Name == "" {
		h.Name = "(no name)"
	}
	return h
}

// oneLine makes text of a peer's printable, one line, and at most n runes.
func oneLine(s string, n int) string {
	s = strings.Join(strings.Fields(gentoo.Printable(s[:min(len(s), 16*n)])), " ")
	if r := []rune(s); len(r) > n {
		s = string(r[:n-1]) + "…"
	}
	return s
}

// shownAddr leaves out the port that everybody uses.
func shownAddr(a netip.AddrPort) string {
	a = withName(a)
	if a.Port() == wire.DefaultPort {
		return a.Addr().String()
	}
	return a.String()
}

// withName has the interface of a link-local address by its name, which people know, and not by its number.
func withName(a netip.AddrPort) netip.AddrPort {
	n, err := strconv.Atoi(a.Addr().Zone())
	if err != nil {
		return a
	}
	ifi, err := net.InterfaceByIndex(n)
	if err != nil {
		return a
	}
	return netip.AddrPortFrom(a.Addr().WithZone(ifi.Name), a.Port())
}

// easiest is the address of these that people are shown, since they can read it most easily and use it anywhere: one of IPv4, or else
// one of IPv6 that is not link-local.
func easiest(addrs []netip.AddrPort) netip.AddrPort {
	return slices.MinFunc(addrs, func(a, b netip.AddrPort) int { return hardness(a.Addr()) - hardness(b.Addr()) })
}

func hardness(a netip.Addr) int {
	switch {
	case a.IsLinkLocalUnicast():
		return 2
	case a.Is4():
		return 0
	}
	return 1
}

// is reports whether two that answered are one builder.
func (b *builder) is(other *builder) bool {
	if !b.key.IsZero() || !other.key.IsZero() {
		return b.key == other.key
	}
	return b.hello.ID == other.hello.ID && b.hello.ID != ""
}

func (b *builder) String() string { return b.hello.Name + " (" + b.addr + ")" }

// parseHost reads what the user says of a builder's host, and LANTAGE_PORT: a name, an IPv4 or IPv6 address (with a zone where it needs
// one, in brackets or not), each with or without a port. A port that stands with the host wins. origin is where
// it is written.
func parseHost(origin, host, port string) (name string, number uint16, err error) {
	number = wire.DefaultPort
	if port != "" {
		if number, err = parseOwnPort(port); err != nil {
			return "", 0, err
		}
	}
	name = host
	_, notAddr := netip.ParseAddr(host)
	switch {
	case strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]"):
		name = host[1 : len(host)-1]
	case notAddr != nil && strings.Contains(host, ":"):
		var p string
		if name, p, err = net.SplitHostPort(host); err == nil {
			number, err = parsePort(p)
		}
	}
	if err == nil && strings.Contains(name, ":") {
		_, err = netip.ParseAddr(name)
	}
	if err == nil && (name == "" || strings.ContainsAny(name, " []/")) {
		err = errors.New("it is not the name or address of a machine")
	}
	if err != nil {
		return "", 0, fmt.Errorf("%s is %q: %w; "+
			"write name, name:port, 192.0.2.1:port or [2001:db8::1]:port", origin, host, err)
	}
	return name, number, nil
}

// parseOwnPort reads a port that stands by itself. Whether the flag or the variable has it is not known here.
func parseOwnPort(s string) (uint16, error) {
	n, err := parsePort(s)
	if err != nil {
		err = fmt.Errorf("--port or LANTAGE_PORT: %w", err)
	}
	return n, err
}

func parsePort(s string) (uint16, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%q is not a port (1 to 65535)", s)
	}
	return uint16(n), nil
}

// again connects to a builder anew: to the one with the same key and to no other.
func (b *builder) again(ctx context.Context) (*builder, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	d := *b.dialer
	d.wanted = func(other *builder) bool { return other.key == b.key }
	same, err := d.dial(ctx, b.addrs)
	if err == nil && !d.wanted(same) {
		same.conn.Close()
		return nil, fmt.Errorf("what answers at %s now has another key, %v instead of %v", same.addr, same.key, b.key)
	}
	return same, err
}
