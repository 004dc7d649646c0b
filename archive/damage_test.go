package archive

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// small is an archive with one of each kind, and contents what a Reader finds in an archive.
func small(tb testing.TB) []byte {
	return gz(tb, tarOf(tb, entry{Header: tar.Header{Name: "d/", Typeflag: tar.TypeDir, Mode: 0o755}},
		file("d/f", "some text"), link(tar.TypeSymlink, "d/s", "f"), link(tar.TypeLink, "h", "d/f")))
}

func contents(data []byte) (string, error) {
	var s strings.Builder
	r := NewReader(bytes.NewReader(data), Limits{})
	for {
		hdr, err := r.Next()
		if err == io.EOF {
			return s.String(), nil
		}
		if err != nil {
			return s.String(), err
		}
		text, err := io.ReadAll(r)
		if err != nil {
			return s.String(), err
		}
		fmt.Fprintf(&s, "%c %s %s %o %s\n", hdr.Typeflag, hdr.Name, hdr.Linkname, hdr.Mode, text)
	}
}

func TestCutAtEveryByte(t *testing.T) {
	whole := small(t)
	for n := range whole {
		if s, err := contents(whole[:n]); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%d bytes of %d: error %v after %q", n, len(whole), err, s)
		}
	}
	// A tar stream that is cut and then compressed.
	plain := tarOf(t, file("f", "text"))
	for n := range plain[:len(plain)-1] {
		if s, err := contents(stored(t, plain[:n])); err == nil {
			t.Errorf("%d bytes of a tar stream of %d pass: %q", n, len(plain), s)
		}
	}
}

// A flipped bit is an error, or stands where gzip keeps remarks (time, system) and changes nothing.
func TestFlippedBits(t *testing.T) {
	whole := small(t)
	want, err := contents(whole)
	must(t, err)
	for i := range whole {
		for bit := range 8 {
			data := bytes.Clone(whole)
			data[i] ^= 1 << bit
			if got, err := contents(data); err == nil && got != want {
				t.Errorf("byte %d bit %d: no error, but\n%s", i, bit, cmp.Diff(want, got))
			}
		}
	}
}

func TestWhatFollowsTheEnd(t *testing.T) {
	plain := tarOf(t, file("f", "text"))
	whole := gz(t, plain)
	second := gz(t, tarOf(t, file("second", "")))
	zeros := make([]byte, 20*512)
	for _, tc := range []struct {
		name string
		data []byte
		ok   bool
	}{
		{"nothing", whole, true},
		{"one byte", append(bytes.Clone(whole), 'x'), false},
		{"a zero byte", append(bytes.Clone(whole), 0), false},
		{"garbage", append(bytes.Clone(whole), "garbage, more than a gzip header has"...), false},
		{"another archive", append(bytes.Clone(whole), second...), false},
		{"half of another archive", append(bytes.Clone(whole), second[:15]...), false},
		{"zeros inside, as GNU tar has", gz(t, append(bytes.Clone(plain), zeros...)), true},
		{"garbage inside", gz(t, append(bytes.Clone(plain), "garbage"...)), false},
		{"garbage inside after zeros", gz(t, append(append(bytes.Clone(plain), zeros...), 'x')), false},
		{"an archive inside", gz(t, append(bytes.Clone(plain), plain...)), false},
		// RFC 1952, 2.2: several members are one stream, wherever it is divided.
		{"two gzip members", append(gz(t, plain[:700]), gz(t, plain[700:])...), true},
		{"an empty gzip member", append(bytes.Clone(whole), gz(t, nil)...), true},
		{"nothing at all", nil, false},
		{"an empty gzip", gz(t, nil), false},
		{"not gzip", plain, false},
	} {
		s, err := contents(tc.data)
		if (err == nil) != tc.ok {
			t.Errorf("%s: %v", tc.name, err)
		}
		if err == nil && !strings.Contains(s, "f  644 text") {
			t.Errorf("%s: read %q", tc.name, s)
		}
	}
}

// Archives without an end, compressed to almost nothing: each is stopped by its limit, in little memory.
func TestLimits(t *testing.T) {
	zeros := strings.Repeat("\x00", 1<<20)
	n := 0
	next := func(data string) entry { n++; return file(fmt.Sprint("f", n), data) }
	for _, tc := range []struct {
		limit  string
		limits Limits
		next   func() entry
	}{
		{"entries", Limits{Entries: 20_000}, func() entry { return next("") }},
		{"bytes in all", Limits{Bytes: 10 << 20}, func() entry { return next(zeros) }},
		{"bytes of content", Limits{EntryBytes: 1<<20 - 1}, func() entry { return file("f", zeros) }},
		{"bytes in a name", Limits{NameBytes: 3}, func() entry { return file("long", "") }},
		{"bytes in a name", Limits{NameBytes: 3}, func() entry { return link(tar.TypeSymlink, "s", "long") }},
		{"elements in a name", Limits{Depth: 3}, func() entry { return file("a/b/c/d", "") }},
		{"bytes in the headers of an entry", Limits{}, func() entry {
			return entry{Header: tar.Header{Name: "f", PAXRecords: map[string]string{"LANTAGE.x": zeros[:1<<20-30]}}}
		}},
	} {
		pr, pw := io.Pipe()
		go func() {
			w, _ := gzip.NewWriterLevel(pw, gzip.BestSpeed)
			tw := tar.NewWriter(w)
			for {
				e := tc.next()
				hdr := e.Header
				hdr.Size = int64(len(e.data))
				if err := tw.WriteHeader(&hdr); err != nil {
					return
				}
				if _, err := io.WriteString(tw, e.data); err != nil {
					return
				}
			}
		}()
		err := NewReader(pr, tc.limits).Finish()
		pr.Close()
		var le *LimitError
		if !errors.As(err, &le) || le.Limit != tc.limit {
			t.Errorf("want limit %q, got %v", tc.limit, err)
		}
	}
	// What is exactly at its limit passes.
	plain := tarOf(t, file("a/b", "12345"))
	exact := Limits{Entries: 1, Bytes: int64(len(plain)), EntryBytes: 5, NameBytes: 3, Depth: 2}
	if err := NewReader(bytes.NewReader(gz(t, plain)), exact).Finish(); err != nil {
		t.Error(err)
	}
}

// Extract has the same limits, and one for what waits until the end.
func TestExtractLimits(t *testing.T) {
	big := entry{Header: tar.Header{
		Name: "d/", Typeflag: tar.TypeDir, Mode: 0o755,
		PAXRecords: map[string]string{"SCHILY.xattr.user.lantage": strings.Repeat("v", 200_000)},
	}}
	for _, tc := range []struct {
		limit   string
		opt     ExtractOptions
		entries []entry
	}{
		{"entries", ExtractOptions{Limits: Limits{Entries: 1}}, repeatEntry(2, big)},
		{
			"bytes in the names and attributes of directories",
			ExtractOptions{Xattrs: allXattrs},
			repeatEntry(200, big),
		},
	} {
		data := gz(t, tarOf(t, tc.entries...))
		_, err := Extract(t.Context(), bytes.NewReader(data), openRoot(t, t.TempDir()), tc.opt)
		var le *LimitError
		if !errors.As(err, &le) || le.Limit != tc.limit {
			t.Errorf("want limit %q, got %v", tc.limit, err)
		}
	}
}

// Headers cost little memory: not a MiB for each block of one, nor a map of all its records.
func TestHeaderMemory(t *testing.T) {
	var records bytes.Buffer
	for i := range 20_000 {
		fmt.Fprintf(&records, "12 a%05d=v\n", i)
	}
	data := gz(t, tarOf(t, rawEntry(tar.TypeXHeader, "x", octal(records.Len()), records.Bytes()), file("f", "")))
	huge := gz(t, tarOf(t, rawEntry(tar.TypeXHeader, "x", octal(1<<20), make([]byte, 1<<20)), file("f", "")))
	for _, data := range [][]byte{data, huge} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := NewReader(bytes.NewReader(data), Limits{}).Finish()
		runtime.ReadMemStats(&after)
		if got := after.TotalAlloc - before.TotalAlloc; got > 8<<20 {
			t.Errorf("reading one header allocated %d bytes (error %v)", got, err)
		}
	}
}

func TestExtractCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	pr, pw := io.Pipe()
	defer pr.Close()
	go func() {
		w := NewWriter(pw, Options{Level: ForBinpkgs})
		_ = w.AddReader("endless", 1<<35, 0o644, time.Time{}, &repeat{data: incompressible(1 << 20)})
		w.Close()
	}()
	n := 0
	source := readerFunc(func(p []byte) (int, error) {
		if n++; n == 50 {
			cancel()
		}
		return pr.Read(p)
	})
	_, err := Extract(ctx, source, openRoot(t, t.TempDir()), ExtractOptions{})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's error", err)
	}
}

// Entries that are here already, in a read buffer, are not made after a cancel either.
func TestExtractCancelBuffered(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	root := openRoot(t, t.TempDir())
	data := gz(t, tarOf(t, link(tar.TypeSymlink, "l", "/"), file("f", "")))
	_, err := Extract(ctx, bytes.NewReader(data), root, ExtractOptions{
		AllowLink: func(string, string) bool { cancel(); return true },
	})
	if _, ferr := root.Lstat("f"); !errors.Is(err, context.Canceled) || !errors.Is(ferr, fs.ErrNotExist) {
		t.Errorf("got %v, want the context's error; the entry after it: %v", err, ferr)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestValidName(t *testing.T) {
	for name, valid := range map[string]bool{
		"a": true, "a/b": true, "...": true, "a..b/..c": true, "-rf": true, "\xff": true,
		strings.Repeat("n", 255): true,
		"":                       false, ".": false, "..": false,
		"/": false, "/a": false, "a/": false, "a//b": false,
		"a/./b": false,
		"a/..":  false, "../a": false, "a\x00b": false, strings.Repeat("n", 256): false,
		strings.Repeat("a/", 2048) + "b": false,
	} {
		if err := ValidName(name); (err == nil) != valid {
			t.Errorf("ValidName(%.40q) = %v", name, err)
		}
	}
}
