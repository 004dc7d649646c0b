package wire

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// Carrier is the byte stream below a Conn. net.Conn is one. Deadlines are how a silent peer is noticed. A
// carrier that also has a CloseWrite method (TCP, TLS) can end a conversation without losing its last words.
type Carrier interface {
	io.ReadWriteCloser
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
}

// Conn speaks frames over a Carrier. One goroutine may read while any number write. After an error of Read,
// or of a write, the connection is of no use but to be closed.
type Conn struct {
	carrier Carrier
	r       *bufio.Reader
	header  [headerSize]byte
	body    []byte
	greeted bool // the handshake is over: writes have deadlines of their own

	writeMu  sync.Mutex // guards the rest and the order of frames on the carrier
	out      []byte     // one frame under construction
	writeErr error      // the first one: the frame that it cut short cannot be mended
	lastSent time.Time
	finished bool        // nothing more is written
	finish   *time.Timer // closes the carrier after Finish
	stopPing chan struct{}
	closed   bool
}

// Handshake exchanges prefaces and hellos over carrier and returns the connection and what the peer said of
// itself. From then on pings are sent by themselves. Errors: ErrNotLantage, ErrPeerOlder, ErrPeerNewer,
// ErrProtocol, ErrLost, or the peer's refusal as *Error. On error the carrier is closed.
func Handshake(carrier Carrier, self Hello) (*Conn, Hello, error) {
	// Its buffer is for what is small: what is large is read past it.
	c := &Conn{carrier: carrier, r: bufio.NewReader(carrier), stopPing: make(chan struct{})}
	peer, err := c.greet(self)
	if err != nil {
		c.Close()
		return nil, Hello{}, err
	}
	go c.ping()
	return c, peer, nil
}

// greet writes and reads at the same time: over a carrier without buffers two sides that both write first
// would wait for each other.
func (c *Conn) greet(self Hello) (peer Hello, err error) {
	deadline := time.Now().Add(HandshakeTimeout)
	c.carrier.SetReadDeadline(deadline)
	c.carrier.SetWriteDeadline(deadline)
	wrote := make(chan error, 1)
	go func() {
		err := writePreface(c.carrier)
		if err == nil {
			err = c.Send(TypeHello, self)
		}
		wrote <- err
	}()
	if _, err := readPreface(c.r); err != nil {
		if errors.Is(err, ErrPeerOlder) || errors.Is(err, ErrPeerNewer) || errors.Is(err, ErrNotLantage) {
			c.part(wrote)
		}
		return peer, lost(err)
	}
	f, err := c.read()
	if err != nil {
		return peer, lost(err)
	}
	if err := f.Decode(TypeHello, &peer); err != nil {
		return peer, err
	}
	if err := <-wrote; err != nil {
		return peer, lost(err)
	}
	c.greeted = true
	return peer, nil
}

// part lets a peer of another version, or one that encrypts, have our preface, from which it learns what is wrong. Closing at once
// would not do: a TCP connection that is closed with unread bytes is reset, and takes what was sent before
// with it.
func (c *Conn) part(wrote <-chan error) {
	deadline := time.Now().Add(farewell)
	c.carrier.SetReadDeadline(deadline)
	c.carrier.SetWriteDeadline(deadline)
	<-wrote
	c.Finish(farewell)
	_, _ = io.Copy(io.Discard, c.r)
}

// Refuse answers a peer with an error in place of a hello, without listening to it, and closes the carrier.
// It takes a second at most.
func Refuse(carrier Carrier, e *Error) {
	c := &Conn{carrier: carrier, r: bufio.NewReader(carrier), stopPing: make(chan struct{})}
	defer c.Close()
	c.carrier.SetWriteDeadline(time.Now().Add(farewell))
	wrote := make(chan error, 1)
	err := writePreface(carrier)
	if err == nil {
		err = c.SendError(e)
	}
	if wrote <- err; err == nil {
		c.part(wrote)
	}
}

// Read returns the next frame that is not a ping. Its body is valid until the next Read. An error frame is
// returned as its *Error. ErrLost wraps every way in which a connection ends without one.
func (c *Conn) Read() (Frame, error) {
	for {
		c.carrier.SetReadDeadline(time.Now().Add(DeadAfter))
		f, err := c.read()
		if err != nil {
			return Frame{}, lost(err)
		}
		switch f.Type {
		case TypePing:
		case TypeError:
			e := new(Error)
			if err := f.Decode(TypeError, e); err != nil {
				return Frame{}, err
			}
			return Frame{}, e
		default:
			return f, nil
		}
	}
}

// read reads one frame of any type. The buffer grows with what arrives, not with what a header promises.
func (c *Conn) read() (Frame, error) {
	t, n, err := readHeader(c.r, &c.header)
	if err != nil {
		return Frame{}, err
	}
	if !c.greeted && n > MaxHello {
		return Frame{}, fmt.Errorf("%w: a hello of %d bytes, at most %d are allowed", ErrProtocol, n, MaxHello)
	}
	if c.greeted && n <= 1+MaxData {
		if c.body == nil {
			c.body = make([]byte, 1+MaxData)
		}
		body := c.body[:n]
		if _, err := io.ReadFull(c.r, body); err != nil {
			return Frame{}, noEOF(err)
		}
		return Frame{t, body}, nil
	}
	body, err := readGrowing(c.r, int(n))
	if err != nil {
		return Frame{}, noEOF(err)
	}
	return Frame{t, body}, nil
}

// readGrowing reads n bytes into a buffer that is never more than twice as large as what has arrived, or small.
func readGrowing(r io.Reader, n int) ([]byte, error) {
	body := make([]byte, 0, min(n, 4<<10))
	for len(body) < n {
		if len(body) == cap(body) {
			body = append(make([]byte, 0, min(n, 2*cap(body))), body...)
		}
		more, err := io.ReadFull(r, body[len(body):cap(body)])
		if body = body[:len(body)+more]; err != nil {
			return nil, err
		}
	}
	return body, nil
}

// Decode fills v from a control frame that must be of type want. An error frame in its place is returned as
// its *Error.
func (f Frame) Decode(want Type, v any) error {
	if f.Type == TypeError && want != TypeError {
		e := new(Error)
		if err := json.Unmarshal(f.Body, e); err == nil {
			return e
		}
	}
	if f.Type != want {
		return fmt.Errorf("%w: frame of type %d where type %d was due", ErrProtocol, f.Type, want)
	}
	if err := json.Unmarshal(f.Body, v); err != nil {
		return fmt.Errorf("%w: frame of type %d: %v", ErrProtocol, f.Type, err)
	}
	return nil
}

// lost marks the ends of a connection as ErrLost and leaves other errors alone.
func lost(err error) error {
	switch {
	case err == nil, errors.Is(err, ErrLost), errors.Is(err, ErrProtocol), errors.Is(err, ErrNotLantage),
		errors.Is(err, ErrPeerOlder), errors.Is(err, ErrPeerNewer):
		return err
	case errors.Is(err, io.EOF):
		return fmt.Errorf("%w: the other side closed it", ErrLost)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("%w: nothing was heard from the other side for too long", ErrLost)
	}
	return fmt.Errorf("%w: %v", ErrLost, err)
}

// noEOF turns an end inside a frame into what it is.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
