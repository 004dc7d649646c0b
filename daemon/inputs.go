package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"

	"lantage/archive"
	"lantage/wire"
)

// inputsTops are the directories that a client's inputs may have something in.
var inputsTops = []string{
	"etc/portage", // its configuration
	"repos",       // repositories that only it has, by name
	resolvedDir,   // files with another text, by their paths
}

// extractInputs unpacks a client's inputs into dir, which is made. Errors: *wire.Error, those of r
// (wire.ErrLost, wire.ErrProtocol), or ctx's.
func extractInputs(ctx context.Context, r io.Reader, dir, builder string) error {
	root, err := makeInputs(dir)
	if err != nil {
		return inputsError(err, dir, builder)
	}
	defer root.Close()
	_, err = archive.Extract(ctx, r, root, archive.ExtractOptions{Limits: inputsLimits, AllowLink: allowLink})
	if err == nil {
		err = onlyTops(root)
	}
	if err == nil {
		err = checkResolved(root)
	}
	return inputsError(err, dir, builder)
}

// makeInputs makes inputsTops before the client can: as directories, so that no link of the client's can stand there and lead
// whoever completes the configuration to the builder's own /etc.
func makeInputs(dir string) (*os.Root, error) {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	for _, top := range inputsTops {
		if err := root.MkdirAll(top, 0o755); err != nil {
			root.Close()
			return nil, err
		}
	}
	return root, nil
}

// allowLink allows absolute links, which mean a place in the build root and are followed only there, and
// those that stay in the one of inputsTops that they are in. (Those that are certain to stay in the inputs need no permission.)
func allowLink(name, target string) bool {
	if path.IsAbs(target) {
		return true
	}
	end := path.Join(path.Dir(name), target) + "/"
	return slices.ContainsFunc(inputsTops, func(top string) bool {
		return strings.HasPrefix(name, top+"/") && strings.HasPrefix(end, top+"/")
	})
}

// onlyTops refuses inputs with more in them than inputsTops.
func onlyTops(root *os.Root) error {
	allowed := make(map[string][]string) // by directory
	for _, top := range inputsTops {
		for top != "." {
			dir := path.Dir(top)
			allowed[dir] = append(allowed[dir], path.Base(top))
			top = dir
		}
	}
	for dir, names := range allowed {
		d, err := root.Open(dir)
		if err != nil {
			return err
		}
		found, err := d.Readdirnames(len(names) + 1)
		d.Close()
		if err != nil {
			return err
		}
		if i := slices.IndexFunc(found, func(n string) bool { return !slices.Contains(names, n) }); i >= 0 {
			return fmt.Errorf("%q is not below %s", path.Join(dir, found[i]), strings.Join(inputsTops, " or "))
		}
	}
	return nil
}

// resolvedDir is the part of the inputs with files of the client whose native compiler flags are resolved, by their paths.
const resolvedDir = "resolved"

// checkResolved takes few and small files there and no links. They are read into memory, and each has to be put into the
// build root by itself.
func checkResolved(root *os.Root) error {
	files, size := 0, int64(0)
	err := fs.WalkDir(root.FS(), resolvedDir, func(path string, d fs.DirEntry, err error) error {
		if path == resolvedDir && errors.Is(err, fs.ErrNotExist) {
			return fs.SkipAll
		}
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if files, size = files+1, size+info.Size(); files > maxResolved || size > maxResolvedBytes {
			return fmt.Errorf("%s: more than %d files, or %d bytes", resolvedDir, maxResolved, maxResolvedBytes)
		}
		if !info.Mode().IsRegular() || path == resolvedDir {
			return fmt.Errorf("%q is no regular file below %s", path, resolvedDir)
		}
		return nil
	})
	return err
}

// ownFaults are errors that no archive can cause.
var ownFaults = []syscall.Errno{
	syscall.ENOSPC, syscall.EDQUOT, syscall.EIO, syscall.EROFS, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM,
	syscall.EACCES, syscall.EPERM, syscall.ENOENT,
}

// inputsError tells the builder's own faults from the client's.
func inputsError(err error, dir, builder string) error {
	var refusal *wire.Error
	var errno syscall.Errno
	switch {
	case err == nil, errors.As(err, &refusal), errors.Is(err, wire.ErrLost), errors.Is(err, wire.ErrProtocol),
		errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.As(err, &errno) && slices.Contains(ownFaults, errno):
		return wire.Errorf(wire.CodeInternal,
			"%s cannot store the job's configuration in %s: %v; nothing of it was kept", builder, dir, errno)
	}
	return wire.Errorf(wire.CodeBadRequest, "the job is refused: its configuration: %v", err)
}
