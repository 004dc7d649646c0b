// Package archive packs and unpacks what a job sends and gets back: a tar stream inside gzip.
//
// The format is POSIX pax (IEEE Std 1003.1, "pax Interchange Format") as archive/tar writes it, in one gzip
// member (RFC 1952), so that GNU tar and gzip read every archive without Lantage. Extended attributes are
// the SCHILY.xattr.NAME records that GNU tar and star use.
//
// A stream is live: after Writer.Flush the other end can read everything added so far, though the stream
// goes on. Compression is pgzip's, decompression is klauspost/compress/gzip's, because pgzip's reader fills
// a block of 1 MiB before it hands out the first byte of it.
//
// What a peer sends is judged while it is read: Reader refuses names that are absolute or lead upwards,
// types other than regular file, directory, symbolic link and hard link, and whatever exceeds its Limits.
// The end of the archive is reported only after the whole stream was read, checksum and all, so a stream
// that was cut or damaged never passes for a complete one. Extract writes below an os.Root, never over what
// is there, and never through a symbolic link.
package archive

import (
	"archive/tar"
	"errors"
	"fmt"
	"strings"
)

// Header describes one entry. Its Name is clean: what ValidName accepts, or "." for the top directory itself.
// Its Typeflag is tar.TypeReg, tar.TypeDir, tar.TypeSymlink or tar.TypeLink. The Linkname of a hard link is
// clean too, that of a symbolic link is as the sender wrote it.
type Header = tar.Header

// Limits bound what a Reader accepts. A zero field means the default given with it.
type Limits struct {
	Entries    int   // entries in the archive; 1,000,000
	Bytes      int64 // uncompressed bytes of the whole tar stream, headers included; 256 GiB
	EntryBytes int64 // content of one entry; 64 GiB
	NameBytes  int   // length of a name and of a link target; 4095 (PATH_MAX less its NUL)
	Depth      int   // elements of a name; 128
}

// maxHeaderBytes bounds all headers of one entry together: the tar block and the pax or GNU blocks before
// it. archive/tar alone would hold a MiB for each of them and spread it over maps.
const maxHeaderBytes = 256 << 10

func (l Limits) withDefaults() Limits {
	if l.Entries == 0 {
		l.Entries = 1_000_000
	}
	if l.Bytes == 0 {
		l.Bytes = 256 << 30
	}
	if l.EntryBytes == 0 {
		l.EntryBytes = 64 << 30
	}
	if l.NameBytes == 0 {
		l.NameBytes = 4095
	}
	if l.Depth == 0 {
		l.Depth = 128
	}
	return l
}

// LimitError reports an archive that is larger than the reader allows.
type LimitError struct {
	Limit string // which limit, in words: "entries", "bytes in all", …
	Max   int64  // its value
	Name  string // the entry at which it was exceeded, or ""
}

func (e *LimitError) Error() string {
	if e.Name == "" {
		return fmt.Sprintf("archive has more than the allowed %d %s", e.Max, e.Limit)
	}
	return fmt.Sprintf("archive entry %q has more than the allowed %d %s", e.Name, e.Max, e.Limit)
}

// ValidName reports why name cannot be the name of an entry, or nil. A valid name is relative and
// slash-separated; its elements are not empty, not "." or "..", and at most 255 bytes long (NAME_MAX); the
// whole is at most 4095 bytes long and free of NUL bytes. It need not be UTF-8: Linux file names are bytes.
func ValidName(name string) error {
	switch {
	case name == "":
		return errors.New("name is empty")
	case len(name) > 4095:
		return fmt.Errorf("name of %d bytes is too long (%.40q…)", len(name), name)
	case strings.HasPrefix(name, "/"):
		return fmt.Errorf("name %q is absolute", name)
	case strings.Contains(name, "\x00"):
		return fmt.Errorf("name %q contains a NUL byte", name)
	}
	for elem := range strings.SplitSeq(name, "/") {
		switch {
		case elem == "" || elem == ".":
			return fmt.Errorf("name %q has an empty element or a \".\"", name)
		case elem == "..":
			return fmt.Errorf("name %q leads upwards", name)
		case len(elem) > 255:
			return fmt.Errorf("name has an element of %d bytes, longer than 255 (%.40q…)", len(elem), elem)
		}
	}
	return nil
}
