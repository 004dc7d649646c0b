package archive

import (
	"bufio"
	"io"

	"github.com/klauspost/compress/gzip"
)

// Gunzip reads what an Adaptive has written.
type Gunzip struct {
	src *bufio.Reader
	gz  *gzip.Reader
	n   int64 // bytes of the member
	err error
}

// NewGunzip returns a reader of the stream in r, which must end where that ends. Nothing is read before the
// first Read. It holds gzip's window and a read buffer, whatever the stream says, and there is nothing to
// close; how much comes out of it is for the caller to limit.
func NewGunzip(r io.Reader) *Gunzip { return &Gunzip{src: bufio.NewReaderSize(r, 64<<10)} }

// Read returns io.EOF only when the stream was complete: every member with its checksum, the empty one at the
// end, and r at its end. The first error stays: io.ErrUnexpectedEOF for a stream that was cut, be it between
// two members, gzip.ErrHeader or gzip.ErrChecksum for a damaged one, or those of r.
func (g *Gunzip) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for g.err == nil {
		if g.gz == nil {
			g.err = g.open()
			continue
		}
		n, err := g.gz.Read(p)
		g.n += int64(n)
		if err == io.EOF {
			err = g.next()
		}
		g.err = err
		if n > 0 {
			return n, nil
		}
	}
	return 0, g.err
}

func (g *Gunzip) open() error {
	gz, err := gzip.NewReader(g.src)
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	if err != nil {
		return err
	}
	gz.Multistream(false)
	g.gz = gz
	return nil
}

// next goes on with the next member.
func (g *Gunzip) next() error {
	err := g.gz.Reset(g.src)
	if err == io.EOF && g.n > 0 {
		return io.ErrUnexpectedEOF // there is no empty member at the end
	}
	g.gz.Multistream(false)
	g.n = 0
	return err
}
