package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"testing"
)

// FuzzFrame reads whatever comes. It must end in an error, hold no more than the limits, and what it accepts
// must be the same when written again.
func FuzzFrame(f *testing.F) {
	for _, seed := range []string{
		"", "\x03\x00\x00\x00\x00", "\x04\x00\x00\x00\x02{}", "\x04\x00\x10\x00\x00{", "\x0a\x00\x00\x00\x03\x01ab",
		"\x0a\x00\x01\x00\x02", "\x0b\x00\x00\x00\x29\x01\x00\x00\x00\x00\x00\x00\x00\x00", "\x04\xff\xff\xff\xff",
		"\x02\x00\x00\x00\x1e" + `{"code":"busy","text":"later"}`, "\x63\x00\x00\x00\x00",
		"\x03\x00\x00\x00\x00\x0a\x00\x00\x00\x01\x02\x0a\x00\x00\x00\x01\x02",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		c, rest := reader(in), in
		sr := NewStreamReader(StreamInputs)
		go io.Copy(io.Discard, sr)
		defer sr.Fail(ErrLost)
		for {
			frame, err := c.Read()
			if refusal := new(Error); errors.As(err, &refusal) {
				return
			}
			if err != nil {
				if !errors.Is(err, ErrLost) && !errors.Is(err, ErrProtocol) {
					t.Fatalf("unexpected kind of error: %v", err)
				}
				return
			}
			for bytes.HasPrefix(rest, []byte{byte(TypePing), 0, 0, 0, 0}) {
				rest = rest[headerSize:]
			}
			if len(frame.Body) > MaxControl || (frame.Type == TypeData && len(frame.Body) > 1+MaxData) {
				t.Fatalf("body of %d bytes", len(frame.Body))
			}
			again := make([]byte, headerSize, headerSize+len(frame.Body))
			putHeader(again, frame.Type, len(frame.Body))
			again = append(again, frame.Body...)
			if !bytes.HasPrefix(rest, again) {
				t.Fatalf("read %q of %q", again, rest)
			}
			rest = rest[len(again):]
			_, _ = sr.Feed(frame)
			for _, v := range []any{new(Job), new(Event), new(Done), new(Attach), new(Hello)} {
				_ = frame.Decode(frame.Type, v)
			}
		}
	})
}

// FuzzPreface must tell exactly one of four things.
func FuzzPreface(f *testing.F) {
	for _, seed := range []string{
		"LANTAGE\n\x00\x01\x00\x01", "LANTAGE\n\x00\x00\x00\x00", "LANTAGE\n\x00\x02\xff\xff",
		"LANTAGE\n\x00\x02\x00\x01",
		"LANTAGE\n", "", "GET / HTTP/1.1\r\n", "SSH-2.0-x\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		v, err := readPreface(bytes.NewReader(in))
		switch {
		case err == nil:
			oldest, newest := binary.BigEndian.Uint16(in[8:]), binary.BigEndian.Uint16(in[10:])
			if v < OldestVersion || v > NewestVersion || v < oldest || v > newest {
				t.Errorf("agreed on version %d with a peer of %d to %d", v, oldest, newest)
			}
		case errors.Is(err, ErrNotLantage), errors.Is(err, ErrPeerOlder), errors.Is(err, ErrPeerNewer):
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			if len(in) >= 12 {
				t.Errorf("%q is long enough, error %v", in, err)
			}
		default:
			t.Errorf("unexpected kind of error: %v", err)
		}
	})
}
