package lab

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Users of a host. Gentoo has the first everywhere; the second is somebody to be when a test must not be
// root.
const (
	portageID = 250
	larryID   = 1000
)

type ownDir struct {
	path string
	mode fs.FileMode
	id   int // user and group
}

// ownDirs are the places that a host has for itself and that hide what its base has there: the
// configuration, all that programs remember, and what an administrator installs.
var ownDirs = []ownDir{
	{path: "etc/portage", mode: 0o755},
	{path: "home", mode: 0o755},
	{path: "opt", mode: 0o755},
	{path: "root", mode: 0o700},
	{path: "srv", mode: 0o755},
	{path: "usr/local", mode: 0o755},
	{path: "var/cache", mode: 0o755},
	{path: "var/db", mode: 0o755},
	{path: "var/lib", mode: 0o755},
	{path: "var/log", mode: 0o755},
	{path: "var/tmp", mode: 0o777 | fs.ModeSticky},
}

// inOwnDirs are directories in those, as a fresh Gentoo system has them.
var inOwnDirs = []ownDir{
	{path: "home/larry", mode: 0o755, id: larryID},
	{path: "usr/local/bin", mode: 0o755},
	{path: "var/cache/binpkgs", mode: 0o755},
	{path: "var/cache/distfiles", mode: 0o775, id: portageID},
	{path: "var/cache/ldconfig", mode: 0o700},
	{path: "var/db/pkg", mode: 0o755},
	{path: "var/db/repos", mode: 0o755},
	{path: "var/lib/portage", mode: 0o775 | fs.ModeSetgid, id: portageID},
	{path: "var/lib/portage/home", mode: 0o755, id: portageID},
	{path: "var/log/portage", mode: 0o755 | fs.ModeSetgid, id: portageID},
	{path: "var/tmp/portage", mode: 0o775, id: portageID},
}

// globalRepos is where Portage's defaults name ::gentoo, which no host has.
const globalRepos = "usr/share/portage/config/repos.conf"

// ownFiles are single files that a host has for itself.
var ownFiles = []string{
	"etc/group", "etc/hostname", "etc/hosts", "etc/passwd", "etc/resolv.conf", globalRepos,
}

const reposConf = `[DEFAULT]
main-repo = lab

[lab]
location = /var/db/repos/lab
# Overlays name ::gentoo as their master.
aliases = gentoo
auto-sync = no
`

// There is no sys-apps/sandbox where Portage was installed on Debian. Of its other sandboxes (ipc, network, pid, mount) that
// for processes is off, too: for it each phase begins with a Python of its own, which took a tenth of the time of all tests.
const makeConf = `FEATURES="-sandbox -usersandbox -merge-sync -pid-sandbox"
`

// AllSandboxes is a line of make.conf, for hosts that have all the sandboxes of Portage's that there are in a lab.
const AllSandboxes = `FEATURES="-sandbox -usersandbox -merge-sync"
`

// writeOwn writes all that the host has for itself into dir.
func (h *hostSpec) writeOwn(dir string) error {
	for _, d := range slices.Concat(ownDirs, inOwnDirs) {
		path := filepath.Join(dir, d.path)
		if err := os.MkdirAll(path, 0o755); err != nil {
			return err
		}
		if err := errors.Join(os.Chown(path, d.id, d.id), os.Chmod(path, d.mode)); err != nil {
			return err
		}
	}
	passwd, err := accounts(filepath.Join(h.Base, "etc/passwd"),
		"larry:x:%d:%[1]d:Larry:/home/larry:/bin/bash\n")
	if err != nil {
		return err
	}
	group, err := accounts(filepath.Join(h.Base, "etc/group"), "larry:x:%d:\n")
	if err != nil {
		return err
	}
	files := map[string]string{
		"etc/group":                       group,
		"etc/hostname":                    h.Name + "\n",
		"etc/hosts":                       h.Names,
		"etc/passwd":                      passwd,
		"etc/portage/repos.conf/lab.conf": reposConf,
		"etc/resolv.conf":                 "",
		globalRepos:                       "",
		"etc/portage/make.conf":           makeConf + h.Files["make.conf"],
	}
	for name, text := range h.Files {
		if name != "make.conf" {
			files[filepath.Join("etc/portage", filepath.Join("/", name))] = text
		}
	}
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return err
		}
	}
	// As `eselect profile` writes it: relative.
	link := filepath.Join(dir, "etc/portage/make.profile")
	if err := os.Symlink("../../var/db/repos/lab/profiles/default", link); err != nil {
		return err
	}
	if err := os.CopyFS(filepath.Join(dir, "var/db/repos/lab"), os.DirFS(h.Repo)); err != nil {
		return fmt.Errorf("ebuild repository %s: %w", h.Repo, err)
	}
	return h.installBinary(filepath.Join(dir, "usr/local/bin"))
}

// accounts returns the base's /etc/passwd or /etc/group with larry in it.
func accounts(path, larry string) (string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	if bytes.HasPrefix(data, []byte("larry:")) || bytes.Contains(data, []byte("\nlarry:")) {
		return string(data), nil
	}
	return strings.TrimRight(string(data), "\n") + "\n" + fmt.Sprintf(larry, larryID), nil
}

// installBinary puts the program under test where `make install` does.
func (h *hostSpec) installBinary(dir string) error {
	if h.Binary == "" {
		return nil
	}
	src, err := os.Open(h.Binary)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.OpenFile(filepath.Join(dir, "lantage"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	if _, err := io.Copy(dst, src); err != nil {
		dst.Close()
		return err
	}
	if err := dst.Close(); err != nil {
		return err
	}
	return os.Symlink("lantage", filepath.Join(dir, "lantaged"))
}
