package daemon

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"lantage/build"
	"lantage/discovery"
	"lantage/gentoo"
	"lantage/rootfs"
	"lantage/trust"
	"lantage/wire"
)

// Command is `lantage serve`.
type Command struct {
	Listen         string   // host:port
	Name           string   // empty: the machine's host name
	StateDir       string   // copies of clients' roots, PKGDIR caches, distfiles and the jobs' directories
	MaxJobs        int      // how many jobs run at once
	MaxWaiting     int      // how many wait
	MaxConnections int      // how many connections there are at once
	Bases          []string // "host", or directories with a whole system in them; the first is preferred
	Allow          string   // AllowLAN or AllowPaired
	Plain          bool     // do not encrypt
	NoAdvertise    bool
	Interfaces     []string     // to advertise on; none: all that fit
	Limits         build.Limits // of each job
	Version        string
	Logger         *slog.Logger

	// advertise is discovery.Advertise; tests put their own in its place.
	advertise func(context.Context, func() discovery.Info, int, discovery.AdvertiseOptions) error
	// portages are the answers of those that were asked, by their base.
	portages map[string]ownPortage
}

// Run serves until ctx ends. Before it accepts anything it proves that this machine can make build roots,
// so that what is missing is said at once and to its owner.
func (c *Command) Run(ctx context.Context) error {
	c.Logger = limitLog(c.Logger)
	if os.Geteuid() != 0 {
		return errors.New("lantage serve makes build roots, for which it must run as root (sudo lantage serve)")
	}
	if c.Plain && c.Allow == AllowPaired {
		return errors.New("--plain and --allow=paired: without encryption no client can be told from another; leave one of them out")
	}
	if err := os.MkdirAll(c.StateDir, 0o700); err != nil {
		return fmt.Errorf("the state directory: %w", err)
	}
	// Also where it was there before: a job can leave a setuid program of root's in its PKGDIR, which must be for nobody.
	if err := os.Chmod(c.StateDir, 0o700); err != nil {
		return fmt.Errorf("the state directory: %w", err)
	}
	// The ends of the jobs' paths: a build root resolves them itself.
	stateDir, err := filepath.EvalSymlinks(c.StateDir)
	if err != nil {
		return fmt.Errorf("the state directory: %w", err)
	}
	unlock, err := lockState(stateDir)
	if err != nil {
		return err
	}
	defer unlock()
	ln, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return explainListen(c.Listen, err)
	}
	defer ln.Close()
	own, clients, err := c.bases(ctx, stateDir)
	if err != nil {
		return err
	}
	runner := &build.Runner{
		StateDir: stateDir, Cores: runtime.NumCPU(), Memory: memory(), Bases: own, Limits: c.Limits, Logger: c.Logger,
	}
	if err := c.enforce(runner, stateDir); err != nil {
		return err
	}
	if err := runner.Check(ctx); err != nil {
		return err
	}
	hello, err := c.hello(ctx, runner, clients, stateDir)
	if err != nil {
		return err
	}
	s := &Server{
		Runner: runner, StateDir: stateDir, Hello: hello, JobLimit: c.MaxJobs, Logger: c.Logger,
		MaxConnections: c.MaxConnections, MaxWaiting: c.MaxWaiting, PairedOnly: c.Allow == AllowPaired,
	}
	if err := c.identify(s); err != nil {
		return err
	}
	if s.DistDirs, err = distDirs(own); err != nil {
		return err
	}
	if clients {
		if err := runner.CheckEmpty(ctx); err != nil {
			return err
		}
		if s.Roots, err = rootfs.OpenStore(filepath.Join(stateDir, rootsDir), c.Logger); err != nil {
			return fmt.Errorf("the copies of clients' roots: %w", err)
		}
		defer s.Roots.Close()
	}
	key := "none: not encrypted"
	if s.Identity != nil {
		key = s.Identity.Key.String()
	}
	c.Logger.Info("ready for jobs", "name", hello.Name, "key", key, "allow", c.Allow, "address", ln.Addr(), "chost", hello.CHOST, "cores", hello.Cores,
		"jobs", c.MaxJobs, "portage", hello.Portage, "bases", strings.Join(hello.Bases, ","), "version", c.Version)
	return c.serve(ctx, s, ln)
}

// Whose jobs a builder takes.
const (
	AllowLAN    = "lan"    // those of all machines on networks that this one is on
	AllowPaired = "paired" // those of clients that were paired or allowed, wherever they are
)

// identify loads this builder's key, and makes sure that the book of its clients can be read.
func (c *Command) identify(s *Server) (err error) {
	if _, err := clientsOf(s.StateDir).Peers(); err != nil {
		return fmt.Errorf("the clients that are known: %w", err)
	}
	if c.Plain {
		c.Logger.Warn("connections are not encrypted: who can reach this port can submit jobs, and read and change what goes over the network")
		return nil
	}
	s.Identity, err = trust.LoadIdentity(s.StateDir)
	return err
}

// enforce sets up what holds the jobs' limits, and tells the owner how each is held, in the log and, for lantage doctor, in a file.
func (c *Command) enforce(runner *build.Runner, stateDir string) error {
	if err := c.Limits.Validate(); err != nil {
		return err
	}
	inForce, err := runner.Enforce()
	if err != nil {
		c.Logger.Info("jobs have no control groups: a watchdog holds their limits", "reason", err)
	}
	var held []any
	for _, l := range inForce {
		held = append(held, l.Name, l.String())
	}
	c.Logger.Info("limits of each job", held...)
	return build.NoteInForce(stateDir, inForce)
}

// serve runs the server, and the advertiser beside it: mDNS that fails is no reason to end a builder that
// can be named.
func (c *Command) serve(ctx context.Context, s *Server, ln net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	advertise := discovery.Advertise
	if c.advertise != nil {
		advertise = c.advertise
	}
	advertised := make(chan struct{})
	go func() {
		defer close(advertised)
		if c.NoAdvertise {
			return
		}
		port := ln.Addr().(*net.TCPAddr).Port
		info := func() discovery.Info {
			a := advertisement(s.hello())
			if s.Identity != nil {
				a.Fingerprint = s.Identity.Key.String()
			}
			return a
		}
		opt := discovery.AdvertiseOptions{Interfaces: c.Interfaces, Logger: c.Logger}
		if err := advertise(ctx, info, port, opt); err != nil {
			c.Logger.Error("this builder is not advertised; clients need LANTAGE_HOST", "error", err)
		}
	}()
	err := s.control(ctx)
	if err == nil {
		err = s.Serve(ctx, ln)
	}
	cancel()
	<-advertised // its goodbye
	return err
}

// advertisement is what mDNS tells of a hello.
func advertisement(h wire.Hello) discovery.Info {
	return discovery.Info{
		ID: h.ID, Name: h.Name, Proto: wire.NewestVersion, CHOST: h.CHOST, Cores: h.Cores, Memory: h.Memory,
		Jobs: h.Jobs, Waiting: h.Waiting, JobLimit: h.JobLimit, Load: h.Load, Software: h.Software,
		Arch: h.Arch, CPU: h.CPU, Portage: h.Portage, Bases: baseKinds(h.Bases),
	}
}

// baseKinds are the kinds of the bases with the names; the directories themselves are for the hello.
func baseKinds(names []string) []string {
	var kinds []string
	for _, name := range names {
		if filepath.IsAbs(name) {
			name = "dir"
		}
		if !slices.Contains(kinds, name) {
			kinds = append(kinds, name)
		}
	}
	return kinds
}

// hello asks this machine what clients want to know of it.
func (c *Command) hello(ctx context.Context, runner *build.Runner, clients bool, stateDir string) (wire.Hello, error) {
	var portage ownPortage
	var compiler []byte
	if len(runner.Bases) > 0 {
		var err error
		base := runner.Bases[0]
		if portage, err = c.askPortage(ctx, base); err != nil {
			return wire.Hello{}, fmt.Errorf("the %s base has no Portage that answers; is it installed? %w", base.Name(), err)
		}
		// A base without a compiler builds what needs none.
		compiler, _ = base.Query(ctx, portage.chost+"-gcc", "--version")
	}
	id, err := stableID(filepath.Join(stateDir, "id"))
	if err != nil {
		return wire.Hello{}, err
	}
	h := wire.Hello{
		Name: c.Name, Software: c.Version, ID: id, CHOST: portage.chost,
		Arch: machine(), CPU: cpuLevel(), Features: cpuFeatures(), Portage: portage.version, Cores: runner.Cores, Memory: int(runner.Memory >> 20), JobLimit: c.MaxJobs,
		Compiler:  gentoo.FirstLine(string(compiler)),
		Distfiles: true,
	}
	if clients {
		h.Bases = []string{wire.BaseClient}
	}
	for _, b := range runner.Bases {
		h.Bases = append(h.Bases, b.Name())
	}
	if h.Name == "" {
		if h.Name, err = os.Hostname(); err != nil {
			return h, err
		}
	}
	return h, advertisement(h).Validate()
}

// ownPortage is what the Portage of a base says of itself.
type ownPortage struct{ chost, version string }

// askPortage asks a base's Portage, once: it takes its time to start. So both questions go at the same time, too, to the program
// that answers them sooner than emerge.
func (c *Command) askPortage(ctx context.Context, base build.OwnBase) (ownPortage, error) {
	if said, ok := c.portages[base.Name()]; ok {
		return said, nil
	}
	type answer struct {
		out []byte
		err error
	}
	asked := make(chan answer, 1)
	go func() {
		out, err := base.Query(ctx, "portageq", "--version")
		asked <- answer{out, err}
	}()
	chost, err := base.Query(ctx, "portageq", "envvar", "CHOST")
	version := <-asked
	if err = cmp.Or(err, version.err); err != nil {
		return ownPortage{}, err
	}
	said := ownPortage{strings.TrimSpace(string(chost)), portageVersion(string(version.out))}
	if c.portages == nil {
		c.portages = map[string]ownPortage{}
	}
	c.portages[base.Name()] = said
	return said, nil
}

// portageVersion reads "Portage 3.0.83", as `portageq --version` prints it.
func portageVersion(text string) string {
	version, _ := strings.CutPrefix(gentoo.FirstLine(text), "Portage ")
	return strings.TrimSpace(version)
}

// stableID reads the builder's ID, or makes one on the first start: 16 random hexadecimal digits.
func stableID(file string) (string, error) {
	b, err := os.ReadFile(file)
	if err == nil && len(strings.TrimSpace(string(b))) == 16 {
		return strings.TrimSpace(string(b)), nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	var random [8]byte
	_, _ = rand.Read(random[:])
	id := hex.EncodeToString(random[:])
	return id, os.WriteFile(file, []byte(id+"\n"), 0o600)
}

// lockState makes a second daemon on the same state directory stop: it would take the first one's jobs for
// leftovers.
func lockState(dir string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("another lantage serve uses %s; stop it, or give this one a directory of its own "+
			"(--state-dir)", dir)
	}
	return func() { f.Close() }, nil
}

func explainListen(addr string, err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%s is in use: another lantage serve may run here already (lantage list-builders), or give "+
			"another port (lantage serve --listen :8474; clients then need LANTAGE_PORT only if they name this builder)",
			addr)
	}
	return fmt.Errorf("cannot listen: %w", err)
}

// rootsDir is the folder of the state directory with the copies of clients' roots.
const rootsDir = "roots"

// bases turns the names that the owner gave into bases of this machine's own, and says whether clients' roots are one.
func (c *Command) bases(ctx context.Context, stateDir string) (own []build.OwnBase, clients bool, err error) {
	host := build.HostBase{StateDir: stateDir}
	for _, name := range c.Bases {
		switch {
		case name == "auto":
			clients = true
			if c.hostServes(ctx, host, stateDir) {
				own = append(own, host)
			}
		case name == wire.BaseClient:
			clients = true
		case name == "host":
			own = append(own, host)
		case filepath.IsAbs(name):
			own = append(own, build.DirBase{Dir: filepath.Clean(name)})
		default:
			return nil, false, fmt.Errorf("there is no base %q: auto, %s, host, or the absolute path of a directory with a whole "+
				"system in it", name, wire.BaseClient)
		}
	}
	return own, clients, nil
}

// hostServes reports whether this machine can be a base: it has Portage, and its root can be the layer of a build root. If
// only the latter is wanting, its owner may want to know.
func (c *Command) hostServes(ctx context.Context, host build.HostBase, stateDir string) bool {
	if _, err := c.askPortage(ctx, host); err != nil {
		return false
	}
	r := &build.Runner{StateDir: stateDir, Bases: []build.OwnBase{host}, Logger: c.Logger}
	if err := r.Check(ctx); err != nil {
		c.Logger.Warn("the base host is not offered", "error", err)
		return false
	}
	return true
}

// drainTime is how long sessions may take to say goodbye when the daemon ends.
const drainTime = 5 * time.Second
