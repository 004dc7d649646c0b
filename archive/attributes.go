package archive

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// The bits of a tar mode above the permissions, as in chmod(2).
const (
	tarSetUID = 0o4000
	tarSetGID = 0o2000
	tarSticky = 0o1000
)

func tarMode(m fs.FileMode) int64 {
	n := int64(m.Perm())
	if m&fs.ModeSetuid != 0 {
		n |= tarSetUID
	}
	if m&fs.ModeSetgid != 0 {
		n |= tarSetGID
	}
	if m&fs.ModeSticky != 0 {
		n |= tarSticky
	}
	return n
}

func fileMode(n int64) fs.FileMode {
	m := fs.FileMode(n).Perm()
	if n&tarSetUID != 0 {
		m |= fs.ModeSetuid
	}
	if n&tarSetGID != 0 {
		m |= fs.ModeSetgid
	}
	if n&tarSticky != 0 {
		m |= fs.ModeSticky
	}
	return m
}

const xattrPrefix = "SCHILY.xattr."

// xattrRecords returns the extended attributes of f as pax records, nil if it has none.
func xattrRecords(f *os.File) (map[string]string, error) {
	names, err := readXattr(func(buf []byte) (int, error) { return unix.Flistxattr(int(f.Fd()), buf) })
	if errors.Is(err, unix.ENOTSUP) || err == nil && len(names) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list extended attributes of %s: %w", f.Name(), err)
	}
	records := map[string]string{}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(names), "\x00"), "\x00") {
		value, err := readXattr(func(buf []byte) (int, error) { return unix.Fgetxattr(int(f.Fd()), name, buf) })
		if errors.Is(err, unix.ENODATA) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("read extended attribute %s of %s: %w", name, f.Name(), err)
		}
		records[xattrPrefix+name] = string(value)
	}
	return records, nil
}

// readXattr calls get first for the size and then for the value, again if that has grown in between.
func readXattr(get func([]byte) (int, error)) ([]byte, error) {
	for {
		n, err := get(nil)
		if err != nil || n == 0 {
			return nil, err
		}
		buf := make([]byte, n)
		n, err = get(buf)
		if !errors.Is(err, unix.ERANGE) {
			return buf[:max(n, 0)], err
		}
	}
}

// attributes sets owner, mode and extended attributes, in this order: a change of owner clears setuid bits,
// and both clear file capabilities.
func (x *extractor) attributes(f *os.File, hdr *Header) error {
	if x.opt.Owners {
		if err := checkOwner(hdr); err != nil {
			return err
		}
		if err := f.Chown(hdr.Uid, hdr.Gid); err != nil {
			return err
		}
	}
	mode := hdr.Mode
	if !x.opt.KeepSetID {
		mode &^= tarSetUID | tarSetGID
	}
	if err := f.Chmod(fileMode(mode)); err != nil {
		return err
	}
	for _, name := range x.opt.Xattrs {
		value, ok := hdr.PAXRecords[xattrPrefix+name]
		if !ok {
			continue
		}
		if err := unix.Fsetxattr(int(f.Fd()), name, []byte(value), 0); err != nil {
			return fmt.Errorf("set extended attribute %s: %w", name, err)
		}
	}
	return nil
}

// checkOwner refuses numbers that chown would take for another or, as -1, for "leave it".
func checkOwner(hdr *Header) error {
	const most = 1<<32 - 2
	if hdr.Uid < 0 || int64(hdr.Uid) > most || hdr.Gid < 0 || int64(hdr.Gid) > most {
		return fmt.Errorf("owner %d:%d is out of range", hdr.Uid, hdr.Gid)
	}
	return nil
}

// setLinkTime sets the time of a symbolic link itself, for which os.Root has no call.
func setLinkTime(parent *os.Root, base string, mtime time.Time) error {
	d, err := parent.Open(".")
	if err != nil {
		return err
	}
	defer d.Close()
	at, err := unix.TimeToTimespec(mtime)
	if err != nil {
		return &fs.PathError{Op: "utimensat", Path: base, Err: err}
	}
	ts := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, at}
	if err := unix.UtimesNanoAt(int(d.Fd()), base, ts, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &fs.PathError{Op: "utimensat", Path: base, Err: err}
	}
	return nil
}
