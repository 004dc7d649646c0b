package rootfs

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Type is what an Entry is.
type Type byte

// Types of entries. The numbers are part of the list's format.
const (
	TypeDir     Type = 1
	TypeFile    Type = 2
	TypeSymlink Type = 3
	TypeGone    Type = 4 // in a change only: what had this path is not there any more
)

// Sum is the SHA-256 of a file's content; zero: not known (yet).
type Sum = [sha256.Size]byte

// Entry is one file, directory or symbolic link of a root.
type Entry struct {
	Path   string // below the root: clean, relative, slash-separated; "." is the root itself
	Type   Type
	Mode   uint32 // the 12 bits of chmod(2)
	UID    uint32 // below MaxID, as GID
	GID    uint32
	Sec    int64 // modification time
	Nsec   uint32
	Size   int64   // of a file, in bytes
	Sum    Sum     // of a file
	Target string  // of a symbolic link
	Xattrs []Xattr // sorted by name
	Sparse bool    // the file has holes

	// Stamp tells the client whether a file is still the one that it has hashed. Builders never see it.
	Stamp Stamp
}

// Stamp changes with every change of a file: nobody can set a file's time of status change.
type Stamp struct {
	Inode uint64
	CTime int64 // nanoseconds; 0: nothing is to be trusted, such as of a file that changed while it was read
}

// Xattr is one extended attribute.
type Xattr struct{ Name, Value string }

// Bounds of an entry.
const (
	MaxID      = 65536 // owners and groups that a build root can have
	maxPath    = 4095  // PATH_MAX less its NUL
	maxName    = 255   // NAME_MAX
	maxXattrs  = 64
	maxXattr   = 64 << 10 // bytes of one value (XATTR_SIZE_MAX)
	maxSize    = 1 << 50
	maxSeconds = 1 << 40 // some 35,000 years
)

// same reports whether two entries are the same in all but their Stamp. An unknown Sum equals none.
func (e *Entry) same(o *Entry) bool {
	return e.Path == o.Path && e.Type == o.Type && e.Mode == o.Mode && e.UID == o.UID && e.GID == o.GID &&
		e.Sec == o.Sec && e.Nsec == o.Nsec && e.Size == o.Size && e.Target == o.Target && e.Sparse == o.Sparse &&
		slices.Equal(e.Xattrs, o.Xattrs) && e.Sum == o.Sum && (e.Type != TypeFile || e.Sum != Sum{})
}

// private reports whether not everybody on the client may read the file: its content is never taken from, or
// shared with, another client's copy.
func (e *Entry) private() bool { return e.Mode&0o004 == 0 }

// check reports what is wrong with an entry that a peer or a file says.
func (e *Entry) check() error {
	if err := checkPath(e.Path); err != nil {
		return err
	}
	if e.Type == TypeGone {
		return nil
	}
	switch {
	case e.Type < TypeDir || e.Type > TypeGone:
		return fmt.Errorf("%q has the unknown type %d", e.Path, e.Type)
	case e.Path == "." && e.Type != TypeDir:
		return errors.New("the root is not a directory")
	case e.Mode > 0o7777:
		return fmt.Errorf("%q has the mode %#o", e.Path, e.Mode)
	case e.UID >= MaxID || e.GID >= MaxID:
		return fmt.Errorf("%q belongs to %d:%d; numbers below %d can be kept", e.Path, e.UID, e.GID, MaxID)
	case e.Nsec >= 1e9 || e.Sec < -maxSeconds || e.Sec > maxSeconds:
		return fmt.Errorf("%q has a time out of range", e.Path)
	case e.Size < 0 || e.Size > maxSize || e.Type != TypeFile && e.Size != 0:
		return fmt.Errorf("%q has a size out of range", e.Path)
	case e.Type == TypeSymlink && (e.Target == "" || len(e.Target) > maxPath || strings.Contains(e.Target, "\x00")):
		return fmt.Errorf("%q has a target that no link can have", e.Path)
	case len(e.Xattrs) > maxXattrs:
		return fmt.Errorf("%q has more than %d extended attributes", e.Path, maxXattrs)
	}
	for i, x := range e.Xattrs {
		switch {
		case KeptXattr(x.Name) != nil:
			return fmt.Errorf("%q: %w", e.Path, KeptXattr(x.Name))
		case len(x.Value) > maxXattr:
			return fmt.Errorf("%q: the extended attribute %s is too long", e.Path, x.Name)
		case i > 0 && e.Xattrs[i-1].Name >= x.Name:
			return fmt.Errorf("%q: its extended attributes are not sorted", e.Path)
		}
	}
	return nil
}

// KeptXattr is nil for an extended attribute that copies keep: those of users, file capabilities and ACLs.
// Others would act on the builder itself (trusted.overlay.*, labels of a security module), which is why no
// copy can have them.
func KeptXattr(name string) error {
	switch {
	case len(name) > maxName || strings.Contains(name, "\x00"):
	case strings.HasPrefix(name, "user.") && len(name) > len("user."), name == "security.capability",
		name == "system.posix_acl_access", name == "system.posix_acl_default":
		return nil
	}
	return fmt.Errorf("the extended attribute %.60q cannot be kept", name)
}

func checkPath(p string) error {
	switch {
	case p == ".":
		return nil
	case p == "" || len(p) > maxPath:
		return fmt.Errorf("a path of %d bytes", len(p))
	case strings.Contains(p, "\x00"):
		return fmt.Errorf("the path %.80q contains a NUL byte", p)
	}
	for elem := range strings.SplitSeq(p, "/") {
		if elem == "" || elem == "." || elem == ".." || len(elem) > maxName {
			return fmt.Errorf("the path %.80q is not clean and relative", p)
		}
	}
	return nil
}

// Compare orders paths as lists have them: the root first, a directory before what is in it and that before
// its next sibling.
func Compare(a, b string) int {
	if a == "." || b == "." {
		return cmp.Compare(btoi(a != "."), btoi(b != "."))
	}
	n := min(len(a), len(b))
	for i := range n {
		if a[i] == b[i] {
			continue
		}
		switch {
		case a[i] == '/':
			return -1
		case b[i] == '/':
			return 1
		}
		return cmp.Compare(a[i], b[i])
	}
	return cmp.Compare(len(a), len(b))
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// parent is the directory that a path is in.
func parent(p string) string {
	if i := strings.LastIndexByte(p, '/'); i >= 0 {
		return p[:i]
	}
	return "."
}
