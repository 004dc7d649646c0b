package client

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"lantage/archive"
	"lantage/rootfs"
	"lantage/wire"
)

// round scans the root, sends the list or what changed in it, and the contents that the builder wants. It returns the
// paths of files that changed meanwhile: another round is needed then.
func (s *syncing) round(n int) (changed []string, err error) {
	blind := n == 1 && s.state.Nothing // sums would be of no use to the builder: they are made while contents are sent
	report, err := s.scan(!blind, n)
	if err != nil {
		return nil, err
	}
	s.done.entries, s.done.bytes, s.digest = report.Entries, report.Bytes, report.Digest
	sent, against := s.file("new"), ""
	if n == 1 {
		if sent, against, err = s.change(); err != nil {
			return nil, err
		}
	}
	wants, err := s.sendList(sent, against)
	if err != nil {
		return nil, err
	}
	s.done.found += wants.Found
	positions, err := s.positions(wants.Count)
	if err != nil {
		return nil, err
	}
	out := &outgoing{syncing: s, wants: wants, positions: positions}
	s.expect()
	if err := out.send(sent, blind); err != nil {
		return nil, s.answer(err, 0, nil)
	}
	return out.changed, nil
}

// scan writes the list of the root as it is now.
func (s *syncing) scan(hash bool, n int) (rootfs.ScanReport, error) {
	older := s.file("")
	if n > 1 { // what the round before has found out
		older = s.file("before")
		if err := os.Rename(s.file("new"), older); err != nil {
			return rootfs.ScanReport{}, &localError{err}
		}
		defer os.Remove(older)
	}
	out, err := os.OpenFile(s.file("new"), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return rootfs.ScanReport{}, &localError{err}
	}
	defer out.Close()
	o := rootfs.ScanOptions{Rules: s.rules, Hash: hash, Out: out, Progress: func(entries int, bytes int64) {
		s.progress(copyProgress{scanning: true, entries: entries, bytes: bytes})
	}}
	if f, err := os.Open(older); err == nil {
		defer f.Close()
		o.Older = f
	}
	report, err := rootfs.Scan(s.ctx, o)
	if err == nil {
		err = out.Close()
	}
	if err != nil {
		return report, &localError{err}
	}
	return report, nil
}

// change writes what changed since the last list, if that is what the builder has. It returns the file of what is to be
// sent, and the digest of what it is a change to; that is empty for the whole list.
func (s *syncing) change() (file, against string, err error) {
	whole := s.file("new")
	digest, err := os.ReadFile(filepath.Join(s.dir, digestName))
	if err != nil || s.state.Digest == "" || string(digest) != s.state.Digest {
		return whole, "", nil
	}
	older, err := os.Open(s.file(""))
	if err != nil {
		return whole, "", nil
	}
	defer older.Close()
	newer, err := os.Open(whole)
	if err != nil {
		return "", "", &localError{err}
	}
	defer newer.Close()
	out, err := os.OpenFile(s.file("change"), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return "", "", &localError{err}
	}
	defer out.Close()
	w := rootfs.NewListWriter(out, true)
	was := rootfs.NewListReader(older, true)
	if err := rootfs.Diff(was, rootfs.NewListReader(newer, true), w.Add); err != nil || was.Digest() != s.state.Digest {
		return whole, "", nil // the older list is damaged
	}
	if _, err := w.Close(); err != nil {
		return "", "", &localError{err}
	}
	return out.Name(), s.state.Digest, nil
}

// sendList sends a list of ours, without the stamps, and returns what the builder wants.
func (s *syncing) sendList(file, against string) (wire.Wants, error) {
	f, err := os.Open(file)
	if err != nil {
		return wire.Wants{}, &localError{err}
	}
	defer f.Close()
	s.expect()
	err = s.conn.Send(wire.TypeList, wire.List{Against: against})
	if err == nil {
		err = s.stream(wire.StreamList, func(w io.Writer) error {
			list := rootfs.NewListWriter(w, false)
			if err := rootfs.Each(rootfs.NewListReader(f, against == ""), list.Add); err != nil {
				return err
			}
			_, err := list.Close()
			return err
		})
	}
	var wants wire.Wants
	err = s.answer(err, wire.TypeWants, &wants)
	return wants, err
}

// stream sends a stream, compressed as it fits the link.
func (s *syncing) stream(id wire.Stream, write func(io.Writer) error) error {
	out := s.conn.Writer(id)
	gz := archive.NewAdaptive(out)
	err := write(gz)
	if closeErr := gz.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = out.Close()
	}
	return err
}

// positions reads which files of the list the builder wants.
func (s *syncing) positions(count int) ([]int32, error) {
	in := wire.NewStreamReader(wire.StreamWants)
	var list []int32
	read := make(chan error, 1)
	go func() {
		defer in.Close()
		r := wire.NewWantsReader(in)
		for {
			n, err := r.Next()
			switch {
			case err == io.EOF && len(list) == count:
				read <- nil
				return
			case err == io.EOF || err == nil && len(list) == count:
				err = fmt.Errorf("%w: the builder wants other files than it said", wire.ErrProtocol)
			}
			if err != nil {
				read <- err
				return
			}
			list = append(list, int32(n))
		}
	}()
	for ended := false; !ended; {
		f, err := s.conn.Read()
		if err == nil {
			var ours bool
			if ours, err = in.Feed(f); err == nil && !ours {
				err = fmt.Errorf("%w: a frame of type %d while files were named", wire.ErrProtocol, f.Type)
			}
		}
		if err != nil {
			in.Fail(err)
			<-read
			return nil, err
		}
		ended = f.Type == wire.TypeEnd
	}
	err := <-read
	return list, err
}
