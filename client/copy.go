package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"lantage/rootfs"
	"lantage/wire"
)

// rootCopy keeps a builder's copy of this machine's root up to date.
type rootCopy struct {
	rules    rootfs.Rules
	dir      string // for the list of the last scan
	chost    string
	full     bool               // look at every file, also where nothing seems to have changed
	progress func(copyProgress) // called often
}

// copyProgress is how far a sync is.
type copyProgress struct {
	scanning      bool
	entries       int   // found by the scan so far, as
	bytes         int64 // in files
	sent, toSend  int64 // bytes of content
	files, toFile int   // sent, to send
	level         int   // of compression
}

// copied is what came of a sync.
type copied struct {
	digest  string // names the state of the copy
	current bool   // nothing was to be done
	entries int
	bytes   int64 // in files
	files   int   // whose content was sent
	sent    int64 // bytes of content that the builder had not got in any form
	found   int64 // bytes that it found in binpkgs that it had built
}

// maxRounds is how often files may change while they are read.
const maxRounds = 5

// names of files in rootCopy.dir
const (
	listName   = "root.list"
	digestName = "root.digest"
	kernelName = "root.kernel" // how much of the kernel's sources the copy has
)

// sync makes the builder have a copy of this root as it is now. Afterwards the conversation can go
// on with another request. Errors: ctx's, a *wire.Error of the builder, a *localError, or what is wrong with the
// connection.
func (c *rootCopy) sync(ctx context.Context, b *builder) (copied, error) {
	defer context.AfterFunc(ctx, func() { b.conn.Close() })()
	s := &syncing{rootCopy: c, ctx: ctx, conn: b.conn, secret: b.secret}
	done, err := s.run()
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return done, err
}

// forget has the builder remove its copy.
func (c *rootCopy) forget(ctx context.Context, b *builder) error {
	defer context.AfterFunc(ctx, func() { b.conn.Close() })()
	s := &syncing{rootCopy: c, ctx: ctx, conn: b.conn, secret: b.secret}
	_, err := s.ask(wire.Sync{Forget: true})
	return err
}

// syncing is one run of sync.
type syncing struct {
	*rootCopy
	ctx    context.Context
	conn   *wire.Conn
	secret string     // see builder
	reply  chan reply // of the read that is under way, see expect

	state  wire.Copy // that the builder has
	digest string    // of the list that was sent last
	done   copied
}

// reply is what the builder said.
type reply struct {
	frame wire.Frame
	err   error
}

// expect begins to read what the builder says next, unless that is under way, so that a refusal ends what is being written
// meanwhile.
func (s *syncing) expect() {
	if s.reply != nil {
		return
	}
	ch := make(chan reply, 1)
	s.reply = ch
	go func() {
		f, err := s.conn.Read()
		if err != nil {
			s.conn.Close()
		}
		f.Body = bytes.Clone(f.Body)
		ch <- reply{f, err}
	}()
}

// answer takes what was expected. sent is what went wrong with writing before; a refusal is the better reason.
func (s *syncing) answer(sent error, want wire.Type, v any) error {
	if sent != nil && !errors.Is(sent, wire.ErrLost) {
		s.conn.Close()
	}
	r := <-s.reply
	s.reply = nil
	if isRefusal(r.err) {
		return r.err
	}
	if sent != nil {
		return sent
	}
	if r.err != nil {
		return r.err
	}
	return r.frame.Decode(want, v)
}

// ask opens the conversation.
func (s *syncing) ask(m wire.Sync) (wire.Copy, error) {
	m.Identity, m.Client, m.CHOST = s.secret, hostName(), s.chost
	s.expect()
	var state wire.Copy
	err := s.answer(s.conn.Send(wire.TypeSync, m), wire.TypeCopy, &state)
	return state, err
}

func (s *syncing) run() (copied, error) {
	now, err := s.rules.Fingerprint()
	if err != nil {
		return copied{}, &localError{err}
	}
	if s.state, err = s.ask(wire.Sync{}); err != nil {
		return copied{}, err
	}
	s.done = copied{digest: s.state.Digest, entries: s.state.Entries, bytes: s.state.Bytes}
	if s.state.Digest != "" && s.state.Fingerprint == now && !s.full {
		s.done.current = true
		return s.done, nil
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return copied{}, &localError{err}
	}
	before := ""
	for n := 1; ; n++ {
		before = now
		changed, err := s.round(n)
		if err != nil {
			return copied{}, err
		}
		if now, err = s.rules.Fingerprint(); err != nil {
			return copied{}, &localError{err}
		}
		if len(changed) == 0 && now == before {
			break
		}
		if n == maxRounds {
			return copied{}, &localError{restless(changed)}
		}
	}
	s.expect()
	if err := s.answer(s.conn.Send(wire.TypeCommit, wire.Commit{Fingerprint: before}), wire.TypeCopy, &s.state); err != nil {
		return copied{}, err
	}
	if s.state.Digest != s.digest {
		return copied{}, fmt.Errorf("%w: the builder's copy is not what was sent", wire.ErrProtocol)
	}
	s.done.digest = s.digest
	return s.done, s.keepList()
}

// restless says what to do about files that change all the time.
func restless(changed []string) error {
	if len(changed) == 0 {
		return fmt.Errorf("packages or configuration of this machine changed each of %d times that they were read; "+
			"try again when nothing is being merged here", maxRounds)
	}
	return fmt.Errorf("/%s changed each of %d times that it was read, so it cannot be copied. If no build needs it: "+
		"no-copy = [\"/%[1]s\"] in %[3]s", changed[0], maxRounds, ConfigFile)
}

// keepList makes the list of the copy the one that the next scan compares with.
func (s *syncing) keepList() error {
	// The digest goes first: without it the list is a cache of sums, and never taken for what the builder has.
	digest := filepath.Join(s.dir, digestName)
	if err := os.Remove(digest); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return &localError{err}
	}
	if err := os.Rename(s.file("new"), s.file("")); err != nil {
		return &localError{err}
	}
	if err := os.WriteFile(digest, []byte(s.digest), 0o600); err != nil {
		return &localError{err}
	}
	return nil
}

// file is the path of a list.
func (c *rootCopy) file(kind string) string {
	name := listName
	if kind != "" {
		name += "." + kind
	}
	return filepath.Join(c.dir, name)
}
