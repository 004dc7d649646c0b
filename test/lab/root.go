package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// processOne is the role of a host's process 1: it makes the host's root its own, says "ready" on standard
// output, and then buries dead processes until it is killed.
func processOne([]string) (int, error) {
	signal.Ignore(syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM)
	died := make(chan os.Signal, 1)
	signal.Notify(died, syscall.SIGCHLD)
	var h hostSpec
	err := json.NewDecoder(os.Stdin).Decode(&h)
	if err == nil {
		err = h.enterRoot()
	}
	if err != nil {
		fmt.Println(err)
		return 1, nil
	}
	fmt.Println("ready")
	for range died {
		for {
			if pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); pid <= 0 && err != unix.EINTR {
				break
			}
		}
	}
	return 0, nil
}

// enterRoot makes the host's root and moves into it.
func (h *hostSpec) enterRoot() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("private mounts: %w", err)
	}
	root := filepath.Join(h.Dir, "root")
	if err := os.MkdirAll(root, 0o755); err != nil {
		return err
	}
	mount := h.mountClient
	switch {
	case h.Foreign:
		mount = h.mountForeign
	case h.Builder:
		mount = h.mountBuilder
	}
	if err := mount(root); err != nil {
		return err
	}
	if err := mountKernel(root); err != nil {
		return err
	}
	for dst, src := range h.Share {
		if err := bind(src, filepath.Join(root, dst), unix.MOUNT_ATTR_RDONLY); err != nil {
			return err
		}
	}
	if err := unix.Sethostname([]byte(h.Name)); err != nil {
		return err
	}
	// Nobody else has our addresses: they need no time to be checked, whatever links come later.
	for _, conf := range []string{"all", "default"} {
		path := "/proc/sys/net/ipv6/conf/" + conf + "/accept_dad"
		if err := os.WriteFile(path, []byte("0"), 0); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return pivot(root)
}

// mountClient mounts an overlay on the base. Directories of the host's own are opaque in it: they hide what
// the base has there.
func (h *hostSpec) mountClient(root string) error {
	upper, work := filepath.Join(h.Dir, "upper"), filepath.Join(h.Dir, "work")
	if err := h.writeOwn(upper); err != nil {
		return err
	}
	for _, dir := range ownDirs {
		path := filepath.Join(upper, dir.path)
		if err := unix.Lsetxattr(path, "trusted.overlay.opaque", []byte("y"), 0); err != nil {
			return fmt.Errorf("opaque %s: %w", dir.path, err)
		}
	}
	if err := os.Mkdir(work, 0o755); err != nil {
		return err
	}
	// volatile: a root that is thrown away need not reach the disk.
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s,volatile", h.Base, upper, work)
	if err := unix.Mount("overlay", root, "overlay", 0, options); err != nil {
		return fmt.Errorf("overlay on %s: %w", h.Base, err)
	}
	return nil
}

// mountBuilder mounts the base itself, read-only, and over it what the host has of its own.
func (h *hostSpec) mountBuilder(root string) error {
	own := filepath.Join(h.Dir, "own")
	if err := h.writeOwn(own); err != nil {
		return err
	}
	var flags uint64 = unix.MOUNT_ATTR_RDONLY
	if h.WritableBase {
		flags = 0
	}
	if err := bind(h.Base, root, flags); err != nil {
		return err
	}
	mounts := slices.Clone(ownFiles)
	for _, dir := range ownDirs {
		mounts = append(mounts, dir.path)
	}
	for _, path := range mounts {
		// A base without a plain file of that name has no place for one, and does without.
		if st, err := os.Lstat(filepath.Join(root, path)); err != nil || st.Mode()&os.ModeSymlink != 0 {
			continue
		}
		if err := bind(filepath.Join(own, path), filepath.Join(root, path), 0); err != nil {
			return err
		}
	}
	return nil
}

// bind mounts src, and all that is mounted below it, on dst as well, which is made if it is not there.
func bind(src, dst string, flags uint64) error {
	if _, err := os.Lstat(dst); errors.Is(err, os.ErrNotExist) {
		if err := os.MkdirAll(dst, 0o755); err != nil {
			return err
		}
	}
	if err := unix.Mount(src, dst, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("bind %s on %s: %w", src, dst, err)
	}
	attr := unix.MountAttr{Attr_set: flags}
	if err := unix.MountSetattr(unix.AT_FDCWD, dst, unix.AT_RECURSIVE, &attr); err != nil {
		return fmt.Errorf("read-only %s: %w", dst, err)
	}
	return nil
}

// mountKernel mounts what every Linux system has below its root: proc, sysfs, a small /dev, and memory for
// /run and /tmp.
func mountKernel(root string) error {
	for _, m := range []struct{ kind, path, options string }{
		{"proc", "proc", ""},
		{"sysfs", "sys", ""},
		{"tmpfs", "run", "mode=755"},
		{"tmpfs", "tmp", "mode=1777"},
		{"tmpfs", "dev", "mode=755"},
		{"tmpfs", "dev/shm", "mode=1777"},
		{"devpts", "dev/pts", "newinstance,ptmxmode=0666,mode=620,gid=5"},
	} {
		path := filepath.Join(root, m.path)
		if err := os.MkdirAll(path, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.kind, path, m.kind, 0, m.options); err != nil {
			return fmt.Errorf("mount %s on /%s: %w", m.kind, m.path, err)
		}
	}
	for _, name := range []string{"null", "zero", "full", "random", "urandom", "tty"} {
		var st unix.Stat_t
		if err := unix.Stat("/dev/"+name, &st); err != nil {
			return fmt.Errorf("/dev/%s: %w", name, err)
		}
		path := filepath.Join(root, "dev", name)
		if err := unix.Mknod(path, unix.S_IFCHR, int(st.Rdev)); err != nil {
			return fmt.Errorf("mknod /dev/%s: %w", name, err)
		}
		if err := os.Chmod(path, 0o666); err != nil {
			return err
		}
	}
	for name, target := range map[string]string{
		"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2", "ptmx": "pts/ptmx",
	} {
		if err := os.Symlink(target, filepath.Join(root, "dev", name)); err != nil {
			return err
		}
	}
	return nil
}

// pivot makes root this process's root, and that of all that it starts, and lets go of everything else.
func pivot(root string) error {
	if err := os.Chdir(root); err != nil {
		return err
	}
	// pivot_root(2) stacks the old root on the new one when both are named "."; it is then on top, to be let
	// go of.
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot_root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("letting go of the machine's root: %w", err)
	}
	return os.Chdir("/")
}
