package build

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// Base is what a build root has below the job's own layer. Its trees are never written to.
type Base interface {
	// Name is how a client asks for it: "host", or the directory that the builder's owner gave.
	Name() string
	// Layers are the trees that make up the base, the root first, each after the one that it is mounted in.
	Layers() ([]Layer, error)
	// Masks are directories, as seen inside, whose contents jobs must not see, and files that they must not
	// see.
	Masks() (dirs, files []string)
	// Fingerprint changes when packages are merged into the base: a job that sees it change does not trust
	// its results.
	Fingerprint() (string, error)
	// adapt says what of a job can be built on the base, and what the build root needs for it.
	adapt(ctx context.Context, job Job) (adapted, error)
}

// OwnBase is a base that the builder has of its own.
type OwnBase interface {
	Base
	// Query runs a command of the base's own Portage that changes nothing, such as portageq, and returns
	// its output.
	Query(ctx context.Context, argv ...string) ([]byte, error)
}

// adapted is a job as it is built on a base.
type adapted struct {
	pkgs      []Package                             // what is built, in order
	declined  []PackageReport                       // what cannot be, and why
	pkgDir    string                                // the job's PKGDIR, below the builder's directory for them: a build settings key, see key.go
	binds     []bind                                // what the base does not have
	key       func(context.Context) (string, error) // computes pkgDir anew; nil: the base does not change
	roDistDir string                                // where distfiles of the base are seen inside, if there are any
}

// still says that the base's repositories are no longer what they were when the job was adapted.
func (a adapted) still(ctx context.Context) error {
	if a.key == nil {
		return nil
	}
	switch now, err := a.key(ctx); {
	case err != nil:
		return err
	case now != a.pkgDir:
		return errors.New("the builder's repositories were changed while the job ran: what it builds from now on is not trusted")
	}
	return nil
}

// Layer is one read-only tree of a base.
type Layer struct {
	Source string // on this machine
	Target string // inside the build root, absolute
}

// HostBase is the builder's own root file system.
type HostBase struct {
	StateDir string // Lantage's own, to be masked
}

// Name implements Base.
func (HostBase) Name() string { return "host" }

// Layers implements Base: the root, and the other file systems that hold what a build reads. An overlay
// sees one file system only, so each needs a layer of its own.
func (HostBase) Layers() ([]Layer, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	layers := []Layer{{"/", "/"}}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		target, fstype := mountOf(lines.Text())
		fi, err := os.Lstat(target)
		if !buildReads(target) || pseudoFS[fstype] || err != nil || !fi.IsDir() ||
			slices.Contains(layers, Layer{target, target}) {
			continue
		}
		layers = append(layers, Layer{target, target})
	}
	return layers, lines.Err()
}

// pseudoFS are file systems that hold no files of a system.
var pseudoFS = map[string]bool{
	"autofs": true, "bpf": true, "cgroup": true, "cgroup2": true, "devpts": true, "devtmpfs": true,
	"fuse.portal": true,
	"mqueue":      true, "nsfs": true, "proc": true, "ramfs": true, "sysfs": true, "tmpfs": true, "vfat": true,
}

// mountOf returns mount point and type of a line of /proc/self/mountinfo (proc(5)).
func mountOf(line string) (target, fstype string) {
	before, after, _ := strings.Cut(line, " - ")
	fields := strings.Fields(before)
	if len(fields) < 5 {
		return "", ""
	}
	fstype, _, _ = strings.Cut(after, " ")
	return unescapeMount.Replace(fields[4]), fstype
}

var unescapeMount = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

// buildReads reports whether a file system mounted at target is part of the installed system or of its
// repositories.
func buildReads(target string) bool {
	switch target {
	case "/usr", "/opt", "/etc", "/lib", "/lib32", "/lib64", "/bin", "/sbin", "/var", "/var/db", "/var/lib",
		"/var/lib/portage":
		return true
	}
	for _, top := range []string{"/usr/", "/opt/", "/var/db/"} {
		if strings.HasPrefix(target, top) {
			return true
		}
	}
	return false
}

// Masks implements Base.
func (b HostBase) Masks() (dirs, files []string) { return hostMasks("/", b.StateDir) }

// Query implements Base.
func (HostBase) Query(ctx context.Context, argv ...string) ([]byte, error) {
	return query(ctx, "/", argv)
}

// Fingerprint implements Base.
func (HostBase) Fingerprint() (string, error) { return vdbFingerprint("/") }

func (b HostBase) adapt(ctx context.Context, job Job) (adapted, error) { return adaptOwn(ctx, b, job) }

// DirBase is a directory with a whole system in it, such as an unpacked stage3.
type DirBase struct{ Dir string }

// Name implements Base.
func (b DirBase) Name() string { return b.Dir }

// Layers implements Base.
func (b DirBase) Layers() ([]Layer, error) { return []Layer{{b.Dir, "/"}}, nil }

// Masks implements Base: such a system has no secrets of this machine; what jobs are given a place of their
// own for is cleared.
func (b DirBase) Masks() (dirs, files []string) {
	return []string{"/var/cache", "/var/log", "/var/tmp"}, []string{"/etc/make.conf"}
}

// Query implements Base.
func (b DirBase) Query(ctx context.Context, argv ...string) ([]byte, error) {
	return query(ctx, b.Dir, argv)
}

// Fingerprint implements Base.
func (b DirBase) Fingerprint() (string, error) { return vdbFingerprint(b.Dir) }

func (b DirBase) adapt(ctx context.Context, job Job) (adapted, error) { return adaptOwn(ctx, b, job) }

// query runs a command in the system below root.
func query(ctx context.Context, root string, argv []string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = baseEnv()
	if root != "/" {
		cmd.Path = filepath.Join("/usr/bin", argv[0]) // looked up inside
		cmd.Err = nil
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
		cmd.Dir = "/"
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return out, nil
}

// vdbFingerprint is a hash over the names and times of the VDB's categories: Portage renames a package's
// entry into and out of them.
func vdbFingerprint(root string) (string, error) {
	vdb := filepath.Join(root, "var/db/pkg")
	entries, err := os.ReadDir(vdb)
	if err != nil && !os.IsNotExist(err) {
		return "", err
	}
	sum := sha256.New()
	for _, e := range entries {
		fi, err := os.Stat(filepath.Join(vdb, e.Name()))
		if err != nil || !fi.IsDir() {
			continue
		}
		fmt.Fprintln(sum, e.Name(), fi.ModTime().UnixNano())
	}
	return fmt.Sprintf("%x", sum.Sum(nil)), nil
}
