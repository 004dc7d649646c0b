package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"
)

// Send writes a control frame whose body is v as JSON.
func (c *Conn) Send(t Type, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if len(body) > MaxControl {
		return fmt.Errorf("message of %d bytes is too large to send, at most %d are allowed", len(body), MaxControl)
	}
	return c.write(t, body)
}

// SendError tells the peer why the conversation ends, as well as it can. Finish belongs after it, not Close.
func (c *Conn) SendError(err error) error { return c.Send(TypeError, AsError(err)) }

// write puts one frame on the carrier in one piece. Parts are joined to the body.
func (c *Conn) write(t Type, parts ...[]byte) error {
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	return c.writeLocked(t, parts...)
}

func (c *Conn) writeLocked(t Type, parts ...[]byte) error {
	if c.writeErr != nil {
		return c.writeErr
	}
	if c.finished {
		return fmt.Errorf("%w: it was finished on this side", ErrLost)
	}
	c.out = append(c.out[:0], make([]byte, headerSize)...)
	for _, p := range parts {
		c.out = append(c.out, p...)
	}
	putHeader(c.out, t, len(c.out)-headerSize)
	if c.greeted {
		c.carrier.SetWriteDeadline(time.Now().Add(StallAfter))
	}
	_, err := c.carrier.Write(c.out)
	c.lastSent = time.Now()
	if cap(c.out) > 2*MaxData {
		c.out = nil
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		// The reader must learn of it too, and a peer that lives and does not read would never let it. After
		// any other error there may still be the peer's last words to read.
		c.carrier.Close()
		err = fmt.Errorf("%w: the other side has stopped taking what is sent", ErrLost)
	}
	c.writeErr = lost(err)
	return c.writeErr
}

// ping keeps the peer sure of us until Close or Finish.
func (c *Conn) ping() {
	t := time.NewTicker(PingInterval / 2)
	defer t.Stop()
	for {
		select {
		case <-c.stopPing:
			return
		case <-t.C:
		}
		if !c.writeMu.TryLock() {
			continue // a frame is under way
		}
		if time.Since(c.lastSent) >= PingInterval/2 {
			_ = c.writeLocked(TypePing) // the reader notices a broken connection
		}
		c.writeMu.Unlock()
	}
}

// Finish says that nothing more will be sent, and closes the connection after grace at the latest. Whoever
// reads goes on doing so until the peer has closed its side too, and then calls Close: a TCP connection that
// is closed with unread bytes is reset, and the peer would lose what was sent last.
func (c *Conn) Finish(grace time.Duration) {
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	if c.finished || c.closed {
		return
	}
	c.finished = true
	close(c.stopPing)
	if half, ok := c.carrier.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	c.finish = time.AfterFunc(grace, func() { c.carrier.Close() })
}

// Close ends the connection at once. It may be called more than once and from any goroutine.
func (c *Conn) Close() error {
	err := c.carrier.Close() // first: it ends a write that holds the lock
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	if c.closed {
		return nil
	}
	c.closed = true
	if !c.finished {
		close(c.stopPing)
	} else {
		c.finish.Stop()
	}
	return err
}
