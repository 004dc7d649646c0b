package rootfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"
)

// Commit makes a new generation of the last list, switches to it, and returns it held; the sync is over then.
// The fingerprint is the caller's: what tells that nothing has changed since. Where the list is that of the
// current generation, only its fingerprint is set.
//
// The error is ErrIncomplete while contents are missing. After an error the old generation is current, and
// the sync may go on.
func (r *Receiver) Commit(ctx context.Context, fingerprint string) (*Generation, error) {
	g, err := r.commit(ctx, fingerprint)
	if err != nil {
		return nil, roomError(err)
	}
	about, err := readJSON[aboutFile](r.store.clientPath(r.client, "about.json"))
	if err == nil {
		err = r.store.noteAbout(r.client, about.About, r.store.now())
	}
	if err != nil { // it is only for people
		r.store.logger.Warn("cannot note the time of a sync", "client", r.client, "err", err)
	}
	r.end(g.Number)
	return g, nil
}

func (r *Receiver) commit(ctx context.Context, fingerprint string) (*Generation, error) {
	digest, err := r.Digest()
	if err != nil {
		return nil, err
	}
	if r.rounds == 0 {
		return nil, fmt.Errorf("%w: no list came", ErrIncomplete)
	}
	if n := r.Missing(); n.Count > 0 {
		return nil, fmt.Errorf("%w: %d of %d bytes", ErrIncomplete, n.Count, n.Bytes)
	}
	s := r.store
	if r.current != nil && r.current.Digest == digest {
		f, err := s.updateGeneration(r.client, r.current.Number, func(f *generationFile) { f.Fingerprint = fingerprint })
		if err != nil {
			return nil, err
		}
		lock, err := s.lockGeneration(r.client, f.Number, unix.LOCK_SH)
		if err != nil {
			return nil, err
		}
		return s.held(r.client, f, lock), nil
	}
	numbers, err := s.generations(r.client)
	if err != nil {
		return nil, err
	}
	f := generationFile{Number: 1, Digest: digest, Fingerprint: fingerprint, Made: s.now(), BootID: s.bootID}
	if len(numbers) > 0 {
		f.Number = numbers[len(numbers)-1] + 1
	}
	if err := r.build(ctx, &f); err != nil {
		_ = os.RemoveAll(r.path("gen"))
		return nil, err
	}
	return r.publish(f)
}

// build makes all of a generation in sync/gen.
func (r *Receiver) build(ctx context.Context, f *generationFile) error {
	dir := r.path("gen")
	if err := os.MkdirAll(filepath.Join(dir, "root"), 0o700); err != nil {
		return err
	}
	packed := make(chan error, 1)
	go func() { packed <- packList(r.path("list"), filepath.Join(dir, "list.zst")) }()
	list, closer, err := r.openList()
	if err == nil {
		tree := treeMaker{objects: r.objects, scratch: r.scratch}
		err = tree.make(ctx, list, filepath.Join(dir, "root"))
		f.Entries, f.Bytes = tree.entries, tree.bytes
		_ = closer.Close()
	}
	if err := errors.Join(err, <-packed); err != nil {
		return err
	}
	if err := writeJSON(filepath.Join(dir, "generation.json"), f); err != nil {
		return err
	}
	return syncDir(dir)
}

// publish gives a finished generation its place.
func (r *Receiver) publish(f generationFile) (*Generation, error) {
	s := r.store
	// Locked before it can be seen: until it is current it looks like one that can be removed.
	lock, err := s.lockGeneration(r.client, f.Number, unix.LOCK_SH)
	if err != nil {
		return nil, err
	}
	err = os.Rename(r.path("gen"), s.genPath(r.client, f.Number))
	if err == nil {
		if err = s.switchTo(r.client, f.Number); err != nil {
			_ = os.Rename(s.genPath(r.client, f.Number), r.path("gen"))
		}
	}
	if err != nil {
		_ = os.RemoveAll(r.path("gen"))
		_ = lock.Close()
		return nil, err
	}
	return s.held(r.client, f, lock), syncDir(s.clientPath(r.client))
}

// packList compresses a list into a file that is on disk then.
func packList(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	z, err := zstd.NewWriter(out, zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		return err
	}
	_, err = io.Copy(z, in)
	return errors.Join(err, z.Close(), out.Sync())
}
