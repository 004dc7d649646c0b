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

// mixedDirs are where what is installed lies beside settings and data of services, with passwords and keys among them, wherever a
// service wants them. What not everybody may read there is hidden: Portage's own user, who builds, could not read it on this machine
// either.
var mixedDirs = []string{"/etc", "/opt", "/usr/local", "/var/lib/gentoo", "/var/lib/misc", "/var/lib/portage", "/var/lib/texmf"}

// What is in one of the mixedDirs is looked through for each job. One thing there that has more files than any program, or in which
// more is hidden than can be while a job waits, is hidden as a whole.
var (
	maxInstalled = 200_000
	maxHidden    = 1000
)

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
	dirs = append(dirs, stateDir)
	for _, dir := range mixedDirs {
		entries, err := os.ReadDir(filepath.Join(root, dir))
		if err != nil && !os.IsNotExist(err) || closed(filepath.Join(root, dir)) {
			dirs = append(dirs, dir)
			continue
		}
		for _, e := range entries {
			d, f := unreadable(root, filepath.Join(dir, e.Name()), dirs)
			dirs, files = append(dirs, d...), append(files, f...)
		}
	}
	files = append(files, privateFiles...)
	// What is hidden in a directory that is hidden itself is not there any more.
	slices.Sort(dirs)
	dirs = slices.Compact(dirs)
	outer := slices.DeleteFunc(slices.Clone(dirs), func(d string) bool { return d != stateDir && insideOne(dirs, d) })
	files = slices.DeleteFunc(files, func(f string) bool { return insideOne(outer, f) })
	slices.Sort(files)
	return outer, slices.Compact(files)
}

// unreadable are the directories and files at and below a path of the system below root that not everybody may read, but for those
// in the directories that are hidden anyway.
func unreadable(root, top string, hidden []string) (dirs, files []string) {
	seen := 0
	_ = filepath.WalkDir(filepath.Join(root, top), func(path string, e fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(root, path)
		inside := filepath.Join("/", rel)
		seen++
		switch {
		case seen > maxInstalled || len(dirs)+len(files) > maxHidden:
			return fs.SkipAll
		case err != nil && e != nil && e.IsDir() && !os.IsNotExist(err): // what is in it is not known
			dirs = append(dirs, inside)
			return fs.SkipDir
		case err != nil:
			return fs.SkipDir
		case e.IsDir() && slices.Contains(hidden, inside):
			return fs.SkipDir
		case e.IsDir() && closed(path):
			dirs = append(dirs, inside)
			return fs.SkipDir
		case e.IsDir() || e.Type() == fs.ModeSymlink:
			return nil
		}
		if fi, err := e.Info(); err == nil && fi.Mode()&0o004 == 0 {
			files = append(files, inside)
		}
		return nil
	})
	if seen > maxInstalled || len(dirs)+len(files) > maxHidden {
		return []string{top}, nil
	}
	return dirs, files
}

// closed reports whether not everybody may look into a directory.
func closed(dir string) bool {
	fi, err := os.Stat(dir)
	return err == nil && fi.Mode()&0o005 != 0o005
}

// insideOne reports whether path lies below one of the directories.
func insideOne(dirs []string, path string) bool {
	return slices.ContainsFunc(dirs, func(d string) bool {
		rel, err := filepath.Rel(d, path)
		return err == nil && rel != "." && filepath.IsLocal(rel)
	})
}
