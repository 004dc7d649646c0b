package client

import (
	"context"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lantage/gentoo"
	"lantage/wire"
)

// dist is a distfile with this content.
func dist(name, content string) gentoo.Distfile {
	sum := sha512.Sum512([]byte(content))
	return gentoo.Distfile{Name: name, Size: int64(len(content)), SHA512: hex.EncodeToString(sum[:])}
}

// needs makes the machine's Portage say which distfiles lab/a-1 needs.
func (m *machine) needs(list ...gentoo.Distfile) { m.distfiles = list }

// newTaker is a builder that takes distfiles.
func newTaker(t *testing.T, scripts ...func(*dialog)) *fakeBuilder {
	t.Helper()
	return newBuilderSaying(t, wire.Hello{
		Name: "tower", ID: "0123456789abcdef", CHOST: testCHOST, Cores: 8, JobLimit: 1, Software: "0.1", Distfiles: true,
	}, scripts...)
}

// offered takes an offer.
func (d *dialog) offered() (names []string) {
	for {
		var o wire.Offer
		if err := d.frame().Decode(wire.TypeOffer, &o); err != nil {
			d.t.Errorf("offer: %v", err)
			return nil
		}
		if o.Identity == "" { // these connections do not encrypt
			d.t.Error("the offer does not say who this machine is")
		}
		for _, f := range o.Files {
			names = append(names, f.Name)
		}
		if !o.More {
			return names
		}
	}
}

// want answers an offer.
func (d *dialog) want(positions ...int) {
	(&copyBuilder{d.t, d.conn}).want(len(positions), positions...)
}

// distfiles takes what is sent; "-" is one that is not what it should be.
func (d *dialog) distfiles() (contents []string) {
	in := wire.NewStreamReader(wire.StreamDistfiles)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer in.Close()
		for r := wire.NewContentsReader(in); r.Next() == nil; {
			text, err := io.ReadAll(r)
			if err != nil {
				text = []byte("-")
			}
			contents = append(contents, string(text))
		}
	}()
	for {
		f := d.frame()
		if f.Type == 0 {
			in.Fail(nil)
			break
		}
		if _, err := in.Feed(f); err != nil || f.Type == wire.TypeEnd {
			break
		}
	}
	<-done
	return contents
}

// finish has the job's packages built.
func (d *dialog) finish() {
	d.submit()
	d.built("lab/a-1", "binpkg a")
	d.built("lab/b-2", "binpkg b")
	d.done(wire.OutcomeDone)
}

// TestOffer: what lies in DISTDIR whole is offered, and what of it is wanted is sent. A lost connection is made again, and
// the job that is submitted there is preceded by its offer.
func TestOffer(t *testing.T) {
	m := newMachine(t)
	m.needs(dist("one", "1"), dist("missing", "2"), dist("short", "333"), dist("rotten", "4444"), dist("two", "22"), dist("../x", "1"))
	for name, content := range map[string]string{"one": "1", "short": "33", "rotten": "4404", "two": "22", "other": "o"} {
		m.write("distfiles/"+name, content)
	}
	m.write("x", "1")
	var names [2][]string
	var contents []string
	b := newTaker(t, func(d *dialog) {
		names[0] = d.offered()
		d.want(0, 1)
		d.drop()
	}, func(d *dialog) {
		names[1] = d.offered()
		d.want(0, 1)
		contents = d.distfiles()
		d.send(wire.TypeStored, wire.Stored{Count: 1, Bytes: 1})
		d.finish()
	})
	var out buffer
	wantStatus(t, m.emerge(b.addr(), &out, "lab/b").Run(t.Context()), 0, &out)
	for i := range names {
		if diff := cmp.Diff([]string{"one", "rotten", "two"}, names[i]); diff != "" {
			t.Errorf("offered on connection %d (-want +got):\n%s", i+1, diff)
		}
	}
	if diff := cmp.Diff([]string{"1", "-"}, contents); diff != "" {
		t.Errorf("sent (-want +got):\n%s", diff)
	}
	wantContains(t, out.String(), "1 distfile of this machine's sent to tower",
		m.path("distfiles/rotten")+" is not sent to tower", "its SHA512 is another", "emerge merges")
	if n := strings.Count(out.String(), "rotten"); n != 1 {
		t.Errorf("%d lines about one file:\n%s", n, out.String())
	}
}

// TestNothingToOffer: where there is nothing to offer, or the builder takes none, nothing is said of distfiles.
func TestNothingToOffer(t *testing.T) {
	for what, tt := range map[string]struct {
		taker bool
		files []gentoo.Distfile
	}{
		"none is needed":    {true, nil},
		"none is here":      {true, []gentoo.Distfile{dist("one", "1")}},
		"an older builder":  {false, []gentoo.Distfile{dist("two", "22")}},
		"none that is here": {true, []gentoo.Distfile{dist("two", "2")}},
	} {
		t.Run(what, func(t *testing.T) {
			m := newMachine(t)
			m.needs(tt.files...)
			m.write("distfiles/two", "22")
			make1 := newBuilder
			if tt.taker {
				make1 = newTaker
			}
			b := make1(t, (*dialog).finish)
			var out buffer
			wantStatus(t, m.emerge(b.addr(), &out, "lab/b").Run(t.Context()), 0, &out)
		})
	}
}

// TestManyOffered: a long list takes several messages, and has an end.
func TestManyOffered(t *testing.T) {
	m := newMachine(t)
	var list []gentoo.Distfile
	m.write("distfiles/0", "x")
	for i := range wire.MaxOffer + 10 {
		list = append(list, dist(fmt.Sprint(i), "x"))
		if i > 0 {
			if err := os.Link(m.path("distfiles/0"), m.path("distfiles/"+fmt.Sprint(i))); err != nil {
				t.Fatal(err)
			}
		}
	}
	m.needs(list...)
	var names []string
	b := newTaker(t, func(d *dialog) {
		names = d.offered()
		d.want()
		d.finish()
	})
	var out buffer
	wantStatus(t, m.emerge(b.addr(), &out, "lab/b").Run(t.Context()), 0, &out)
	if len(names) != wire.MaxOffer || names[600] != "600" {
		t.Errorf("%d files are offered", len(names))
	}
}

// TestOddWants: a builder that wants what was not offered, or says something else, is told apart from one that is lost.
func TestOddWants(t *testing.T) {
	for what, answer := range map[string]func(*dialog){
		"a file after the last": func(d *dialog) { d.want(1) },
		"more than there are":   func(d *dialog) { d.want(0, 1) },
		"another count":         func(d *dialog) { (&copyBuilder{d.t, d.conn}).want(1) },
		"a negative count":      func(d *dialog) { (&copyBuilder{d.t, d.conn}).want(-1, 0) },
		"something else":        func(d *dialog) { d.send(wire.TypeAccepted, wire.Accepted{}) },
		"no end":                func(d *dialog) { d.want(0); d.distfiles(); d.send(wire.TypeDone, wire.Done{}) },
	} {
		t.Run(what, func(t *testing.T) {
			m := newMachine(t)
			m.needs(dist("one", "1"))
			m.write("distfiles/one", "1")
			b := newTaker(t, func(d *dialog) { d.offered(); answer(d); d.drain() })
			var out buffer
			e := m.emerge(b.addr(), &out, "lab/b")
			e.NoFallback = true
			wantStatus(t, e.Run(t.Context()), ExitNoFallback, &out)
			if b.count() != 1 {
				t.Errorf("%d connections", b.count())
			}
		})
	}
}

// TestOfferRefused: the builder's reason is told, also while files are being sent to it.
func TestOfferRefused(t *testing.T) {
	for what, wanting := range map[string]bool{"the offer": false, "a file": true} {
		t.Run(what, func(t *testing.T) {
			m := newMachine(t)
			large := strings.Repeat("large", 4<<20)
			m.needs(dist("large", large))
			m.write("distfiles/large", large)
			b := newTaker(t, func(d *dialog) {
				d.offered()
				if wanting {
					d.want(0)
				}
				_ = d.conn.SendError(wire.Errorf(wire.CodeDeclined, "no distfiles today"))
				d.drain()
			})
			var out buffer
			e := m.emerge(b.addr(), &out, "lab/b")
			e.NoFallback = true
			err := e.Run(t.Context())
			wantStatus(t, err, ExitNoFallback, &out)
			wantContains(t, words(err, &out), "it declines this job: no distfiles today")
		})
	}
}

// TestInterruptedOffer: Ctrl-C ends the sending.
func TestInterruptedOffer(t *testing.T) {
	m := newMachine(t)
	m.needs(dist("one", "1"))
	m.write("distfiles/one", "1")
	ctx, interrupt := context.WithCancel(t.Context())
	b := newTaker(t, func(d *dialog) {
		d.offered()
		interrupt()
		d.drain()
	})
	var out buffer
	wantStatus(t, m.emerge(b.addr(), &out, "lab/b").Run(ctx), ExitInterrupted, &out)
}

// TestFetchedByHand: what an older builder could not fetch is built here, and only that.
func TestFetchedByHand(t *testing.T) {
	m := newMachine(t)
	m.write("pretend.out", "[ebuild  N f   ] lab/a-1::lab 0 KiB\n[ebuild  N     ] lab/b-2::lab 0 KiB\n")
	b := newBuilder(t, func(d *dialog) {
		d.submit()
		if len(d.job.Packages) != 1 || d.job.Packages[0].CPV != "lab/b-2" {
			t.Errorf("asked for: %v", d.job.Packages)
		}
		d.built("lab/b-2", "binpkg b")
		d.done(wire.OutcomeDone)
	})
	var out buffer
	wantStatus(t, m.emerge(b.addr(), &out, "lab/b").Run(t.Context()), 0, &out)
	wantContains(t, out.String(), "lab/a-1 stays here: its sources were downloaded by hand, and the lantage on tower")

	m.write("pretend.out", "[ebuild  N f   ] lab/a-1::lab 0 KiB\n")
	b = newBuilder(t, func(d *dialog) { d.drain() })
	out = buffer{}
	wantStatus(t, m.emerge(b.addr(), &out, "lab/a").Run(t.Context()), 0, &out)
	wantContains(t, out.String(), "lab/a-1 is built here: its sources were downloaded by hand", "plain emerge goes on")
}
