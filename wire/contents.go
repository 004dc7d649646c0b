package wire

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
)

// WantsWriter writes the content of StreamWants: the positions in a list, ascending, each as the difference to the one
// before it less one (uvarint).
type WantsWriter struct {
	w    *bufio.Writer
	next int
}

// NewWantsWriter writes to w.
func NewWantsWriter(w io.Writer) *WantsWriter { return &WantsWriter{w: bufio.NewWriter(w)} }

// Add writes a position.
func (w *WantsWriter) Add(position int) error {
	if position < w.next {
		return fmt.Errorf("position %d after %d", position, w.next-1)
	}
	_, err := w.w.Write(binary.AppendUvarint(nil, uint64(position-w.next)))
	w.next = position + 1
	return err
}

// Close writes what is left. It does not close the stream.
func (w *WantsWriter) Close() error { return w.w.Flush() }

// WantsReader reads what a WantsWriter wrote.
type WantsReader struct {
	r    *bufio.Reader
	next uint64
}

// NewWantsReader reads from r.
func NewWantsReader(r io.Reader) *WantsReader { return &WantsReader{r: bufio.NewReader(r)} }

// Next returns the next position, or io.EOF.
func (w *WantsReader) Next() (int, error) {
	skip, err := binary.ReadUvarint(w.r)
	if err != nil {
		return 0, err
	}
	if skip > math.MaxInt32 || w.next+skip > math.MaxInt32 {
		return 0, fmt.Errorf("%w: a position of %d and %d", ErrProtocol, w.next, skip)
	}
	w.next += skip + 1
	return int(w.next - 1), nil
}

// ContentsWriter writes the content of StreamContents before its compression. Each file is a number of pieces, each
// preceded by its length (uvarint, not 0, at most MaxData), a 0, and a byte: 1, or 0 for a file that was not any more what the
// list said while it was read, and whose pieces are of no use.
type ContentsWriter struct {
	w   io.Writer
	buf []byte
}

// NewContentsWriter writes to w.
func NewContentsWriter(w io.Writer) *ContentsWriter {
	return &ContentsWriter{w: w, buf: make([]byte, binary.MaxVarintLen32+MaxData)}
}

// Add writes one file. An error of content ends the file as one that changed; it is returned as changed, errors of the
// stream as err. A nil content is a file that could not be opened.
func (c *ContentsWriter) Add(content io.Reader) (changed, err error) {
	for content != nil {
		n, readErr := io.ReadFull(content, c.buf[binary.MaxVarintLen32:])
		if n > 0 {
			// The length goes right before the piece, so that one write has both.
			head := binary.AppendUvarint(nil, uint64(n))
			at := binary.MaxVarintLen32 - len(head)
			copy(c.buf[at:], head)
			if _, err := c.w.Write(c.buf[at : binary.MaxVarintLen32+n]); err != nil {
				return nil, err
			}
		}
		if readErr == io.EOF || readErr == io.ErrUnexpectedEOF {
			break
		}
		if readErr != nil {
			changed = readErr
			break
		}
	}
	end := []byte{0, 1}
	if changed != nil || content == nil {
		end[1] = 0
	}
	_, err = c.w.Write(end)
	return changed, err
}

// ContentsReader reads what a ContentsWriter wrote.
type ContentsReader struct {
	r    *bufio.Reader
	left int
	in   bool // a file
}

// NewContentsReader reads from r.
func NewContentsReader(r io.Reader) *ContentsReader {
	return &ContentsReader{r: bufio.NewReaderSize(r, MaxData+binary.MaxVarintLen32)}
}

// ErrChanged is the end of a file that changed while the client read it.
var ErrChanged = errors.New("the file changed while it was read")

// Next begins the next file, which Read then reads to its io.EOF, or ErrChanged. What is left of the one before is passed
// over. At the end of all it returns io.EOF.
func (c *ContentsReader) Next() error {
	for c.in {
		if _, err := c.piece(); err == nil {
			_, err = c.r.Discard(c.left)
			c.left = 0
			if err != nil {
				return noEOF(err)
			}
		} else if err != io.EOF && !errors.Is(err, ErrChanged) {
			return err
		}
	}
	if _, err := c.r.Peek(1); err != nil {
		return err
	}
	c.in = true
	return nil
}

// piece makes sure that there is something left of a piece.
func (c *ContentsReader) piece() (int, error) {
	if c.left > 0 {
		return c.left, nil
	}
	n, err := binary.ReadUvarint(c.r)
	if err != nil {
		return 0, noEOF(err)
	}
	if n > MaxData {
		return 0, fmt.Errorf("%w: a piece of %d bytes", ErrProtocol, n)
	}
	if n > 0 {
		c.left = int(n)
		return c.left, nil
	}
	status, err := c.r.ReadByte()
	if err != nil {
		return 0, noEOF(err)
	}
	c.in = false
	switch status {
	case 0:
		return 0, ErrChanged
	case 1:
		return 0, io.EOF
	}
	return 0, fmt.Errorf("%w: a file ends with %d", ErrProtocol, status)
}

// Read reads the file.
func (c *ContentsReader) Read(p []byte) (int, error) {
	if !c.in {
		return 0, io.EOF
	}
	if _, err := c.piece(); err != nil {
		return 0, err
	}
	n, err := c.r.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, noEOF(err)
}
