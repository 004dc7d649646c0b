package build

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// resolvedDir is the part of a job's inputs with files of the client that have another text in the build root, by their
// paths on the client: a file of Portage's with -march=native in it has there what that means on the client. They take the
// place of files of the base, and add none to it.
const resolvedDir = "resolved"

// resolvedFiles lists them, as absolute paths, sorted.
func resolvedFiles(inputs string) ([]string, error) {
	var paths []string
	top := filepath.Join(inputs, resolvedDir)
	err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if path == top && errors.Is(err, fs.ErrNotExist) {
			return fs.SkipAll
		}
		if err == nil && d.Type().IsRegular() {
			paths = append(paths, strings.TrimPrefix(path, top))
		}
		return err
	})
	slices.Sort(paths)
	return paths, err
}

// hashResolved hashes them for the build settings key.
func hashResolved(sum hash.Hash, inputs string) error {
	paths, err := resolvedFiles(inputs)
	for _, path := range paths {
		data, err := os.ReadFile(filepath.Join(inputs, resolvedDir, path))
		if err != nil {
			return err
		}
		fmt.Fprintf(sum, "resolved %q %x\n", path, sha256.Sum256(data))
	}
	return err
}

// resolvable declines a job with such a file in what is only shown in the build root, as it cannot be another file there.
func resolvable(inputs string, binds []bind) error {
	paths, err := resolvedFiles(inputs)
	for _, path := range paths {
		i := slices.IndexFunc(binds, func(b bind) bool { return strings.HasPrefix(path, b.Target+"/") })
		if i >= 0 {
			return &DeclineError{fmt.Sprintf("%s on this machine has native compiler flags, and the builder has %s elsewhere, where it "+
				"cannot put in their place what they mean here; write them out, or run lantage as root, for a build in a copy of this "+
				"machine's own root", path, binds[i].Target)}
		}
	}
	return err
}

// resolve puts the files of a job's inputs in the place of those of the tree, with their owners and modes.
func (t tree) resolve(inputs string) error {
	paths, err := resolvedFiles(inputs)
	for _, path := range paths {
		data, err := os.ReadFile(filepath.Join(inputs, resolvedDir, path))
		if err != nil {
			return err
		}
		if err := t.replace(path, data); err != nil {
			return err
		}
	}
	return err
}

// replace gives a regular file another content. Where there is none at exactly this path, nothing is done.
func (t tree) replace(path string, data []byte) error {
	fd, err := unix.Openat2(t.fd, path, &unix.OpenHow{
		Flags: unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_SYMLINKS,
	})
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return nil
	}
	if err != nil {
		return &os.PathError{Op: "open in the build root", Path: path, Err: err}
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return err
	}
	if err := t.write(plainFile{path, os.FileMode(st.Mode & 0o777), data}, int(st.Uid)); err != nil {
		return err
	}
	parent, err := t.open(filepath.Dir(path), unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer unix.Close(parent)
	return unix.Fchownat(parent, filepath.Base(path), int(st.Uid), int(st.Gid), unix.AT_SYMLINK_NOFOLLOW)
}
