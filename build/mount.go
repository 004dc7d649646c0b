package build

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// tree is a directory that later mounts are made in, by paths that are resolved as if it were the root: no
// symbolic link in a base or in a client's files leads a mount or a file out of it (openat2(2),
// RESOLVE_IN_ROOT).
type tree struct{ fd int }

func openTree(dir string) (tree, error) {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return tree{}, &os.PathError{Op: "open", Path: dir, Err: err}
	}
	return tree{fd}, nil
}

// open returns a descriptor for path inside the tree.
func (t tree) open(path string, flags int) (int, error) {
	fd, err := unix.Openat2(t.fd, path, &unix.OpenHow{
		Flags: uint64(flags | unix.O_CLOEXEC), Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return -1, &os.PathError{Op: "open in the build root", Path: path, Err: err}
	}
	return fd, nil
}

// mkdirAll makes path and what is missing above it, owned by uid.
func (t tree) mkdirAll(path string, uid int) error {
	at := "/"
	for part := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		parent, err := t.open(at, unix.O_PATH|unix.O_DIRECTORY)
		if err != nil {
			return err
		}
		if err = unix.Mkdirat(parent, part, 0o755); err == nil {
			err = unix.Fchownat(parent, part, uid, uid, unix.AT_SYMLINK_NOFOLLOW)
		}
		unix.Close(parent)
		if err != nil && err != unix.EEXIST {
			return &os.PathError{Op: "mkdir in the build root", Path: path, Err: err}
		}
		at = filepath.Join(at, part)
	}
	return nil
}

// remove takes a file away; that there is none is fine.
func (t tree) remove(path string) error {
	parent, err := t.open(filepath.Dir(path), unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return ignoreMissing(err)
	}
	defer unix.Close(parent)
	if err := unix.Unlinkat(parent, filepath.Base(path), 0); err != nil && err != unix.ENOENT {
		return &os.PathError{Op: "remove in the build root", Path: path, Err: err}
	}
	return nil
}

// write puts a new file in place of what is there.
func (t tree) write(f plainFile, uid int) error {
	if err := t.remove(f.Path); err != nil {
		return err
	}
	if err := t.mkdirAll(filepath.Dir(f.Path), uid); err != nil {
		return err
	}
	parent, err := t.open(filepath.Dir(f.Path), unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer unix.Close(parent)
	const flags = unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL | unix.O_CLOEXEC
	fd, err := unix.Openat(parent, filepath.Base(f.Path), flags, uint32(f.Mode))
	if err != nil {
		return &os.PathError{Op: "create in the build root", Path: f.Path, Err: err}
	}
	file := os.NewFile(uintptr(fd), f.Path)
	defer file.Close()
	if err := file.Chown(uid, uid); err != nil {
		return err
	}
	if _, err := file.Write(f.Data); err != nil {
		return err
	}
	return file.Close()
}

// appendMakeConf appends text to the make.conf of the tree (make.conf(5)): a file or a directory of them, in its new
// place or the old one.
func (t tree) appendMakeConf(text string, uid int) error {
	const usual = insideConfig + "/make.conf"
	for _, path := range []string{usual, "/etc/make.conf"} {
		fd, err := t.open(path, unix.O_WRONLY|unix.O_APPEND|unix.O_NONBLOCK)
		switch {
		case err == nil:
			f := os.NewFile(uintptr(fd), path)
			_, err := f.WriteString(text)
			return errors.Join(err, f.Close())
		case errors.Is(err, unix.EISDIR):
			return t.write(plainFile{path + "/zzz-lantage", 0o644, []byte(text)}, uid)
		case !errors.Is(err, unix.ENOENT):
			return err
		}
	}
	return t.write(plainFile{usual, 0o644, []byte(text)}, uid)
}

// attach moves a detached mount (a descriptor from cloneTree or fsmount) to path inside the tree.
func (t tree) attach(mount int, path string) error {
	target, err := t.open(path, unix.O_PATH)
	if err != nil {
		return err
	}
	defer unix.Close(target)
	err = unix.MoveMount(mount, "", target, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
	if err != nil {
		return &os.PathError{Op: "mount in the build root", Path: path, Err: err}
	}
	return nil
}

// cloneTree makes a detached copy of the mount at dir, without what is mounted below it.
func cloneTree(dir string) (int, error) {
	fd, err := unix.OpenTree(unix.AT_FDCWD, dir, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return -1, &os.PathError{Op: "open_tree", Path: dir, Err: err}
	}
	return fd, nil
}

// mapIDs makes the owners below a detached mount appear as userns maps them. EINVAL means that the file
// system cannot do it; overlayfs is one that cannot.
func mapIDs(mount, userns int, attr uint64) error {
	return unix.MountSetattr(mount, "", unix.AT_EMPTY_PATH, &unix.MountAttr{
		Attr_set: unix.MOUNT_ATTR_IDMAP | attr, Userns_fd: uint64(userns),
	})
}

func ignoreMissing(err error) error {
	if os.IsNotExist(err) {
		return nil
	}
	return err
}
