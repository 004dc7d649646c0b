package client

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"

	"lantage/gentoo"
	"lantage/rootfs"
	"lantage/wire"
)

// errOnlyEmerge is the end of --show-inputs where plain emerge would go on.
var errOnlyEmerge = errors.New("nothing would leave this machine, and nothing was done: plain emerge does this alone")

// showInputs shows what of this machine a builder would get for a plan. No builder is asked: what depends on it is said.
func (e *Emerge) showInputs(ctx context.Context, sys *system, whole *plan) error {
	if sys.flags.err != nil {
		return sys.flags.err
	}
	b := &builder{base: e.baseShown(sys), hello: wire.Hello{Name: "a builder", Distfiles: true}}
	p, _ := whole.forBuilder(b)
	for _, s := range p.stay {
		e.say("%s stays here: %s", s.CPV, s.why)
	}
	if len(p.send) == 0 {
		e.say("No package of this plan is for a builder: nothing would leave this machine.")
		return nil
	}
	e.say("Nothing is sent. For %s, built on base %s, this would leave this machine:", count(len(p.send), "package"), b.base)
	w := bufio.NewWriter(e.Stdout)
	s := &shownInputs{w: w}
	repos, msg := e.newJob(ctx, sys, p, b)
	if err := e.showFiles(ctx, s, sys, p, b, repos); err != nil {
		return err
	}
	s.job(msg)
	if d := e.distfilesFor(sys, p, b); d != nil {
		s.begin("Sources, of those that this builder has nowhere")
		for _, f := range d.files {
			s.file(sentFile{filepath.Join(d.dir, f.Name), f.Size, ""})
		}
		s.end()
	}
	s.notSent()
	return w.Flush()
}

// baseShown is the base that a job would probably have.
func (e *Emerge) baseShown(sys *system) string {
	if e.Base != "" && e.Base != baseAuto {
		return e.Base
	}
	if isRoot() && sys.noCopy() == "" {
		e.say("With a builder that does not offer base client it would be the builder's own: see lantage --base host emerge --show-inputs …")
		return wire.BaseClient
	}
	return "host"
}

// showFiles shows the files that go with a job, and of its base if that is a copy of this machine's root.
func (e *Emerge) showFiles(ctx context.Context, s *shownInputs, sys *system, p *plan, b *builder, repos []overlay) error {
	in := e.inputs(sys, b, repos)
	in.sent, in.left = s.file, s.leave
	in.warn = func(format string, args ...any) { s.warnings = append(s.warnings, fmt.Sprintf(format, args...)) }
	if in.none {
		c, err := e.rootCopy(sys)
		if err != nil {
			return err
		}
		c.rules.Kernel = max(c.rules.Kernel, kernelFor(p.send, p.facts))
		s.begin("This machine's root; of what a builder has already, only what changed")
		found, err := c.rules.Inputs(ctx, func(path string, size int64, blanked bool) {
			f := sentFile{path: path, size: size}
			if blanked {
				f.note = rootfs.Blanked
			}
			s.file(f)
		})
		if err != nil {
			return err
		}
		s.end()
		s.left = append(s.left, found.LeftOut...)
		s.begin("Files that are there with another text than in the copy")
	} else {
		s.begin("Files")
	}
	file, _, err := in.pack(ctx)
	if err != nil {
		return err
	}
	file.Close()
	s.end()
	return nil
}

// shownInputs writes what would leave this machine, for people to read.
type shownInputs struct {
	w        io.Writer
	title    string // of a list of which nothing is written yet
	files    int
	bytes    int64
	left     []rootfs.LeftOut
	warnings []string
}

func (s *shownInputs) begin(title string) { s.title, s.files, s.bytes = title, 0, 0 }

func (s *shownInputs) file(f sentFile) {
	if s.files == 0 {
		fmt.Fprintf(s.w, "\n%s:\n", s.title)
	}
	s.files++
	s.bytes += f.size
	fmt.Fprintf(s.w, "%10s  %s%s\n", rootfs.HumanBytes(f.size), rootfs.Shown(f.path), prefixed("  — ", f.note))
}

func (s *shownInputs) end() {
	if s.files > 0 {
		fmt.Fprintf(s.w, "%10s  in all, %s\n", rootfs.HumanBytes(s.bytes), count(s.files, "file"))
	}
}

func (s *shownInputs) leave(path, why string) {
	s.left = append(s.left, rootfs.LeftOut{Path: path, Why: why})
}

// job shows what the message that asks for a job says.
func (s *shownInputs) job(msg wire.Job) {
	fmt.Fprintf(s.w, "\nThe job:\n  from %s, for %s\n", rootfs.Shown(msg.Client), rootfs.Shown(msg.CHOST))
	for _, p := range msg.Packages {
		fmt.Fprintf(s.w, "  package %s::%s\n", p.CPV, p.Repo)
	}
	for _, p := range append([]wire.Profile{msg.Profile}, msg.Parents...) {
		fmt.Fprintf(s.w, "  profile %s\n", rootfs.Shown(p.Repo+":"+p.Path))
	}
	for _, r := range msg.Repos {
		fmt.Fprintf(s.w, "  repository %s at %s\n", rootfs.Shown(r.Name), rootfs.Shown(r.Location))
	}
	if msg.Base == wire.BaseClient {
		fmt.Fprint(s.w, "  the secret name by which builders know this machine's copies\n")
	}
	for _, v := range msg.Env {
		fmt.Fprintf(s.w, "  environment %s\n", rootfs.Shown(v))
	}
}

func (s *shownInputs) notSent() {
	if len(s.left)+len(s.warnings) > 0 {
		fmt.Fprint(s.w, "\nNot sent:\n")
	}
	slices.SortFunc(s.left, func(a, b rootfs.LeftOut) int { return cmp.Compare(a.Path, b.Path) })
	for _, l := range s.left {
		fmt.Fprintf(s.w, "  %s  — %s\n", rootfs.Shown(l.Path), l.Why)
	}
	for _, line := range s.warnings {
		fmt.Fprintf(s.w, "  %s\n", gentoo.Printable(line))
	}
}
