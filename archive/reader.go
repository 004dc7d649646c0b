package archive

import (
	"archive/tar"
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/klauspost/compress/gzip"
)

// errNoEnd is a stream whose gzip is whole but whose tar stops without its end marker.
var errNoEnd = errors.New("archive stops without its end marker")

// Reader reads a tar.gz stream from a peer. The first error stays.
//
// It holds a few hundred kilobytes, whatever the archive says: gzip's window, a read buffer, and the headers
// of one entry. There is nothing to close; a caller that gives up drops it.
type Reader struct {
	in      *meter
	tr      *tar.Reader
	lim     Limits
	entries int
	dataEnd int64 // where the content of the current entry ends in the tar stream, padding included
	err     error
}

// NewReader returns a Reader of the archive in r, which must end where the archive ends: bytes after it are
// an error. Nothing is read before the first call of Next.
func NewReader(r io.Reader, lim Limits) *Reader {
	lim = lim.withDefaults()
	in := &meter{src: bufio.NewReaderSize(r, 64<<10), max: lim.Bytes, headerEnd: math.MaxInt64}
	return &Reader{in: in, tr: tar.NewReader(in), lim: lim}
}

// Next skips what is left of the current entry and returns the next one. It returns io.EOF only when the
// archive was complete: end marker, nothing but zero bytes behind it, gzip's checksum and length right, and
// r at its end. An entry is delivered as soon as its bytes are here. Errors: *LimitError, an entry that is
// refused, damage (gzip.ErrChecksum, gzip.ErrHeader, tar.ErrHeader), io.ErrUnexpectedEOF for a stream that
// was cut, or those of r.
func (r *Reader) Next() (*Header, error) {
	if r.err != nil {
		return nil, r.err
	}
	hdr, err := r.next()
	if err != nil && err != io.EOF {
		err = fmt.Errorf("read archive: %w", err)
	}
	r.err = err
	return hdr, err
}

func (r *Reader) next() (*Header, error) {
	if _, err := io.Copy(io.Discard, r.tr); err != nil {
		return nil, err
	}
	r.in.headerEnd = r.in.n + maxHeaderBytes
	hdr, err := r.tr.Next()
	r.in.headerEnd = math.MaxInt64
	if err == io.EOF {
		return nil, r.finish()
	}
	if err != nil {
		return nil, err
	}
	if r.entries++; r.entries > r.lim.Entries {
		return nil, &LimitError{Limit: "entries", Max: int64(r.lim.Entries)}
	}
	if err := r.check(hdr); err != nil {
		return nil, err
	}
	r.dataEnd = r.in.n
	if hdr.Typeflag == tar.TypeReg {
		r.dataEnd += (hdr.Size + 511) &^ 511
	}
	return hdr, nil
}

// check judges one header and cleans its name.
func (r *Reader) check(hdr *Header) error {
	shown := hdr.Name
	if len(shown) > 100 {
		shown = shown[:100] + "…"
	}
	if len(hdr.Name) > r.lim.NameBytes || len(hdr.Linkname) > r.lim.NameBytes {
		return &LimitError{Limit: "bytes in a name", Max: int64(r.lim.NameBytes), Name: shown}
	}
	if hdr.Size > r.lim.EntryBytes {
		return &LimitError{Limit: "bytes of content", Max: r.lim.EntryBytes, Name: shown}
	}
	for key := range hdr.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return fmt.Errorf("entry %q is a sparse file, which is not accepted", shown)
		}
	}
	switch hdr.Typeflag {
	case tar.TypeReg, tar.TypeDir, tar.TypeSymlink, tar.TypeLink:
	case tar.TypeChar, tar.TypeBlock:
		return fmt.Errorf("entry %q is a device, which is not accepted", shown)
	case tar.TypeFifo:
		return fmt.Errorf("entry %q is a fifo, which is not accepted", shown)
	case tar.TypeGNUSparse:
		return fmt.Errorf("entry %q is a sparse file, which is not accepted", shown)
	case tar.TypeXGlobalHeader:
		return errors.New("archive has a global pax header, which is not accepted")
	default:
		return fmt.Errorf("entry %q has the unknown type %q", shown, hdr.Typeflag)
	}
	if t := hdr.ModTime.Unix(); t < -maxTime || t > maxTime {
		return fmt.Errorf("entry %q has an impossible modification time", shown)
	}
	return r.cleanNames(hdr, shown)
}

// maxTime is the largest time that the tar header itself can hold, in the year 2242. pax records could hold
// times that overflow in the system calls that set them.
const maxTime = 1 << 33

// cleanNames takes away what GNU tar puts around names, for `tar c .` and for directories, and checks the
// rest.
func (r *Reader) cleanNames(hdr *Header, shown string) error {
	name := trimDot(hdr.Name)
	if hdr.Typeflag == tar.TypeDir {
		name = strings.TrimSuffix(name, "/")
		if name == "." || name == "" && hdr.Name != "" && hdr.Name[0] == '.' {
			hdr.Name = "."
			return nil
		}
	}
	if err := ValidName(name); err != nil {
		return err
	}
	if d := strings.Count(name, "/") + 1; d > r.lim.Depth {
		return &LimitError{Limit: "elements in a name", Max: int64(r.lim.Depth), Name: shown}
	}
	hdr.Name = name
	switch hdr.Typeflag {
	case tar.TypeLink:
		hdr.Linkname = trimDot(hdr.Linkname)
		if err := ValidName(hdr.Linkname); err != nil {
			return fmt.Errorf("hard link %q: target: %w", shown, err)
		}
	case tar.TypeSymlink:
		if hdr.Linkname == "" || strings.Contains(hdr.Linkname, "\x00") {
			return fmt.Errorf("symbolic link %q: target is empty or contains a NUL byte", shown)
		}
	}
	return nil
}

func trimDot(name string) string {
	for strings.HasPrefix(name, "./") {
		name = name[2:]
	}
	return name
}

// Read reads the content of the current entry and returns io.EOF at its end.
func (r *Reader) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	n, err := r.tr.Read(p)
	if err != nil && err != io.EOF {
		r.err = fmt.Errorf("read archive: %w", err)
		return n, r.err
	}
	return n, err
}

// Finish skips everything that was not read yet and reports whether the archive was complete, as Next's
// io.EOF does. A caller that called Next until io.EOF need not call it.
func (r *Reader) Finish() error {
	for {
		if _, err := r.Next(); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// finish is called at tar's end. archive/tar is content with any end on a block boundary, and what is behind
// its end marker, with gzip's checksum at the very end, it never reads.
func (r *Reader) finish() error {
	if r.in.n-r.dataEnd < 2*512 {
		return errNoEnd
	}
	buf := make([]byte, 4096)
	for {
		n, err := r.in.Read(buf)
		if strings.Trim(string(buf[:n]), "\x00") != "" {
			return errors.New("archive has data after its end marker")
		}
		if err != nil {
			return err
		}
	}
}

// meter is the decompressed stream. It counts and stops at the limits, and opens gzip at the first read, so
// that creating a Reader waits for nobody.
type meter struct {
	src       *bufio.Reader
	gz        *gzip.Reader
	n         int64 // bytes delivered
	max       int64 // limit of n
	headerEnd int64 // limit of n while headers are read
}

func (m *meter) Read(p []byte) (int, error) {
	if m.gz == nil {
		gz, err := gzip.NewReader(m.src)
		if err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return 0, err
		}
		m.gz = gz
	}
	// One byte more than allowed tells an archive that ends at its limit from one that goes on.
	limit := min(m.max, m.headerEnd)
	if int64(len(p)) > limit-m.n {
		p = p[:limit-m.n+1]
	}
	n, err := m.gz.Read(p)
	m.n += int64(n)
	switch {
	case m.n > m.max:
		return 0, &LimitError{Limit: "bytes in all", Max: m.max}
	case m.n > m.headerEnd:
		return 0, &LimitError{Limit: "bytes in the headers of an entry", Max: maxHeaderBytes}
	}
	return n, err
}
