package client

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lantage/archive"
	"lantage/rootfs"
	"lantage/wire"
)

// copyBuilder is a builder's end of a sync that does what the test says.
type copyBuilder struct {
	t    *testing.T
	conn *wire.Conn
}

func (b *copyBuilder) send(t wire.Type, v any) { _ = b.conn.Send(t, v) }

// until reads to a frame of a type, or the end.
func (b *copyBuilder) until(want wire.Type) bool {
	for {
		f, err := b.conn.Read()
		if err != nil {
			return false
		}
		if f.Type == want {
			return true
		}
	}
}

// want names positions.
func (b *copyBuilder) want(count int, positions ...int) {
	b.send(wire.TypeWants, wire.Wants{Count: count})
	out := b.conn.Writer(wire.StreamWants)
	w := wire.NewWantsWriter(out)
	for _, p := range positions {
		_ = w.Add(p)
	}
	_ = w.Close()
	_ = out.Close()
}

// contents reads the contents that the client sends.
func (b *copyBuilder) contents() (list []string) {
	in := wire.NewStreamReader(wire.StreamContents)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer in.Close()
		r := wire.NewContentsReader(archive.NewGunzip(in))
		for r.Next() == nil {
			text, err := io.ReadAll(r)
			if err != nil {
				text = []byte("(" + err.Error() + ")")
			}
			list = append(list, string(text))
		}
	}()
	for {
		f, err := b.conn.Read()
		if err != nil {
			in.Fail(err)
			break
		}
		if _, err := in.Feed(f); err != nil || f.Type == wire.TypeEnd {
			break
		}
	}
	<-done
	return list
}

// syncWith runs a sync of a small root with a builder that does this.
func syncWith(t *testing.T, c *rootCopy, do func(*copyBuilder)) (copied, error) {
	t.Helper()
	a, b := net.Pipe()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		conn, _, err := wire.Handshake(b, wire.Hello{Name: "tower"})
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		builder := &copyBuilder{t, conn}
		if builder.until(wire.TypeSync) {
			do(builder)
		}
		_, _ = conn.Read() // the client's end
	}()
	conn, _, err := wire.Handshake(a, wire.Hello{Name: "laptop"})
	if err != nil {
		t.Fatal(err)
	}
	done, err := c.sync(t.Context(), &builder{conn: conn, secret: strings.Repeat("0", 32)})
	conn.Close()
	<-ended
	return done, err
}

// aRootCopy has a root with the file /usr/a, which is entry 2 of its list: "." and "usr" come before.
func aRootCopy(t *testing.T) *rootCopy {
	t.Helper()
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "usr"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "usr/a"), []byte("text"), 0o644); err != nil {
		t.Fatal(err)
	}
	return &rootCopy{
		rules: rootfs.Rules{Root: root}, dir: t.TempDir(), chost: testCHOST,
		progress: func(copyProgress) {},
	}
}

// TestCopySync: the first time sums are made while contents are sent, and what the builder says it has then is compared with
// them; where nothing changed nothing is sent.
func TestCopySync(t *testing.T) {
	c := aRootCopy(t)
	var sent []string
	first := func(b *copyBuilder) {
		b.send(wire.TypeCopy, wire.Copy{Nothing: true})
		b.until(wire.TypeEnd)
		b.want(1, 2)
		sent = b.contents()
		b.until(wire.TypeCommit)
		b.send(wire.TypeCopy, wire.Copy{Digest: "another"})
	}
	if _, err := syncWith(t, c, first); !errors.Is(err, wire.ErrProtocol) {
		t.Errorf("a copy that is not what was sent: %v", err)
	}
	if len(sent) != 1 || sent[0] != "text" {
		t.Errorf("sent: %q", sent)
	}
	now, err := c.rules.Fingerprint()
	if err != nil {
		t.Fatal(err)
	}
	done, err := syncWith(t, c, func(b *copyBuilder) {
		b.send(wire.TypeCopy, wire.Copy{Digest: "d", Fingerprint: now})
	})
	if err != nil || !done.current || done.digest != "d" {
		t.Errorf("nothing changed: %+v, %v", done, err)
	}
}

// TestCopyRestless: a file that changes each time that it is read ends the sync, with what to do about it.
func TestCopyRestless(t *testing.T) {
	c := aRootCopy(t)
	file := filepath.Join(c.rules.Root, "usr/a")
	rounds := 0
	_, err := syncWith(t, c, func(b *copyBuilder) {
		b.send(wire.TypeCopy, wire.Copy{Nothing: true})
		for b.until(wire.TypeEnd) {
			rounds++
			if err := os.WriteFile(file, []byte(strings.Repeat("x", rounds)), 0o644); err != nil {
				t.Error(err)
			}
			b.want(1, 2)
			b.contents()
		}
	})
	if err == nil || !strings.Contains(err.Error(), `no-copy = ["/usr/a"]`) || rounds != maxRounds {
		t.Errorf("after %d rounds: %v", rounds, err)
	}
}

// TestCopyHostile: a builder that wants what was not offered, or refuses, gets nothing more.
func TestCopyHostile(t *testing.T) {
	listed := func(b *copyBuilder) {
		b.send(wire.TypeCopy, wire.Copy{Nothing: true})
		b.until(wire.TypeEnd)
	}
	for name, c := range map[string]struct {
		do   func(*copyBuilder)
		text string
	}{
		"a directory's content": {func(b *copyBuilder) { listed(b); b.want(1, 1); b.contents() }, "which has none"},
		"beyond the list":       {func(b *copyBuilder) { listed(b); b.want(1, 1000); b.contents() }, "not in the list"},
		"more than it said":     {func(b *copyBuilder) { listed(b); b.want(1, 1, 2) }, "other files than it said"},
		"fewer than it said":    {func(b *copyBuilder) { listed(b); b.want(2, 2) }, "other files than it said"},
		"a refusal":             {func(b *copyBuilder) { listed(b); b.send(wire.TypeError, wire.Errorf(wire.CodeDeclined, "no room")) }, "no room"},
		"another message":       {func(b *copyBuilder) { b.send(wire.TypeDone, wire.Done{}) }, "frame of type"},
		"its end":               {func(b *copyBuilder) { listed(b); b.conn.Close() }, "connection lost"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := syncWith(t, aRootCopy(t), c.do)
			if err == nil || !strings.Contains(err.Error(), c.text) {
				t.Errorf("it ended with: %v", err)
			}
		})
	}
}
