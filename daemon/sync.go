package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"lantage/archive"
	"lantage/rootfs"
	"lantage/wire"
)

// How long a sync waits for the one before it, and how often it looks. A client that was interrupted and comes again at once may
// be here before the end of its old connection is.
const (
	syncPatience = 5 * time.Second
	syncLook     = 20 * time.Millisecond
)

// beginSync begins a sync as soon as no other of this client's runs; the error is rootfs.ErrBusy if that goes on.
func beginSync(ctx context.Context, roots *rootfs.Store, client string, about rootfs.About) (*rootfs.Receiver, error) {
	giveUp := time.Now().Add(syncPatience)
	for {
		r, err := roots.Begin(client, about)
		if !errors.Is(err, rootfs.ErrBusy) || time.Now().After(giveUp) {
			return r, err
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(syncLook):
		}
	}
}

// checkSync judges what a client says of itself.
func checkSync(m wire.Sync, self wire.Hello) error {
	switch {
	case !validText(m.Client, maxText):
		return wire.Errorf(wire.CodeBadRequest, "client %q is not a name", m.Client)
	case len(m.CHOST) > maxText || !chostRE.MatchString(m.CHOST):
		return wire.Errorf(wire.CodeBadRequest, "chost %q is not a CHOST", m.CHOST)
	}
	return checkArch(m.CHOST, self)
}

// sync tells a client what there is of its root, and takes a newer one if the client has it. It returns the frame that
// comes after.
func (ss *session) sync(ctx context.Context, f wire.Frame) (wire.Frame, error) {
	var m wire.Sync
	if err := f.Decode(wire.TypeSync, &m); err != nil {
		return f, err
	}
	roots := ss.server.Roots
	if roots == nil {
		return f, wire.Errorf(wire.CodeDeclined, "%s does not offer the base %s", ss.server.Hello.Name, wire.BaseClient)
	}
	if err := checkSync(m, ss.server.Hello); err != nil {
		return f, err
	}
	if err := ss.identify(m.Identity); err != nil {
		return f, err
	}
	if ss.key.IsZero() {
		return f, wire.Errorf(wire.CodeBadRequest, "a copy of a root needs to know whose it is")
	}
	client := ss.key.ID()
	logger := ss.logger.With("client", m.Client, "copy", client[:8])
	if err := ss.admit(); err != nil {
		return f, err
	}
	if m.Forget {
		if err := ss.server.forgetClient(client); err != nil {
			return f, err
		}
		logger.Info("a client's root is forgotten")
		return ss.answer(ctx, wire.Copy{})
	}
	state, err := ss.server.copyOf(client)
	if err != nil {
		return f, err
	}
	if f, err = ss.answer(ctx, state); err != nil || f.Type != wire.TypeList {
		return f, err
	}
	about := rootfs.About{Name: m.Client, Address: hostOf(ss.addr), CHOST: m.CHOST}
	r, err := beginSync(ctx, roots, client, about)
	if errors.Is(err, rootfs.ErrBusy) {
		return f, wire.Errorf(wire.CodeBusy, "another sync of this machine's root runs on %s; try again when it has ended",
			ss.server.Hello.Name)
	}
	if err != nil {
		return f, err
	}
	defer r.Close()
	start := time.Now()
	logger.Info("a client's root is on its way")
	t := &taking{session: ss, client: client, receiver: r}
	if err := t.run(ctx, f); err != nil {
		return f, fmt.Errorf("the copy of the client's root: %w", roomError(err))
	}
	gen, err := r.Commit(ctx, t.fingerprint)
	if err != nil {
		return f, fmt.Errorf("the copy of the client's root: %w", roomError(err))
	}
	defer gen.Release()
	logger.Info("a client's root is copied", "generation", gen.Number, "entries", gen.Entries, "bytes", gen.Bytes,
		"received", t.received, "found", t.found, "took", time.Since(start).Round(time.Millisecond))
	return ss.answer(ctx, copyState(gen))
}

// answer says what the copy is now, and waits for what the client says next.
func (ss *session) answer(ctx context.Context, c wire.Copy) (wire.Frame, error) {
	if err := ss.conn.Send(wire.TypeCopy, c); err != nil {
		return wire.Frame{}, err
	}
	_, stop := ss.limited(ctx, syncPause, "a list, or a request,")
	defer stop()
	return ss.conn.Read()
}

func copyState(g *rootfs.Generation) wire.Copy {
	return wire.Copy{Digest: g.Digest, Fingerprint: g.Fingerprint, Entries: g.Entries, Bytes: g.Bytes}
}

// copyOf says what there is of a client's root.
func (s *Server) copyOf(client string) (wire.Copy, error) {
	gen, err := s.Roots.Current(client)
	if err == nil {
		defer gen.Release()
		return copyState(gen), nil
	}
	if !errors.Is(err, rootfs.ErrNoCopy) {
		return wire.Copy{}, err
	}
	empty, err := s.Roots.Empty()
	return wire.Copy{Nothing: empty}, err
}

// roomError gives a full disk the code that clients know.
func roomError(err error) error {
	if errors.Is(err, rootfs.ErrNoSpace) {
		return wire.Errorf(wire.CodeDeclined, "%v", err)
	}
	if errors.Is(err, rootfs.ErrList) || errors.Is(err, rootfs.ErrSum) {
		return wire.Errorf(wire.CodeBadRequest, "%v", err)
	}
	return err
}

// taking is one sync.
type taking struct {
	*session
	client      string
	receiver    *rootfs.Receiver
	fingerprint string

	received, found int64 // bytes of content
}

// run takes lists and contents until the client says that this is it.
func (t *taking) run(ctx context.Context, f wire.Frame) error {
	ctx, stop := t.limited(ctx, syncTime, "the whole root")
	defer stop()
	for {
		switch f.Type {
		case wire.TypeList:
			var l wire.List
			if err := f.Decode(wire.TypeList, &l); err != nil {
				return err
			}
			if err := t.round(ctx, l); err != nil {
				return err
			}
		case wire.TypeCommit:
			var c wire.Commit
			if err := f.Decode(wire.TypeCommit, &c); err != nil {
				return err
			}
			if !validText(c.Fingerprint, maxText) {
				return wire.Errorf(wire.CodeBadRequest, "the fingerprint is not a word")
			}
			t.fingerprint = c.Fingerprint
			return nil
		default:
			return fmt.Errorf("%w: a frame of type %d in a sync", wire.ErrProtocol, f.Type)
		}
		var err error
		if f, err = t.conn.Read(); err != nil {
			return err
		}
	}
}

// round takes one list, and the contents that are nowhere here.
func (t *taking) round(ctx context.Context, l wire.List) error {
	err := t.take(wire.StreamList, func(r io.Reader) error {
		_, err := t.receiver.List(r, l.Against)
		return err
	})
	if err != nil {
		return err
	}
	before := t.receiver.Missing()
	if err := t.server.searchBinpkgs(ctx, t.client, t.receiver); err != nil {
		t.logger.Warn("what the client has may be in binpkgs that were built here, but they cannot be read", "error", err)
	}
	missing := t.receiver.Missing()
	found := before.Bytes - missing.Bytes
	t.found += found
	if err := t.conn.Send(wire.TypeWants, wire.Wants{Count: missing.Count, Bytes: missing.Bytes, Found: found}); err != nil {
		return err
	}
	out := t.conn.Writer(wire.StreamWants)
	wants := wire.NewWantsWriter(out)
	var positions []int32
	err = t.receiver.Wanted(func(i int) error {
		positions = append(positions, int32(i))
		return wants.Add(i)
	})
	if err = errors.Join(err, wants.Close(), out.Close()); err != nil {
		return err
	}
	t.received += missing.Bytes
	return t.take(wire.StreamContents, func(r io.Reader) error { return t.contents(r, positions) })
}

// contents takes the files at these positions of the list. One that changed on the client while it was read is left out:
// another list follows.
func (t *taking) contents(r io.Reader, positions []int32) error {
	in := wire.NewContentsReader(r)
	for _, i := range positions {
		if err := in.Next(); err != nil {
			return unexpected(err)
		}
		err := t.receiver.Content(int(i), in)
		if err != nil && !errors.Is(err, wire.ErrChanged) {
			return err
		}
	}
	if err := in.Next(); err != io.EOF {
		return fmt.Errorf("%w: more contents than were wanted (%v)", wire.ErrProtocol, err)
	}
	return nil
}

func unexpected(err error) error {
	if err == io.EOF {
		return fmt.Errorf("%w: fewer contents than were wanted", wire.ErrProtocol)
	}
	return err
}

// take has fn read a gzip stream of the client's to its end.
func (ss *session) take(s wire.Stream, fn func(io.Reader) error) error {
	return ss.takeFrom(s, func(in io.Reader) io.Reader { return archive.NewGunzip(in) }, fn)
}

// takePlain is take for a stream that is not compressed.
func (ss *session) takePlain(s wire.Stream, fn func(io.Reader) error) error {
	return ss.takeFrom(s, func(in io.Reader) io.Reader { return in }, fn)
}

func (ss *session) takeFrom(s wire.Stream, unpack func(io.Reader) io.Reader, fn func(io.Reader) error) error {
	in := wire.NewStreamReader(s)
	taken := make(chan error, 1)
	go func() {
		plain := unpack(in)
		err := fn(plain)
		if err == nil {
			var n int64
			if n, err = io.Copy(io.Discard, plain); n > 0 {
				err = fmt.Errorf("%w: %d bytes after the end of what was to come", wire.ErrProtocol, n)
			}
		}
		in.Close()
		taken <- err
	}()
	for {
		f, err := ss.conn.Read()
		ours := false
		if err == nil {
			ours, err = in.Feed(f)
		}
		if err == nil && !ours {
			err = fmt.Errorf("%w: a frame of type %d in stream %d", wire.ErrProtocol, f.Type, s)
		}
		if err != nil {
			in.Fail(err)
			if bad := <-taken; bad != nil && errors.Is(err, wire.ErrLost) && !errors.Is(bad, wire.ErrLost) {
				err = bad
			}
			return err
		}
		if f.Type == wire.TypeEnd {
			return <-taken
		}
		select {
		case err := <-taken: // before the end of the stream
			if err == nil {
				err = fmt.Errorf("%w: stream %d goes on after its end", wire.ErrProtocol, s)
			}
			return err
		default:
		}
	}
}

// hostOf is a peer's address without its port.
func hostOf(addr net.Addr) string {
	host, _, err := net.SplitHostPort(addr.String())
	if err != nil {
		return addr.String()
	}
	return host
}
