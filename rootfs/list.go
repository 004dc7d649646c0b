package rootfs

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
)

const listMagic = "LTLIST1\n"

// Flags of a record, beside its type.
const (
	typeMask  = 0x0f
	flagSum   = 0x10
	flagStamp = 0x20
	flagHoles = 0x40
)

// maxEntries bounds a list: some ten times what a large desktop has.
const maxEntries = 10_000_000

// ErrList is wrapped by all errors about what a list says.
var ErrList = errors.New("not a valid list of a root")

// ListWriter writes a list. Entries must come in tree order.
type ListWriter struct {
	w      *bufio.Writer
	stamps bool
	buf    []byte
	last   string
	plain  []byte // the record without its stamp
	count  uint64
	digest hash.Hash
}

// NewListWriter starts a list. With stamps the entries' Stamps are written, for the client's own use.
func NewListWriter(w io.Writer, stamps bool) *ListWriter {
	l := &ListWriter{w: bufio.NewWriterSize(w, 64<<10), stamps: stamps, digest: sha256.New()}
	_, _ = l.w.WriteString(listMagic) // bufio keeps its first error
	return l
}

// Add writes an entry.
func (l *ListWriter) Add(e *Entry) error {
	if l.count > 0 && Compare(l.last, e.Path) >= 0 {
		return fmt.Errorf("%w: %q comes after %q", ErrList, e.Path, l.last)
	}
	if err := e.check(); err != nil {
		return fmt.Errorf("%w: %w", ErrList, err)
	}
	shared := sharedPrefix(l.last, e.Path)
	l.plain = appendEntry(l.plain[:0], e, shared, false)
	l.digest.Write(l.plain)
	record := l.plain
	if l.stamps && e.Type == TypeFile {
		l.buf = appendEntry(l.buf[:0], e, shared, true)
		record = l.buf
	}
	l.last = e.Path
	l.count++
	_, err := l.w.Write(record)
	return err
}

// Close ends the list, without closing what it was written to, and returns its digest.
func (l *ListWriter) Close() (string, error) {
	_ = l.w.WriteByte(0)
	_, _ = l.w.Write(binary.AppendUvarint(nil, l.count))
	return hex.EncodeToString(l.digest.Sum(nil)), l.w.Flush()
}

// Count is the number of entries so far.
func (l *ListWriter) Count() int { return int(l.count) }

func sharedPrefix(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendEntry(b []byte, e *Entry, shared int, stamp bool) []byte {
	head := byte(e.Type)
	known := e.Type == TypeFile && e.Sum != Sum{}
	if known {
		head |= flagSum
	}
	if stamp {
		head |= flagStamp
	}
	if e.Sparse {
		head |= flagHoles
	}
	b = append(b, head)
	b = binary.AppendUvarint(b, uint64(shared))
	b = appendString(b, e.Path[shared:])
	if e.Type == TypeGone {
		return b
	}
	b = binary.AppendUvarint(b, uint64(e.Mode))
	b = binary.AppendUvarint(b, uint64(e.UID))
	b = binary.AppendUvarint(b, uint64(e.GID))
	b = binary.AppendVarint(b, e.Sec)
	b = binary.AppendUvarint(b, uint64(e.Nsec))
	switch e.Type {
	case TypeFile:
		b = binary.AppendUvarint(b, uint64(e.Size))
	case TypeSymlink:
		b = appendString(b, e.Target)
	}
	if known {
		b = append(b, e.Sum[:]...)
	}
	if stamp {
		b = binary.AppendUvarint(b, e.Stamp.Inode)
		b = binary.AppendVarint(b, e.Stamp.CTime)
	}
	b = binary.AppendUvarint(b, uint64(len(e.Xattrs)))
	for _, x := range e.Xattrs {
		b = appendString(appendString(b, x.Name), x.Value)
	}
	return b
}

// ListReader reads a list. It checks each entry, and the order.
type ListReader struct {
	r      *bufio.Reader
	e      Entry
	begun  bool
	ended  bool
	count  uint64
	digest hash.Hash
	plain  []byte
	whole  bool
	dirs   []string // of a whole list: the directories from the root to the last entry
}

// NewListReader reads a list from r; reading ahead, it may take more of r than the list. A whole list has each
// entry's directory before it; a change need not.
func NewListReader(r io.Reader, whole bool) *ListReader {
	return &ListReader{r: bufio.NewReaderSize(r, 64<<10), digest: sha256.New(), whole: whole}
}

// Next returns the next entry, which is valid until the call after. It returns io.EOF only where the list
// itself says that it is at its end.
func (l *ListReader) Next() (*Entry, error) {
	if l.ended {
		return nil, io.EOF
	}
	err := l.next()
	if err == nil && l.ended {
		return nil, io.EOF
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, fmt.Errorf("%w: after %d entries: %w", ErrList, l.count, err)
	}
	return &l.e, nil
}

// Digest is that of the whole list, once Next has returned io.EOF.
func (l *ListReader) Digest() string { return hex.EncodeToString(l.digest.Sum(nil)) }

func (l *ListReader) next() error {
	if !l.begun {
		var magic [len(listMagic)]byte
		if _, err := io.ReadFull(l.r, magic[:]); err != nil {
			return err
		}
		if string(magic[:]) != listMagic {
			return errors.New("it does not begin as one")
		}
		l.begun = true
	}
	head, err := l.r.ReadByte()
	if err != nil {
		return err
	}
	if head == 0 {
		n, err := binary.ReadUvarint(l.r)
		if err == nil && n != l.count {
			err = fmt.Errorf("its end speaks of %d", n)
		}
		l.ended = err == nil
		return err
	}
	if l.count++; l.count > maxEntries {
		return fmt.Errorf("more than %d entries", maxEntries)
	}
	last := l.e.Path
	shared, err := l.read(head)
	if err != nil {
		return err
	}
	if err := l.e.check(); err != nil {
		return err
	}
	if l.count > 1 && Compare(last, l.e.Path) >= 0 {
		return fmt.Errorf("%q comes after %q", l.e.Path, last)
	}
	l.plain = appendEntry(l.plain[:0], &l.e, shared, false)
	l.digest.Write(l.plain)
	return l.inDir()
}

// inDir checks that the directory of an entry of a whole list is in the list.
func (l *ListReader) inDir() error {
	if !l.whole {
		return nil
	}
	if l.e.Type == TypeGone {
		return fmt.Errorf("%q is gone, in a whole list", l.e.Path)
	}
	if l.e.Path != "." {
		up := parent(l.e.Path)
		for len(l.dirs) > 0 && l.dirs[len(l.dirs)-1] != up {
			l.dirs = l.dirs[:len(l.dirs)-1]
		}
		if len(l.dirs) == 0 {
			return fmt.Errorf("%q is in no directory of the list", l.e.Path)
		}
	}
	if l.e.Type == TypeDir {
		l.dirs = append(l.dirs, l.e.Path)
	}
	return nil
}

// read reads one record after its first byte into l.e, and returns the length of the prefix that was shared.
func (l *ListReader) read(head byte) (int, error) {
	last := l.e.Path
	l.e = Entry{Type: Type(head & typeMask), Sparse: head&flagHoles != 0}
	shared, err := l.number(uint64(len(last)))
	if err != nil {
		return 0, err
	}
	rest, err := l.text(maxPath)
	if err != nil {
		return 0, err
	}
	l.e.Path = last[:shared] + rest
	if n := sharedPrefix(last, l.e.Path); n != int(shared) {
		return 0, fmt.Errorf("%q shares %d bytes with the path before it, not %d", l.e.Path, n, shared)
	}
	if l.e.Type == TypeGone {
		if head != byte(TypeGone) {
			return 0, fmt.Errorf("flags %#x", head)
		}
		return int(shared), nil
	}
	var bad error
	number := func(most uint64) uint64 {
		if bad != nil {
			return 0
		}
		var n uint64
		n, bad = l.number(most)
		return n
	}
	signed := func() int64 {
		if bad != nil {
			return 0
		}
		var n int64
		n, bad = binary.ReadVarint(l.r)
		return n
	}
	text := func(most int) string {
		if bad != nil {
			return ""
		}
		var s string
		s, bad = l.text(most)
		return s
	}
	l.e.Mode = uint32(number(0o7777))
	l.e.UID, l.e.GID = uint32(number(1<<32-1)), uint32(number(1<<32-1))
	l.e.Sec, l.e.Nsec = signed(), uint32(number(1e9))
	switch l.e.Type {
	case TypeFile:
		l.e.Size = int64(number(maxSize))
	case TypeSymlink:
		l.e.Target = text(maxPath)
	}
	if head&flagSum != 0 && bad == nil {
		_, bad = io.ReadFull(l.r, l.e.Sum[:])
	}
	if head&flagStamp != 0 {
		l.e.Stamp = Stamp{number(1<<64 - 1), signed()}
	}
	for range number(maxXattrs) {
		l.e.Xattrs = append(l.e.Xattrs, Xattr{text(maxName), text(maxXattr)})
	}
	if bad == nil && l.e.Type != TypeFile && head&(flagSum|flagStamp|flagHoles) != 0 || head&0x80 != 0 {
		bad = fmt.Errorf("flags %#x of %q", head, l.e.Path)
	}
	return int(shared), bad
}

func (l *ListReader) number(most uint64) (uint64, error) {
	n, err := binary.ReadUvarint(l.r)
	if err == nil && n > most {
		err = fmt.Errorf("the number %d where at most %d can be", n, most)
	}
	if err != nil {
		return 0, err // n may be anything
	}
	return n, nil
}

func (l *ListReader) text(most int) (string, error) {
	n, err := l.number(uint64(most))
	if err != nil || n == 0 {
		return "", err
	}
	b := make([]byte, n)
	_, err = io.ReadFull(l.r, b)
	return string(b), err
}
