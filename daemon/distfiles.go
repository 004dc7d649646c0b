package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"lantage/build"
	"lantage/gentoo"
	"lantage/wire"
)

// distDirs are the directories with the distfiles of this machine's own bases.
func distDirs(own []build.OwnBase) (map[string]string, error) {
	dirs := map[string]string{}
	for i, b := range own {
		dir, err := build.DistDirOf(b)
		if err != nil {
			return nil, err
		}
		dirs[b.Name()] = dir
		if i == 0 {
			dirs[""] = dir
		}
	}
	return dirs, nil
}

// offer takes the distfiles of the job that follows which this machine has not got. It returns the frame that comes after.
func (ss *session) offer(ctx context.Context, f wire.Frame) (wire.Frame, error) {
	if ss.distfiles != nil {
		return f, fmt.Errorf("%w: a second offer of distfiles", wire.ErrProtocol)
	}
	base, files, err := ss.offered(ctx, f)
	if err != nil {
		return f, err
	}
	ss.distfiles = files
	wanted, err := ss.server.wantedDistfiles(ctx, ss.key.ID(), base, files)
	if err != nil {
		return f, err
	}
	if err := ss.want(files, wanted); err != nil {
		return f, err
	}
	if len(wanted) > 0 {
		if err := ss.takeDistfiles(ctx, files, wanted); err != nil {
			return f, err
		}
	}
	_, stop := ss.limited(ctx, requestTime, "a request")
	defer stop()
	return ss.conn.Read()
}

// offered reads an offer to its end. It is the trust border for distfiles: their names become names of files.
func (ss *session) offered(ctx context.Context, f wire.Frame) (base string, files []gentoo.Distfile, err error) {
	_, stop := ss.limited(ctx, offerTime, "the names of the distfiles")
	defer stop()
	files = []gentoo.Distfile{}
	names := map[string]bool{}
	for {
		var o wire.Offer
		if err := f.Decode(wire.TypeOffer, &o); err != nil {
			return "", nil, err
		}
		if len(files) == 0 {
			base = o.Base
			if err := ss.identify(o.Identity); err != nil {
				return "", nil, err
			}
			if ss.key.IsZero() {
				return "", nil, wire.Errorf(wire.CodeBadRequest, "an offer of distfiles needs to say whose they are")
			}
		}
		if len(o.Files) == 0 && o.More || len(o.Files) > wire.OfferFiles || len(files)+len(o.Files) > wire.MaxOffer {
			return "", nil, wire.Errorf(wire.CodeBadRequest, "the distfiles are refused: %d after %d in one offer; at most %d in "+
				"each and %d in all are allowed", len(o.Files), len(files), wire.OfferFiles, wire.MaxOffer)
		}
		for _, w := range o.Files {
			d := gentoo.Distfile(w)
			if err := d.Validate(); err != nil {
				return "", nil, wire.Errorf(wire.CodeBadRequest, "the distfiles are refused: %v", err)
			}
			if names[d.Name] {
				return "", nil, wire.Errorf(wire.CodeBadRequest, "the distfiles are refused: %s is there twice", d.Name)
			}
			names[d.Name] = true
			files = append(files, d)
		}
		if !o.More {
			return base, files, nil
		}
		if f, err = ss.conn.Read(); err != nil {
			return "", nil, err
		}
	}
}

// wantedDistfiles returns the positions of those of a client's distfiles that its jobs would not find here and for which there is
// room.
func (s *Server) wantedDistfiles(ctx context.Context, client, base string, files []gentoo.Distfile) ([]int, error) {
	room, err := build.DistfileRoom(s.StateDir)
	if err != nil {
		return nil, err
	}
	if s.distfileRoom != nil {
		room = s.distfileRoom()
	}
	var wanted []int
	coming := map[string]bool{}
	for i, d := range files {
		if err := ctx.Err(); err != nil {
			return nil, context.Cause(ctx)
		}
		if coming[d.Key()] || s.hasDistfile(ctx, client, base, d) {
			continue
		}
		if d.Size > room {
			s.Logger.Warn("no room for a distfile that a client has; lantage gc may help", "name", d.Name, "bytes", d.Size)
			continue
		}
		room -= d.Size
		coming[d.Key()] = true
		wanted = append(wanted, i)
	}
	return wanted, nil
}

// hasDistfile reports whether a client's job on the base finds a distfile: sent by it before, downloaded, or of the base. There,
// names and sizes do not tell. What others have sent is not theirs: sums alone do not prove that they have it.
func (s *Server) hasDistfile(ctx context.Context, client, base string, d gentoo.Distfile) bool {
	if build.HasSent(s.StateDir, client, d) || build.HasFetched(s.StateDir, d) {
		return true
	}
	dir := s.DistDirs[base]
	if dir == "" {
		return false
	}
	f, err := build.OpenDistfile(dir, d)
	if err != nil {
		return false
	}
	defer f.Close()
	return s.verified.check(ctx, f, d)
}

// want names the files that are wanted.
func (ss *session) want(files []gentoo.Distfile, wanted []int) error {
	w := wire.Wants{Count: len(wanted)}
	for _, i := range wanted {
		w.Bytes += files[i].Size
	}
	if err := ss.conn.Send(wire.TypeWants, w); err != nil {
		return err
	}
	out := ss.conn.Writer(wire.StreamWants)
	list := wire.NewWantsWriter(out)
	var err error
	for _, i := range wanted {
		err = errors.Join(err, list.Add(i))
	}
	return errors.Join(err, list.Close(), out.Close())
}

// takeDistfiles takes the files that are wanted. A disk that is full after all, or a file that its client cannot read, is a
// file less, and no reason to refuse the job.
func (ss *session) takeDistfiles(ctx context.Context, files []gentoo.Distfile, wanted []int) error {
	ctx, stop := ss.limited(ctx, sendTime, "the distfiles")
	defer stop()
	var stored wire.Stored
	err := ss.takePlain(wire.StreamDistfiles, func(r io.Reader) error {
		in := wire.NewContentsReader(r)
		for _, i := range wanted {
			if err := in.Next(); err != nil {
				return unexpected(err)
			}
			d := files[i]
			err := build.StoreSent(ss.server.StateDir, ss.key.ID(), d, in)
			switch {
			case err == nil:
				stored.Count++
				stored.Bytes += d.Size
			case errors.Is(err, wire.ErrChanged):
			case errors.Is(err, gentoo.ErrDistfile):
				return wire.Errorf(wire.CodeBadRequest, "the distfile %s is refused: %v", d.Name, err)
			case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
				ss.logger.Warn("no room for a distfile that a client sent; lantage gc may help", "name", d.Name, "error", err)
			default:
				return err
			}
		}
		if err := in.Next(); err != io.EOF {
			return fmt.Errorf("%w: more distfiles than were wanted (%v)", wire.ErrProtocol, err)
		}
		return nil
	})
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return cause
	}
	if err != nil {
		return err
	}
	ss.logger.Info("distfiles came", "files", stored.Count, "bytes", stored.Bytes)
	return ss.conn.Send(wire.TypeStored, stored)
}

// verifiedFiles remembers which files were found to be which distfiles, until they change: all sources of a large plan would
// else be read for each job.
type verifiedFiles struct {
	mu   sync.Mutex
	good map[verifiedFile]bool
}

type verifiedFile struct {
	key           string
	dev, ino      uint64
	size          int64
	change, write unix.Timespec
}

// maxVerified is when they are forgotten.
const maxVerified = 10 * wire.MaxOffer

// readWhile reads as long as ctx has not ended.
type readWhile struct {
	ctx context.Context
	r   io.Reader
}

func (r readWhile) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

// check reports whether a file is a distfile, and remembers it.
func (v *verifiedFiles) check(ctx context.Context, f *os.File, d gentoo.Distfile) bool {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return false
	}
	id := verifiedFile{d.Key(), st.Dev, st.Ino, st.Size, st.Ctim, st.Mtim}
	v.mu.Lock()
	good, known := v.good[id]
	v.mu.Unlock()
	if known {
		return good
	}
	good = d.Verify(readWhile{ctx, f}) == nil
	if ctx.Err() != nil {
		return false
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.good == nil || len(v.good) >= maxVerified {
		v.good = map[verifiedFile]bool{}
	}
	v.good[id] = good
	return good
}
