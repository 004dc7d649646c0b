package lab

import (
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Digest describes every file at and below paths on the host, path to description: kind and mode, owners,
// size, time of modification, link target or SHA-256 of the contents, and extended attributes. Two digests
// that are equal mean that nothing was changed in between; a path that does not exist is described as
// missing.
func Digest(h *Host, paths ...string) (map[string]string, error) {
	return DigestDir(h.Path(""), paths...)
}

// DigestDir is [Digest] for paths below a directory of this machine.
func DigestDir(root string, paths ...string) (map[string]string, error) {
	all := make(map[string]string)
	for _, path := range paths {
		top := filepath.Join(root, path)
		if _, err := os.Lstat(top); err != nil {
			all[path] = "missing"
			continue
		}
		err := filepath.WalkDir(top, func(name string, _ fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			all["/"+strings.Trim(strings.TrimPrefix(name, root), "/")], err = describe(name)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("lab: %w", err)
		}
	}
	return all, nil
}

func describe(path string) (string, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return "", &os.PathError{Op: "lstat", Path: path, Err: err}
	}
	d := fmt.Sprintf("mode %06o, owner %d:%d, modified %d.%09d",
		st.Mode, st.Uid, st.Gid, st.Mtim.Sec, st.Mtim.Nsec)
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		sum, err := hash(path)
		if err != nil {
			return "", err
		}
		d += fmt.Sprintf(", %d bytes, sha256 %x", st.Size, sum)
	case unix.S_IFLNK:
		target, err := os.Readlink(path)
		if err != nil {
			return "", err
		}
		d += ", to " + target
	case unix.S_IFCHR, unix.S_IFBLK:
		d += fmt.Sprintf(", device %d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
	}
	attrs, err := xattrs(path)
	if err != nil {
		return "", err
	}
	return d + attrs, nil
}

func hash(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	sum := sha256.New()
	_, err = io.Copy(sum, f)
	return sum.Sum(nil), err
}

// xattrs lists the extended attributes of a file, sorted.
func xattrs(path string) (string, error) {
	names := make([]byte, 64<<10) // the kernel's limit, XATTR_LIST_MAX
	n, err := unix.Llistxattr(path, names)
	if err == unix.ENOTSUP {
		return "", nil
	}
	if err != nil {
		return "", &os.PathError{Op: "llistxattr", Path: path, Err: err}
	}
	if n == 0 {
		return "", nil
	}
	var list []string
	value := make([]byte, 64<<10) // XATTR_SIZE_MAX
	for name := range strings.SplitSeq(strings.TrimRight(string(names[:n]), "\x00"), "\x00") {
		n, err := unix.Lgetxattr(path, name, value)
		if err != nil {
			return "", &os.PathError{Op: "lgetxattr", Path: path, Err: err}
		}
		list = append(list, fmt.Sprintf(", %s=%x", name, value[:n]))
	}
	slices.Sort(list)
	return strings.Join(list, ""), nil
}
