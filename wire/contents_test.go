package wire

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

func TestWantsRoundTrip(t *testing.T) {
	var buf bytes.Buffer
	w := NewWantsWriter(&buf)
	want := []int{0, 1, 5, 1_000_000}
	for _, n := range want {
		if err := w.Add(n); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Add(5); err == nil {
		t.Error("a position that does not ascend is taken")
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	var got []int
	r := NewWantsReader(&buf)
	for {
		n, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, n)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestContentsRoundTrip: files of every kind come as they are, one that fails while it is read comes as one that changed, and
// what a reader leaves unread is passed over.
func TestContentsRoundTrip(t *testing.T) {
	large := strings.Repeat("x", 3*MaxData+7)
	var buf bytes.Buffer
	w := NewContentsWriter(&buf)
	broken := errors.New("broken")
	for _, c := range []struct {
		content io.Reader
		changed error
	}{
		{strings.NewReader("small"), nil},
		{strings.NewReader(""), nil},
		{strings.NewReader(large), nil},
		{iotest.OneByteReader(strings.NewReader("bytes")), nil},
		{io.MultiReader(strings.NewReader("half"), iotest.ErrReader(broken)), broken},
		{nil, nil},
		{strings.NewReader("unread"), nil},
		{strings.NewReader("last"), nil},
	} {
		if changed, err := w.Add(c.content); err != nil || changed != c.changed {
			t.Fatal(changed, err)
		}
	}
	r := NewContentsReader(iotest.HalfReader(&buf))
	for i, want := range []struct {
		text string
		err  error
	}{
		{"small", nil}, {"", nil}, {large, nil}, {"bytes", nil}, {"half", ErrChanged}, {"", ErrChanged}, {"-", nil}, {"last", nil},
	} {
		if err := r.Next(); err != nil {
			t.Fatal(i, err)
		}
		if want.text == "-" {
			continue
		}
		got, err := io.ReadAll(r)
		if string(got) != want.text || err != want.err {
			t.Errorf("file %d: %d bytes and %v, want %d and %v", i, len(got), err, len(want.text), want.err)
		}
	}
	if err := r.Next(); err != io.EOF {
		t.Errorf("after the last file: %v", err)
	}
}

func TestContentsCut(t *testing.T) {
	var buf bytes.Buffer
	if _, err := NewContentsWriter(&buf).Add(strings.NewReader("content")); err != nil {
		t.Fatal(err)
	}
	whole := buf.Bytes()
	for n := 1; n < len(whole); n++ {
		r := NewContentsReader(bytes.NewReader(whole[:n]))
		err := r.Next()
		if err == nil {
			_, err = io.ReadAll(r)
		}
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%d of %d bytes: %v", n, len(whole), err)
		}
	}
}

// FuzzContents: whatever a client sends as contents, reading ends, and takes no more memory than a piece.
func FuzzContents(f *testing.F) {
	var buf bytes.Buffer
	w := NewContentsWriter(&buf)
	for _, s := range []string{"", "a", strings.Repeat("b", 300)} {
		_, _ = w.Add(strings.NewReader(s))
	}
	_, _ = w.Add(nil)
	f.Add(buf.Bytes())
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Add([]byte{1, 'a', 0, 2})
	f.Fuzz(func(t *testing.T, data []byte) {
		r := NewContentsReader(bytes.NewReader(data))
		total := int64(0)
		for i := 0; r.Next() == nil; i++ {
			if i > len(data) {
				t.Fatal("more files than bytes")
			}
			n, _ := io.Copy(io.Discard, r)
			total += n
		}
		if total > int64(len(data)) {
			t.Errorf("%d bytes of content out of %d", total, len(data))
		}
		p := NewWantsReader(bytes.NewReader(data))
		for last := -1; ; {
			n, err := p.Next()
			if err != nil {
				break
			}
			if n <= last {
				t.Fatalf("position %d after %d", n, last)
			}
			last = n
		}
	})
}
