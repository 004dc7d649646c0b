package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"lantage/discovery"
	"lantage/trust"
	"lantage/wire"
)

func someone(t *testing.T) *trust.Identity {
	t.Helper()
	self, err := trust.NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	return self
}

// untouched is a builder that must get nothing but the hello.
func untouched(d *dialog) {
	if f := d.frame(); f.Type != 0 {
		d.t.Errorf("the builder at %v got a frame of type %d", d.raw.LocalAddr(), f.Type)
	}
}

// secure is a builder that encrypts, and must not get a job.
func secure(t *testing.T, name, id string, cores int, self *trust.Identity) *fakeBuilder {
	t.Helper()
	return newFake(t, &fakeBuilder{
		hello: wire.Hello{Name: name, ID: id, CHOST: testCHOST, Cores: cores, JobLimit: 1, Software: "0.1"}, shy: true,
		identities: []*trust.Identity{self}, scripts: slices.Repeat([]func(*dialog){untouched}, 20),
	})
}

// known is the book of builders.
func (m *machine) known() trust.Book { return KnownBuilders(m.path("state")) }

func (m *machine) set(self *trust.Identity, name string, state trust.State) {
	m.t.Helper()
	if err := m.known().Set(self.Key, name, state); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) stateOf(self *trust.Identity) trust.State {
	m.t.Helper()
	peers, err := m.known().Peers()
	if err != nil {
		m.t.Fatal(err)
	}
	p, _ := trust.Find(peers, self.Key)
	return p.State
}

// secureEmerge encrypts; where there is input, it comes from a terminal.
func (m *machine) secureEmerge(host string, out *buffer, input string, args ...string) *Emerge {
	e := m.emerge(host, out, args...)
	e.Plain = false
	e.Stdin = strings.NewReader(input)
	e.terminal = func(stream any) bool { return stream == e.Stdin && input != "-" }
	return e
}

// found is the builder that would get a job. Its connection is closed at the end of the test.
func found(t *testing.T, e *Emerge) (*builder, error) {
	t.Helper()
	b, err := e.findBuilder(t.Context(), &system{chost: testCHOST})
	if err == nil {
		t.Cleanup(func() { b.conn.Close() })
	}
	return b, err
}

// A builder that was never met is shown and asked about, as ssh does it, and is known once somebody has said yes.
func TestMeet(t *testing.T) {
	tower, other := someone(t), someone(t)
	for name, c := range map[string]struct {
		input  string
		accept bool
		used   bool
		is     func(error) bool
		says   []string
	}{
		"yes":               {input: "yes\n", used: true, says: []string{"[yes/no/fingerprint]", "is known from now on"}},
		"YES":               {input: "YES \n", used: true},
		"no":                {input: "no\n", is: func(err error) bool { return errors.Is(err, errUnwanted) }},
		"fingerprint":       {input: tower.Key.String() + "\n", used: true},
		"wrong fingerprint": {input: other.Key.String() + "\nno\n", is: func(err error) bool { return errors.Is(err, errUnwanted) }, says: []string{"That is not its key."}},
		"y is not enough":   {input: "y\n\nyes please\nyes\n", used: true, says: []string{"Type yes, no, or the fingerprint"}},
		"no answer":         {input: "", is: func(err error) bool { return status(err) == ExitInterrupted }},
		"half an answer":    {input: "yes", is: func(err error) bool { return status(err) == ExitInterrupted }},
		"no terminal": {
			input: "-", is: func(err error) bool { _, none := errors.AsType[*errNoBuilder](err); return none },
			says: []string{"never met before", "--accept-new", "lantage pair"},
		},
		"accept-new": {input: "-", accept: true, used: true, says: []string{"is known from now on"}},
	} {
		t.Run(name, func(t *testing.T) {
			b := secure(t, "tower", "0123456789abcdef", 8, tower)
			m := newMachine(t)
			var out buffer
			e := m.secureEmerge(b.addr(), &out, c.input)
			e.AcceptNew = c.accept
			got, err := found(t, e)
			if c.used != (err == nil) || !c.used && !c.is(err) {
				t.Fatalf("%v\n%s", err, &out)
			}
			wantContains(t, words(err, &out), append(c.says, tower.Key.String())...)
			if !c.used {
				if s := m.stateOf(tower); s != "" {
					t.Errorf("it is %s", s)
				}
				return
			}
			if s := m.stateOf(tower); s != trust.Trusted || got.key != tower.Key {
				t.Errorf("it is %s, its key %v", s, got.key)
			}
			if c.accept == strings.Contains(out.String(), "[yes/no/fingerprint]") {
				t.Errorf("asked, or not:\n%s", &out)
			}
			out = buffer{}
			e = m.secureEmerge(b.addr(), &out, "-")
			if _, err = found(t, e); err != nil {
				t.Fatal("the second time:", err)
			}
		})
	}
}

// A changed key and a revoked one are refused whatever was said, and nothing is sent.
func TestDistrusted(t *testing.T) {
	tower, now := someone(t), someone(t)
	for name, c := range map[string]struct {
		held *trust.Identity
		name string
		as   trust.State
		says []string
	}{
		"changed": {tower, "tower", trust.Trusted, []string{"another machine may pretend to be it", tower.Key.String(), now.Key.String(), "lantage trust forget tower"}},
		"case":    {tower, "Tower", trust.Trusted, []string{tower.Key.String(), now.Key.String(), "lantage trust forget Tower"}},
		"revoked": {now, "tower", trust.Revoked, []string{"revoked here", "lantage trust allow tower"}},
		"odd":     {now, "a'b c", trust.Revoked, []string{`lantage trust allow 'a'\''b c'`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // it mostly waits
			b := secure(t, "tower", "0123456789abcdef", 8, now)
			m := newMachine(t)
			m.set(c.held, c.name, c.as)
			for _, input := range []string{"-", "yes\nyes\n"} {
				for _, accept := range []bool{false, true} {
					var out buffer
					e := m.secureEmerge(b.addr(), &out, input, "lab/b")
					e.AcceptNew, e.NoFallback = accept, true
					if name == "changed" && accept { // and where it is found, which takes longer
						e.Host, e.network = "", lanOf(b)
					}
					err := e.Run(t.Context())
					wantStatus(t, err, ExitNoFallback, &out)
					wantContains(t, words(err, &out), c.says...)
					if strings.Contains(out.String(), "fingerprint]") {
						t.Error("it is asked about")
					}
				}
			}
			if m.stateOf(c.held) != c.as || c.held != now && m.stateOf(now) != "" {
				t.Error("the book was changed")
			}
			if text, err := os.ReadFile(m.path("cache/builders.json")); err == nil && strings.Contains(string(text), b.addr()) {
				t.Errorf("it is in the cache: %s", text)
			}
		})
	}
}

// Whoever answers first, with whatever name and ID, at whichever address was announced: the builder that is known is used.
func TestImpostor(t *testing.T) {
	const id = "0123456789abcdef"
	tower, mallory := someone(t), someone(t)
	for name, c := range map[string]struct {
		says wire.Hello
		lan  func(real, fake *fakeBuilder) *network
	}{
		"same name": {wire.Hello{Name: "tower", ID: id}, func(real, fake *fakeBuilder) *network { return lanOf(fake, real) }},
		"stronger":  {wire.Hello{Name: "box", ID: "fedcba9876543210"}, func(real, fake *fakeBuilder) *network { return lanOf(fake, real) }},
		// Spoofed packets put its address before the other's.
		"one announcement, same name": {wire.Hello{Name: "tower", ID: id}, mixed},
		"one announcement":            {wire.Hello{Name: "box", ID: id}, mixed},
	} {
		for how, accept := range map[string]bool{"--accept-new": true, "asking": false} {
			t.Run(name+", "+how, func(t *testing.T) {
				t.Parallel() // it mostly waits
				good := secure(t, "tower", id, 2, tower)
				bad := secure(t, c.says.Name, c.says.ID, 64, mallory)
				m := newMachine(t)
				m.set(tower, "tower", trust.Trusted)
				var out buffer
				e := m.secureEmerge("", &out, "no\n")
				e.AcceptNew, e.network = accept, c.lan(good, bad)
				b, err := found(t, e)
				if err != nil {
					t.Fatalf("%v\n%s", err, &out)
				}
				if b.key != tower.Key || b.addr != good.addr() || bad.count() == 0 {
					t.Errorf("used: %v %v, the impostor was asked %d times", b, b.key, bad.count())
				}
				if strings.Contains(out.String(), "fingerprint]") || m.stateOf(mallory) != "" {
					t.Errorf("the impostor got somewhere:\n%s", &out)
				}
				again, err := b.again(t.Context())
				if err != nil {
					t.Fatalf("again: %v", err)
				}
				again.conn.Close()
				if again.key != tower.Key {
					t.Errorf("again: %v", again.key)
				}
			})
		}
	}
}

// mixed is a LAN with one announcement that has both addresses, the wrong one first.
func mixed(real, fake *fakeBuilder) *network {
	n := lanOf()
	n.browse = func(ctx context.Context, offer func(discovery.Builder)) (discovery.Report, error) {
		b := real.announced()
		b.Addrs = []netip.AddrPort{fake.addrPort(), real.addrPort()}
		offer(b)
		<-ctx.Done()
		return discovery.Report{}, nil
	}
	return n
}

// A connection that is made again is made to the same key, or not at all.
func TestReconnectToAnotherKey(t *testing.T) {
	tower, mallory := someone(t), someone(t)
	attached := make(chan bool, 9)
	lose := func(d *dialog) {
		d.submit()
		d.built("lab/a-1", "binpkg a")
		d.drop()
	}
	other := func(d *dialog) {
		untouched(d)
		attached <- true
	}
	b := newFake(t, &fakeBuilder{
		hello:   wire.Hello{Name: "tower", ID: "0123456789abcdef", CHOST: testCHOST, Cores: 8, JobLimit: 1, Software: "0.1"},
		scripts: append([]func(*dialog){lose}, slices.Repeat([]func(*dialog){other}, 20)...), identities: []*trust.Identity{tower, mallory}, shy: true,
	})
	m := newMachine(t)
	m.set(tower, "tower", trust.Trusted)
	var out buffer
	e := m.secureEmerge(b.addr(), &out, "-", "lab/b")
	e.patience, e.NoFallback, e.AcceptNew = 1500*time.Millisecond, true, true
	err := e.Run(t.Context())
	wantStatus(t, err, ExitNoFallback, &out)
	if len(attached) == 0 || m.stateOf(mallory) != "" {
		t.Errorf("%d tries\n%s", len(attached), words(err, &out))
	}

	// And in plain words, where the question of --ask was asked meanwhile.
	b = newFake(t, &fakeBuilder{
		hello: b.hello, scripts: slices.Repeat([]func(*dialog){untouched}, 9), identities: []*trust.Identity{tower, mallory}, shy: true,
	})
	out = buffer{}
	e = m.secureEmerge(b.addr(), &out, "yes\n", "--ask", "lab/b")
	e.NoFallback = true
	err = e.Run(t.Context())
	wantStatus(t, err, ExitNoFallback, &out)
	wantContains(t, words(err, &out), "now has another key", tower.Key.String(), mallory.Key.String())
}

// After a No the next builder is asked about, and gets the job.
func TestNoAndTheNext(t *testing.T) {
	strong, weak := someone(t), someone(t)
	a := secure(t, "strong", "0123456789abcdef", 64, strong)
	b := newFake(t, &fakeBuilder{
		hello:   wire.Hello{Name: "weak", ID: "fedcba9876543210", CHOST: testCHOST, Cores: 2, JobLimit: 1, Software: "0.1"},
		scripts: []func(*dialog){untouched, untouched, goodJob}, identities: []*trust.Identity{weak}, shy: true,
	})
	m := newMachine(t)
	var out buffer
	e := m.secureEmerge("", &out, "no\nyes\n", "lab/b")
	e.network = lanOf(a, b)
	wantStatus(t, e.Run(t.Context()), 0, &out)
	wantContains(t, out.String(), "strong at "+a.addr(), "weak at "+b.addr(), "2 packages from weak")
	if len(m.binpkgs()) != 2 || m.stateOf(strong) != "" || m.stateOf(weak) != trust.Trusted {
		t.Errorf("%v, strong %q, weak %q", m.binpkgs(), m.stateOf(strong), m.stateOf(weak))
	}

	out = buffer{}
	e = m.secureEmerge(a.addr(), &out, "no\n", "lab/b")
	e.NoFallback = true
	err := e.Run(t.Context())
	wantStatus(t, err, ExitNoFallback, &out)
	wantContains(t, words(err, &out), "you did not want it")
}

// A job over an encrypted connection says nothing of the secret that stands for a key elsewhere, nor does the hello of more than a name.
func TestNothingBeforeTrust(t *testing.T) {
	tower := someone(t)
	var job wire.Job
	b := newFake(t, &fakeBuilder{
		hello:   wire.Hello{Name: "tower", ID: "0123456789abcdef", CHOST: testCHOST, Cores: 8, JobLimit: 1, Software: "0.1"},
		scripts: []func(*dialog){func(d *dialog) { goodJob(d); job = d.job }}, identities: []*trust.Identity{tower},
	})
	m := newMachine(t)
	m.set(tower, "tower", trust.Trusted)
	m.write("state/identity", strings.Repeat("a", 32)+"\n")
	var out buffer
	wantStatus(t, m.secureEmerge(b.addr(), &out, "-", "lab/b").Run(t.Context()), 0, &out)
	b.ln.Close()
	b.wg.Wait()
	if job.ID == "" || job.Identity != "" {
		t.Errorf("the job has the identity %q", job.Identity)
	}
	d := (&Emerge{Version: "1"}).dialer(&keyring{})
	d.self.Name, d.self.Software = "", ""
	if text := fmt.Sprint(d.self); text != fmt.Sprint(wire.Hello{}) {
		t.Errorf("the hello says %s", text)
	}
}

// One end encrypts, the other does not: the client says so, and does not go on without.
func TestPlainBuilder(t *testing.T) {
	b := named(t, "tower", "0123456789abcdef", 8)
	m := newMachine(t)
	var out buffer
	e := m.secureEmerge(b.addr(), &out, "yes\n", "lab/b")
	e.NoFallback, e.AcceptNew = true, true
	err := e.Run(t.Context())
	wantStatus(t, err, ExitNoFallback, &out)
	wantContains(t, words(err, &out), "it does not encrypt (lantage serve --plain)", "--plain here, too")
}

// That one end does not encrypt is told also of a builder that is known from before, and once, however many addresses it has.
func TestPlainOnOneEnd(t *testing.T) {
	m := newMachine(t)
	for plain, says := range map[bool]string{false: "it does not encrypt (lantage serve --plain)", true: "leave --plain out"} {
		tower := func() *fakeBuilder {
			if plain {
				return secure(t, "tower", "0123456789abcdef", 8, someone(t))
			}
			return named(t, "tower", "0123456789abcdef", 8)
		}
		b, second := tower(), tower() // the same builder at another address
		m.remember(b)
		for _, lan := range [][]*fakeBuilder{nil, {b}, {second}} {
			var out buffer
			e := m.secureEmerge("", &out, "-", "lab/b")
			e.Plain = plain
			e.network.browse = func(_ context.Context, found func(discovery.Builder)) (discovery.Report, error) { // for a moment only
				for _, b := range lan {
					found(b.announced())
				}
				return discovery.Report{Paths: []discovery.Path{{Interface: "eth0", Family: discovery.IPv4, Queries: 9}}}, nil
			}
			_, err := found(t, e)
			if err == nil || strings.Count(err.Error(), says) != 1 || !strings.Contains(err.Error(), "no builder can be used: tower: ") || !strings.Contains(err.Error(), b.addr()) {
				t.Errorf("plain %v, %d announced: %v", plain, len(lan), err)
			}
			list := ListBuilders{Where: e.Where, Environ: e.Environ, Stdout: &out, Wait: 300 * time.Millisecond}
			err = list.Run(t.Context())
			if status(err) != ExitNoBuilder || strings.Contains(words(err, &out), "silent now") ||
				!strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "firewall") || strings.Count(out.String(), "does not answer") != 1 {
				t.Errorf("list-builders, plain %v, %d announced: %s", plain, len(lan), words(err, &out))
			}
		}
	}
}

func TestListTrust(t *testing.T) {
	keys := map[string]*trust.Identity{}
	m := newMachine(t)
	var builders []*fakeBuilder
	for i, name := range []string{"friend", "stranger", "changed", "thief"} {
		keys[name] = someone(t)
		builders = append(builders, secure(t, name, strings.Repeat(fmt.Sprint(i), 16), 8, keys[name]))
	}
	m.set(keys["friend"], "friend", trust.Trusted)
	m.set(someone(t), "changed", trust.Trusted)
	m.set(keys["thief"], "thief", trust.Revoked)
	for _, plain := range []bool{false, true} {
		var out buffer
		list := ListBuilders{Stdout: &out, JSON: true, Wait: 400 * time.Millisecond, Environ: []string{"HOME=" + m.dir}}
		list.StateDir, list.CacheFile, list.Plain = m.path("state"), m.path("cache/builders.json"), plain
		list.network = lanOf(builders...)
		if plain {
			list.CacheFile = m.path("cache/plain.json") // those who encrypt are told of, too
			list.network = lanOf(named(t, "friend", "0000000000000000", 8))
		}
		if err := list.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		var rows []listed
		if err := json.Unmarshal([]byte(out.String()), &rows); err != nil {
			t.Fatal(err)
		}
		for _, r := range rows {
			got[r.Name] = r.Trust
			if !plain && r.Key != keys[r.Name].Key.String() || plain && r.Key != "" {
				t.Errorf("%s has the key %s", r.Name, r.Key)
			}
		}
		want := map[string]string{"friend": "known", "stranger": "new", "changed": "KEY CHANGED", "thief": "revoked"}
		if plain {
			want = map[string]string{"friend": "not encrypted"}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%v, want %v", got, want)
		}
	}
}

// waiting is a builder whose owner waits with a code.
func waiting(t *testing.T, name string, self *trust.Identity, code string) *fakeBuilder {
	t.Helper()
	return waitingTo(t, name, self, slices.Repeat([]func(*dialog){func(d *dialog) { d.pair(self, code) }}, 9)...)
}

// waitingTo is one that does what the scripts say.
func waitingTo(t *testing.T, name string, self *trust.Identity, scripts ...func(*dialog)) *fakeBuilder {
	t.Helper()
	return newFake(t, &fakeBuilder{
		hello: wire.Hello{Name: name, ID: fmt.Sprintf("%x", self.Key[:8]), CHOST: testCHOST, Cores: 8, JobLimit: 1, Software: "0.1", Pairing: true},
		shy:   true, identities: []*trust.Identity{self}, scripts: scripts,
	})
}

// pair is a builder's end of a pairing.
func (d *dialog) pair(self *trust.Identity, code string) {
	end, err := trust.NewPairing(d.channel, self, code, true)
	if err != nil {
		d.t.Error(err)
		return
	}
	var m wire.Pair
	if f := d.frame(); f.Decode(wire.TypePair, &m) != nil {
		return // another one was chosen
	}
	answer, err := end.Answer(m.Message)
	if err != nil {
		d.t.Error(err)
	}
	d.send(wire.TypePair, wire.Pair{Message: answer})
	if f := d.frame(); f.Decode(wire.TypePair, &m) != nil {
		return
	}
	if err := end.Check(m.Proof); err != nil {
		_ = d.conn.SendError(wire.Errorf(wire.CodeDeclined, "%v", err))
		d.drain()
		return
	}
	proof, err := end.Proof()
	if err != nil {
		d.t.Error(err)
	}
	d.send(wire.TypePair, wire.Pair{Proof: proof})
	d.drain()
}

func TestPair(t *testing.T) {
	tower, mallory, old := someone(t), someone(t), someone(t)
	// liar takes any code.
	liar := func(t *testing.T) *fakeBuilder {
		return waitingTo(t, "liar", mallory, func(d *dialog) {
			end, _ := trust.NewPairing(d.channel, mallory, "000000", true)
			var m wire.Pair
			_ = d.frame().Decode(wire.TypePair, &m)
			answer, _ := end.Answer(m.Message)
			d.send(wire.TypePair, wire.Pair{Message: answer})
			d.frame()
			proof, _ := end.Proof()
			d.send(wire.TypePair, wire.Pair{Proof: proof})
			d.drain()
		})
	}
	for name, c := range map[string]struct {
		code, input string
		lan         func(*testing.T) *network
		change      func(*Pair)
		says        []string
		paired      bool
	}{
		"right": {code: "123-456", paired: true, says: []string{"Paired with tower", tower.Key.String()}},
		"installed anew": {code: "123456", paired: true, change: func(p *Pair) {
			if err := KnownBuilders(p.StateDir).Set(old.Key, "tower", trust.Trusted); err != nil {
				t.Fatal(err)
			}
		}, says: []string{"lantage trust forget " + old.Key.String()}},
		"typed":     {input: "123 456\n", paired: true, says: []string{"The code that lantage pair shows"}},
		"not typed": {says: []string{"no code was typed"}},
		"no code":   {code: "12x", says: []string{"6 digits"}},
		"wrong":     {code: "123457", says: []string{"nothing is paired", "the code is another", "type: lantage pair CODE", "3 wrong codes end it"}},
		"plain":     {code: "123456", change: func(p *Pair) { p.Plain = true }, says: []string{"--plain"}},
		"nobody":    {code: "123456", lan: func(*testing.T) *network { return lanOf() }, says: []string{"no builder found"}},
		"liar":      {code: "123456", lan: func(t *testing.T) *network { return lanOf(liar(t)) }, says: []string{"nothing is paired", "the code is another"}},
		"not waiting": {code: "123456", lan: func(t *testing.T) *network {
			return lanOf(secure(t, "tower", "0123456789abcdef", 8, tower))
		}, says: []string{"does not wait for a machine to be paired"}},
		"one of two waits": {code: "123456", paired: true, lan: func(t *testing.T) *network {
			return lanOf(secure(t, "box", "0123456789abcdef", 64, mallory), waiting(t, "tower", tower, "123456"))
		}},
		"two wait": {code: "123456", lan: func(t *testing.T) *network {
			return lanOf(waiting(t, "tower", tower, "123456"), waiting(t, "box", mallory, "123456"))
		}, says: []string{"2 builders wait", tower.Key.String(), mallory.Key.String(), "--builder=ADDRESS"}},
		"hidden by another": {code: "123456", paired: true, lan: func(t *testing.T) *network {
			return mixed(waiting(t, "tower", tower, "123456"), secure(t, "box", "0123456789abcdef", 64, mallory))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // it mostly waits
			m := newMachine(t)
			var out buffer
			p := &Pair{Code: c.code, Version: "1", Environ: []string{"HOME=" + m.dir}, Stdin: strings.NewReader(c.input), Stdout: &out}
			p.StateDir, p.CacheFile = m.path("state"), m.path("cache/builders.json")
			if c.lan == nil {
				c.lan = func(t *testing.T) *network { return lanOf(waiting(t, "tower", tower, "123456")) }
			}
			p.network = c.lan(t)
			if c.change != nil {
				c.change(p)
			}
			err := p.Run(t.Context())
			if (err == nil) != c.paired {
				t.Fatalf("%v\n%s", err, &out)
			}
			wantContains(t, words(err, &out), c.says...)
			if s := m.stateOf(tower); (s == trust.Trusted) != c.paired || m.stateOf(mallory) != "" {
				t.Errorf("tower is %q", s)
			}
		})
	}
}

// What the user has of keys must not be readable by others, and what cannot be read is said before anybody is asked.
func TestKeyringFaults(t *testing.T) {
	b := secure(t, "tower", "0123456789abcdef", 8, someone(t))
	m := newMachine(t)
	m.write("state/"+trust.KnownBuilders, "garbage\n")
	var out buffer
	e := m.secureEmerge(b.addr(), &out, "yes\n")
	if _, err := found(t, e); err == nil || !strings.Contains(err.Error(), "line 1") {
		t.Errorf("%v", err)
	}
	m = newMachine(t)
	m.write("state/"+trust.IdentityFile, "x")
	e = m.secureEmerge(b.addr(), &out, "yes\n")
	if _, err := found(t, e); err == nil || !strings.Contains(err.Error(), "others may read") {
		t.Errorf("%v", err)
	}
	if b.count() != 0 {
		t.Error("the builder was asked")
	}
}

// Two keys are two builders, though they call themselves the same.
func TestTwinsAreTwo(t *testing.T) {
	a, b := someone(t), someone(t)
	m := newMachine(t)
	var out buffer
	list := ListBuilders{Stdout: &out, JSON: true, Wait: 400 * time.Millisecond, Environ: []string{"HOME=" + m.dir}}
	list.StateDir, list.CacheFile = m.path("state"), m.path("cache/builders.json")
	list.network = lanOf(secure(t, "tower", "0123456789abcdef", 8, a), secure(t, "tower", "0123456789abcdef", 8, b))
	if err := list.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantContains(t, out.String(), a.Key.String(), b.Key.String())
}
