package client

import (
	"cmp"
	"os"
	"path/filepath"
)

// Where what belongs to the machine is kept. The tests, which often run as root, put other places here.
var (
	stateHome = "/var/lib/lantage"
	cacheHome = "/var/cache/lantage"
	logHome   = "/var/log/lantage"
)

// mayMerge reports whether the results are for PKGDIR and emerge, and not for an archive.
func (e *Emerge) mayMerge() bool { return isRoot() && !e.NoInstall }

func isRoot() bool { return os.Geteuid() == 0 }

func (e *Emerge) logDir() string {
	switch {
	case e.LogDir != "":
		return e.LogDir
	case isRoot():
		return logHome
	}
	return filepath.Join(userState(e.Environ), "log")
}

// userState is where the XDG base directory specification puts what a program keeps for a user.
func userState(environ []string) string {
	if dir := lookupEnv(environ, "XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "lantage")
	}
	return filepath.Join(lookupEnv(environ, "HOME"), ".local/state/lantage")
}

// hostName is what this machine is called, for people.
func hostName() string {
	name, _ := os.Hostname()
	return cmp.Or(name, "client")
}
