package client

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"lantage/wire"
)

// Times of a job whose connection was lost, and of one that is cancelled.
const (
	reconnectFor  = time.Minute
	reconnectMost = 4 * time.Second // between two tries; it begins with a sixtieth of the patience
	cancelWait    = 2 * time.Second // for the builder's done after a cancel
)

// job is one job as the client sees it: it outlives connections.
type job struct {
	msg    wire.Job
	inputs io.ReaderAt // what follows the submit: inputsSize bytes of tar.gz
	size   int64
	dist   *distfiles // offered before the submit; nil: there are none, or the builder does not take them

	builder *builder
	redial  func(ctx context.Context) (*builder, error)
	// distrust says why nothing more is taken of the builder, which was trusted when the job began; nil: nobody can say so.
	distrust func() error
	results  *results
	display  *display

	patience time.Duration // how long a lost connection is tried again

	submitted bool // some connection has sent it; the builder may have it, accepted or not
	after     int  // number of the last event
}

// newJobID makes a job's name: who knows it may attach and cancel.
func newJobID() string {
	var id [16]byte
	rand.Read(id[:])
	return hex.EncodeToString(id[:])
}

// run sees the job through to the builder's last message. A connection that is lost is made again for a
// while. The error says why there is no last message: ctx's cause after a cancel, a *wire.Error of the
// builder, a *localError, or what is wrong with the connection.
func (j *job) run(ctx context.Context) (wire.Done, error) {
	conn := j.builder.conn
	for {
		done, err := j.session(ctx, conn)
		conn.Close()
		if refused, ok := errors.AsType[*wire.Error](err); ok && refused.Code == wire.CodeUnknownJob && j.after == 0 {
			// Its inputs did not get there whole before the connection was lost, or the daemon was restarted since.
			j.submitted = false
			err = fmt.Errorf("%w before it had the whole job", wire.ErrLost)
		}
		if err == nil || ctx.Err() != nil || !errors.Is(err, wire.ErrLost) {
			return done, err
		}
		if conn, err = j.reconnect(ctx, err); err != nil {
			return done, err
		}
	}
}

// reconnect tries to reach the builder again.
func (j *job) reconnect(ctx context.Context, lost error) (*wire.Conn, error) {
	j.display.say("%v: %v; trying to reach it again for %v", j.builder, reasonLine(lost), j.patience)
	giveUp := time.Now().Add(j.patience)
	ctx, cancel := context.WithDeadline(ctx, giveUp)
	defer cancel()
	for wait := j.patience / 60; ; wait = min(2*wait, reconnectMost) {
		select {
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.Canceled) { // and not its deadline; the cause is the signal
				j.cancelAnew()
			}
			return nil, lost
		case <-time.After(wait):
		}
		b, err := j.redial(ctx)
		if err != nil {
			continue
		}
		if b.hello.ID != j.builder.hello.ID {
			b.conn.Close()
			return nil, fmt.Errorf("%w; another builder, %v, has its address now", lost, b)
		}
		j.display.say("%v is back", b)
		return b.conn, nil
	}
}

// cancelAnew cancels the job on a connection of its own, as well as it can: the user ended it while there
// was none.
func (j *job) cancelAnew() {
	ctx, stop := context.WithTimeout(context.Background(), cancelWait)
	defer stop()
	b, err := j.redial(ctx)
	if err != nil {
		return
	}
	defer b.conn.Close()
	defer context.AfterFunc(ctx, func() { b.conn.Close() })()
	if b.hello.ID == j.builder.hello.ID && b.conn.Send(wire.TypeCancel, wire.Cancel{ID: j.msg.ID}) == nil {
		for err == nil { // until it has ended the job and closes, or says done
			var f wire.Frame
			if f, err = b.conn.Read(); f.Type == wire.TypeDone {
				return
			}
		}
	}
}
