package wire

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

// feed gives a stream's reader some frames and returns what was read, how reading ended, and what Feed said.
func feed(t *testing.T, sr *StreamReader, frames ...Frame) (got []byte, readErr, feedErr error) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		got, readErr = io.ReadAll(sr)
	}()
	for _, f := range frames {
		if _, err := sr.Feed(f); err != nil {
			feedErr = err
			break
		}
	}
	sr.Fail(nil) // does nothing after the end
	<-done
	return got, readErr, feedErr
}

func dataFrame(s Stream, p string) Frame {
	return Frame{TypeData, append([]byte{byte(s)}, p...)}
}

func endFrame(s Stream, count uint64, content string) Frame {
	sum := newSum()
	io.WriteString(sum, content)
	return Frame{TypeEnd, streamEnd(s, count, sum.Sum(nil))}
}

func TestStream(t *testing.T) {
	one, two := dataFrame(StreamInputs, "one"), dataFrame(StreamInputs, "two")
	empty, other := dataFrame(StreamInputs, ""), dataFrame(StreamLog, "x")
	end := func(count uint64, content string) Frame { return endFrame(StreamInputs, count, content) }
	whole := end(6, "onetwo")
	tests := map[string]struct {
		frames       []Frame
		read, fed    error
		readWhatCame bool
	}{
		"whole":             {[]Frame{one, two, whole}, nil, nil, true},
		"with empty data":   {[]Frame{one, empty, two, whole}, nil, nil, true},
		"no end":            {[]Frame{one, two}, ErrLost, nil, true},
		"count too small":   {[]Frame{one, two, end(3, "onetwo")}, ErrProtocol, ErrProtocol, true},
		"count of 2^64-1":   {[]Frame{one, two, end(1<<64-1, "onetwo")}, ErrProtocol, ErrProtocol, true},
		"wrong checksum":    {[]Frame{one, two, end(6, "onetwO")}, ErrProtocol, ErrProtocol, true},
		"hole":              {[]Frame{one, whole}, ErrProtocol, ErrProtocol, false},
		"data after end":    {[]Frame{one, two, whole, one}, nil, ErrProtocol, true},
		"second end":        {[]Frame{one, two, whole, whole}, nil, ErrProtocol, true},
		"of another stream": {[]Frame{one, two, other, whole}, nil, nil, true},
	}
	for name, tt := range tests {
		got, read, fed := feed(t, NewStreamReader(StreamInputs), tt.frames...)
		if !errors.Is(read, tt.read) {
			t.Errorf("%s: reading ended with %v, want %v", name, read, tt.read)
		}
		if !errors.Is(fed, tt.fed) {
			t.Errorf("%s: feeding ended with %v, want %v", name, fed, tt.fed)
		}
		if tt.readWhatCame && string(got) != "onetwo" {
			t.Errorf("%s: read %q", name, got)
		}
	}
}

func TestFeedLeavesOtherFrames(t *testing.T) {
	sr := NewStreamReader(StreamLog)
	event := Frame{TypeEvent, []byte("{}")}
	for _, f := range []Frame{event, dataFrame(StreamInputs, "x"), endFrame(StreamInputs, 0, "")} {
		if taken, err := sr.Feed(f); taken || err != nil {
			t.Errorf("frame of type %d was taken, %v", f.Type, err)
		}
	}
}

// TestFeedAfterClose: a reader that gave up must not hold up the connection.
func TestFeedAfterClose(t *testing.T) {
	sr := NewStreamReader(StreamInputs)
	fed := make(chan error)
	go func() {
		for range 2 { // one that blocks when Close comes, or one after it: both must return
			_, err := sr.Feed(dataFrame(StreamInputs, "x"))
			fed <- err
		}
	}()
	sr.Close()
	for range 2 {
		if err := <-fed; err != nil {
			t.Error(err)
		}
	}
}

func TestFail(t *testing.T) {
	for _, err := range []error{nil, io.EOF} {
		sr := NewStreamReader(StreamInputs)
		sr.Fail(err)
		if _, got := io.ReadAll(sr); !errors.Is(got, ErrLost) {
			t.Errorf("Fail(%v): the reader saw %v, want ErrLost", err, got)
		}
	}
	sr := NewStreamReader(StreamInputs)
	sr.Fail(io.ErrNoProgress)
	if _, got := io.ReadAll(sr); !errors.Is(got, io.ErrNoProgress) {
		t.Errorf("the reader saw %v", got)
	}
}

// TestWriterCuts: large writes become frames that the other side accepts.
func TestWriterCuts(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789abcdef"), 3*MaxData/16+1)
	c, rec := sender()
	w := c.Writer(StreamResults)
	if n, err := w.Write(content); n != len(content) || err != nil {
		t.Fatal(n, err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	in, sr := reader(rec.Bytes()), NewStreamReader(StreamResults)
	done := make(chan []byte)
	go func() {
		got, err := io.ReadAll(sr)
		if err != nil {
			t.Error(err)
		}
		done <- got
	}()
	for {
		f, err := in.Read()
		if err != nil {
			break
		}
		if _, err := sr.Feed(f); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(<-done, content) {
		t.Error("the content changed on its way")
	}
}
