package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"

	"lantage/archive"
	"lantage/wire"
)

// shower is stream or wait.
type shower func(ss *session, ctx context.Context, j *job, a wire.Attach) error

// watch shows a job to the client by show, and meanwhile reads: a cancel, or that the client is gone. Neither
// ends the job by itself: a client that is gone may come back.
func (ss *session) watch(j *job, a wire.Attach, show shower) error {
	ctx, cancel := context.WithCancel(context.Background()) // what ends with the daemon is the job
	defer cancel()
	shown := make(chan error, 1)
	go func() {
		err := ss.conn.Send(wire.TypeAccepted, wire.Accepted{ID: j.msg.ID, Base: j.base})
		if err == nil {
			err = show(ss, ctx, j, a)
		}
		if err != nil && !errors.Is(err, wire.ErrLost) && ctx.Err() == nil {
			j.logger.Error("a client cannot be shown its job", "error", err)
			ss.lastWords(err)
		}
		shown <- err
	}()
	if err := ss.listen(j); !errors.Is(err, wire.ErrLost) {
		cancel()
		ss.lastWords(err)
		ss.drain()
	}
	ss.conn.Close() // ends a write that show is in
	cancel()
	if err := <-shown; err != nil {
		select {
		case <-j.over:
		default:
			j.logger.Info("the client is gone and its job goes on", "error", err)
		}
	}
	return wire.ErrLost // all that could be said was said
}

// listen reads what a client says while it watches.
func (ss *session) listen(j *job) error {
	for {
		f, err := ss.conn.Read()
		if err != nil {
			return err
		}
		if f.Type != wire.TypeCancel {
			return fmt.Errorf("%w: a frame of type %d from a client that watches", wire.ErrProtocol, f.Type)
		}
		if err := ss.isFor(j, f); !errors.Is(err, errCancelled) {
			return err
		}
		ss.server.cancel(j, errCancelled)
	}
}

// finished says that a job is over. It is the last word.
func (ss *session) finished(done wire.Done) error {
	if err := ss.conn.Send(wire.TypeDone, done); err != nil {
		return err
	}
	ss.conn.Finish(lingerTime)
	return nil
}

// wait shows nothing but the job's end.
func (ss *session) wait(ctx context.Context, j *job, _ wire.Attach) error {
	select {
	case <-j.over:
	case <-ctx.Done():
		return ctx.Err()
	}
	_, done, _ := j.since(0)
	return ss.finished(*done)
}

// stream shows a job's events, results and log, as far as the client does not have them, and its end.
func (ss *session) stream(ctx context.Context, j *job, a wire.Attach) error {
	ctx, cancel := context.WithCancel(ctx)
	var logErr error
	var log sync.WaitGroup
	if a.Log {
		log.Go(func() { logErr = ss.streamLog(ctx, j) })
	}
	done, err := ss.streamEvents(ctx, j, a)
	if err != nil {
		cancel()
	}
	log.Wait()
	cancel()
	if err != nil || logErr != nil {
		return cmp.Or(err, logErr)
	}
	return ss.finished(done)
}

// streamEvents sends the events after a.After, and a member for each result that is not in a.Have.
func (ss *session) streamEvents(ctx context.Context, j *job, a wire.Attach) (wire.Done, error) {
	have := make(map[string]bool, len(a.Have))
	for _, sum := range a.Have {
		have[sum] = true
	}
	results := ss.conn.Writer(wire.StreamResults)
	members := archive.NewWriter(results, archive.Options{Level: archive.ForBinpkgs})
	defer members.Close()
	for seq := 0; ; {
		events, done, changed := j.since(seq)
		for _, e := range events {
			if seq = e.Seq; seq > a.After {
				if err := ss.conn.Send(wire.TypeEvent, e); err != nil {
					return wire.Done{}, err
				}
			}
			if e.Kind == wire.EventResult && !have[e.Result.SHA256] {
				if err := j.addResult(members, e); err != nil {
					return wire.Done{}, err
				}
			}
		}
		switch {
		case len(events) > 0: // there may be more by now
		case done != nil:
			return *done, errors.Join(members.Close(), results.Close())
		default:
			select {
			case <-changed:
			case <-ctx.Done():
				return wire.Done{}, ctx.Err()
			}
		}
	}
}

// addResult sends the file of a result event. One that is not there any more, or not what it was, is left
// out: the client sees that it did not come, and gets the others.
func (j *job) addResult(members *archive.Writer, e wire.Event) error {
	res, ok := j.result(e.Seq)
	if !ok {
		return nil
	}
	name := "binpkgs/" + res.Path
	if res.Log {
		name = "logs/" + res.Path
	}
	f, err := res.Open()
	if err == nil {
		defer f.Close()
		var fi fs.FileInfo
		if fi, err = f.Stat(); err == nil && fi.Size() != res.Size {
			err = fmt.Errorf("it has %d bytes and had %d", fi.Size(), res.Size)
		}
	}
	if err != nil {
		j.logger.Error("a result cannot be sent", "path", res.Path, "error", err)
		return nil
	}
	if err := members.AddFile(name, f); err != nil {
		return err
	}
	return members.Flush()
}

// streamLog sends the job's log from its beginning, as it grows, until the job is over.
func (ss *session) streamLog(ctx context.Context, j *job) error {
	out := ss.conn.Writer(wire.StreamLog)
	look := time.NewTicker(logInterval)
	defer look.Stop()
	var file *os.File
	for over := false; ; {
		if file == nil {
			var err error
			if file, err = os.Open(j.spec.Log); err == nil {
				defer file.Close()
			} else if !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		if file != nil {
			if _, err := io.Copy(out, file); err != nil {
				return err
			}
		}
		if over {
			return out.Close()
		}
		select {
		case <-j.over:
			over = true // and look once more: the last lines came before it
		case <-look.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
