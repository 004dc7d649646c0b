package client

import (
	"context"
	"fmt"

	"lantage/trust"
)

// Doctor is the client's part of `lantage doctor`.
type Doctor struct {
	Where
	Version string
	Environ []string
}

// Run tells what it finds: a grade, a sentence, and, of what is wrong, the command that mends it.
func (d *Doctor) Run(ctx context.Context, tell trust.Tell) {
	t := &tools{environ: d.Environ}
	sys, err := querySystem(ctx, t)
	t.end() // there is no plan
	if err != nil {
		tell(trust.Warn, fmt.Sprintf("Portage does not answer, so this machine can be no client: %v", err), "emerge --info")
	} else {
		tell(trust.Pass, fmt.Sprintf("Portage answers; packages are built for %s, and binary packages lie in %s", sys.chost, sys.pkgdir), "")
	}
	if d.Plain {
		tell(trust.Warn, "connections are not encrypted (--plain): builders are known by their address alone", "leave --plain out, here and on the builder")
	} else {
		side := BuildersSide(d.StateDir, d.Environ)
		side.Inspect(tell)
	}
	d.builders(ctx, tell)
}

// builders looks for builders, as list-builders does.
func (d *Doctor) builders(ctx context.Context, tell trust.Tell) {
	if err := d.check(); err != nil {
		tell(trust.Fail, fmt.Sprintf("what is said of builders: %v", err), "correct it on the command line, in the environment or in "+ConfigFile)
		return
	}
	rows, why, err := (&ListBuilders{Where: d.Where, Version: d.Version, Environ: d.Environ}).find(ctx)
	if err != nil {
		return // of the keys, and said already
	}
	any := false
	for _, r := range rows {
		switch {
		case r.Error != "":
			tell(trust.Warn, fmt.Sprintf("builder %s at %s does not answer: %s", r.Name, r.Address, r.Error), "lantage list-builders")
		case r.Trust == keyChanged:
			any = true
			tell(trust.Fail, fmt.Sprintf("what answers as %s at %s has the key %s, and %[1]s has had another: nothing is sent there", r.Name, r.Address, r.Key),
				"if it was installed anew: lantage trust forget "+quoted(r.Name))
		default:
			any = true
			key := "its key is " + r.Trust
			if d.Plain {
				key = "it has no key here (--plain)"
			}
			tell(trust.Pass, fmt.Sprintf("builder %s at %s answers; %s. Whether it takes jobs of this machine was not asked", r.Name, r.Address, key), "")
		}
	}
	switch {
	case any:
	case why != nil && len(why.others()) > 0:
		tell(trust.Warn, why.short(), "lantage --builder=NAME doctor, with one of these")
	default:
		tell(trust.Warn, "no builder answers", "lantage list-builders, which says what was tried")
	}
}
