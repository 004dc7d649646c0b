package client

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"lantage/gentoo"
	"lantage/rootfs"
)

// withoutCredentials is what of a file's content leaves this machine.
func withoutCredentials(content []byte) []byte {
	return []byte(gentoo.WithoutCredentials(string(content)))
}

// sentEnv is what of the environment leaves this machine, and the names of those variables of it that lose something which may change
// what is built: with the places where files come from that is not so.
func sentEnv(env []string) (sent, lose []string) {
	for _, v := range env {
		without := gentoo.WithoutCredentials(v)
		name, _, _ := strings.Cut(v, "=")
		if without != v && name != "GENTOO_MIRRORS" && name != "PORTAGE_REPOSITORIES" {
			lose = append(lose, name)
		}
		sent = append(sent, without)
	}
	return sent, lose
}

// secretInput is a file that is part of what a package is built from and that does not leave this machine as it is: a builder would
// build another package. "" where there is none. Of the repositories only those count that this machine alone has.
func (h *home) secretInput(p gentoo.Package, f facts) string {
	var found string
	look := func(dir string, wanted func(name string) bool) {
		_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			switch {
			case found != "":
				return fs.SkipAll
			case err != nil || path == dir || filepath.Dir(path) == dir && !wanted(d.Name()) || noContent(d.Name()):
			case rootfs.SecretName(d.Name()) || !d.IsDir() && hasCredentials(path):
				found = path
			default:
				return nil
			}
			if d != nil && d.IsDir() && path != dir {
				return fs.SkipDir
			}
			return nil
		})
	}
	for _, r := range h.repos {
		if !r.IsOverlay() {
			continue
		}
		if r.Name == p.Repo {
			look(filepath.Join(r.Location, p.CPV.CP()), func(name string) bool {
				return name == p.CPV.PF()+".ebuild" || name == "files"
			})
		}
		look(filepath.Join(r.Location, "eclass"), func(name string) bool {
			return slices.Contains(f.Inherited, strings.TrimSuffix(name, ".eclass"))
		})
	}
	for _, dir := range []string{"patches", "savedconfig"} {
		look(filepath.Join(h.configRoot, "etc/portage", dir, p.CPV.Category), func(name string) bool {
			rest, ours := strings.CutPrefix(name, p.CPV.Name)
			return ours && (rest == "" || rest[0] == '-' || rest[0] == ':')
		})
	}
	return found
}

// hasCredentials reports whether a file goes with another text because of credentials in it.
func hasCredentials(path string) bool {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() || info.Size() > rootfs.MaxText {
		return false
	}
	content, err := os.ReadFile(path)
	return err == nil && !bytes.Equal(withoutCredentials(content), content)
}
