package client

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"lantage/gentoo"
	"lantage/wire"
)

// lastLines is how much of a failed package's log is shown, and maxLogRead how many bytes are read for it.
const (
	lastLines  = 15
	maxLogRead = 64 << 10
)

// failure is a package of a job that has no binpkg.
type failure struct {
	cpv   gentoo.CPV
	state wire.State // StateFailed, StateSkipped or StateDeclined
	phase string
	text  string      // the builder's words, printable
	log   string      // path of its log on this machine, or ""
	unfit *unfitError // of a binpkg that came and is kept out of PKGDIR
}

// judge compares the builder's last word with what arrived. The error says why there is none.
func judge(sent []gentoo.Package, done wire.Done, rs *results) ([]failure, error) {
	if done.Outcome == wire.OutcomeCancelled {
		return nil, wire.Errorf(wire.CodeShutdown, "the job was cancelled there. %s", done.Text)
	}
	ends := map[string]wire.PackageResult{}
	for _, r := range done.Packages {
		ends[r.CPV] = r
	}
	var failed []failure
	for _, p := range sent {
		cpv := p.CPV.String()
		if rs.has(p.CPV) {
			continue
		}
		if i := slices.IndexFunc(rs.unfit, func(f failure) bool { return f.cpv == p.CPV }); i >= 0 {
			failed = append(failed, rs.unfit[i])
			continue
		}
		end := ends[cpv]
		f := failure{cpv: p.CPV, log: rs.logs[cpv], state: end.State, text: oneLine(end.Text, 300)}
		switch end.State {
		case wire.StateFailed:
			f.phase = phaseName(end.Phase)
		case wire.StateSkipped, wire.StateDeclined:
		default:
			f.state = wire.StateFailed
			f.phase, f.text = "build", "the builder sent no binary package"
			if done.Outcome == wire.OutcomeFailed && done.Text != "" {
				f.text += ": " + strings.TrimSpace(gentoo.Printable(done.Text))
			}
		}
		failed = append(failed, f)
	}
	return append(failed, otherFailures(sent, rs)...), nil
}

// otherFailures are packages that the builder needed for the job and that failed there: it sent their logs.
func otherFailures(sent []gentoo.Package, rs *results) []failure {
	var others []failure
	for _, name := range slices.Sorted(maps.Keys(rs.logs)) {
		cpv, err := gentoo.ParseCPV(name)
		if err == nil && !slices.ContainsFunc(sent, func(p gentoo.Package) bool { return p.CPV == cpv }) {
			others = append(others, failure{
				cpv: cpv, state: wire.StateFailed, phase: "build", text: "the builder needs it for this job", log: rs.logs[name],
			})
		}
	}
	return others
}

// onlyDeclined reports whether nothing failed: what did not come, the builder cannot build.
func onlyDeclined(failed []failure) bool {
	return !slices.ContainsFunc(failed, func(f failure) bool { return f.state != wire.StateDeclined })
}

// partly ends a job in which packages failed: what arrived is merged, and the user learns what failed, why,
// and what to do.
func (e *Emerge) partly(ctx context.Context, t *tools, args gentoo.Args, p *plan, o outcome) error {
	if o.staging || args.BuildPkgOnly || len(o.arrived) == 0 {
		e.reportFailures(o.failed, nil)
		e.whatNext(p, o)
		return exit(ExitFailed)
	}
	merged, err := mergeArrived(ctx, t, p, o.arrived)
	if err != nil && !isExit(err) || ctx.Err() != nil {
		return err
	}
	world := worldTargets(args.Targets(), merged, o.failed)
	if len(world) > 0 && !args.Oneshot && !args.OnlyDeps {
		out, err := t.capture(ctx, "emerge", append([]string{
			"--ignore-default-opts", "--ask=n", "--noreplace", "--usepkgonly", "--quiet",
		}, world...))
		if err != nil || out.status != 0 {
			fmt.Fprintf(e.Stderr, "The world file was not updated: emerge --noreplace %s\n%s%s\n", quoteAll(world), out.stdout,
				out.stderr)
		}
	}
	e.reportFailures(o.failed, notMerged(o.arrived, merged))
	e.whatNext(p, o)
	return exit(ExitFailed)
}

// whatNext says what was not done because something failed, and what to type. Why a package stays here was said with the plan.
func (e *Emerge) whatNext(p *plan, o outcome) {
	for _, s := range p.stay {
		e.say("%s, which stays here, was not built yet, because another package failed.", s.CPV)
	}
	again := "lantage emerge "
	if e.NoInstall {
		again = "lantage --no-install emerge "
	}
	fmt.Fprintf(e.Stdout, "To try again: %s%s\n", again, quoteAll(e.Args)) // whole, to be copied
	if !o.staging {                                                        // whoever keeps what is built in an archive does not want it merged
		fmt.Fprintf(e.Stdout, "To build the rest here: emerge --usepkg %s\n", quoteAll(e.Args))
	}
}

func notMerged(arrived, merged []arrival) []arrival {
	return slices.DeleteFunc(slices.Clone(arrived), func(a arrival) bool { return slices.Contains(merged, a) })
}

// reportFailures tells of each package that has no binpkg, and of binpkgs that could not be merged without
// them.
func (e *Emerge) reportFailures(failed []failure, unmerged []arrival) {
	for _, f := range failed {
		if f.state != wire.StateFailed {
			continue
		}
		e.say("\n%s FAILED on the builder in %s%s", f.cpv, f.phase, prefixed(": ", f.text))
		for _, line := range logEnd(f.log) {
			e.say("    %s", line)
		}
		if f.log != "" {
			e.say("The whole log: %s", f.log)
		}
	}
	if n := len(failed); n > 1 && !slices.ContainsFunc(failed, func(f failure) bool {
		return f.state != wire.StateDeclined || f.text != failed[0].text || f.unfit != nil
	}) { // one reason for all, such as that the client's compiler does not run there
		e.say("None of the %d packages can be built there%s\n", n, prefixed(": ", failed[0].text))
		return
	}
	for _, f := range failed {
		switch f.state {
		case wire.StateSkipped:
			e.say("%s was skipped%s", f.cpv, prefixed(": ", f.text))
		case wire.StateDeclined:
			if f.unfit != nil {
				e.say("%s", f.notTaken())
				continue
			}
			e.say("%s cannot be built there%s", f.cpv, prefixed(": ", f.text))
		}
	}
	for _, a := range unmerged {
		e.say("%s was built and lies in PKGDIR, but emerge does not merge it without what failed", a.cpv)
	}
	e.say("")
}

// notTaken says of a binpkg that came why it is kept out of PKGDIR.
func (f failure) notTaken() string {
	text := fmt.Sprintf("%s came, and is kept out of PKGDIR: %s.", f.cpv, f.text)
	if f.unfit.foreign {
		text += " In a copy of this machine's own root it can be built: lantage --base client emerge …"
	}
	return text
}

// logEnd returns the lines of a log that tell why, printable.
func logEnd(path string) []string {
	if path == "" {
		return nil
	}
	file, err := os.Open(path)
	if err != nil {
		return []string{"(" + err.Error() + ")"}
	}
	defer file.Close()
	lines, err := gentoo.FailureLines(file, lastLines, maxLogRead)
	if err != nil {
		return []string{"(" + err.Error() + ")"}
	}
	for i := range lines {
		lines[i] = cut(gentoo.Printable(lines[i]), 2000)
	}
	return lines
}

func prefixed(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}
