package build

import (
	"slices"
	"strings"

	"lantage/gentoo"
)

// report says how each package ended, and declares the build logs of those that failed.
func (f *follower) report(pkgs []Package, code int, output string) Report {
	rep := Report{ExitCode: code}
	if code != 0 {
		rep.Text = output
	}
	for _, cpv := range f.failed() {
		f.logPhase(cpv)
	}
	for _, p := range pkgs {
		f.results.built(p.CPV) // a package whose binpkg was made, but whose merge into the build root failed
		pr := PackageReport{CPV: p.CPV, State: f.results.state(p.CPV)}
		if _, ok := f.results.found[p.CPV]; !ok {
			pr.State, pr.Phase, pr.Text = f.failure(p.CPV)
		} else if st := f.states[p.CPV]; st != nil && st.state == StateBuilding {
			st.state, st.phase = pr.State, "" // for those who watch: only its merge into the build root failed
			f.update(p.CPV, st)
		}
		rep.Packages = append(rep.Packages, pr)
	}
	for _, cpv := range f.failed() {
		f.declareLog(cpv)
	}
	return rep
}

// failure says why there is no binpkg of a package.
func (f *follower) failure(cpv gentoo.CPV) (State, gentoo.Phase, string) {
	p := f.states[cpv]
	switch {
	case p != nil && p.state == StateFailed && p.phase != "": // pkg_pretend fails before emerge.log tells of any beginning
		return StateFailed, p.phase, ""
	case p == nil || p.n == 0:
		return StateSkipped, "", "not built, because something that it needs failed"
	case p.phase == "":
		return StateFailed, "fetch", "it was begun and did not get as far as its first phase"
	}
	return StateFailed, p.phase, ""
}

// logPhase takes a failed package's phase from its log, where the log says it. What the log said before emerge.log told of the
// package's beginning was forgotten at that: pkg_setup can fail so early.
func (f *follower) logPhase(cpv gentoo.CPV) {
	p := f.states[cpv]
	file, err := openRegular(f.logDir, p.log)
	if err != nil {
		return
	}
	defer file.Close()
	for line := range strings.Lines(tailText(file, 64<<10)) {
		if failure, ok := gentoo.FailureOf(line); ok && failure.CPV == cpv && failure.Phase != "" {
			p.phase = failure.Phase
		}
	}
}

// failed lists the packages that were begun and have no end, those that the job asked for and those that it
// needed.
func (f *follower) failed() []gentoo.CPV {
	var list []gentoo.CPV
	for cpv, p := range f.states {
		if _, ok := f.results.found[cpv]; !ok && p.log != "" && (p.state == StateFailed || p.state == StateBuilding) {
			list = append(list, cpv)
		}
	}
	slices.SortFunc(list, func(a, b gentoo.CPV) int { return f.states[a].n - f.states[b].n })
	return list
}

// declareLog emits the build log of a failed package as a result.
func (f *follower) declareLog(cpv gentoo.CPV) {
	p := f.states[cpv]
	res := Result{CPV: cpv, Dir: f.logDir.Name(), Path: p.log, Log: true}
	if err := res.hash(f.results.ended); err != nil {
		return
	}
	_, phase, _ := f.failure(cpv) // as the report has it
	f.emit(Event{Kind: EventPackage, CPV: cpv, N: p.n, Of: p.of, State: StateFailed, Phase: phase})
	f.emit(Event{Kind: EventResult, CPV: cpv, Result: &res})
}

// inOrder sorts reports as the job names its packages.
func inOrder(job Job, reports []PackageReport) []PackageReport {
	byCPV := make(map[gentoo.CPV]PackageReport)
	for _, r := range reports {
		byCPV[r.CPV] = r
	}
	var list []PackageReport
	for _, p := range job.Packages {
		if r, ok := byCPV[p.CPV]; ok {
			list = append(list, r)
		}
	}
	return list
}
