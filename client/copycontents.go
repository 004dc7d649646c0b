package client

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"

	"lantage/archive"
	"lantage/rootfs"
	"lantage/wire"
)

// outgoing sends contents.
type outgoing struct {
	*syncing
	wants     wire.Wants
	positions []int32
	gz        *archive.Adaptive
	told      copyProgress
	changed   []string
	opener    *rootfs.Opener
}

// send sends the files at the positions of the list. With fill their sums become part of the list.
func (o *outgoing) send(list string, fill bool) error {
	f, err := os.Open(list)
	if err != nil {
		return &localError{err}
	}
	defer f.Close()
	if o.opener, err = o.rules.Opener(); err != nil {
		return &localError{err}
	}
	var filled *rootfs.ListWriter
	if fill {
		out, err := os.OpenFile(o.file("filled"), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
		if err != nil {
			return &localError{err}
		}
		defer out.Close()
		filled = rootfs.NewListWriter(out, true)
	}
	out := o.conn.Writer(wire.StreamContents)
	o.gz = archive.NewAdaptive(out)
	err = o.files(rootfs.NewListReader(f, false), filled)
	if closeErr := o.gz.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = out.Close()
	}
	if err != nil || !fill {
		return err
	}
	if o.digest, err = filled.Close(); err == nil {
		err = os.Rename(o.file("filled"), list)
	}
	if err != nil {
		return &localError{err}
	}
	return nil
}

func (o *outgoing) files(list *rootfs.ListReader, filled *rootfs.ListWriter) error {
	o.told = copyProgress{toSend: o.wants.Bytes, toFile: o.wants.Count}
	w := wire.NewContentsWriter(o.gz)
	next, at := 0, int32(0)
	err := rootfs.Each(list, func(e *rootfs.Entry) error {
		if next < len(o.positions) && o.positions[next] == at {
			if err := o.sendFile(w, e); err != nil {
				return err
			}
			next++
		} else if filled == nil && next == len(o.positions) {
			return errEnough
		}
		at++
		if filled != nil {
			return filled.Add(e)
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	if err == nil && next < len(o.positions) {
		err = fmt.Errorf("%w: the builder wants files that are not in the list", wire.ErrProtocol)
	}
	return err
}

// errEnough ends the reading of a list of which nothing more is wanted.
var errEnough = errors.New("enough")

// sendFile sends one file. Its sum becomes part of e where it was not known.
func (o *outgoing) sendFile(w *wire.ContentsWriter, e *rootfs.Entry) error {
	if e.Type != rootfs.TypeFile {
		return fmt.Errorf("%w: the builder wants the content of %q, which has none", wire.ErrProtocol, e.Path)
	}
	if err := o.ctx.Err(); err != nil {
		return err
	}
	f, openErr := o.opener.Open(e)
	if openErr != nil && !errors.Is(openErr, rootfs.ErrChanged) {
		return &localError{openErr}
	}
	var content io.Reader
	reader := &steadyFile{f: f, entry: e, left: e.Size, sum: sha256.New()}
	if openErr == nil {
		defer f.Close()
		content = reader
	}
	changed, err := w.Add(content)
	if err != nil {
		return err
	}
	if changed != nil || openErr != nil {
		o.changed = append(o.changed, e.Path)
		e.Sum, e.Stamp = rootfs.Sum{}, rootfs.Stamp{}
	} else {
		e.Sum = reader.got
		o.done.files++
		o.done.sent += e.Size
	}
	o.told.files++
	o.told.sent += e.Size
	o.told.level = o.gz.Stats().Level
	o.progress(o.told)
	return nil
}

// steadyFile reads a file of which the list says size and perhaps sum. If it is not that in the end, its last error is
// rootfs.ErrChanged.
type steadyFile struct {
	f     *rootfs.Content
	entry *rootfs.Entry
	left  int64
	sum   hash.Hash
	got   rootfs.Sum
}

func (r *steadyFile) Read(p []byte) (int, error) {
	if r.left == 0 {
		r.sum.Sum(r.got[:0])
		if r.entry.Sum != (rootfs.Sum{}) {
			if r.got != r.entry.Sum {
				return 0, rootfs.ErrChanged
			}
			return 0, io.EOF
		}
		if err := r.f.StillIs(r.entry); err != nil {
			return 0, err
		}
		return 0, io.EOF
	}
	n, err := r.f.Read(p[:min(int64(len(p)), r.left)])
	r.sum.Write(p[:n])
	r.left -= int64(n)
	if err == io.EOF {
		err = rootfs.ErrChanged // it is shorter now
	}
	return n, err
}
