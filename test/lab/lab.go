// Package lab makes hosts for tests and for people to play with: each has network, mount, PID, IPC and UTS
// namespaces of its own, a throw-away root with real Portage in it, and its own /etc/portage, installed
// packages and PKGDIR. All hosts of a lab are joined by one network, which leads nowhere else.
//
// Processes. The program that calls [New], the owner, starts a keeper, and the keeper starts process 1 of
// each host. All are this same program, started again under another name; that is why an owner's main
// function, or its TestMain, must call [Main] before anything else. The keeper holds the network that the
// hosts are plugged into and the lab's directory, and ends when the pipe from its owner closes, however the
// owner ended: it kills the hosts' processes 1, with which the kernel ends every process there and takes
// their mounts and networks away, and removes the directory.
//
// Roots. The script base-root makes one plain directory, the base, that all labs share ("/" on Gentoo). A
// client's root is an overlay on it. A builder's root is the base itself, read-only, with directories of the
// host's own mounted over the places where state is kept, because an overlay cannot be the source of the
// ID-mapped mounts that a build root is made of. A builder that is not Gentoo is an overlay like a client, with a real
// directory for /var/lib: nothing else of it gets into a build root.
package lab

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"
)

// HostSpec says what a host is to be like. The zero value, with a name, is a client.
type HostSpec struct {
	Name string // its host name: letters, digits and dashes

	Builder      bool // the root is the base itself, not an overlay: what a builder's build roots need
	WritableBase bool // a Builder's base is not read-only, for a test that proves that nobody writes to it

	// Foreign makes a builder that is not Gentoo: it has no Portage, repositories or VDB, no compiler, another set-up of
	// its C library, and files of its own with the names of what the lab's packages install (lab-libs/greet prints 3,
	// lab-gen makes programs that print "foreign"). All that changes on it, but for /var/lib, shows in the directory
	// NAME/upper of the lab's.
	Foreign bool

	NoDefaultRoute bool // the host reaches the lab's network only, and has no route for anything else

	// Files lie below /etc/portage: path to contents. "make.conf" is added to the lab's own make.conf, so
	// that it wins where both say something.
	Files map[string]string

	// Share makes directories of this machine visible, read-only: path on the host to absolute path here.
	// On a Builder the path must be below /home, /opt, /root, /srv, /usr/local or /var.
	Share map[string]string
}

// Options say what a lab is to be like.
type Options struct {
	Hosts   []HostSpec // at least one, at most 200
	Dir     string     // holds the lab's own directory: on a real file system; default: $LANTAGE_LAB_DIR, else the cache
	RepoDir string     // ebuild repository, of which each host has a copy; default: testdata/repos/lab
	Binary  string     // program for /usr/local/bin/lantage, with the link lantaged; default: none
}

// Lab is a number of running hosts.
type Lab struct {
	Hosts []*Host
	Dir   string // what the lab keeps on this machine; gone after Close

	keeper *exec.Cmd
	leash  io.Closer // the pipe whose end ends the keeper
	said   bytes.Buffer
	close  func() error
	stop   func() bool
}

// New makes a lab, and first the base root if there is none yet, with its progress on standard error. The lab
// ends with Close, when ctx is cancelled, or with this process. Only root can make one.
func New(ctx context.Context, o Options) (*Lab, error) {
	s, err := newSpec(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("lab: %w", err)
	}
	l := new(Lab)
	l.close = sync.OnceValue(l.end)
	if err := l.start(s); err != nil {
		return nil, fmt.Errorf("lab: %w", err)
	}
	l.stop = context.AfterFunc(ctx, func() { _ = l.close() })
	return l, nil
}

var hostName = regexp.MustCompile(`^[a-zA-Z0-9-]{1,63}$`)

// newSpec checks the options and fills in what they leave open.
func newSpec(ctx context.Context, o Options) (s labSpec, err error) {
	if !mainCalled {
		return s, errors.New("the program must call lab.Main first thing in main or TestMain")
	}
	if os.Geteuid() != 0 {
		return s, errors.New("only root can make network namespaces and mounts: run this as root")
	}
	if n := len(o.Hosts); n == 0 || n > 200 {
		return s, fmt.Errorf("%d hosts: a lab has 1 to 200", n)
	}
	for i, h := range o.Hosts {
		if !hostName.MatchString(h.Name) {
			return s, fmt.Errorf("host name %q: letters, digits and dashes only", h.Name)
		}
		s.Hosts = append(s.Hosts, hostSpec{HostSpec: h, Number: i + 1})
	}
	s.Parent, s.Repo, s.Binary = cmp.Or(o.Dir, os.Getenv("LANTAGE_LAB_DIR")), o.RepoDir, o.Binary
	if s.Parent == "" {
		if s.Parent, err = Cache(); err != nil {
			return s, err
		}
	}
	if s.Repo == "" {
		root, err := repository()
		if err != nil {
			return s, err
		}
		s.Repo = filepath.Join(root, "testdata", "repos", "lab")
	}
	for _, path := range []*string{&s.Parent, &s.Repo, &s.Binary} {
		if *path == "" {
			continue
		}
		if *path, err = filepath.Abs(*path); err != nil {
			return s, err
		}
	}
	s.Base, err = Base(ctx)
	return s, err
}

// start starts the keeper and waits until all hosts are there.
func (l *Lab) start(s labSpec) error {
	spec, err := json.Marshal(s)
	if err != nil {
		return err
	}
	l.keeper = again(roleKeeper)
	l.keeper.Stderr = &l.said
	l.keeper.WaitDelay = 10 * time.Second // not for ever, should one of its hosts outlive it
	// In a session of its own the keeper outlives the Ctrl-C that ends its owner.
	l.keeper.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Setsid: true}
	in, err := l.keeper.StdinPipe()
	if err != nil {
		return err
	}
	out, err := l.keeper.StdoutPipe()
	if err != nil {
		return err
	}
	if err := l.keeper.Start(); err != nil {
		return fmt.Errorf("network namespace: %w", err)
	}
	l.leash = in
	var a answer
	if _, err = in.Write(append(spec, '\n')); err == nil {
		err = json.NewDecoder(bufio.NewReader(out)).Decode(&a)
	}
	if err == nil && a.Error != "" {
		err = errors.New(a.Error)
	}
	l.Dir = a.Dir
	if err != nil {
		return errors.Join(err, l.close())
	}
	for i, h := range s.Hosts {
		l.Hosts = append(l.Hosts, &Host{Name: h.Name, number: h.Number, pid: a.PIDs[i]})
	}
	return nil
}

// Host returns the host of that name. It panics if there is none: the caller named the hosts.
func (l *Lab) Host(name string) *Host {
	for _, h := range l.Hosts {
		if h.Name == name {
			return h
		}
	}
	panic("lab: no host " + name)
}

// Close ends every process on the hosts and removes everything the lab made. It may be called more than once.
func (l *Lab) Close() error {
	l.stop()
	return l.close()
}

func (l *Lab) end() error {
	_ = l.leash.Close()
	err := l.keeper.Wait()
	if l.Dir != "" {
		err = errors.Join(err, os.RemoveAll(l.Dir)) // nothing is left of it, unless the keeper was killed
	}
	if l.said.Len() > 0 {
		err = errors.Join(err, errors.New(strings.TrimSpace(l.said.String())))
	}
	if err != nil {
		return fmt.Errorf("taking the lab down: %w", err)
	}
	return nil
}

// Cache returns the directory that holds the base root and, by default, the labs: $LANTAGE_LAB_CACHE, else
// .cache/lab in the repository.
func Cache() (string, error) {
	dir := os.Getenv("LANTAGE_LAB_CACHE")
	if dir == "" {
		root, err := repository()
		if err != nil {
			return "", err
		}
		dir = filepath.Join(root, ".cache", "lab")
	}
	return dir, os.MkdirAll(dir, 0o755)
}

// Base returns the path of the base root, which the script base-root makes if there is none yet.
func Base(ctx context.Context) (string, error) {
	root, err := repository()
	if err != nil {
		return "", err
	}
	script := exec.CommandContext(ctx, filepath.Join(root, "test", "lab", "base-root"))
	script.Stderr = os.Stderr
	out, err := script.Output()
	if err != nil {
		return "", fmt.Errorf("making the base root: %w (test/lab/base-root says why)", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// repository finds the top of the source tree: the nearest directory above this one with a go.mod.
func repository() (string, error) {
	wd, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for dir := wd; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("%s is not inside Lantage's source tree", wd)
		}
	}
}
