package build

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// The ID range of build roots. It begins above what distributions hand out to users (/etc/subuid) and what
// systemd assigns to containers (524288 to 1879048191), and every running job has a range of its own.
const (
	firstID  = 1_900_000_000
	idsOfJob = 65536
)

// rootSpec describes one build root to the processes that make it and live in it (setup.go, init.go). It
// crosses to them as JSON.
type rootSpec struct {
	Dir      string      // the job's directory for lower, upper, work and root
	FirstID  int         // the outside ID of root inside
	Layers   []Layer     // of the base, the root first
	Binds    []bind      // mounted over the layers, in order
	MaskDirs []string    // hidden behind an empty directory
	Remove   []string    // files that are not there inside
	Files    []plainFile // files that are there inside instead
	Inputs   string      // of the job, with files that have another content inside; see resolved.go
	MakeConf string      // appended to the client's make.conf
	HostName string      // empty: the builder's
	Limits   Limits
	Argv     []string // none: nothing is run
	Env      []string
}

// bind is a directory of the builder that shows in the build root.
type bind struct {
	Source   string // on the builder
	Target   string // inside
	IDMap    bool   // owners are the same numbers inside as on the builder
	ReadOnly bool
}

// plainFile is a file with content of ours, owned by root inside.
type plainFile struct {
	Path string
	Mode os.FileMode
	Data []byte
}

// layerDir names the directories that layer i needs below spec.Dir.
func (s *rootSpec) layerDir(kind string, i int) string {
	return filepath.Join(s.Dir, fmt.Sprintf("%s-%d", kind, i))
}

// mountpoint is where the build root is mounted for the job, in the job's own mount namespace only.
func (s *rootSpec) mountpoint() string { return filepath.Join(s.Dir, "root") }

// prepare makes the directories of the build root on disk: whose owner matters belongs to root inside.
func (s *rootSpec) prepare() error {
	dirs := []string{s.mountpoint()}
	for i := range s.Layers {
		dirs = append(dirs, s.layerDir("lower", i), s.layerDir("upper", i), s.layerDir("work", i))
	}
	for _, d := range dirs {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
		if err := os.Chown(d, s.FirstID, s.FirstID); err != nil {
			return err
		}
	}
	return nil
}

// ownDir makes a directory of the job that belongs to root inside.
func (s *rootSpec) ownDir(name string, mode os.FileMode) (string, error) {
	dir := filepath.Join(s.Dir, name)
	if err := os.MkdirAll(dir, mode); err != nil {
		return "", err
	}
	if err := os.Chmod(dir, mode); err != nil { // past the umask
		return "", err
	}
	return dir, os.Chown(dir, s.FirstID, s.FirstID)
}

// file is a file in memory with the spec, for the process that it is handed to.
func (s *rootSpec) file() (*os.File, error) {
	fd, err := unix.MemfdCreate("spec", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("cannot describe the build root: %w", err)
	}
	f := os.NewFile(uintptr(fd), "spec")
	if err := json.NewEncoder(f).Encode(s); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// readSpec reads the spec from a descriptor of its file, from the beginning.
func readSpec(fd int) (*rootSpec, error) {
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(own), "spec")
	defer f.Close()
	s := new(rootSpec)
	return s, json.NewDecoder(io.NewSectionReader(f, 0, math.MaxInt64)).Decode(s)
}
