package wire

import (
	"bytes"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
)

// Stream names one of the byte streams that share a connection.
type Stream byte

// Streams. The numbers are part of the protocol.
const (
	StreamInputs  Stream = 1 // client to builder: tar.gz of the client's configuration
	StreamResults Stream = 2 // builder to client: tar.gz of binpkgs and logs of failed packages
	StreamLog     Stream = 3 // builder to client: text of the build logs, each line prefixed with its package

	StreamList     Stream = 4 // client to builder: gzip of a list of the client's root, or of a change to one
	StreamWants    Stream = 5 // builder to client: which contents it wants, see WantsWriter
	StreamContents Stream = 6 // client to builder: gzip of those contents, see ContentsWriter

	StreamDistfiles Stream = 7 // client to builder: the distfiles that the builder wants, see ContentsWriter
)

// castagnoli has instructions of its own in today's processors.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// newSum is the check of a whole stream. It is for faults on the way, not for an attacker, who would change it as
// well: each result has its SHA-256 in an event, and a second SHA-256 of the same bytes took a quarter of the
// time of a transfer.
func newSum() hash.Hash { return crc32.New(castagnoli) }

// StreamWriter sends a stream. Close sends the end frame, with which alone the stream is whole; it does not
// after a Write that failed.
type StreamWriter struct {
	c     *Conn
	s     Stream
	count uint64
	sum   hash.Hash
	err   error
}

// Writer starts sending stream s.
func (c *Conn) Writer(s Stream) *StreamWriter {
	return &StreamWriter{c: c, s: s, sum: newSum()}
}

// Write sends p in data frames. It blocks while the peer does not read.
func (w *StreamWriter) Write(p []byte) (int, error) {
	written := 0
	for len(p) > 0 && w.err == nil {
		n := min(len(p), MaxData)
		if w.err = w.c.write(TypeData, []byte{byte(w.s)}, p[:n]); w.err != nil {
			return written, w.err
		}
		w.sum.Write(p[:n])
		w.count += uint64(n)
		written += n
		p = p[n:]
	}
	return written, w.err
}

// Close sends the end frame.
func (w *StreamWriter) Close() error {
	if w.err != nil {
		return w.err
	}
	return w.c.write(TypeEnd, streamEnd(w.s, w.count, w.sum.Sum(nil)))
}

// StreamReader is the receiving end of a stream: whoever reads the connection feeds it frames, another
// goroutine reads it. It ends with io.EOF only when the end frame came and its count and checksum agree.
type StreamReader struct {
	s     Stream
	r     *io.PipeReader
	w     *io.PipeWriter
	count uint64
	sum   hash.Hash
	ended bool
}

// NewStreamReader makes the receiving end of stream s.
func NewStreamReader(s Stream) *StreamReader {
	r, w := io.Pipe()
	return &StreamReader{s: s, r: r, w: w, sum: newSum()}
}

// Read reads what was fed.
func (sr *StreamReader) Read(p []byte) (int, error) { return sr.r.Read(p) }

// Feed takes a data or end frame and reports whether it was this stream's. It blocks until the bytes are
// read, which is how a slow reader slows the peer down. After Close it takes and drops what still comes. The
// error is one of the peer, ErrProtocol.
func (sr *StreamReader) Feed(f Frame) (bool, error) {
	if (f.Type != TypeData && f.Type != TypeEnd) || len(f.Body) == 0 || Stream(f.Body[0]) != sr.s {
		return false, nil
	}
	body := f.Body[1:]
	if sr.ended {
		return true, fmt.Errorf("%w: stream %d goes on after its end", ErrProtocol, sr.s)
	}
	if f.Type == TypeData {
		sr.sum.Write(body)
		sr.count += uint64(len(body))
		if len(body) > 0 { // an empty Write would block too, and wake the reader for nothing
			_, _ = sr.w.Write(body) // fails only when the reader has gone
		}
		return true, nil
	}
	sr.ended = true
	if !bytes.Equal(f.Body, streamEnd(sr.s, sr.count, sr.sum.Sum(nil))) {
		err := fmt.Errorf("%w: stream %d is not what was sent: %d bytes came, and their number or checksum differs",
			ErrProtocol, sr.s, sr.count)
		sr.w.CloseWithError(err)
		return true, err
	}
	sr.w.Close()
	return true, nil
}

// Fail ends the stream for its reader with err, ErrLost if that is nil or io.EOF: the connection is gone. A
// Feed that blocks meanwhile returns.
func (sr *StreamReader) Fail(err error) {
	if err == nil || err == io.EOF {
		err = ErrLost
	}
	sr.w.CloseWithError(err)
}

// Close lets go of the stream from the reading side: Feed does not block any more.
func (sr *StreamReader) Close() error { return sr.r.Close() }
