package daemon

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lantage/build"
	"lantage/gentoo"
	"lantage/trust"
	"lantage/wire"
)

// dist is a distfile with this content.
func dist(name, content string) wire.Distfile {
	sum := sha512.Sum512([]byte(content))
	return wire.Distfile{Name: name, Size: int64(len(content)), SHA512: hex.EncodeToString(sum[:])}
}

// offers says what there is, and returns the positions of what is wanted.
func (s *syncer) offers(base string, files ...wire.Distfile) []int {
	s.t.Helper()
	return s.offersAs(identity, base, files...)
}

func (s *syncer) offersAs(identity, base string, files ...wire.Distfile) []int {
	s.t.Helper()
	s.send(wire.TypeOffer, wire.Offer{Identity: identity, Base: base, Files: files})
	return s.wants()
}

func (s *syncer) wants() (positions []int) {
	s.t.Helper()
	var w wire.Wants
	s.read(wire.TypeWants, &w)
	in, out := io.Pipe()
	go func() {
		stream := wire.NewStreamReader(wire.StreamWants)
		go func() { _, err := io.Copy(out, stream); out.CloseWithError(err) }()
		for {
			f, err := s.conn.Read()
			if err == nil {
				_, err = stream.Feed(f)
			}
			if err != nil {
				stream.Fail(err)
			}
			if err != nil || f.Type == wire.TypeEnd {
				return
			}
		}
	}()
	for r := wire.NewWantsReader(in); ; {
		i, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			s.t.Fatal(err)
		}
		positions = append(positions, i)
	}
	if len(positions) != w.Count {
		s.t.Errorf("%d files are wanted and %d named", w.Count, len(positions))
	}
	return positions
}

// distfiles sends contents; "-" is one that is not what it should be.
func (s *syncer) distfiles(contents ...string) {
	s.t.Helper()
	out := s.conn.Writer(wire.StreamDistfiles)
	c := wire.NewContentsWriter(out)
	for _, text := range contents {
		var r io.Reader = strings.NewReader(text)
		if text == "-" {
			r = nil
		}
		if _, err := c.Add(r); err != nil {
			return // the builder has said what it thinks of it
		}
	}
	_ = out.Close()
}

func (s *syncer) stored() (w wire.Stored) {
	s.t.Helper()
	s.read(wire.TypeStored, &w)
	return w
}

// submitted submits a job and returns it as it is run.
func (s *syncer) submitted(r *rig, n int) build.Job {
	s.t.Helper()
	s.send(wire.TypeSubmit, jobOf(n, "a/b-1"))
	inputs := s.conn.Writer(wire.StreamInputs)
	_, err := inputs.Write(inputsOf(s.t, map[string]string{"etc/portage/make.conf": ""}))
	if err = errors.Join(err, inputs.Close()); err != nil {
		s.t.Fatal(err)
	}
	var a wire.Accepted
	s.read(wire.TypeAccepted, &a)
	run := r.next()
	run.end <- runEnd{}
	return run.job
}

func (r *rig) newSyncer() *syncer { return &syncer{r.t, r.connect()} }

// sent are the names of all files in the folder of what clients sent.
func (r *rig) sent() (names []string) {
	entries, err := os.ReadDir(filepath.Join(r.dir, build.SentDir))
	if err != nil && !os.IsNotExist(err) {
		r.t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func (r *rig) put(dir, name, content string) {
	r.t.Helper()
	err := os.MkdirAll(filepath.Join(r.dir, dir), 0o755)
	if err = errors.Join(err, os.WriteFile(filepath.Join(r.dir, dir, name), []byte(content), 0o644)); err != nil {
		r.t.Fatal(err)
	}
}

// TestOffer: only what is nowhere on the builder is wanted, it is kept by its content, and the job may use what was offered.
func TestOffer(t *testing.T) {
	r := newSyncRig(t, func(s *Server) { s.DistDirs = map[string]string{"host": filepath.Join(s.StateDir, "own")} })
	r.put(build.DistDir, gentoo.Distfile(dist("", "one")).Key(), "one")
	r.put("own", "tampered", "eno")
	r.put("own", "of-host", "three")
	r.put("own", "six", "six")
	if err := os.Symlink("six", filepath.Join(r.dir, "own", "link")); err != nil {
		t.Fatal(err)
	}
	files := []wire.Distfile{
		dist("downloaded", "one"), dist("tampered", "two"), dist("of-host", "three"), dist("new", "four"), dist("twin", "four"),
		dist("link", "six"), dist("broken", "five"),
	}
	s := r.newSyncer()
	if diff := cmp.Diff([]int{1, 3, 5, 6}, s.offers("host", files...)); diff != "" {
		t.Errorf("wanted (-want +got):\n%s", diff)
	}
	s.distfiles("two", "four", "six", "-")
	if w := s.stored(); w != (wire.Stored{Count: 3, Bytes: 10}) {
		t.Errorf("stored: %+v", w)
	}
	var keys []string
	for _, i := range []int{1, 3, 5} {
		key := gentoo.Distfile(files[i]).Key()
		keys = append(keys, key, key+"."+clientID(identity))
	}
	slices.Sort(keys)
	if diff := cmp.Diff(keys, r.sent()); diff != "" {
		t.Errorf("kept (-want +got):\n%s", diff)
	}
	if got := s.submitted(r, 1).Distfiles; len(got) != len(files) || got[0] != gentoo.Distfile(files[0]) {
		t.Errorf("the job may use %v", got)
	}

	s = r.newSyncer()
	if diff := cmp.Diff([]int{2, 6}, s.offers("client", files...)); diff != "" {
		t.Errorf("wanted the next time, on a base that has none (-want +got):\n%s", diff)
	}
	s.conn.Close()
	s = r.newSyncer()
	if got := s.submitted(r, 2).Distfiles; len(got) > 0 {
		t.Errorf("a job that nothing was offered for may use %v", got)
	}
}

// clientID is what a client is called in names of files that says who it is by its secret name.
func clientID(identity string) string { return trust.Key(sha256.Sum256([]byte(identity))).ID() }

// TestOfferProvesNothing: what one client has sent is wanted of another one, which may know its sums from the Manifest alone, and a
// job of that one's does not see it; and that is still so after a restart.
func TestOfferProvesNothing(t *testing.T) {
	r := newSyncRig(t)
	secret := dist("by-hand.tar", "one")
	s := r.newSyncer()
	s.offers("host", secret)
	s.distfiles("one")
	s.stored()
	other := strings.Repeat("e", 64)
	s = r.newSyncer()
	if got := s.offersAs(other, "host", secret); len(got) != 1 {
		t.Fatalf("wanted of another client: %v", got)
	}
	s.distfiles("-")
	s.stored()
	if got := s.submitted(r, 1); got.Client != clientID(other) || build.HasSent(r.dir, got.Client, gentoo.Distfile(secret)) {
		t.Errorf("the job of %q may use %v", got.Client, got.Distfiles)
	}
	r.shutDown()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r = newRigOn(t, 1, ln, r.dir)
	if got := r.newSyncer().offers("host", secret); len(got) > 0 {
		t.Errorf("wanted of the one that has sent it: %v", got)
	}
	s = r.newSyncer()
	s.offersAs(other, "host", secret)
	s.distfiles("one")
	s.stored()
	if got := r.newSyncer().offersAs(other, "host", secret); len(got) > 0 {
		t.Errorf("wanted of the other one that has sent it: %v", got)
	}
}

// TestOfferAfterSync: both may precede a job on one connection.
func TestOfferAfterSync(t *testing.T) {
	r := newSyncRig(t)
	s, _ := r.syncer(wire.Sync{})
	if got := s.offers("client", dist("a", "one")); len(got) != 1 {
		t.Fatalf("wanted: %v", got)
	}
	s.distfiles("one")
	s.stored()
	if got := s.submitted(r, 1).Distfiles; len(got) != 1 {
		t.Errorf("the job may use %v", got)
	}
}

// TestOfferWithoutRoom: what there is no room for is not wanted, and what is smaller is.
func TestOfferWithoutRoom(t *testing.T) {
	r := newSyncRig(t, func(s *Server) { s.distfileRoom = func() int64 { return 5 } })
	s := r.newSyncer()
	got := s.offers("", dist("a", "123"), dist("b", "1234567"), dist("c", "456"), dist("d", "12"))
	if diff := cmp.Diff([]int{0, 3}, got); diff != "" {
		t.Errorf("wanted (-want +got):\n%s", diff)
	}
}

// TestHostileOffers: nothing of what is not as it was declared is kept, and the client is told why.
func TestHostileOffers(t *testing.T) {
	many := func(n, from int) (files []wire.Distfile) {
		for i := range n {
			files = append(files, dist(fmt.Sprint(from+i), "x"))
		}
		return files
	}
	offer := func(files ...wire.Distfile) func(*syncer) {
		return func(s *syncer) { s.send(wire.TypeOffer, wire.Offer{Identity: identity, Files: files}) }
	}
	named := func(name string) func(*syncer) { return offer(dist(name, "one")) }
	sending := func(contents ...string) func(*syncer) {
		return func(s *syncer) {
			s.offers("", dist("a", "one"), dist("b", "two"))
			s.distfiles(contents...)
		}
	}
	large, unsigned := dist("a", "one"), dist("a", "one")
	large.Size = gentoo.MaxDistfile + 1
	unsigned.SHA512 = ""
	for what, tt := range map[string]struct {
		do  func(*syncer)
		say string
	}{
		"nobody's":        {func(s *syncer) { s.send(wire.TypeOffer, wire.Offer{Files: many(1, 0)}) }, "whose they are"},
		"no identity":     {func(s *syncer) { s.send(wire.TypeOffer, wire.Offer{Identity: "me", Files: many(1, 0)}) }, "is not 32 to 128"},
		"a path":          {named("../a"), "not the name of a distfile"},
		"the directory":   {named(".."), "not the name of a distfile"},
		"absolute":        {named("/etc/passwd"), "not the name of a distfile"},
		"hidden":          {named(".pending-1"), "not the name of a distfile"},
		"no name":         {named(""), "not the name of a distfile"},
		"twice":           {offer(dist("a", "one"), dist("a", "two")), "a is there twice"},
		"large":           {offer(large), "cannot have"},
		"without a sum":   {offer(unsigned), "neither a SHA512 nor a BLAKE2B"},
		"many in one":     {offer(many(wire.OfferFiles+1, 0)...), "at most 500 in each"},
		"wrong content":   {sending("one", "owt"), "b is refused: it is not what the Manifest says: its SHA512 is another"},
		"more bytes":      {sending("one and more", "two"), "a is refused: it is not what the Manifest says: it has more than 3 bytes"},
		"endless":         {sending(strings.Repeat("one", 10<<20), "two"), "it has more than 3 bytes"},
		"fewer bytes":     {sending("on", "two"), "it has 2 bytes, not 3"},
		"one file less":   {sending("one"), "fewer contents than were wanted"},
		"one file more":   {sending("one", "two", "one"), "more distfiles than were wanted"},
		"a second offer":  {func(s *syncer) { s.offers(""); s.send(wire.TypeOffer, wire.Offer{}) }, "a second offer"},
		"empty for ever":  {func(s *syncer) { s.send(wire.TypeOffer, wire.Offer{Identity: identity, More: true}) }, "0 after 0 in one offer"},
		"another request": {func(s *syncer) { s.offers("", dist("a", "one")); s.send(wire.TypeSubmit, jobOf(1, "a/b-1")) }, "in stream 7"},
		"many in all": {func(s *syncer) {
			for n := 0; n <= wire.MaxOffer; n += wire.OfferFiles {
				if s.conn.Send(wire.TypeOffer, wire.Offer{Identity: identity, Files: many(wire.OfferFiles, n), More: true}) != nil {
					return
				}
			}
		}, "10000 in all"},
	} {
		t.Run(what, func(t *testing.T) {
			r := newSyncRig(t)
			s := &syncer{t, r.connect()}
			tt.do(s)
			if e := s.refusal(); e.Code != wire.CodeBadRequest || !strings.Contains(e.Text, tt.say) {
				t.Errorf("refusal: %v, want %q", e, tt.say)
			}
			var good []string
			for _, d := range []wire.Distfile{dist("a", "one"), dist("b", "two")} {
				key := gentoo.Distfile(d).Key()
				good = append(good, key, key+"."+clientID(identity))
			}
			for _, name := range r.sent() {
				if !slices.Contains(good, name) || strings.Contains(what, "bytes") {
					t.Errorf("kept: %s", name)
				}
			}
			if got := (&syncer{t, r.connect()}).submitted(r, 1).Distfiles; len(got) > 0 {
				t.Errorf("the next job may use %v", got)
			}
		})
	}
}

// TestOfferCut: of a file that was cut short nothing is left.
func TestOfferCut(t *testing.T) {
	r := newSyncRig(t)
	s := r.newSyncer()
	s.offers("", dist("a", strings.Repeat("one", 1<<20)))
	out := s.conn.Writer(wire.StreamDistfiles)
	if _, err := out.Write(append([]byte{0x80, 0x18}, strings.Repeat("one", 1<<10)...)); err != nil { // a piece of 3072 bytes
		t.Fatal(err)
	}
	dir := filepath.Join(r.dir, build.SentDir)
	for giveUp := time.Now().Add(patience); len(r.sent()) == 0; runtime.Gosched() {
		if time.Now().After(giveUp) {
			t.Fatalf("nothing is written to %s", dir)
		}
	}
	s.conn.Close()
	r.shutDown()
	if names := r.sent(); len(names) > 0 {
		t.Errorf("kept: %q", names)
	}
}
