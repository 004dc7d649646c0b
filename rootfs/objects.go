package rootfs

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// errNoContent: no object has the content that is looked for.
var errNoContent = errors.New("its content is not there")

// objects is a folder of objects: files named for their content and metadata, in 4096 folders that are made
// when they are needed. It may be used by many goroutines.
type objects struct {
	dir      *os.File
	fd       int
	maxLinks uint64      // links to one file; 0: as many as the file system allows
	making   [256]making // by the first byte of the sum
}

// making is held while one object is made from another. Some contents, such as that of empty files, are in thousands of
// files that differ in their times, and so in thousands of objects of one folder: it is not read for each of them.
type making struct {
	sync.Mutex
	last map[Sum]string // the object that was made last of a content
}

// maxLast bounds making.last.
const maxLast = 256

func (m *making) note(sum Sum, object string) {
	if m.last == nil || len(m.last) >= maxLast {
		m.last = make(map[Sum]string)
	}
	m.last[sum] = object
}

func openObjects(dir string) (*objects, error) {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	return &objects{dir: f, fd: int(f.Fd())}, nil
}

func (o *objects) Close() error { return o.dir.Close() }

// rawName is the name of a content without metadata, with its folder.
func rawName(sum Sum) string {
	s := hex.EncodeToString(sum[:])
	return s[:3] + "/" + s
}

// objectName is the name of the object that a tree has for an entry. It tells all that the file is.
func objectName(e *Entry) string {
	file := *e
	file.Path, file.Sum = "", Sum{}
	var buf [128]byte
	meta := sha256.Sum256(appendEntry(buf[:0], &file, 0, false))
	return rawName(e.Sum) + "-" + hex.EncodeToString(meta[:16])
}

func (o *objects) has(name string) (bool, error) {
	var st unix.Stat_t
	err := unix.Fstatat(o.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	if err == unix.ENOENT {
		return false, nil
	}
	return err == nil, objectError(name, err)
}

// folder lists the objects of one folder, sorted; none if it is not there.
func (o *objects) folder(folder string) ([]string, error) {
	fd, err := unix.Openat(o.fd, folder, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT {
		return nil, nil
	} else if err != nil {
		return nil, objectError(folder, err)
	}
	f := os.NewFile(uintptr(fd), folder)
	defer f.Close()
	return sortedNames(f)
}

// each calls visit with the name of each object, until it returns fs.SkipAll.
func (o *objects) each(visit func(name string) error) error {
	folders, err := o.folder(".")
	for _, folder := range folders {
		var names []string
		if err == nil {
			names, err = o.folder(folder)
		}
		for _, name := range names {
			if err == nil {
				err = visit(folder + "/" + name)
			}
		}
	}
	if err == fs.SkipAll {
		return nil
	}
	return err
}

// find returns an object with a content, in a sorted folder.
func find(folder []string, sum Sum) (string, bool) {
	raw := rawName(sum)
	i, _ := slices.BinarySearch(folder, raw[4:])
	if i < len(folder) && strings.HasPrefix(folder[i], raw[4:]) {
		return raw[:4] + folder[i], true
	}
	return "", false
}

// link links the object of an entry to a name in a tree. If it is not there yet, it is made of another object
// with that content; without one the error is errNoContent.
func (o *objects) link(e *Entry, t *scratch, dir int, name string) error {
	object := objectName(e)
	err := o.try(object, dir, name)
	if err == nil {
		return nil
	}
	making := &o.making[e.Sum[0]]
	making.Lock()
	defer making.Unlock()
	switch err = o.try(object, dir, name); err { // another may have made it meanwhile
	case unix.ENOENT:
		if err = o.make(e, t, object, making.last[e.Sum]); err == nil {
			making.note(e.Sum, object)
		}
	case unix.EMLINK:
		err = o.renew(e, t, object)
	default:
		return err
	}
	if err == nil {
		err = o.try(object, dir, name)
	}
	return err
}

func (o *objects) try(object string, dir int, name string) error {
	if o.maxLinks > 0 {
		var st unix.Stat_t
		if err := unix.Fstatat(o.fd, object, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return err
		} else if uint64(st.Nlink) >= o.maxLinks {
			return unix.EMLINK
		}
	}
	return unix.Linkat(o.fd, object, dir, name, 0)
}

// make makes an object of another one with the same content: a raw one becomes it, others are copied. One of them may be
// known.
func (o *objects) make(e *Entry, t *scratch, object, known string) error {
	if known != "" {
		tmp, err := o.copy(known, e, t)
		if err == nil {
			return o.place(t, tmp, object)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	folder, err := o.folder(object[:3])
	if err != nil {
		return err
	}
	other, ok := find(folder, e.Sum)
	if !ok {
		return errNoContent
	}
	if other != rawName(e.Sum) || e.Sparse { // a raw one has no holes
		tmp, err := o.copy(other, e, t)
		if err != nil {
			return err
		}
		return o.place(t, tmp, object)
	}
	// It leaves its name first: nobody takes it for raw while it changes.
	tmp := t.name()
	if err := unix.Renameat(o.fd, other, t.fd, tmp); err != nil {
		return objectError(other, err)
	}
	f, err := t.open(tmp)
	if err == nil {
		if err = checkSize(f, e); err == nil {
			err = dress(int(f.Fd()), e)
		}
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		t.remove(tmp)
		return err
	}
	return o.place(t, tmp, object)
}

// renew puts a copy in the place of an object that can have no more links.
func (o *objects) renew(e *Entry, t *scratch, object string) error {
	tmp, err := o.copy(object, e, t)
	if err != nil {
		return err
	}
	if err := unix.Renameat(t.fd, tmp, o.fd, object); err != nil {
		t.remove(tmp)
		return objectError(object, err)
	}
	return nil
}

// copy makes a temporary file of an object's content and an entry's metadata.
func (o *objects) copy(object string, e *Entry, t *scratch) (tmp string, err error) {
	fd, err := unix.Openat(o.fd, object, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", objectError(object, err)
	}
	from := os.NewFile(uintptr(fd), object)
	defer from.Close()
	if err := checkSize(from, e); err != nil {
		return "", err
	}
	return t.write(func(fd int) error {
		if hasHoles(int(from.Fd()), e.Size) != e.Sparse || unix.IoctlFileClone(fd, int(from.Fd())) != nil {
			if err := fill(fd, from, e); err != nil {
				return err
			}
		}
		return dress(fd, e)
	})
}

// place gives a finished temporary file its name among the objects. If one is there already, that stays.
func (o *objects) place(t *scratch, tmp, object string) error {
	rename := func() error {
		return unix.Renameat2(t.fd, tmp, o.fd, object, unix.RENAME_NOREPLACE)
	}
	err := rename()
	if err == unix.ENOENT {
		if err = unix.Mkdirat(o.fd, object[:3], 0o700); err == nil || err == unix.EEXIST {
			err = rename()
		}
	}
	if err == unix.EINVAL { // a file system that knows no RENAME_NOREPLACE
		if err = unix.Linkat(t.fd, tmp, o.fd, object, 0); err == nil {
			t.remove(tmp)
		}
	}
	if err != nil {
		t.remove(tmp)
	}
	if err == unix.EEXIST {
		return nil
	}
	return objectError(object, err)
}

// put stores a content that is in memory: as the object of an entry whose Sum is known, or raw.
func (o *objects) put(t *scratch, e *Entry, content []byte, raw bool) error {
	object := rawName(e.Sum)
	if !raw {
		object = objectName(e)
	}
	if ok, err := o.has(object); ok || err != nil {
		return err
	}
	tmp, err := t.write(func(fd int) error {
		if err := fill(fd, bytes.NewReader(content), e); err != nil || raw {
			return err
		}
		return dress(fd, e)
	})
	if err != nil {
		return err
	}
	return o.place(t, tmp, object)
}

func checkSize(f *os.File, e *Entry) error {
	st, err := f.Stat()
	if err == nil && st.Size() != e.Size {
		err = fmt.Errorf("%w: it has %d bytes, and the content with its sum has %d", ErrList, e.Size, st.Size())
	}
	return err
}

func objectError(name string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: "object", Path: filepath.Base(name), Err: err}
}
