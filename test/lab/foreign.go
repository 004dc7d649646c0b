package lab

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
)

// gentooOnly are what a Foreign host has not: all that makes a system Gentoo, and its compiler.
var gentooOnly = []string{
	"etc/dispatch-conf.conf", "etc/env.d", "etc/etc-update.conf", "etc/portage", "etc/profile.env",
	"usr/*/gcc-bin", "usr/bin/*-cc", "usr/bin/*gcc*", "usr/bin/c[89]9", "usr/bin/cc", "usr/lib/gcc",
	"usr/bin/ebuild", "usr/bin/egencache", "usr/bin/emerge*", "usr/bin/emirrordist", "usr/bin/glsa-check", "usr/bin/gpkg-sign",
	"usr/bin/portageq", "usr/bin/quickpkg", "usr/lib/python-exec/*/emerge", "usr/lib/python-exec/*/portageq",
	"usr/sbin/archive-conf", "usr/sbin/dispatch-conf", "usr/sbin/emaint", "usr/sbin/env-update", "usr/sbin/etc-update",
	"usr/sbin/fixpackages", "usr/sbin/regenworld",
	"usr/lib/portage", "usr/lib/python3*/*-packages/_emerge", "usr/lib/python3*/*-packages/portage*", "usr/share/portage",
	"var/cache/*", "var/db", "var/log/portage", "var/tmp/portage",
}

// foreignGreet is the library of lab-libs/greet in a version that the lab's repository has not.
const foreignGreet = "int greet_version(void) { return 3; }\n"

// foreignFiles are what a Foreign host has of the same names as what the lab's packages install, all of which do
// something else, and a set-up of its C library that is not the base's.
var foreignFiles = map[string]string{
	"etc/host.conf":                    "multi off\n",
	"etc/ld.so.conf":                   "/usr/lib/foreign\ninclude /etc/ld.so.conf.d/*.conf\n",
	"etc/ld.so.conf.d/00-foreign.conf": "/usr/local/lib/foreign\n/usr/lib64\n",
	"etc/locale.conf":                  "LANG=de_DE.UTF-8\n",
	"etc/nsswitch.conf":                "passwd: files\ngroup: files\nshadow: files\nhosts: dns files\nnetworks: dns\n",
	"etc/os-release":                   "NAME=Foreign\nID=foreign\n",
	"usr/include/greet.h":              "#define greet_version() 3\n",
	"usr/lib/foreign/only-here":        "",
	"usr/share/lab-local/note":         "foreign\n",
}

// foreignGen stands for lab-tools/gen.
const foreignGen = `#!/bin/sh
printf '#include <stdio.h>\nint main(void) { return puts("foreign") < 0; }\n'
`

// mountForeign mounts an overlay on the base as a client has it, and takes Gentoo out of it. /var/lib is a directory
// of this machine: an overlay can hold neither what is ID-mapped nor the upper layers of other overlays.
func (h *hostSpec) mountForeign(root string) error {
	if err := h.mountClient(root); err != nil {
		return err
	}
	for _, lib := range []string{"libgreet.so.1", "libgreet.so.2"} {
		if err := h.inRoot(root, foreignGreet, "gcc", "-pipe", "-shared", "-fPIC", "-Wl,-soname,"+lib,
			"-x", "c", "-", "-o", "/usr/lib/"+lib); err != nil {
			return err
		}
	}
	for _, pattern := range gentooOnly {
		paths, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			return err
		}
		for _, path := range paths {
			if err := os.RemoveAll(path); err != nil {
				return err
			}
		}
	}
	if err := h.writeForeign(root); err != nil {
		return err
	}
	if err := h.inRoot(root, "", "ldconfig"); err != nil {
		return err
	}
	disk := filepath.Join(h.Dir, "var-lib")
	if err := os.Mkdir(disk, 0o755); err != nil {
		return err
	}
	return bind(disk, filepath.Join(root, "var/lib"), 0)
}

// inRoot runs a program in a root that nobody is in yet.
func (h *hostSpec) inRoot(root, stdin, name string, args ...string) error {
	cmd := exec.Command("/usr/bin/env", append([]string{name}, args...)...)
	cmd.Dir, cmd.Env, cmd.Stdin = "/", environment, strings.NewReader(stdin)
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, out)
	}
	return nil
}

// portageAccount is the line of Portage's user or group.
var portageAccount = regexp.MustCompile(`(?m)^portage:.*\n`)

// writeForeign writes what a Foreign host has and Gentoo has not.
func (h *hostSpec) writeForeign(root string) error {
	for name, text := range foreignFiles {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		_ = os.Remove(path) // it may be a symbolic link
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return err
		}
	}
	for _, name := range []string{"etc/passwd", "etc/group"} {
		path := filepath.Join(root, name)
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := os.WriteFile(path, portageAccount.ReplaceAll(text, nil), 0o644); err != nil {
			return err
		}
	}
	if err := os.Symlink("libgreet.so.2", filepath.Join(root, "usr/lib/libgreet.so")); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(root, "usr/bin/lab-gen"), []byte(foreignGen), 0o755)
}
