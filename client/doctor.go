package client

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"lantage/discovery"
	"lantage/trust"
)

// Doctor is the client's part of `lantage doctor`.
type Doctor struct {
	Where
	Version string
	Environ []string
}

// Grades of what a doctor finds.
const (
	Pass = "pass"
	Warn = "warn"
	Fail = "fail"
)

// Run tells what it finds: a grade, a sentence, and, of what is wrong, the command that mends it.
func (d *Doctor) Run(ctx context.Context, tell func(grade, text, mend string)) {
	t := &tools{environ: d.Environ}
	if sys, err := querySystem(ctx, t); err != nil {
		tell(Warn, fmt.Sprintf("Portage does not answer, so this machine can be no client: %v", err), "emerge --info")
	} else {
		tell(Pass, fmt.Sprintf("Portage answers; packages are built for %s, and binary packages lie in %s", sys.chost, sys.pkgdir), "")
	}
	dir := d.stateDir(d.Environ)
	d.identity(dir, tell)
	d.pins(dir, tell)
	d.builders(ctx, tell)
}

// identity looks at the private key without making one.
func (d *Doctor) identity(dir string, tell func(grade, text, mend string)) {
	if d.Plain {
		tell(Warn, "connections are not encrypted (--plain): builders are known by their address alone", "leave --plain out, here and on the builder")
		return
	}
	id, err := trust.ReadIdentity(dir)
	switch file := filepath.Join(dir, trust.IdentityFile); {
	case errors.Is(err, fs.ErrNotExist):
		tell(Pass, fmt.Sprintf("this machine's identity is made on first use, in %s", file), "")
	case err != nil:
		tell(Fail, err.Error(), fmt.Sprintf("rm %s, and on the other machines lantage trust forget NAME", file))
	default:
		tell(Pass, fmt.Sprintf("this machine's identity is %v", id.Key), "")
	}
}

// pins counts the builders that are known.
func (d *Doctor) pins(dir string, tell func(grade, text, mend string)) {
	book := KnownBuilders(dir)
	peers, err := book.Peers()
	if err != nil {
		tell(Fail, fmt.Sprintf("the builders that are known: %v", err), "mend that line of "+book.File+", or remove the file: each builder is asked about anew")
		return
	}
	trusted, revoked := countStates(peers)
	tell(Pass, fmt.Sprintf("%s known, %d revoked (lantage trust list)", count(trusted, "builder"), revoked), "")
}

func countStates(peers []trust.Peer) (trusted, revoked int) {
	for _, p := range peers {
		switch p.State {
		case trust.Trusted:
			trusted++
		case trust.Revoked:
			revoked++
		}
	}
	return trusted, revoked
}

// builders looks for builders, as list-builders does.
func (d *Doctor) builders(ctx context.Context, tell func(grade, text, mend string)) {
	l := &ListBuilders{Where: d.Where, Version: d.Version, Environ: d.Environ}
	keys, err := l.openKeyring(d.Environ)
	if err != nil {
		return // said already
	}
	known := openCache(l.cacheFile(l.Environ), time.Now())
	var report discovery.Report
	s := l.search(known, &keys, &report)
	found, _ := s.run(ctx)
	any := false
	for _, r := range rowsOf(found, &keys) {
		switch {
		case r.Error != "":
			tell(Warn, fmt.Sprintf("builder %s at %s does not answer: %s", r.Name, r.Address, r.Error), "lantage list-builders")
		case r.Trust == keyChanged:
			any = true
			tell(Fail, fmt.Sprintf("what answers as %s at %s has the key %s, and %[1]s has had another: nothing is sent there", r.Name, r.Address, r.Key),
				"if it was installed anew: lantage trust forget "+quoted(r.Name))
		default:
			any = true
			tell(Pass, fmt.Sprintf("builder %s at %s answers; its key is %s", r.Name, r.Address, r.Trust), "")
		}
	}
	if !any {
		tell(Warn, "no builder answers", "lantage list-builders, which says what was tried")
	}
}
