package rootfs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// LeftOut is something that is not copied.
type LeftOut struct{ Path, Why string }

// maxLeftOut bounds what is reported, not what is left out.
const maxLeftOut = 10_000

// found is what a walk finds: an entry, and what a list does not say of it.
type found struct {
	Entry
	row   row // by which it is copied
	dev   uint64
	links uint64
	ctime int64
	// blanked files go with another text than they have. Size and Sum are those of the text.
	blanked bool
}

// walker lists a root in tree order. It opens each directory relative to the one above and looks at what is in
// it by name alone: no link that somebody puts in its way is ever followed.
type walker struct {
	*ruler
	ctx  context.Context
	emit func(*found) error // owns what it is given
	// bare walks leave out what takes long: extended attributes, and looking for keys in files.
	bare bool
	left []LeftOut

	names []byte // buffers of extended attributes
	value []byte
}

// errStay is returned by emit for a directory that is not to be walked.
var errStay = errors.New("stay")

// walk calls emit for the root and all that the rules copy of it. What vanishes meanwhile is not listed.
func (m *ruler) walk(ctx context.Context, bare bool, emit func(*found) error) ([]LeftOut, error) {
	w := &walker{ruler: m, ctx: ctx, emit: emit, bare: bare}
	if !bare {
		w.names, w.value = make([]byte, maxXattr), make([]byte, maxXattr)
	}
	fd, err := openat(unix.AT_FDCWD, m.root, unix.O_DIRECTORY)
	if err != nil {
		return nil, fmt.Errorf("the root %s: %w", m.root, err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, w.failed(".", "stat", err)
	}
	d := &dir{fd: fd, path: ".", row: m.exact["."], dev: st.Dev}
	f, err := w.found(d, fd, ".", ".", d.row, &st)
	if err == nil {
		err = emit(f)
	}
	if err == nil {
		err = w.dir(d)
	}
	return w.left, err
}

func openat(dirfd int, name string, flags int) (int, error) {
	for {
		fd, err := unix.Openat(dirfd, name, flags|unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

// dir is a directory that is open.
type dir struct {
	fd   int
	path string
	row  row
	dev  uint64
}

// dir walks what is in a directory.
func (w *walker) dir(d *dir) error {
	names, err := readNames(d.fd)
	if err != nil {
		return w.failed(d.path, "read", err)
	}
	slices.Sort(names)
	h := w.patterns(d.path)
	for _, name := range names {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		if err := w.entry(d, name, h); err != nil {
			return err
		}
	}
	return nil
}

// readNames reads the names in a directory. It is not os.File's because that needs a descriptor of its own.
func readNames(fd int) ([]string, error) {
	var names []string
	buf := make([]byte, 32<<10)
	for {
		n, err := unix.ReadDirent(fd, buf)
		if err == unix.EINTR {
			continue
		}
		if n <= 0 || err != nil {
			return names, err
		}
		_, _, names = unix.ParseDirent(buf[:n], -1, names)
	}
}

// entry walks one name in a directory.
func (w *walker) entry(d *dir, name string, h here) error {
	p := join(d.path, name)
	row, own := w.judge(p, name, d.row, h)
	if row.take <= chaff {
		if row.take == none {
			w.leave(p, row.why)
		}
		return nil
	}
	var st unix.Stat_t
	err := unix.Fstatat(d.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT)
	switch {
	case err == unix.ENOENT:
		return nil
	case err != nil && row.take == empty: // such as a mount of a server that is away
		w.leave(p, err.Error())
		return nil
	case err != nil:
		return w.failed(p, "stat", err)
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return w.subdir(d, name, p, row, own, &st)
	case unix.S_IFREG, unix.S_IFLNK:
	default: // a socket, a fifo or a device
		return nil
	}
	if why := w.refuse(d, name, row, &st); why != "" {
		w.leave(p, why)
		return nil
	}
	if row.take == keyless {
		row = d.row
	}
	f, err := w.found(d, -1, name, p, row, &st)
	if err != nil || f == nil {
		return err
	}
	if f.Type == TypeFile && !w.bare && w.isWritten(p) {
		if err := w.blank(d, name, f); err != nil {
			return w.failed(p, "read", err)
		}
	}
	return w.emit(f)
}

// refuse says why a file or link is left out that stands where its row says; "" if it is not.
func (w *walker) refuse(d *dir, name string, row row, st *unix.Stat_t) string {
	if st.Mode&unix.S_IFMT == unix.S_IFLNK {
		return ""
	}
	take := row.take
	if take == keyless {
		if !w.bare && hasKey(d.fd, name) {
			return row.why
		}
		take = d.row.take
	}
	switch {
	case take < public:
		return cmp.Or(row.why, "not a directory")
	case take == public && st.Mode&0o004 == 0:
		return private
	}
	return ""
}

// subdir walks a directory that is in another.
func (w *walker) subdir(d *dir, name, p string, r row, own bool, st *unix.Stat_t) error {
	switch {
	case r.take == links:
		w.leave(p, r.why)
		return nil
	case r.take == keyless:
		r = d.row
	case r.take == public && st.Mode&0o005 != 0o005:
		r = row{r.place, empty, private}
	}
	sub := &dir{fd: -1, path: p}
	if r.take != empty || w.way[p] || len(w.patterns(p).globs) > 0 {
		fd, err := openat(d.fd, name, unix.O_DIRECTORY)
		if vanished(err) {
			return nil
		}
		if err != nil {
			return w.failed(p, "open", err)
		}
		defer func() { unix.Close(fd) }()
		if err := unix.Fstat(fd, st); err != nil {
			return w.failed(p, "stat", err)
		}
		sub.fd, sub.dev = fd, st.Dev
		if st.Dev != d.dev && !(own && w.mountable(fd, p)) {
			sub.fd, r = -1, row{r.place, empty, "another file system"}
		}
	}
	sub.row = r
	if r.take == empty {
		w.leave(p, r.why)
	}
	f, err := w.found(d, sub.fd, name, p, r, st)
	if err != nil || f == nil {
		return err
	}
	if err := w.emit(f); err != nil || sub.fd < 0 {
		if err == errStay {
			return nil
		}
		return err
	}
	return w.dir(sub)
}

// vanished reports whether a name is not any more what it was a moment ago.
func vanished(err error) bool { return err == unix.ENOENT || err == unix.ENOTDIR || err == unix.ELOOP }

func (w *walker) leave(p, why string) {
	if why != "" && len(w.left) < maxLeftOut {
		w.left = append(w.left, LeftOut{"/" + p, why})
	}
}

func (w *walker) failed(p, verb string, err error) error {
	return fmt.Errorf("%s %s: %w", verb, filepath.Join(w.root, p), err)
}

// found makes the entry of what has been seen, or nil if it has vanished. An open directory has a descriptor.
func (w *walker) found(d *dir, fd int, name, p string, r row, st *unix.Stat_t) (*found, error) {
	f := &found{row: r, dev: st.Dev, links: uint64(st.Nlink), ctime: st.Ctim.Nano()}
	f.Path = p
	f.set(st)
	if f.UID >= MaxID || f.GID >= MaxID {
		return nil, fmt.Errorf("%s belongs to %d:%d, and builders have owners and groups below %d only: %s",
			filepath.Join(w.root, p), f.UID, f.GID, MaxID, noCopy("/"+p))
	}
	if r.take == empty && f.Type == TypeDir {
		f.Sec, f.Nsec, f.ctime = 0, 0, 0 // they change with what is not copied
		return f, nil
	}
	var err error
	if f.Type == TypeSymlink {
		f.Target, err = readlinkat(d.fd, name)
	}
	if f.Sparse && !w.bare {
		f.Sparse = d.holes(name, f.Size)
	}
	if err == nil && !w.bare {
		f.Xattrs, err = w.xattrs(d, fd, name, p)
	}
	if vanished(err) || err == unix.EINVAL { // EINVAL: not a link any more
		return nil, nil
	}
	if err != nil {
		return nil, w.failed(p, "read", err)
	}
	return f, nil
}

// noCopy is how to leave a path out.
func noCopy(p string) string {
	return fmt.Sprintf(`leave it out with no-copy = [%q] in /etc/lantage/lantage.toml`, p)
}
