package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"lantage/discovery"
	"lantage/wire"
)

// named makes a builder that talks to ten clients. They may choose another one before it has answered.
func named(t *testing.T, name, id string, cores int) *fakeBuilder {
	t.Helper()
	hello := wire.Hello{Name: name, ID: id, CHOST: testCHOST, Cores: cores, JobLimit: 1, Software: "0.1"}
	return newFake(t, &fakeBuilder{hello: hello, shy: true, scripts: slices.Repeat([]func(*dialog){(*dialog).drain}, 10)})
}

func (f *fakeBuilder) announced() discovery.Builder {
	return discovery.Builder{
		Info:     discovery.Info{ID: f.hello.ID, Name: f.hello.Name},
		Instance: discovery.InstanceName(f.hello.Name, f.hello.ID),
		Addrs:    []netip.AddrPort{f.addrPort()},
	}
}

func (f *fakeBuilder) addrPort() netip.AddrPort { return netip.MustParseAddrPort(f.addr()) }

// lanOf is a LAN on which these builders are heard at once.
func lanOf(builders ...*fakeBuilder) *network {
	browse := func(ctx context.Context, found func(discovery.Builder)) (discovery.Report, error) {
		for _, b := range builders {
			found(b.announced())
		}
		<-ctx.Done()
		return discovery.Report{Paths: []discovery.Path{{Interface: "eth0", Family: discovery.IPv4, Queries: 9}}}, nil
	}
	return &network{lookup: hostsFile, browse: browse}
}

// hostsFile knows one name.
func hostsFile(_ context.Context, _, name string) ([]netip.Addr, error) {
	if name != "localhost" {
		return nil, errors.New("no such host")
	}
	return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
}

// TestWhyThisOne: the reason that is given for a builder is the one that counted.
func TestWhyThisOne(t *testing.T) {
	tower := func(id string, known bool, jobs, waiting int, ways ...string) sighting {
		return sighting{builder: &builder{hello: wire.Hello{Name: "tower", ID: id, Jobs: jobs, Waiting: waiting, JobLimit: 1}, known: known}, ways: ways}
	}
	remembered := &cache{entries: []cached{{ID: "one"}}}
	for _, c := range []struct {
		where    Where
		suitable []sighting
		cache    *cache
		want     string
	}{
		{Where{}, []sighting{tower("one", true, 0, 0, byCache)}, remembered, "the one that is known"},
		{Where{}, []sighting{tower("one", false, 0, 0, byCache)}, remembered, "the only one that answered"}, // its address is, its key is not
		{Where{}, []sighting{tower("one", true, 0, 0)}, remembered, "the only one that answered"},
		{Where{}, []sighting{tower("two", true, 0, 0, byCache)}, remembered, "the only one that answered"},
		{Where{}, []sighting{tower("one", true, 0, 0), tower("two", true, 0, 0)}, remembered, "the freest of 2"},
		{Where{}, []sighting{tower("one", true, 1, 0), tower("two", true, 1, 3)}, remembered, "the shortest wait of 2"},
		{Where{}, []sighting{tower("one", false, 0, 0), tower("two", true, 1, 3)}, remembered, "the one of 2 that is known"},
		{Where{Host: "192.0.2.1"}, []sighting{tower("one", false, 0, 0)}, remembered, "it was named"},
	} {
		if _, why, err := c.where.choose(c.suitable, c.cache); why != c.want || err != nil {
			t.Errorf("%v: %q, %v; want %q", c.suitable, why, err, c.want)
		}
	}
}

func (m *machine) remember(builders ...*fakeBuilder) {
	var entries []cached
	for _, b := range builders {
		entries = append(entries, cached{
			ID: b.hello.ID, Name: b.hello.Name, Addrs: []netip.AddrPort{b.addrPort()}, Found: byMDNS, Seen: time.Now(),
		})
	}
	text, err := json.Marshal(entries)
	if err != nil {
		m.t.Fatal(err)
	}
	m.write("cache/builders.json", string(text))
}

// remembered is what the cache has now.
func (m *machine) remembered() string {
	var list []string
	for _, e := range openCache(m.path("cache/builders.json"), time.Now()).entries {
		list = append(list, fmt.Sprint(e.Name, " ", e.Addrs))
	}
	return strings.Join(list, "; ")
}

// The settle time is for others to answer; a builder that does not answer is waited for no longer than that.
func TestSearch(t *testing.T) {
	small, big := named(t, "small", "small0", 2), named(t, "big", "big000", 32)
	arm := newFake(t, &fakeBuilder{
		hello:   wire.Hello{Name: "arm", ID: "arm000", CHOST: "aarch64-unknown-linux-gnu", Cores: 64, JobLimit: 1},
		scripts: []func(*dialog){(*dialog).drain},
	})
	gone := named(t, "gone", "gone00", 8)
	gone.ln.Close()
	m := newMachine(t)
	var out buffer
	e := m.emerge("", &out, "lab/b")
	e.network = lanOf(gone, small, arm, big, small)
	begin := time.Now()
	b, err := e.findBuilder(t.Context(), &system{chost: testCHOST})
	if err != nil || b.hello.Name != "big" {
		t.Fatalf("%v, %v", b, err)
	}
	b.conn.Close()
	wantContains(t, out.String(), "Builder: big", "the freest of 2")
	if took := time.Since(begin); took < settleTime {
		t.Errorf("others had only %v to answer", took)
	}
	wantContains(t, m.remembered(), "big", "small", "arm")
}

// The one builder that is known is taken at once, and so is nobody else.
func TestKnownBuilder(t *testing.T) {
	small, big := named(t, "small", "small0", 2), named(t, "big", "big000", 32)
	m := newMachine(t)
	for _, c := range []struct {
		known []*fakeBuilder
		lan   []*fakeBuilder
		quick bool
		want  string
	}{
		{known: []*fakeBuilder{small}, quick: true, want: "small"},
		{known: []*fakeBuilder{small, big}, want: "big"},
		{known: []*fakeBuilder{small}, lan: []*fakeBuilder{small}, quick: true, want: "small"},
		{lan: []*fakeBuilder{small}, want: "small"},
	} {
		var out buffer
		e := m.emerge("", &out, "lab/b")
		m.remember(c.known...)
		e.network = lanOf(c.lan...)
		begin := time.Now()
		b, err := e.findBuilder(t.Context(), &system{chost: testCHOST})
		if err != nil || b.hello.Name != c.want {
			t.Fatalf("%v, %v; want %s", b, err, c.want)
		}
		b.conn.Close()
		if took := time.Since(begin); c.quick != (took < settleTime) {
			t.Errorf("known %d, on the LAN %d: it took %v", len(c.known), len(c.lan), took)
		}
	}
}

// One builder that several ways lead to is one builder.
func TestOneOfManyWays(t *testing.T) {
	b := named(t, "tower", "tower0", 8)
	second, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	b.wg.Go(func() { // the same builder on another address
		for n := 0; ; n++ {
			c, err := second.Accept()
			if err != nil {
				return
			}
			b.talk(c, 0)
		}
	})
	m := newMachine(t)
	m.remember(b)
	var out buffer
	list := ListBuilders{Stdout: &out, JSON: true, Wait: 500 * time.Millisecond}
	list.StateDir, list.Plain = m.path("state"), true
	list.CacheFile, list.Domains = m.path("cache/builders.json"), []string{"example.org"}
	list.network = lanOf(b, b)
	list.network.loopback = []netip.AddrPort{netip.MustParseAddrPort(second.Addr().String())}
	list.network.domain = func(context.Context, string) ([]discovery.Builder, error) {
		return []discovery.Builder{{Instance: "x", Addrs: []netip.AddrPort{b.addrPort()}}}, nil
	}
	if err := list.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	var rows []listed
	if err := json.Unmarshal([]byte(out.String()), &rows); err != nil || len(rows) != 1 {
		t.Fatalf("%v\n%s", err, &out)
	}
	if diff := cmp.Diff([]string{byCache, byDNS, byLoopback, byMDNS}, rows[0].Found); diff != "" {
		t.Errorf("found (-want +got):\n%s", diff)
	}
}

// An address where another builder answers is not the old one's any more.
func TestCacheOfAnAddressThatChangedHands(t *testing.T) {
	old, heir := &fakeBuilder{hello: wire.Hello{Name: "old", ID: "old000"}}, named(t, "heir", "heir00", 8)
	m := newMachine(t)
	m.remember(&fakeBuilder{hello: old.hello, ln: heir.ln}) // the address is the heir's now
	var out buffer
	e := m.emerge("", &out, "lab/b")
	b, err := e.findBuilder(t.Context(), &system{chost: testCHOST})
	if err != nil || b.hello.Name != "heir" {
		t.Fatalf("%v, %v", b, err)
	}
	b.conn.Close()
	if got := m.remembered(); strings.Contains(got, "old") {
		t.Errorf("the cache has %s", got)
	}
}

// When the user said where builders are, nothing else is asked.
func TestNothingElseIsAsked(t *testing.T) {
	b, known := named(t, "tower", "tower0", 8), named(t, "known", "known0", 8)
	m := newMachine(t)
	m.remember(known)
	for _, w := range []Where{
		{Host: b.addr()},
		{Builder: b.addr()},
		{Builders: []string{b.addr(), "127.0.0.3:1"}},
		{Builder: b.addr(), Host: known.addr(), Builders: []string{known.addr()}},
	} {
		var out buffer
		e := m.emerge("", &out, "lab/b")
		e.Where = w
		e.Plain, e.StateDir = true, m.path("state")
		e.CacheFile, e.Domains = m.path("cache/builders.json"), []string{"example.org"}
		e.network = &network{
			browse: func(context.Context, func(discovery.Builder)) (discovery.Report, error) {
				t.Error("the LAN was asked")
				return discovery.Report{}, nil
			},
			domain: func(context.Context, string) ([]discovery.Builder, error) {
				t.Error("a domain was asked")
				return nil, nil
			},
			loopback: []netip.AddrPort{known.addrPort()},
		}
		found, err := e.findBuilder(t.Context(), &system{chost: testCHOST})
		if err != nil || found.hello.Name != "tower" {
			t.Fatalf("%+v: %v, %v", w, found, err)
		}
		found.conn.Close()
	}
	if n := known.count(); n != 0 {
		t.Errorf("the known builder was dialled %d times", n)
	}
	if got := m.remembered(); strings.Contains(got, "tower") {
		t.Errorf("who was named is cached: %s", got)
	}
}

// What --builder may be.
func TestBuilderByWord(t *testing.T) {
	lan := []*fakeBuilder{
		named(t, "tower", "abcd11111111", 8), named(t, "castle", "abcd22222222", 8), named(t, "twin", "eeee11111111", 8),
		named(t, "twin", "ffff22222222", 8), named(t, "localhost", "7777aaaaaaaa", 8),
	}
	for _, c := range []struct{ word, want string }{
		{"tower", "abcd11111111"},
		{"Tower", "abcd11111111"},
		{"tower-abcd11", "abcd11111111"},
		{"abcd2", "abcd22222222"},
		{"abcd22222222", "abcd22222222"},
		{"abcd", "fits 2 builders; write an instance: castle-abcd22 (127.0.0.1:"},
		{"twin", "fits 2 builders; write an instance: twin-eeee11 (127.0.0.1:"},
		{"twin-ffff22", "ffff22222222"},
		{"fff", "no builder is called fff; there are: castle (127.0.0.1:"},
		{"localhost", "7777aaaaaaaa"},
	} {
		t.Run(c.word, func(t *testing.T) {
			t.Parallel() // it mostly waits
			m := newMachine(t)
			var out buffer
			e := m.emerge("", &out, "lab/b")
			e.Builder, e.network = c.word, lanOf(lan...)
			b, err := e.findBuilder(t.Context(), &system{chost: testCHOST})
			got := ""
			if err == nil {
				got = b.hello.ID
				b.conn.Close()
			} else {
				got = err.Error()
			}
			if !strings.Contains(got, c.want) {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

// A bare word that no builder fits may be the name of a host; the port is then that of LANTAGE_PORT.
func TestBuilderByHostName(t *testing.T) {
	b, other := named(t, "tower", "tower0", 8), named(t, "other", "other0", 8)
	m := newMachine(t)
	var out buffer
	e := m.emerge("", &out, "lab/b")
	e.network = lanOf(other, b) // it is heard as well, by a name that does not fit, and dialled first
	dialled := make(chan struct{})
	b.scripts[0] = func(d *dialog) { close(dialled); d.drain() }
	e.network.lookup = func(ctx context.Context, network, name string) ([]netip.Addr, error) {
		<-dialled
		return hostsFile(ctx, network, name)
	}
	e.Builder, e.Port = "localhost", fmt.Sprint(b.addrPort().Port())
	found, err := e.findBuilder(t.Context(), &system{chost: testCHOST})
	if err != nil || found.hello.Name != "tower" {
		t.Fatalf("%v, %v", found, err)
	}
	found.conn.Close()
}

func TestWhereIsChecked(t *testing.T) {
	for _, c := range []struct {
		where Where
		want  string
	}{
		{Where{Host: "a:b:c"}, "LANTAGE_HOST"},
		{Where{Builder: "tower:x"}, "--builder"},
		{Where{Builders: []string{"tower", "a b"}}, "configuration file"},
		{Where{Domains: []string{"a..b"}}, "domains"},
		{Where{Port: "99999", Builder: "192.0.2.1"}, `--port or LANTAGE_PORT: "99999" is not a port`},
		{Where{Port: "abc"}, `--port or LANTAGE_PORT: "abc" is not a port`},
		{Where{Port: "0", Builders: []string{"tower"}}, `--port or LANTAGE_PORT: "0" is not a port`},
	} {
		if err := c.where.check(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c.where, err)
		}
	}
	var told []string
	m := newMachine(t)
	where := Where{Port: "abc", Plain: true, StateDir: m.path("state")}
	(&Doctor{Where: where, Environ: m.emerge("", &buffer{}).Environ}).Run(t.Context(), func(grade, text, mend string) { told = append(told, grade+" "+text) })
	wantContains(t, strings.Join(told, "\n"), `fail what is said of builders: --port or LANTAGE_PORT: "abc"`)
}

// What is wrong with the cache is no error of the search.
func TestWrongCache(t *testing.T) {
	good := `{"id":"abcdef","name":"a","addresses":["192.0.2.1:8473"],"found":"mdns","seen":"2026-11-01T00:00:00Z"}`
	now := time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)
	m := newMachine(t)
	for text, want := range map[string]int{
		"[" + good + "]": 1, "[]": 0, "": 0, "null": 0, "{}": 0, "[" + good: 0,
		"[" + strings.Replace(good, "abcdef", "../..", 1) + "]":               0,
		"[" + strings.Replace(good, `"a"`, `"a\u001b[2J"`, 1) + "]":           0,
		"[" + strings.Replace(good, "192.0.2.1:8473", "tower:1", 1) + "]":     0,
		"[" + strings.Replace(good, "192.0.2.1:8473", "192.0.2.1:0", 1) + "]": 0,
		"[" + strings.Replace(good, "192.0.2.1:8473", "224.0.0.1:1", 1) + "]": 0,
		"[" + strings.Replace(good, "2026-11-01", "2026-10-01", 1) + "]":      0, // too old
		"[" + strings.Replace(good, "2026-11-01", "2027-10-01", 1) + "]":      0, // of the future
		"[" + strings.Repeat(good+",", 99) + good + "]":                       cacheMost,
		"[" + strings.Repeat(good+",", 9999) + good + "]":                     0, // too long
	} {
		m.write("cache/builders.json", text)
		if got := len(openCache(m.path("cache/builders.json"), now).entries); got != want {
			t.Errorf("%.200s: %d entries, want %d", text, got, want)
		}
	}
	if n := len(openCache(m.path("cache/none.json"), now).entries); n != 0 {
		t.Errorf("%d entries of no file", n)
	}
}

// FuzzCache: whatever the file has, what is taken of it can be dialled and shown.
func FuzzCache(f *testing.F) {
	f.Add([]byte(`[{"id":"abcdef","name":"a","addresses":["[fe80::1%2]:8473"],"found":"dns","seen":"2026-11-01T00:00:00Z"}]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		entries, err := parseCache(b)
		if err != nil {
			return
		}
		for _, e := range entries {
			if !isID(e.ID) || e.Name != oneLine(e.Name, 64) || len(e.Addrs) > cacheAddresses {
				t.Errorf("%+v", e)
			}
		}
	})
}

// Nothing found is explained in full by list-builders and in short by emerge.
func TestNothingFound(t *testing.T) {
	w := Where{}
	x := explanation{where: &w, report: discovery.Report{
		Paths: []discovery.Path{
			{Interface: "wlan0", Family: discovery.IPv4, Queries: 9},
			{Interface: "wlan0", Family: discovery.IPv6, Err: "permission denied"},
		},
		Skipped: []discovery.Skip{{Interface: "wg0", Reason: "is point-to-point"}, {Interface: "lo", Reason: "is the loopback interface"}},
	}}
	wantContains(t, x.full(), "wlan0 IPv4: 9 questions, 0 mDNS packets", "wlan0 IPv6", "permission denied", "wg0 skipped: is point-to-point",
		"No mDNS packet of any other machine", "ufw allow 5353/udp", "firewall-cmd --permanent --add-port=5353/udp",
		"nft insert rule inet filter input udp dport 5353 accept", "8473/tcp", "LANTAGE_HOST=", ConfigFile)
	if full := x.full(); strings.Index(full, "Start `lantage serve`") > strings.Index(full, "firewall") {
		t.Errorf("a firewall is blamed before nobody's having started a builder:\n%s", full)
	}
	short := x.short()
	wantContains(t, short, "if `lantage serve` runs", "wlan0", "wg0 is point-to-point", "5353", "lantage list-builders")
	if strings.Count(short, "\n") > 1 || strings.Contains(short, "ufw") {
		t.Errorf("too much for emerge:\n%s", short)
	}
	x.report.Paths[0].Packets = 3
	if short = x.short(); strings.Contains(short, "5353") {
		t.Errorf("a firewall is blamed although packets came: %s", short)
	}
	wantContains(t, x.full(), "none answers")
	x.report.Paths[0].Answers = 1
	if full := x.full(); strings.Contains(full, "none answers") {
		t.Errorf("one answered: %s", full)
	}
	x.report.Foreign = 2
	wantContains(t, x.full(), "2 answers about other services", "multicast works")
	w.Host = "tower"
	x.found = []sighting{{candidate: candidate{how: byName, label: "tower"}, err: errors.New("connection refused")}}
	if full := x.full(); strings.Contains(full, "ufw") || !strings.Contains(full, "the builder cannot be reached: tower: connection refused") {
		t.Errorf("%s", full)
	}
}

// A mistyped name is no matter of firewalls: who answers is named, by list-builders, emerge and doctor.
func TestMistypedName(t *testing.T) {
	b := named(t, "tower", "tower0", 8)
	m := newMachine(t)
	var out buffer
	e := m.emerge("", &out, "lab/b")
	e.Builder, e.network = "towr", lanOf(b)
	want := "no builder is called towr; there are: tower (" + b.addr() + ")"
	list := ListBuilders{Where: e.Where, Stdout: &out, Wait: 300 * time.Millisecond, Environ: e.Environ}
	err := list.Run(t.Context())
	if status(err) != ExitNoBuilder || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "5353") {
		t.Errorf("list-builders: %v", err)
	}
	if err := e.Run(t.Context()); err != nil {
		t.Error(err)
	}
	var told []string
	(&Doctor{Where: e.Where, Environ: e.Environ}).Run(t.Context(), func(grade, text, mend string) {
		told = append(told, grade+" "+text+" "+mend)
	})
	for what, text := range map[string]string{"emerge": out.String(), "doctor": strings.Join(told, "\n")} {
		if !strings.Contains(text, want) || strings.Contains(text, "none answered") || strings.Contains(text, "firewall") {
			t.Errorf("%s: %s", what, text)
		}
	}
	e.Builder, told = "tower", nil
	(&Doctor{Where: e.Where, Environ: e.Environ}).Run(t.Context(), func(grade, text, mend string) { told = append(told, grade+" "+text) })
	wantContains(t, strings.Join(told, "\n"), "pass builder tower at ", "it has no key here", "Whether it takes jobs of this machine was not asked")
	e.Builder = "localhost" // which is a host, and no builder runs there
	e.Port = fmt.Sprint(named(t, "gone", "gone00", 8).closed(t).Port())
	_, err = e.findBuilder(t.Context(), &system{chost: testCHOST})
	if err == nil || !strings.Contains(err.Error(), "there are: tower (") || !strings.Contains(err.Error(), "localhost: ") {
		t.Errorf("a host without a builder: %v", err)
	}
}

// One that was named, is known and does not answer is no mistake in typing, though another one answers.
func TestNamedAndSilent(t *testing.T) {
	castle, tower := named(t, "castle", "castle", 8), named(t, "tower", "tower0", 8)
	tower.closed(t)
	for how, lan := range map[string]*network{"cache": lanOf(castle), "mdns": lanOf(castle, tower)} {
		m := newMachine(t)
		m.remember(tower)
		var out buffer
		e := m.emerge("", &out, "lab/b")
		e.Builder, e.network = "tower", lan
		_, err := found(t, e)
		if err == nil || !strings.Contains(err.Error(), "no builder found that is called tower: ") ||
			!strings.Contains(err.Error(), "tower: "+tower.addr()+": connect: connection refused") || strings.Contains(err.Error(), "none answered") {
			t.Errorf("%s: %v", how, err)
		}
	}
}

// closed is the address of a builder that does not run any more.
func (f *fakeBuilder) closed(t *testing.T) netip.AddrPort {
	t.Helper()
	if err := f.ln.Close(); err != nil {
		t.Fatal(err)
	}
	return f.addrPort()
}

// The list shows who was announced and does not answer; this machine and the cache may be silent.
func TestList(t *testing.T) {
	b, gone, known := named(t, "tower", "tower0", 8), named(t, "gone", "gone00", 8), named(t, "known", "known0", 8)
	gone.ln.Close()
	known.ln.Close()
	m := newMachine(t)
	m.remember(known)
	var out buffer
	list := ListBuilders{Stdout: &out, Wait: 300 * time.Millisecond}
	list.StateDir, list.Plain = m.path("state"), true
	list.CacheFile, list.network = m.path("cache/builders.json"), lanOf(b, gone)
	list.network.loopback = []netip.AddrPort{known.addrPort()}
	if err := list.Run(t.Context()); err != nil {
		t.Errorf("list-builders: %v", err)
	}
	wantContains(t, out.String(), b.addr(), "does not answer: "+gone.addr()+": connect: connection refused")
	if strings.Contains(out.String(), "known") {
		t.Errorf("%s", &out)
	}
	b.ln.Close()
	list.network = lanOf(gone)
	if err := list.Run(t.Context()); status(err) != ExitNoBuilder {
		t.Errorf("list-builders: %v\n%s", err, &out)
	}
}

func TestListOfANamedBuilder(t *testing.T) {
	b := named(t, "tower", "0123456789abcdef", 8)
	m := newMachine(t)
	var out buffer
	where := Where{Host: b.addr(), CacheFile: m.path("cache/builders.json"), StateDir: m.path("state"), Plain: true}
	if err := (&ListBuilders{Where: where, Stdout: &out, JSON: true}).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	var rows []listed
	if err := json.Unmarshal([]byte(out.String()), &rows); err != nil {
		t.Fatal(err)
	}
	want := []listed{{
		Name: "tower", ID: "0123456789abcdef", Instance: "tower-012345", Address: b.addr(), CHOST: testCHOST, Cores: 8,
		JobLimit: 1, Version: "0.1", Trust: "not encrypted", Found: []string{"named"},
	}}
	if diff := cmp.Diff(want, rows); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	b.ln.Close()
	if err := (&ListBuilders{Where: where, Stdout: &out}).Run(t.Context()); status(err) != ExitNoBuilder {
		t.Errorf("status %d: %v", status(err), err)
	}
}

func TestTable(t *testing.T) {
	rows := []listed{
		{
			Name: "big", Address: "10.77.0.2", CHOST: testCHOST, CPU: "x86-64-v3", Cores: 32, Load: 0.25, Jobs: 1, Waiting: 2,
			JobLimit: 1, Version: "0.1", Trust: "new", Found: []string{byMDNS},
		},
		{
			Name: "a-very-long-host-name", Address: "192.168.100.200", Found: []string{byMDNS},
			Error: "connection refused " + strings.Repeat("x", 200),
		},
	}
	want := `NAME              ADDRESS          CHOST                CPU        CORES  LOAD  JOBS   VERSION  TRUST  FOUND
big               10.77.0.2        x86_64-pc-linux-gnu  x86-64-v3  32     0.2   1/1+2  0.1      new    mdns
a-very-long-hos…  192.168.100.200  -                    -          -      -     -      -        -      mdns
`
	got := table(rows, 140)
	if head := strings.Join(strings.SplitAfter(got, "\n")[:3], ""); head != want {
		t.Errorf("(-want +got):\n%s", cmp.Diff(want, head))
	}
	rows[0].Address = "[fe80::1234:5678:9abc:def0%12]:65535"
	for _, width := range []int{80, 100, 120, 140} {
		got := table(rows, width)
		for line := range strings.Lines(got) {
			if n := len([]rune(line)) - 1; n > width {
				t.Errorf("%d columns of %d: %s", n, width, line)
			}
		}
		if !strings.Contains(got, "TRUST") && !strings.Contains(got, "Trust: big new") {
			t.Errorf("with %d columns nothing is said of trust:\n%s", width, got)
		}
	}
}

// --watch prints a line for each change where there is no terminal.
func TestWatch(t *testing.T) {
	b := named(t, "tower", "tower0", 8)
	m := newMachine(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := &watchedBuffer{more: make(chan struct{}, 100)}
	list := ListBuilders{Stdout: out, Watch: true}
	bye := make(chan struct{})
	list.StateDir, list.Plain = m.path("state"), true
	list.CacheFile = m.path("cache/builders.json")
	list.network = &network{browse: func(ctx context.Context, found func(discovery.Builder)) (discovery.Report, error) {
		found(b.announced())
		<-bye
		gone := b.announced()
		gone.Gone = true
		found(gone)
		<-ctx.Done()
		return discovery.Report{}, nil
	}}
	ended := make(chan error)
	go func() { ended <- list.Run(ctx) }()
	out.wait(t, "tower, "+b.addr()+", 8 cores, jobs 0/1")
	b.ln.Close()
	out.wait(t, "tower does not answer")
	close(bye)
	out.wait(t, "tower has gone")
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("there was a builder, and yet: %v", err)
	}
}

// watchedBuffer is output that a test can wait on.
type watchedBuffer struct {
	buffer
	more chan struct{}
}

func (w *watchedBuffer) Write(p []byte) (int, error) {
	n, err := w.buffer.Write(p)
	w.more <- struct{}{}
	return n, err
}

func (w *watchedBuffer) wait(t *testing.T, text string) {
	t.Helper()
	for !strings.Contains(w.String(), text) {
		select {
		case <-w.more:
		case <-time.After(20 * time.Second):
			t.Fatalf("it does not say %q:\n%s", text, w)
		}
	}
}

// A search without any source ends at once, and one without an answer in its time.
func TestSearchEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		never := func(ctx context.Context, _ func(candidate)) error {
			<-ctx.Done()
			return nil
		}
		for _, c := range []struct {
			sources []source
			want    time.Duration
		}{
			{nil, 0}, {[]source{fixedSource()}, 0}, {[]source{never}, searchTimeout}, {[]source{fixedSource(), never}, searchTimeout},
		} {
			begin := time.Now()
			s := search{sources: c.sources, dialer: &dialer{}, judge: func(*sighting) error { return nil }, timeout: searchTimeout}
			if found, err := s.run(t.Context()); len(found) > 0 || err != nil || time.Since(begin) != c.want {
				t.Errorf("%d sources: %v, %v after %v, want %v", len(c.sources), found, err, time.Since(begin), c.want)
			}
		}
	})
}
