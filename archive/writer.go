package archive

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"

	"github.com/klauspost/pgzip"
)

// Level chooses the compression by what the archive mostly carries. BenchmarkLevel has the measurements.
type Level int

const (
	ForText    Level = iota // configuration, logs, ebuilds: compressed well
	ForBinpkgs              // what is compressed already: stored as it is
)

// Options shape a Writer. The zero value is good for text.
type Options struct {
	Level Level

	// Reproducible leaves out what differs between two machines that have the same files: owners, times, extended attributes,
	// and which files are hard links of one another. Equal trees make equal archives.
	Reproducible bool
}

// reproducibleTime is the time of all entries of a reproducible archive. It is after 1980: zip files know no time before that,
// and what an archive brings may end up in one.
var reproducibleTime = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// A block of blockBytes is compressed at a time, concurrentBlocks at once. With input, output and pgzip's
// copy of the block's tail, a Writer holds up to 3 × blockBytes × (concurrentBlocks + 2): 3 MiB, and for
// text a compressor of 1 MiB for each. Smaller blocks are slower, larger ones are not faster
// (BenchmarkLevel).
const (
	blockBytes       = 256 << 10
	concurrentBlocks = 2
	copyBytes        = 128 << 10
)

// Writer writes a tar.gz stream. Its methods may not be called at the same time. The first error stays:
// every later call returns it, and the stream is left without an end, so that the reader cannot take it for
// complete.
type Writer struct {
	gz   *pgzip.Writer
	tw   *tar.Writer
	opt  Options
	buf  []byte
	err  error
	done bool
}

// NewWriter returns a Writer that writes to w. Close must be called, also after an error: it ends the
// goroutines.
func NewWriter(w io.Writer, opt Options) *Writer {
	level := 3 // 6 makes text a tenth smaller for a quarter more processor time
	if opt.Level == ForBinpkgs {
		level = pgzip.NoCompression
	}
	gz, err := newGzip(w, level, blockBytes, concurrentBlocks)
	if err != nil {
		panic(err) // constants of this file, nobody's input
	}
	return &Writer{gz: gz, tw: tar.NewWriter(gz), opt: opt, buf: make([]byte, copyBytes)}
}

func newGzip(w io.Writer, level, block, blocks int) (*pgzip.Writer, error) {
	gz, err := pgzip.NewWriterLevel(w, level)
	if err != nil {
		return nil, err
	}
	return gz, gz.SetConcurrency(block, blocks)
}

// AddFile adds the regular file f under name, from its first byte on whatever f's offset is, with f's mode,
// owner numbers, modification time and extended attributes. A file that shrinks or grows meanwhile is an
// error.
func (w *Writer) AddFile(name string, f *os.File) error {
	if w.err != nil {
		return w.err
	}
	fi, err := f.Stat()
	if err != nil {
		return w.fail(name, err)
	}
	if !fi.Mode().IsRegular() {
		return w.fail(name, fmt.Errorf("%s is not a regular file", f.Name()))
	}
	hdr := headerOf(name, fi)
	if hdr.PAXRecords, err = xattrRecords(f); err != nil {
		return w.fail(name, err)
	}
	// One byte more than Stat said, so that body sees a file that has grown.
	return w.add(hdr, io.NewSectionReader(f, 0, fi.Size()+1))
}

// AddReader adds a regular file of size bytes under name. r must end after exactly size bytes.
func (w *Writer) AddReader(name string, size int64, mode fs.FileMode, mtime time.Time, r io.Reader) error {
	if w.err != nil {
		return w.err
	}
	return w.add(&tar.Header{
		Typeflag: tar.TypeReg, Name: name, Size: size, Mode: tarMode(mode), ModTime: mtime,
	}, r)
}

// AddBytes adds a regular file with the given content under name, dated 1970-01-01.
func (w *Writer) AddBytes(name string, data []byte, mode fs.FileMode) error {
	return w.AddReader(name, int64(len(data)), mode, time.Unix(0, 0), bytes.NewReader(data))
}

// Flush writes out everything added so far. When it returns, a reader at the other end can have the last
// entry to its end, though it gets no further byte.
func (w *Writer) Flush() error {
	if w.err != nil {
		return w.err
	}
	if err := w.tw.Flush(); err != nil {
		return w.fail("", err)
	}
	if err := w.gz.Flush(); err != nil {
		return w.fail("", err)
	}
	return nil
}

// Close ends the archive and waits for the Writer's goroutines; it does not close the underlying writer, and
// nothing is written to that afterwards. After an earlier error it returns that error and the archive stays
// cut. A write that blocks holds it up: a caller that gives up closes the connection first.
func (w *Writer) Close() error {
	if w.done {
		return w.err
	}
	w.done = true
	if w.err == nil {
		if err := w.tw.Close(); err != nil {
			_ = w.fail("", err)
		} else if err := w.gz.Close(); err != nil {
			_ = w.fail("", err)
		}
	}
	if w.err != nil {
		// After an error pgzip's Close leaves its goroutine waiting for ever; Reset ends it.
		w.gz.Reset(io.Discard)
		return w.err
	}
	w.err = errors.New("archive is closed")
	return nil
}

// add writes one entry. r is nil for entries without content.
func (w *Writer) add(hdr *tar.Header, r io.Reader) error {
	if err := ValidName(hdr.Name); err != nil {
		return w.fail(hdr.Name, err)
	}
	name := hdr.Name
	if hdr.Typeflag == tar.TypeDir {
		hdr.Name += "/"
	}
	if w.opt.Reproducible {
		hdr.Uid, hdr.Gid, hdr.ModTime, hdr.PAXRecords = 0, 0, reproducibleTime, nil
	}
	hdr.Format = tar.FormatPAX // for times with nanoseconds; a pax block is written only where one is needed
	if err := w.tw.WriteHeader(hdr); err != nil {
		return w.fail(name, err)
	}
	if r == nil {
		return nil
	}
	n, err := io.CopyBuffer(struct{ io.Writer }{w.tw}, struct{ io.Reader }{io.LimitReader(r, hdr.Size)}, w.buf)
	if err != nil {
		return w.fail(name, err)
	}
	if n < hdr.Size {
		return w.fail(name, fmt.Errorf("file shrank while it was read: %d bytes of %d", n, hdr.Size))
	}
	switch n, err := io.ReadFull(r, w.buf[:1]); {
	case n > 0:
		return w.fail(name, fmt.Errorf("file grew while it was read: more than %d bytes", hdr.Size))
	case err != io.EOF:
		return w.fail(name, err)
	}
	return nil
}

func (w *Writer) fail(name string, err error) error {
	if name == "" {
		w.err = fmt.Errorf("write archive: %w", err)
	} else {
		w.err = fmt.Errorf("archive %q: %w", name, err)
	}
	return w.err
}

func headerOf(name string, fi fs.FileInfo) *tar.Header {
	hdr := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: tarMode(fi.Mode()), ModTime: fi.ModTime()}
	if fi.Mode().IsRegular() {
		hdr.Size = fi.Size()
	}
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		hdr.Uid, hdr.Gid = int(st.Uid), int(st.Gid)
	}
	return hdr
}
