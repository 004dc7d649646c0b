package rootfs

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// readlinkat reads a symbolic link.
func readlinkat(dirfd int, name string) (string, error) {
	var buf [maxPath + 1]byte
	n, err := unix.Readlinkat(dirfd, name, buf[:])
	return string(buf[:max(n, 0)]), err
}

// xattrs reads the extended attributes of a name in a directory, or if it is open by its descriptor.
//
// There is no call for a name relative to a descriptor (listxattrat(2) is newer than many kernels), so the
// name is looked up through /proc, which is one more step for the kernel and not the whole path.
func (w *walker) xattrs(d *dir, fd int, name, p string) ([]Xattr, error) {
	list := func(buf []byte) (int, error) { return unix.Flistxattr(fd, buf) }
	get := func(name string, buf []byte) (int, error) { return unix.Fgetxattr(fd, name, buf) }
	if fd < 0 {
		at := "/proc/self/fd/" + strconv.Itoa(d.fd) + "/" + name
		list = func(buf []byte) (int, error) { return unix.Llistxattr(at, buf) }
		get = func(name string, buf []byte) (int, error) { return unix.Lgetxattr(at, name, buf) }
	}
	x, err := readXattrs(list, get, w.names, w.value)
	if bad, ok := err.(unknownXattr); ok {
		return nil, fmt.Errorf("%s: %w: %s", filepath.Join(w.root, p), bad, noCopy("/"+p))
	}
	return x, err
}

// unknownXattr is an extended attribute that cannot be kept and must not be lost.
type unknownXattr struct{ error }

func readXattrs(
	list func([]byte) (int, error), get func(string, []byte) (int, error), names, value []byte,
) ([]Xattr, error) {
	n, err := list(names)
	if err == unix.ENOTSUP || n == 0 && err == nil {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var xattrs []Xattr
	for name := range strings.SplitSeq(strings.TrimSuffix(string(names[:n]), "\x00"), "\x00") {
		if ignoredXattr(name) {
			continue
		}
		if err := KeptXattr(name); err != nil {
			return nil, unknownXattr{err}
		}
		n, err := get(name, value)
		if err == unix.ENODATA { // gone since it was listed
			continue
		}
		if err != nil {
			return nil, err
		}
		xattrs = append(xattrs, Xattr{name, string(value[:n])})
	}
	slices.SortFunc(xattrs, func(a, b Xattr) int { return cmp.Compare(a.Name, b.Name) })
	return xattrs, nil
}

// maxKeyFile is how far into a file a private key is looked for.
const maxKeyFile = 256 << 10

// hasKey reports whether a file has a private key in it, or cannot be read.
func hasKey(dirfd int, name string) bool {
	fd, err := openat(dirfd, name, unix.O_NONBLOCK)
	if err != nil {
		return true
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	head := make([]byte, maxKeyFile)
	n, err := io.ReadFull(f, head)
	return err != nil && err != io.EOF && err != io.ErrUnexpectedEOF ||
		bytes.Contains(head[:n], []byte("PRIVATE KEY-----"))
}

// pseudo are the types of file systems that hold no files of a system.
var pseudo = []int64{
	unix.PROC_SUPER_MAGIC, unix.SYSFS_MAGIC, unix.CGROUP_SUPER_MAGIC, unix.CGROUP2_SUPER_MAGIC,
	unix.DEVPTS_SUPER_MAGIC, unix.DEBUGFS_MAGIC, unix.TRACEFS_MAGIC, unix.SECURITYFS_MAGIC,
	unix.BPF_FS_MAGIC, unix.AUTOFS_SUPER_MAGIC, unix.EFIVARFS_MAGIC, unix.NSFS_MAGIC, unix.RAMFS_MAGIC,
	unix.HUGETLBFS_MAGIC, unix.PSTOREFS_MAGIC, unix.BINFMTFS_MAGIC,
}

// mountable reports whether the file system of a directory, mounted on a place that is copied, can be.
func (w *walker) mountable(fd int, p string) bool {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd, &fs); err != nil {
		return false
	}
	if int64(fs.Type) == unix.TMPFS_MAGIC { // as devtmpfs is
		return w.named[p]
	}
	return !slices.Contains(pseudo, int64(fs.Type))
}

// minSparse is the size from which holes are looked for.
const minSparse = 64 << 10

// holes reports whether a file that seems to have holes has some.
func (d *dir) holes(name string, size int64) bool {
	fd, err := openat(d.fd, name, unix.O_NONBLOCK)
	if err != nil { // gone, or not for us to read
		return true
	}
	defer unix.Close(fd)
	return hasHoles(fd, size)
}

// set takes from the status of a file what an entry has of it.
func (e *Entry) set(st *unix.Stat_t) {
	e.Mode, e.UID, e.GID = st.Mode&0o7777, st.Uid, st.Gid
	sec, nsec := st.Mtim.Unix()
	e.Sec, e.Nsec = sec, uint32(nsec)
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		e.Type = TypeDir
	case unix.S_IFLNK:
		e.Type = TypeSymlink
	default:
		e.Type, e.Size = TypeFile, st.Size
		e.Sparse = st.Size >= minSparse && st.Blocks*512 < st.Size // it may have holes: see hasHoles
		e.Stamp = stampOf(st)
	}
}

func stampOf(st *unix.Stat_t) Stamp { return Stamp{st.Ino, st.Ctim.Nano()} }
