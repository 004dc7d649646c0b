package trust

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// desk is a machine with both books.
type desk struct {
	t                 *testing.T
	builders, clients Book
	changes           []string
	out               bytes.Buffer
	Manager
}

func newDesk(t *testing.T) *desk {
	dir := t.TempDir()
	d := &desk{t: t, builders: Book{filepath.Join(dir, KnownBuilders)}, clients: Book{filepath.Join(dir, KnownClients)}}
	d.Manager = Manager{Stdout: &d.out, Sides: []Side{{Book: d.builders, Kind: "builder"}, {
		Book: d.clients, Kind: "client",
		About: func(k Key) string { return map[bool]string{true: "something of it", false: ""}[k == keyN(2)] },
		Changed: func(_ context.Context, p Peer, forgotten bool) error {
			d.changes = append(d.changes, p.Name+" "+string(p.State)+map[bool]string{true: " forgotten"}[forgotten])
			if p.Name == "stubborn" {
				return errors.New("not told")
			}
			return nil
		},
	}}}
	return d
}

func (d *desk) said() string {
	d.t.Helper()
	defer d.out.Reset()
	return d.out.String()
}

func TestManager(t *testing.T) {
	d := newDesk(t)
	must(t, d.List())
	if s := d.said(); !strings.Contains(s, "no key yet") || !strings.Contains(s, "knows no builder and no client") {
		t.Error(s)
	}
	self, err := LoadIdentity(filepath.Dir(d.clients.File))
	must(t, err, d.builders.Set(keyN(1), "tower", Trusted), d.clients.Note(keyN(2), "laptop"), d.clients.Note(keyN(3), "laptop2"))
	must(t, d.List())
	s := d.said()
	if strings.Count(s, self.Key.String()) != 1 {
		t.Errorf("its own key should be there once: %s", s)
	}
	for _, line := range []string{"builder|tower|" + keyN(1).String() + "|trusted", "client|laptop|" + keyN(2).String() + "|seen", "something of it"} {
		for word := range strings.SplitSeq(line, "|") {
			if !strings.Contains(s, word) {
				t.Errorf("no %q in\n%s", word, s)
			}
		}
	}

	ctx := t.Context()
	for _, word := range []string{"laptop2", keyN(3).String()[7:17]} { // which may be a name as well
		wantContains(t, d.Set(ctx, word, Trusted), "anybody may call itself so", "lantage trust allow "+keyN(3).String())
	}
	must(t, d.Set(ctx, "laptop", Revoked), d.Set(ctx, keyN(3).String()[:17], Trusted), d.Set(ctx, "tower", Trusted))
	s = d.said()
	if p, _ := Find(d.clients.mustHave(t), keyN(2)); p.State != Revoked || p.Name != "laptop" {
		t.Errorf("%v", p)
	}
	if p, _ := Find(d.clients.mustHave(t), keyN(3)); p.State != Trusted {
		t.Errorf("%v", p)
	}
	if !strings.Contains(s, "laptop ("+keyN(2).String()+") is revoked now") || !strings.Contains(s, "The builder tower ("+keyN(1).String()+") is trusted already") {
		t.Error(s)
	}
	must(t, d.Forget(ctx, "laptop2"), d.Forget(ctx, "tower"))
	if len(d.clients.mustHave(t)) != 1 || len(d.builders.mustHave(t)) != 0 {
		t.Errorf("%v %v", d.clients.mustHave(t), d.builders.mustHave(t))
	}
	if got := strings.Join(d.changes, ", "); got != "laptop revoked, laptop2 trusted, laptop2 trusted forgotten" {
		t.Errorf("changes: %s", got)
	}
	d.said()
}

// A word that may mean several, or none, changes nothing.
func TestAmbiguousWords(t *testing.T) {
	d := newDesk(t)
	must(t, d.builders.Set(keyN(1), "box", Trusted), d.clients.Note(keyN(2), "box"), d.clients.Note(keyN(3), "stubborn"))
	for _, do := range []func(string) error{
		func(w string) error { return d.Set(t.Context(), w, Revoked) }, func(w string) error { return d.Forget(t.Context(), w) },
	} {
		wantContains(t, do("box"), `"box" may be one of 2`, keyN(1).String(), keyN(2).String(), "builder", "client")
		wantContains(t, do("nobody"), `"nobody"`, "lantage trust list")
		wantContains(t, do(keyN(7).String()), "lantage trust list")
	}
	if len(d.builders.mustHave(t)) != 1 || len(d.clients.mustHave(t)) != 2 || len(d.changes) != 0 {
		t.Error("something was changed")
	}
	must(t, d.Set(t.Context(), keyN(2).String(), Trusted))
	wantContains(t, d.Set(t.Context(), "stubborn", Revoked), "not told")
	if p, _ := Find(d.clients.mustHave(t), keyN(3)); p.State != Revoked {
		t.Errorf("%v", p)
	}
}

// A damaged book, or a key that others may read, is said and not passed over.
func TestListOfDamagedState(t *testing.T) {
	d := newDesk(t)
	must(t, os.WriteFile(d.clients.File, []byte("garbage\n"), 0o600))
	wantContains(t, d.List(), d.clients.File, "line 1")
	wantContains(t, d.Set(t.Context(), "x", Trusted), "line 1")
	d = newDesk(t)
	_, err := LoadIdentity(filepath.Dir(d.clients.File))
	must(t, err, os.Chmod(filepath.Join(filepath.Dir(d.clients.File), IdentityFile), 0o644))
	wantContains(t, d.List(), "others may read")
}

// The list fits a terminal of 60 columns with whole keys; elsewhere a peer is a line, which ends in no blanks.
func TestListTable(t *testing.T) {
	key := keyN(1).String()
	rows := []listRow{
		{[]string{"KIND", "NAME", "KEY", "STATE", "SINCE"}, ""},
		{[]string{"builder", "tower", key, "trusted", "2026-11-01"}, ""},
		{[]string{"client", "a-laptop", key, "seen", "2026-11-02"}, "copy of its root, 3.4 GiB"},
	}
	for width, want := range map[int]string{
		0: "KIND     NAME      KEY" + strings.Repeat(" ", len(key)-1) + "STATE    SINCE\n" +
			"builder  tower     " + key + "  trusted  2026-11-01\n" +
			"client   a-laptop  " + key + "  seen     2026-11-02  copy of its root, 3.4 GiB\n",
		60: "KIND     NAME      STATE    SINCE\n" +
			"builder  tower     trusted  2026-11-01\n  " + key + "\n" +
			"client   a-laptop  seen     2026-11-02\n  " + key + "\n  copy of its root, 3.4 GiB\n",
	} {
		for _, w := range map[int][]int{0: {0, 200}, 60: {60, 80}}[width] {
			if got := listTable(rows, w); got != want {
				t.Errorf("%d columns:\n%s, want\n%s", w, got, want)
			}
		}
	}
}
