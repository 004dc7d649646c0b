package build

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// kept are the directories of a builder that are part of its installed system. What else lies beside them is people's or services'
// data, and hidden: a builder may have directories of any name.
var kept = map[string][]string{
	"/": {
		"bin", "dev", "etc", "lib", "lib32", "lib64", "libx32", "opt", "proc", "run", "sbin", "sys", "tmp", "usr", "var",
	},
	"/var":     {"db", "lib"},
	"/var/db":  {"pkg", "repos"},
	"/var/lib": {"gentoo", "misc", "portage", "texmf"},
}

// privateDirs are directories of the kept ones that hold keys, or tell of the builder and its networks, and nothing that a build
// reads.
var privateDirs = []string{
	"/etc/NetworkManager", "/etc/cron.d", "/etc/docker", "/etc/ipsec.d", "/etc/iwd", "/etc/lantage", "/etc/letsencrypt", "/etc/openvpn",
	"/etc/pki", "/etc/portage", "/etc/ssh", "/etc/ssl/private", "/etc/sudoers.d", "/etc/wireguard", "/etc/wpa_supplicant",
}

// privateFiles likewise; the client's make.conf is elsewhere.
var privateFiles = []string{
	"/etc/gshadow", "/etc/gshadow-", "/etc/krb5.keytab", "/etc/machine-id", "/etc/make.conf", "/etc/security/opasswd", "/etc/shadow",
	"/etc/shadow-", "/etc/sudoers",
}

// settingsDirs are where a system's settings lie, with passwords and keys among them, wherever a service wants them. What not
// everybody may read there is hidden: Portage's own user, who builds, could not read it on this machine either.
var settingsDirs = []string{"/etc", "/usr/local/etc"}

// hostMasks are the directories and files of the system below root that jobs must not see, as seen inside.
func hostMasks(root, stateDir string) (dirs, files []string) {
	for dir, names := range kept {
		entries, _ := os.ReadDir(filepath.Join(root, dir))
		for _, e := range entries {
			path := filepath.Join(dir, e.Name())
			switch {
			case e.IsDir() && !slices.Contains(names, e.Name()):
				dirs = append(dirs, path)
			case e.Type().IsRegular(): // a swap file, or the key of a disk
				files = append(files, path)
			}
		}
	}
	for _, dir := range privateDirs {
		if fi, err := os.Lstat(filepath.Join(root, dir)); err == nil && fi.IsDir() {
			dirs = append(dirs, dir)
		}
	}
	for _, dir := range settingsDirs {
		_ = filepath.WalkDir(filepath.Join(root, dir), func(path string, e fs.DirEntry, err error) error {
			if err != nil {
				return fs.SkipDir
			}
			rel, _ := filepath.Rel(root, path)
			inside := filepath.Join("/", rel)
			fi, err := e.Info()
			switch {
			case err != nil:
			case fi.IsDir() && slices.Contains(dirs, inside):
				return fs.SkipDir
			case fi.IsDir() && fi.Mode()&0o005 != 0o005:
				dirs = append(dirs, inside)
				return fs.SkipDir
			case !fi.IsDir() && fi.Mode()&fs.ModeSymlink == 0 && fi.Mode()&0o004 == 0:
				files = append(files, inside)
			}
			return nil
		})
	}
	dirs = append(dirs, stateDir)
	files = append(files, privateFiles...)
	// What is hidden in a directory that is hidden itself is not there any more.
	slices.Sort(dirs)
	dirs = slices.Compact(dirs)
	outer := slices.DeleteFunc(slices.Clone(dirs), func(d string) bool { return d != stateDir && insideOne(dirs, d) })
	files = slices.DeleteFunc(files, func(f string) bool { return insideOne(outer, f) })
	slices.Sort(files)
	return outer, slices.Compact(files)
}

// insideOne reports whether path lies below one of the directories.
func insideOne(dirs []string, path string) bool {
	return slices.ContainsFunc(dirs, func(d string) bool {
		rel, err := filepath.Rel(d, path)
		return err == nil && rel != "." && filepath.IsLocal(rel)
	})
}
