// Lantage has the packages of a weak Gentoo machine built by a strong one on the same LAN, with the weak
// one's own configuration. One program is both ends; ARCHITECTURE.md shows the way of a job through its
// packages.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
	"golang.org/x/term"

	"lantage/build"
	"lantage/client"
	"lantage/daemon"
	"lantage/trust"
)

// version is set by the Makefile.
var version = "0.1-dev"

// cli is the grammar. Lantage's own flags stand before the word emerge; all that follows it belongs to
// emerge, but for --show-inputs.
type cli struct {
	Builder    string   `group:"all" help:"The builder: address, address:port, host name; or, of one on the LAN, its name, instance, or the beginning of its ID. It wins over discovery." placeholder:"NAME"`
	Host       string   `group:"all" hidden:"" env:"LANTAGE_HOST" placeholder:"HOST" help:"The builder's host name or address."`
	Port       string   `group:"all" help:"The builder's port, where --builder or LANTAGE_HOST does not say it." placeholder:"PORT" env:"LANTAGE_PORT"`
	Builders   []string `group:"all" hidden:"" placeholder:"HOST" help:"The only builders there are: host names or addresses."`
	Domains    []string `group:"all" help:"Look for builders in these DNS domains, too." placeholder:"DOMAIN"`
	Base       string   `group:"all" default:"auto" placeholder:"BASE" help:"What the packages are built on: client, a copy of this machine's root; host, the builder's own; or a directory of the builder's. auto is client for root, and for others host where it is equal (${default})."`
	Copy       []string `group:"all" hidden:"" placeholder:"PATH" help:"Directories of this machine that are part of its copy, too."`
	NoCopy     []string `group:"all" hidden:"" placeholder:"PATH" help:"Files and directories of this machine that are not part of its copy."`
	Local      []string `group:"all" placeholder:"ATOM" help:"Packages that are built here: category/name, where * stands for anything, or =category/name-version; :slot and ::repository may follow."`
	Remote     []string `group:"all" placeholder:"ATOM" help:"Packages that a builder builds, also where lantage would leave them here."`
	NoInstall  bool     `group:"all" help:"Keep the binary packages in an archive and print how to install them."`
	NoFallback bool     `group:"all" help:"Without a builder, stop instead of building here."`
	IgnoreCPU  bool     `group:"all" name:"ignore-cpu" help:"Take builders whose CPU cannot run what this machine's flags ask for, too: for those who know better."`
	Plain      bool     `group:"all" help:"Do not encrypt, neither here nor on the builder (lantage serve --plain): for links that are private already."`
	AcceptNew  bool     `group:"all" env:"LANTAGE_ACCEPT_NEW" help:"Use a builder that was never met without a question. One whose key has changed is refused all the same."`
	ShowInputs bool     `group:"all" act:"" help:"Show what would leave this machine for a builder, with what stays and why, and send nothing. It may follow the word emerge, too."`
	Verbose    bool     `group:"all" short:"v" help:"Show the build logs as they are written."`

	IgnoreRevisions bool `group:"all" help:"Build on a builder's own base also where its ebuild repositories are in another state than this machine's."`

	Emerge       emergeCmd       `cmd:"" passthrough:"" help:"Do what emerge does, with the building done elsewhere. All that follows this word is emerge's own, but for --show-inputs."`
	Serve        serveCmd        `cmd:"" help:"Be a builder."`
	ListBuilders listBuildersCmd `cmd:"" help:"Show the builders on the LAN."`
	Sync         syncCmd         `cmd:"" help:"Bring a builder's copy of this machine's root up to date."`
	Verify       verifyCmd       `cmd:"" help:"Show where the binary packages in PKGDIR come from, and whether they are still what came."`
	GC           gcCmd           `cmd:"" name:"gc" help:"Make room on a builder's disk."`
	Pair         pairCmd         `cmd:"" help:"Make a client and a builder known to each other: first on the builder, which shows a code, then on the client."`
	Trust        trustCmd        `cmd:"" help:"Show and change which builders and clients are trusted."`
	Doctor       doctorCmd       `cmd:"" help:"Check this machine as a client and as a builder, and say what mends what is wrong."`
	Version      versionCmd      `cmd:"" help:"Show the version."`
	BuildRoot    buildRootCmd    `cmd:"" hidden:""`
}

type emergeCmd struct {
	Args []string `arg:"" optional:"" help:"emerge's own arguments."`
}

type serveCmd struct {
	Listen         string   `default:":8473" placeholder:"ADDR:PORT" help:"Where to listen (${default})."`
	Name           string   `placeholder:"NAME" help:"What clients call this builder (the host name)."`
	StateDir       string   `default:"/var/lib/lantage" type:"path" placeholder:"DIR" help:"Where copies, caches and jobs live (${default})."`
	MaxJobs        int      `default:"1" placeholder:"N" help:"How many jobs run at once (${default})."`
	MaxWaiting     int      `default:"${waiting}" placeholder:"N" help:"How many more jobs wait; of one address a quarter (${default})."`
	MaxConnections int      `default:"${connections}" placeholder:"N" help:"How many connections there are at once; of one address a quarter (${default})."`
	Bases          []string `default:"auto" placeholder:"BASE" help:"What jobs are built on: client, copies of the clients' roots; host, this machine; a directory with a whole system. auto is client, and host on Gentoo (${default})."`
	Allow          string   `default:"lan" enum:"lan,paired" placeholder:"WHO" help:"Whose jobs are taken: lan, of all machines on this one's own networks; paired, of paired or allowed machines (lantage pair, lantage trust allow), wherever they are (${default})."`
	NoAdvertise    bool     `help:"Do not announce this builder by mDNS."`
	Interface      []string `placeholder:"NAME" help:"Announce on these interfaces only."`

	JobMemory    int64         `default:"${jobMemory}" placeholder:"MIB" help:"Memory of one job. One that takes more is ended, before the machine has none left for its owner; 0 is no limit, here and below (${default}, 7/8 of this machine's)."`
	JobCPUWeight int           `name:"job-cpu-weight" default:"20" placeholder:"N" help:"CPU time of a job against everything else here, which has 100, where both want it; 1 to 10000 (${default})."`
	JobProcesses int           `default:"16384" placeholder:"N" help:"Processes and threads of one job; large builds have a few thousand (${default})."`
	JobTime      time.Duration `default:"0" placeholder:"TIME" help:"How long one job may take. No limit by itself: @world may take days (${default})."`
	JobSilence   time.Duration `default:"2h" placeholder:"TIME" help:"How long a job may write nothing to its logs. The longest quiet steps, links of browsers and test suites, take less (${default})."`
	JobDisk      int64         `default:"0" placeholder:"MIB" help:"What one job may write to the disk (${default}: as much as there is room for)."`
	KeepFree     int64         `default:"2048" placeholder:"MIB" help:"What no job takes of the state directory's disk, or a twentieth of it if that is less (${default})."`
}

type listBuildersCmd struct {
	JSON  bool          `name:"json" help:"As JSON, for programs."`
	Wait  time.Duration `placeholder:"TIME" help:"How long to listen for answers (1.2s, and 2.5s if there is none)."`
	Watch bool          `help:"Go on, and show what changes, until Ctrl-C."`
}

type syncCmd struct {
	Full   bool `help:"Look at every file, also where nothing seems to have changed."`
	Forget bool `act:"" help:"Have the builder remove its copy."`
}

type verifyCmd struct {
	Atoms []string `arg:"" optional:"" name:"atom" help:"Packages, to be shown with all that is known of them."`
	JSON  bool     `name:"json" help:"As JSON, for programs."`
}

type gcCmd struct {
	StateDir string        `default:"/var/lib/lantage" type:"path" placeholder:"DIR" help:"Of lantage serve (${default})."`
	Contents time.Duration `default:"${keepContents}" placeholder:"TIME" help:"How long files stay that are in no root any more (${default})."`
	Unused   time.Duration `default:"${keepUnused}" placeholder:"TIME" help:"How long copies, PKGDIRs and distfiles stay that nobody uses (${default})."`
	MaxSize  int64         `placeholder:"MIB" help:"What the copies may take; those of the clients that did not come for longest go."`
	Forget   string        `act:"" placeholder:"CLIENT" help:"Remove the copy of this client alone."`
	DryRun   bool          `act:"" short:"n" help:"Only say what would go."`
}

type trustCmd struct {
	StateDir string `default:"/var/lib/lantage" type:"path" placeholder:"DIR" help:"Of lantage serve (${default})."`

	List   trustListCmd   `cmd:"" help:"Show this machine's key, and the builders and clients that it knows."`
	Allow  trustAllowCmd  `cmd:"" help:"Trust a builder or a client, also one that was revoked."`
	Revoke trustRevokeCmd `cmd:"" help:"Have nothing to do with a builder or a client any more; what runs of it ends."`
	Pin    trustPinCmd    `cmd:"" help:"Trust a builder that was never met, by its fingerprint: for machines where nobody can be asked."`
	Forget trustForgetCmd `cmd:"" help:"Know nothing of a builder or a client any more: it is met anew."`
}

type trustListCmd struct{}

type trustAllowCmd struct {
	Peer string `arg:"" help:"Its name, or its fingerprint, or the beginning of that; of a client that was only seen SHA256:… and no name."`
}

type trustRevokeCmd struct {
	Peer string `arg:"" help:"Its name, or its fingerprint, or the beginning of that."`
}

type trustPinCmd struct {
	Name        string `arg:"" help:"What the builder calls itself."`
	Fingerprint string `arg:"" help:"SHA256:…, as lantage trust list shows it on the builder."`
}

type trustForgetCmd struct {
	Peer string `arg:"" help:"Its name, or its fingerprint, or the beginning of that."`
}

type pairCmd struct {
	Code     string `arg:"" optional:"" help:"On a client: the code that the builder shows."`
	StateDir string `default:"/var/lib/lantage" type:"path" placeholder:"DIR" help:"Of lantage serve (${default})."`
}

type doctorCmd struct {
	StateDir string `default:"/var/lib/lantage" type:"path" placeholder:"DIR" help:"Of lantage serve (${default})."`
}

type versionCmd struct{}

type buildRootCmd struct {
	Stage string `arg:""`
}

func main() {
	os.Exit(exitStatus(run(untilSignal(), os.Args, os.Stdout, os.Stderr), os.Stderr))
}

// untilSignal returns a context that a signal cancels. A second one kills at once: that holds before anybody learns of the
// first, and says so to the user.
func untilSignal() context.Context {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		s := <-signals
		signal.Stop(signals)
		cancel(fmt.Errorf("%v signal received", s))
	}()
	return ctx
}

// run parses the command line and runs the command.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var c cli
	helped := false
	parser, err := newParser(&c, configFiles(), kong.Writers(stdout, stderr),
		kong.Exit(func(int) { helped = true }), kong.BindTo(ctx, (*context.Context)(nil)))
	if err != nil {
		return err
	}
	name, args := filepath.Base(args[0]), asked(args[1:])
	if name == "lantaged" && !slices.Equal(args, []string{"version"}) {
		args = append([]string{"serve"}, args...)
	}
	k, err := parser.Parse(args)
	if helped {
		return nil
	}
	if setting, ok := errors.AsType[*settingError](err); ok {
		return setting
	}
	if err != nil {
		return fmt.Errorf("%v (lantage --help shows what there is)", err) // its own exit status says nothing
	}
	return k.Run(&c, stdio{os.Stdin, stdout, stderr})
}

// asked translates what people type first.
func asked(args []string) []string {
	switch {
	case slices.Equal(args, []string{"help", "emerge"}): // after which all is emerge's
		return []string{"--help"}
	case len(args) > 0 && args[0] == "help":
		return append(slices.Clone(args[1:]), "--help")
	case slices.Equal(args, []string{"--version"}):
		return []string{"version"}
	}
	return args
}

// newParser makes the grammar, with what these configuration files say as its defaults.
func newParser(c *cli, files []string, options ...kong.Option) (*kong.Kong, error) {
	return kong.New(c, append([]kong.Option{
		kong.Name("lantage"),
		kong.Description("Build the packages of this Gentoo machine on a stronger one of the same LAN.\n\n" +
			"Each flag may stand in " + client.ConfigFile + ", too: its name = \"value\"; those of a command below [its name]. " +
			"There, builders = [\"host\", …] says which builders there are."),
		kong.ExplicitGroups([]kong.Group{{Key: "all", Title: "Flags of all commands (those of emerge stand before that word):"}}), // after those of the command itself
		kong.Configuration(readSettings, files...),
		kong.Vars{
			"keepContents": daemon.KeepContents.String(), "keepUnused": daemon.KeepUnused.String(),
			"jobMemory": strconv.FormatInt(daemon.DefaultJobMemory()>>20, 10), "connections": strconv.Itoa(daemon.DefaultConnections), "waiting": strconv.Itoa(daemon.DefaultWaiting),
		},
	}, options...)...)
}

// stdio is what commands read from and write to.
type stdio struct {
	in       *os.File
	out, err io.Writer
}

// exitStatus is the one place where errors become exit statuses: emerge's own is passed on, any other error
// is 1.
func exitStatus(err error, stderr io.Writer) int {
	if err == nil {
		return 0
	}
	if text := err.Error(); text != "" {
		fmt.Fprintln(stderr, client.Wrapped(stderr, os.Environ(), "lantage: "+text))
	}
	if coded, ok := errors.AsType[interface {
		error
		ExitCode() int
	}](err); ok {
		return coded.ExitCode()
	}
	return 1
}

// where is whom to look for.
func (c *cli) where() client.Where {
	return client.Where{Builder: c.Builder, Host: c.Host, Port: c.Port, Builders: c.Builders, Domains: c.Domains, Plain: c.Plain, AcceptNew: c.AcceptNew}
}

// withoutShowInputs takes the one word of ours out of emerge's arguments. It is no option of emerge's, and what somebody who forgets its
// place would have merged is not merged.
func withoutShowInputs(args []string) (rest []string, found bool) {
	for i, a := range args {
		switch {
		case a == "--":
			return append(rest, args[i:]...), found
		case a == "--show-inputs":
			found = true
		default:
			rest = append(rest, a)
		}
	}
	return rest, found
}

// misplaced returns the first of emerge's arguments that is a flag of ours. Emerge has none of these, and would show all of its own.
func misplaced(app *kong.Node, args []string) string {
	for _, a := range args {
		if a == "--" {
			break
		}
		name, _, _ := strings.Cut(strings.TrimPrefix(a, "--"), "=")
		if strings.HasPrefix(a, "--") && name != "help" && name != "verbose" &&
			slices.ContainsFunc(app.Flags, func(f *kong.Flag) bool { return f.Name == name }) {
			return "--" + name
		}
	}
	return ""
}

// Run does what emerge does.
func (e *emergeCmd) Run(ctx context.Context, c *cli, app *kong.Kong, io stdio) error {
	args, show := withoutShowInputs(e.Args)
	if flag := misplaced(app.Model.Node, args); flag != "" {
		return &client.ExitError{Code: 2, Err: fmt.Errorf("%s is lantage's own flag, and stands before the word emerge: lantage %[1]s … emerge …", flag)} // 2 as emerge has it
	}
	return (&client.Emerge{
		Args: args, ShowInputs: show || c.ShowInputs, Where: c.where(), Base: c.Base, Copy: c.Copy, NoCopy: c.NoCopy, NoInstall: c.NoInstall, NoFallback: c.NoFallback, IgnoreCPU: c.IgnoreCPU,
		Local: c.Local, Remote: c.Remote,
		Verbose: c.Verbose, Version: version, Environ: os.Environ(), Stdin: io.in, Stdout: io.out, Stderr: io.err,
		IgnoreRevisions: c.IgnoreRevisions,
	}).Run(ctx)
}

// Run shows the builders.
func (l *listBuildersCmd) Run(ctx context.Context, c *cli, io stdio) error {
	return (&client.ListBuilders{
		Where: c.where(), Wait: l.Wait, JSON: l.JSON, Watch: l.Watch, Version: version,
		Environ: os.Environ(), Stdout: io.out,
	}).Run(ctx)
}

// Run brings the copy of this machine's root up to date.
func (s *syncCmd) Run(ctx context.Context, c *cli, io stdio) error {
	return (&client.Sync{
		Where: c.where(), Copy: c.Copy, NoCopy: c.NoCopy, IgnoreCPU: c.IgnoreCPU, Full: s.Full, ShowInputs: c.ShowInputs, Forget: s.Forget,
		Version: version, Environ: os.Environ(), Stdin: io.in, Stdout: io.out, Stderr: io.err,
	}).Run(ctx)
}

// Run shows and checks where binary packages come from.
func (v *verifyCmd) Run(ctx context.Context, io stdio) error {
	return (&client.Verify{Atoms: v.Atoms, JSON: v.JSON, Environ: os.Environ(), Stdout: io.out, Stderr: io.err}).Run(ctx)
}

// Run makes room.
func (g *gcCmd) Run(ctx context.Context, io stdio) error {
	return (&daemon.GC{
		StateDir: g.StateDir, Contents: g.Contents, Unused: g.Unused, MaxBytes: g.MaxSize << 20, DryRun: g.DryRun,
		Forget: g.Forget, Stdout: io.out, Logger: slog.New(slog.NewTextHandler(io.err, nil)),
	}).Run(ctx)
}

// manager is what both of this machine's sides hold of others.
func (t *trustCmd) manager(io stdio) *trust.Manager {
	clients := &daemon.Clients{
		StateDir: t.StateDir, Stdin: io.in, Stdout: io.out, Ask: term.IsTerminal(int(io.in.Fd())),
		Logger: slog.New(slog.NewTextHandler(io.err, nil)),
	}
	sides := []trust.Side{client.BuildersSide("", os.Environ()), clients.Side()}
	return &trust.Manager{Sides: sides, Stdout: io.out}
}

// Run shows what is trusted.
func (*trustListCmd) Run(c *cli, io stdio) error { return c.Trust.manager(io).List() }

// Run trusts a peer.
func (t *trustAllowCmd) Run(ctx context.Context, c *cli, io stdio) error {
	return c.Trust.manager(io).Set(ctx, t.Peer, trust.Trusted)
}

// Run revokes a peer.
func (t *trustRevokeCmd) Run(ctx context.Context, c *cli, io stdio) error {
	return c.Trust.manager(io).Set(ctx, t.Peer, trust.Revoked)
}

// Run pins a builder.
func (t *trustPinCmd) Run(c *cli, io stdio) error {
	return c.Trust.manager(io).Pin(t.Name, t.Fingerprint)
}

// Run forgets a peer.
func (t *trustForgetCmd) Run(ctx context.Context, c *cli, io stdio) error {
	return c.Trust.manager(io).Forget(ctx, t.Peer)
}

// Run pairs: without a code as the builder that runs here, if one does, and else as a client.
func (p *pairCmd) Run(ctx context.Context, c *cli, io stdio) error {
	if p.Code == "" {
		err := (&daemon.Pair{StateDir: p.StateDir, Stdout: io.out}).Run(ctx)
		if !errors.Is(err, daemon.ErrNoDaemon) {
			return err
		}
	}
	return (&client.Pair{
		Where: c.where(), Code: p.Code, Version: version, Environ: os.Environ(), Stdin: io.in, Stdout: io.out,
	}).Run(ctx)
}

// Run checks both sides of this machine. The exit status is 1 if something fails.
func (d *doctorCmd) Run(ctx context.Context, c *cli, io stdio) error {
	failed := 0
	tell := func(grade, text, mend string) {
		if grade == trust.Fail {
			failed++
		}
		fmt.Fprintf(io.out, "%s  %s\n", grade, text)
		if mend != "" {
			fmt.Fprintf(io.out, "      → %s\n", mend)
		}
	}
	(&client.Doctor{Where: c.where(), Version: version, Environ: os.Environ()}).Run(ctx, tell)
	(&daemon.Doctor{StateDir: d.StateDir, Logger: slog.New(slog.DiscardHandler)}).Run(ctx, tell)
	if failed > 0 {
		return fmt.Errorf("%d of these must be mended", failed)
	}
	return nil
}

// Validate refuses numbers that mean nothing, by the flags' names.
func (s *serveCmd) Validate() error {
	for _, n := range []struct {
		flag    string
		is, min int64
	}{
		{"max-jobs", int64(s.MaxJobs), 1},
		{"max-waiting", int64(s.MaxWaiting), 1},
		{"max-connections", int64(s.MaxConnections), 1},
		{"job-memory", s.JobMemory, 0},
		{"job-cpu-weight", int64(s.JobCPUWeight), 0},
		{"job-processes", int64(s.JobProcesses), 0},
		{"job-time", int64(s.JobTime), 0},
		{"job-silence", int64(s.JobSilence), 0},
		{"job-disk", s.JobDisk, 0},
		{"keep-free", s.KeepFree, 0},
	} {
		if n.is < n.min {
			return fmt.Errorf("--%s is less than %d", n.flag, n.min)
		}
	}
	return nil
}

// Run serves as a builder until a signal ends it.
func (s *serveCmd) Run(ctx context.Context, c *cli, io stdio) error {
	level := slog.LevelInfo
	if c.Verbose {
		level = slog.LevelDebug
	}
	return (&daemon.Command{
		Listen: s.Listen, Name: s.Name, StateDir: s.StateDir, MaxJobs: s.MaxJobs, MaxWaiting: s.MaxWaiting, MaxConnections: s.MaxConnections, Bases: s.Bases,
		Allow: s.Allow, Plain: c.Plain, NoAdvertise: s.NoAdvertise, Interfaces: s.Interface, Version: version, Limits: s.limits(),
		Logger: slog.New(slog.NewTextHandler(io.err, &slog.HandlerOptions{Level: level})),
	}).Run(ctx)
}

// limits are those of each job.
func (s *serveCmd) limits() build.Limits {
	return build.Limits{
		Memory: s.JobMemory << 20, CPUWeight: s.JobCPUWeight, Processes: s.JobProcesses, Time: s.JobTime, Silence: s.JobSilence,
		Disk: s.JobDisk << 20, KeepFree: s.KeepFree << 20,
	}
}

// Run shows the version.
func (*versionCmd) Run(io stdio) error {
	_, err := fmt.Fprintln(io.out, "lantage", version)
	return err
}

// Run is a process of a build root; see package build.
func (b *buildRootCmd) Run() error {
	build.ChildMain(b.Stage)
	return nil
}
