package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"lantage/gentoo"
	"lantage/rootfs"
	"lantage/wire"
)

// distfiles are sources of a job's packages that lie in this machine's DISTDIR.
type distfiles struct {
	dir   string
	base  string // that the job is for
	files []gentoo.Distfile
	say   func(format string, args ...any)
	to    *builder

	told map[string]bool // names of files that are not what they should be
}

// haveDistfiles returns those of all that seem to lie whole in dir: they are verified when they are sent. A link may lead to
// one, as Portage makes them for PORTAGE_RO_DISTDIRS.
func haveDistfiles(dir string, all []gentoo.Distfile) []gentoo.Distfile {
	var have []gentoo.Distfile
	names := map[string]bool{}
	for _, d := range all {
		if d.Validate() != nil || names[d.Name] || len(have) == wire.MaxOffer {
			continue // a builder would refuse them all
		}
		names[d.Name] = true
		fi, err := os.Stat(filepath.Join(dir, d.Name))
		if err == nil && fi.Mode().IsRegular() && fi.Size() == d.Size && d.Size > 0 {
			have = append(have, d)
		}
	}
	return have
}

// offer tells the builder at the other end of conn what there is, and sends what it has not got. Afterwards the conversation
// goes on with another request. Errors: ctx's, a *wire.Error of the builder, or what is wrong with the connection.
func (d *distfiles) offer(ctx context.Context, conn *wire.Conn) error {
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	s := &syncing{ctx: ctx, conn: conn}
	err := d.exchange(s)
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return err
}

func (d *distfiles) exchange(s *syncing) error {
	s.expect()
	err := d.name(s.conn)
	var wants wire.Wants
	if err := s.answer(err, wire.TypeWants, &wants); err != nil {
		return err
	}
	if wants.Count > len(d.files) {
		return fmt.Errorf("%w: the builder wants %d of %d distfiles", wire.ErrProtocol, wants.Count, len(d.files))
	}
	positions, err := s.positions(wants.Count)
	if err != nil || len(positions) == 0 {
		return err
	}
	if last := int(positions[len(positions)-1]); last >= len(d.files) {
		return fmt.Errorf("%w: the builder wants distfile %d of %d", wire.ErrProtocol, last, len(d.files))
	}
	if wants.Bytes >= largeTransfer {
		d.say("Sending %s to %v: %s", count(len(positions), "distfile"), d.to, rootfs.HumanBytes(wants.Bytes))
	}
	s.expect()
	err = d.send(s.conn, positions)
	var stored wire.Stored
	if err := s.answer(err, wire.TypeStored, &stored); err != nil {
		return err
	}
	if stored.Count > 0 {
		d.say("%s of this machine's sent to %v: %s", count(stored.Count, "distfile"), d.to, rootfs.HumanBytes(stored.Bytes))
	}
	return nil
}

// name names the files, in as many messages as they take.
func (d *distfiles) name(conn *wire.Conn) error {
	for rest := d.files; ; {
		n := min(len(rest), wire.OfferFiles)
		o := wire.Offer{Identity: d.to.secret, Base: d.base, More: n < len(rest)}
		for _, f := range rest[:n] {
			o.Files = append(o.Files, wire.Distfile(f))
		}
		if err := conn.Send(wire.TypeOffer, o); err != nil || !o.More {
			return err
		}
		rest = rest[n:]
	}
}

// send sends the files at these positions. One that is not what its Manifest says is told, and ends as one that changed.
func (d *distfiles) send(conn *wire.Conn, positions []int32) error {
	out := conn.Writer(wire.StreamDistfiles)
	w := wire.NewContentsWriter(out)
	for _, i := range positions {
		file := d.files[i]
		var content io.Reader
		f, bad := os.Open(filepath.Join(d.dir, file.Name))
		if bad == nil {
			content = file.Verifying(f)
		}
		changed, err := w.Add(content)
		if bad == nil {
			bad = changed
			f.Close()
		}
		if err != nil {
			return err
		}
		if bad != nil {
			d.tell(file.Name, bad)
		}
	}
	return out.Close()
}

// tell says once why a file is not sent.
func (d *distfiles) tell(name string, why error) {
	if d.told[name] {
		return
	}
	if d.told == nil {
		d.told = map[string]bool{}
	}
	d.told[name] = true
	if path, ok := errors.AsType[*os.PathError](why); ok {
		why = path.Err
	}
	d.say("%s is not sent to %v: %v", filepath.Join(d.dir, name), d.to, why)
}

// distfilesFor are those of the plan's that the builder is offered; nil: there are none.
func (e *Emerge) distfilesFor(sys *system, p *plan, b *builder) *distfiles {
	if !b.hello.Distfiles {
		return nil
	}
	var all []gentoo.Distfile
	for _, pkg := range p.send {
		all = append(all, p.facts[pkg.CPV].Distfiles...)
	}
	have := haveDistfiles(sys.distdir, all)
	if len(have) == 0 {
		return nil
	}
	return &distfiles{dir: sys.distdir, base: b.base, files: have, to: b}
}
