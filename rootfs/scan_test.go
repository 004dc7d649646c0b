package rootfs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// scan scans a root and returns its list, and what it says of each file.
func scan(t *testing.T, o ScanOptions) (ScanReport, []byte, map[string]Entry) {
	t.Helper()
	var out bytes.Buffer
	o.Out = &out
	report, err := Scan(t.Context(), o)
	check(t, err)
	list := bytes.Clone(out.Bytes())
	r := NewListReader(&out, true)
	files := map[string]Entry{}
	check(t, Each(r, func(e *Entry) error {
		files[e.Path] = *e
		return nil
	}))
	if r.Digest() != report.Digest || len(files) != report.Entries {
		t.Errorf("the list has %d entries and the digest %s, the report %d and %s",
			len(files), r.Digest(), report.Entries, report.Digest)
	}
	return report, list, files
}

// settled are options for a scan at a time when all that has been planted is long at rest.
func settled(r Rules) ScanOptions {
	return ScanOptions{Rules: r, Hash: true, now: func() time.Time { return time.Now().Add(time.Hour) }}
}

func TestScan(t *testing.T) {
	root := t.TempDir()
	plant(t, root, "usr/a", "usr/b/c", "usr/link -> a", "etc/shadow")
	o := settled(Rules{Root: root})
	var entries int
	var size int64
	o.Progress = func(n int, b int64) { entries, size = n, b }
	report, _, got := scan(t, o)
	bytes := int64(len("usr/a") + len("usr/b/c"))
	want := ScanReport{
		Entries: 7, Files: 2, Bytes: bytes, Hashed: bytes, Digest: report.Digest, LeftOut: []LeftOut{{"/etc/shadow", secret}},
	}
	if diff := cmp.Diff(want, report); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}
	if entries != 7 || size != bytes {
		t.Errorf("progress ended with %d entries, %d bytes", entries, size)
	}
	for _, p := range []string{"usr/a", "usr/b/c"} {
		if got[p].Sum != sha256.Sum256([]byte(p)) || got[p].Stamp.CTime == 0 || got[p].Stamp.Inode == 0 {
			t.Errorf("%s: %+v", p, got[p])
		}
	}

	o.Hash = false
	report, _, got = scan(t, o)
	if got["usr/a"].Sum != (Sum{}) || got["usr/a"].Stamp.CTime == 0 || report.Hashed != 0 {
		t.Errorf("without hashing: %+v", got["usr/a"])
	}
}

func TestScanTakesSumsFromOlder(t *testing.T) {
	root := t.TempDir()
	plant(t, root, "usr/changed", "usr/kept", "usr/moved", "usr/touched")
	o := settled(Rules{Root: root})
	first, older, before := scan(t, o)

	at := func(p string) string { return filepath.Join(root, p) }
	info, err := os.Stat(at("usr/changed"))
	check(t, err)
	check(t, os.WriteFile(at("usr/changed"), []byte("usr/CHANGED"), 0o644))
	check(t, os.Chtimes(at("usr/changed"), time.Time{}, info.ModTime()))
	check(t, os.Chtimes(at("usr/touched"), time.Time{}, time.Unix(1, 0)))
	check(t, os.Rename(at("usr/moved"), at("usr/renamed")))
	plant(t, root, "usr/a-new")

	o.Older = bytes.NewReader(older)
	report, second, after := scan(t, o)
	if before["usr/changed"].Sum == after["usr/changed"].Sum || before["usr/changed"].Sec != after["usr/changed"].Sec {
		t.Error("a changed content with the old time is not seen")
	}
	if report.Hashed != int64(len("usr/changed"+"usr/touched"+"usr/renamed"+"usr/a-new"))-2 {
		t.Errorf("%d bytes were hashed", report.Hashed) // usr/renamed has the content usr/moved
	}
	if after["usr/kept"].Sum != before["usr/kept"].Sum || after["usr/kept"].Sum == (Sum{}) {
		t.Errorf("kept: %+v", after["usr/kept"])
	}
	o.Older, o.Hash = bytes.NewReader(second), false
	if third, _, _ := scan(t, o); third.Digest != report.Digest || third.Digest == first.Digest {
		t.Errorf("the digest is %s after %s", third.Digest, report.Digest)
	}
}

// An older list is only a cache: it counts as far as it is valid.
func TestScanDamagedOlder(t *testing.T) {
	root := t.TempDir()
	plant(t, root, "usr/a", "usr/b", "usr/c", "usr/d")
	o := settled(Rules{Root: root})
	first, older, _ := scan(t, o)
	for i := range older {
		for _, damaged := range [][]byte{older[:i], append(bytes.Clone(older[:i]), 0xff)} {
			o.Older = bytes.NewReader(damaged)
			if report, _, _ := scan(t, o); report.Digest != first.Digest {
				t.Fatalf("cut or damaged at byte %d: another digest", i)
			}
		}
	}
	o.Older = bytes.NewReader(older[:len(older)*3/4])
	if report, _, _ := scan(t, o); report.Hashed == 0 || report.Hashed >= first.Hashed {
		t.Errorf("%d of %d bytes were hashed with half of a list", report.Hashed, first.Hashed)
	}
}

// A stamp without a time is never trusted, not even where a file system gives files no such time.
func TestScanNoStamp(t *testing.T) {
	e := Entry{Path: "a", Type: TypeFile, Sum: Sum{1}, Stamp: Stamp{Inode: 5}}
	found := Entry{Path: "a", Type: TypeFile, Stamp: Stamp{Inode: 5}}
	if (&sums{e: &e}).find(&found) {
		t.Error("it is trusted")
	}
}

// A file that was just changed may be changed again without a trace in its times: it is hashed again.
func TestScanRacy(t *testing.T) {
	root := t.TempDir()
	plant(t, root, "usr/a")
	for _, hash := range []bool{true, false} {
		for after, want := range map[time.Duration]bool{racy - time.Second: false, time.Hour: true, -time.Hour: false} {
			o := ScanOptions{Rules: Rules{Root: root}, Hash: hash, now: func() time.Time { return time.Now().Add(after) }}
			_, older, got := scan(t, o)
			if trusted := got["usr/a"].Stamp.CTime != 0; trusted != want {
				t.Errorf("read %v after the change (hash: %v): its stamp is trusted: %v", after, hash, trusted)
			}
			o = settled(o.Rules)
			o.Older = bytes.NewReader(older)
			if report, _, _ := scan(t, o); (report.Hashed == 0) != (hash && want) {
				t.Errorf("read %v after the change (hash: %v): %d bytes hashed again", after, hash, report.Hashed)
			}
		}
	}
}

func TestScanChangedWhileRead(t *testing.T) {
	cases := []struct {
		name   string
		change func(t *testing.T, p string, time int)
		want   string // the content that is listed; "" if it is not
		trust  bool
	}{
		{"changed once", func(t *testing.T, p string, time int) {
			if time == 1 {
				check(t, os.WriteFile(p, []byte("second"), 0o644))
			}
		}, "second", true},
		{"growing", func(t *testing.T, p string, time int) {
			f, err := os.OpenFile(p, os.O_APPEND|os.O_WRONLY, 0)
			check(t, err)
			_, err = f.WriteString("+")
			check(t, errors.Join(err, f.Close()))
		}, "first+", false},
		{"cut", func(t *testing.T, p string, time int) { check(t, os.Truncate(p, int64(3-time))) }, "f", false},
		{"mode changed to private", func(t *testing.T, p string, time int) { check(t, os.Chmod(p, 0o600)) }, "", false},
	}
	for _, c := range cases {
		root := t.TempDir()
		plant(t, root, "etc/file")
		p := filepath.Join(root, "etc/file")
		check(t, os.WriteFile(p, []byte("first"), 0o644))
		o := settled(Rules{Root: root})
		times := 0
		o.opened = func(string) {
			times++
			c.change(t, p, times)
		}
		_, _, got := scan(t, o)
		e, ok := got["etc/file"]
		if ok != (c.want != "") || ok && (e.Sum != sha256.Sum256([]byte(c.want)) || e.Size != int64(len(c.want))) {
			t.Errorf("%s: %+v", c.name, e)
		}
		if ok && (e.Stamp.CTime != 0) != c.trust {
			t.Errorf("%s: stamp %+v", c.name, e.Stamp)
		}
		if times > 2 {
			t.Errorf("%s: read %d times", c.name, times)
		}
	}
}

func TestScanVanished(t *testing.T) {
	root := t.TempDir()
	plant(t, root, "usr/a", "usr/b")
	o := settled(Rules{Root: root})
	o.listed = func(p string) {
		if p == "usr/a" {
			check(t, os.Remove(filepath.Join(root, p)))
		}
	}
	if _, _, got := scan(t, o); len(got) != 3 {
		t.Errorf("listed: %v", got)
	}
}

// A file with several names is read once.
func TestScanHardLinks(t *testing.T) {
	root := t.TempDir()
	plant(t, root, "usr/0")
	check(t, os.WriteFile(filepath.Join(root, "usr/0"), make([]byte, 1000), 0o644))
	for i := range 20 {
		check(t, os.Link(filepath.Join(root, "usr/0"), filepath.Join(root, "usr", string(rune('a'+i)))))
	}
	report, _, got := scan(t, settled(Rules{Root: root}))
	if report.Files != 21 || report.Bytes != 21_000 || report.Hashed >= report.Bytes/2 {
		t.Errorf("%+v", report) // each worker may begin with one
	}
	for p, e := range got {
		if e.Type == TypeFile && e.Sum != sha256.Sum256(make([]byte, 1000)) {
			t.Errorf("%s has the sum %x", p, e.Sum)
		}
	}
}

func TestScanFails(t *testing.T) {
	root := t.TempDir()
	plant(t, root, "usr/a", "usr/b")
	full := errors.New("disk full")
	_, err := Scan(t.Context(), ScanOptions{Rules: Rules{Root: root}, Hash: true, Out: failing{full}})
	if !errors.Is(err, full) {
		t.Errorf("a list that cannot be written: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err = Scan(ctx, ScanOptions{
		Rules: Rules{Root: root}, Hash: true, Out: io.Discard, opened: func(string) { cancel() },
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	_, err = Scan(t.Context(), ScanOptions{Rules: Rules{Root: root + "/none"}, Out: io.Discard})
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no root: %v", err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }
