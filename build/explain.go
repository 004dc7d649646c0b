package build

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// A refusal of the kernel says little to the owner of a builder. These functions say what is missing and
// what to do.

// explainUserNamespace explains a failed clone with CLONE_NEWUSER.
func explainUserNamespace(err error) error {
	hint := ""
	switch {
	case readSysctl("user/max_user_namespaces") == "0":
		hint = "; user namespaces are switched off: sysctl user.max_user_namespaces=10000"
	case errors.Is(err, unix.EINVAL):
		hint = "; the kernel has no user namespaces: CONFIG_USER_NS=y is needed"
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EUSERS):
		hint = "; the limit of user namespaces is reached: raise sysctl user.max_user_namespaces"
	case errors.Is(err, unix.EPERM) && os.Geteuid() != 0:
		hint = "; lantage serve must run as root"
	case errors.Is(err, unix.EPERM):
		hint = "; something forbids it to root: a container, or sysctl kernel.unprivileged_userns_clone=0"
	}
	return fmt.Errorf("cannot make a user namespace for the build root: %w%s", err, hint)
}

func readSysctl(name string) string {
	b, _ := os.ReadFile("/proc/sys/" + name)
	return strings.TrimSpace(string(b))
}

// explainMountAPI explains a failed open_tree.
func explainMountAPI(err error) error {
	if errors.Is(err, unix.ENOSYS) {
		return fmt.Errorf("%w; Linux 5.19 or later is needed for build roots", err)
	}
	if errors.Is(err, unix.EPERM) && os.Geteuid() != 0 {
		return fmt.Errorf("%w; lantage serve must run as root", err)
	}
	return err
}

// explainIDMap explains a failed mount_setattr with MOUNT_ATTR_IDMAP.
func explainIDMap(l Layer, err error) error {
	var fs unix.Statfs_t
	_ = unix.Statfs(l.Source, &fs)
	switch {
	case fs.Type == unix.OVERLAYFS_SUPER_MAGIC:
		return fmt.Errorf("%s is an overlay file system, which cannot be the base of a build root: give a plain "+
			"directory or an unpacked stage3 as another base (lantage serve --bases DIR) or, where this is the state directory's, "+
			"another one of those (--state-dir DIR) (%w)", l.Source, err)
	case errors.Is(err, unix.EINVAL):
		return fmt.Errorf("the file system of %s cannot be mounted with shifted owners by this kernel (%w): "+
			"Linux 5.19 and ext4, xfs, btrfs or f2fs can; or give a directory on such a file system as another base "+
			"(lantage serve --bases DIR)", l.Source, err)
	}
	return fmt.Errorf("mounting %s with shifted owners: %w", l.Source, err)
}

// explainOverlay explains a failed overlay mount with its upper layer in dir.
func explainOverlay(dir string, err error) error {
	var fs unix.Statfs_t
	_ = unix.Statfs(dir, &fs)
	switch {
	case errors.Is(err, unix.ENODEV):
		return fmt.Errorf("the kernel has no overlay file system: CONFIG_OVERLAY_FS is needed (modprobe overlay)")
	case fs.Type == unix.OVERLAYFS_SUPER_MAGIC:
		return fmt.Errorf("%s lies on an overlay file system, which cannot hold build roots: give a directory "+
			"on a plain one (lantage serve --state-dir DIR)", dir)
	}
	return fmt.Errorf("mounting the overlay of the build root in %s: %w", dir, err)
}
