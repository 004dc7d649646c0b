package daemon

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"lantage/build"
	"lantage/gentoo"
	"lantage/wire"
)

var wireStates = map[build.State]wire.State{
	build.StateBuilding: wire.StateBuilding,
	build.StateBuilt:    wire.StateBuilt,
	build.StateReused:   wire.StateReused,
	build.StateFailed:   wire.StateFailed,
	build.StateSkipped:  wire.StateSkipped,
	build.StateDeclined: wire.StateDeclined,
}

// emit is what the Runner calls: a step of the job becomes an event for those who watch.
func (j *job) emit(b build.Event) {
	e := wire.Event{
		N: b.N, Of: b.Of, State: wireStates[b.State],
		Phase: head(string(b.Phase), maxText), Text: head(b.Text, maxEventText),
	}
	if b.CPV != (gentoo.CPV{}) {
		e.CPV = b.CPV.String()
	}
	switch b.Kind {
	case build.EventStarted:
		e.Kind = wire.EventStarted
	case build.EventNote:
		e.Kind = wire.EventNote
	case build.EventPackage:
		if e.Kind = wire.EventPackage; e.State == "" {
			return // it waits, as all do that nothing was said of
		}
	case build.EventResult:
		e.Kind, e.Result = wire.EventResult, wireResult(b.Result)
	default:
		return
	}
	j.record(e, b.Result)
}

func wireResult(r *build.Result) *wire.Result {
	w := &wire.Result{
		Kind: wire.ResultBinpkg, CPV: r.CPV.String(), Path: r.Path, Size: r.Size,
		SHA256: hex.EncodeToString(r.SHA256[:]), Reused: r.Reused,
	}
	if r.Log {
		w.Kind = wire.ResultLog
	}
	return w
}

// outcome is what the client is told of how a run ended.
func (j *job) outcome(report build.Report, err error, builder string) wire.Done {
	cause := context.Cause(j.ctx)
	var declined *build.DeclineError
	switch {
	case err == nil:
		return j.reported(report)
	case cause != nil:
		return j.unfinished(wire.OutcomeCancelled, wire.StateSkipped, cause.Error())
	case errors.As(err, &declined):
		return j.unfinished(wire.OutcomeFailed, wire.StateDeclined, declined.Reason)
	}
	if limit, ok := errors.AsType[*build.LimitError](err); ok {
		return j.unfinished(wire.OutcomeFailed, wire.StateDeclined, fmt.Sprintf("%s ended the job: %v", builder, limit))
	}
	text := fmt.Sprintf("%s could not go on: %v", builder, err)
	return j.unfinished(wire.OutcomeFailed, wire.StateDeclined, text)
}

// reported is the end of a job whose emerge came to its own end. Only what there is a result of counts as
// built.
func (j *job) reported(report build.Report) wire.Done {
	j.mu.Lock()
	defer j.mu.Unlock()
	said := make(map[string]wire.PackageResult)
	for _, p := range report.Packages {
		r := wire.PackageResult{
			CPV: p.CPV.String(), State: wireStates[p.State], Phase: string(p.Phase), Text: p.Text,
		}
		said[r.CPV] = r
	}
	done := wire.Done{Outcome: wire.OutcomeDone}
	for _, p := range j.msg.Packages {
		r, ok := said[p.CPV]
		if !ok {
			r = wire.PackageResult{CPV: p.CPV, State: wire.StateSkipped, Text: "emerge said nothing of it"}
		}
		good := r.State == wire.StateBuilt || r.State == wire.StateReused
		if good && !j.binpkgs[p.CPV] {
			good = false
			r.State, r.Text = wire.StateFailed, "it was built, but there is no binpkg of it"
		}
		if !good {
			done.Outcome, done.Text = wire.OutcomeFailed, report.Text
		}
		done.Packages = append(done.Packages, r)
	}
	return fitting(done)
}

// unfinished is the end of a job without a report: what was built before stays built, the other packages are
// in state.
func (j *job) unfinished(outcome wire.Outcome, state wire.State, text string) wire.Done {
	j.mu.Lock()
	defer j.mu.Unlock()
	done := wire.Done{Outcome: outcome, Text: text}
	for _, p := range j.msg.Packages {
		r, ok := j.final[p.CPV]
		if !ok || (r.State != wire.StateFailed && !j.binpkgs[p.CPV]) {
			r = wire.PackageResult{CPV: p.CPV, State: state, Text: text}
		}
		done.Packages = append(done.Packages, r)
	}
	return fitting(done)
}

// fitting cuts texts until the message can be sent. That it can without any text, checkPackages has seen to.
func fitting(done wire.Done) wire.Done {
	done.Text = tail(done.Text, maxDoneText)
	for i := range done.Packages {
		p := &done.Packages[i]
		p.Phase, p.Text = head(p.Phase, maxText), head(p.Text, maxDonePackage)
	}
	if body, err := json.Marshal(done); err == nil && len(body) <= wire.MaxControl {
		return done
	}
	done.Text = head(done.Text, maxDonePackage)
	for i := range done.Packages {
		done.Packages[i].Phase, done.Packages[i].Text = "", ""
	}
	return done
}

// head and tail cut a text to n bytes, and may cut a character; JSON replaces what is left of it.
func head(s string, n int) string { return s[:min(len(s), n)] }
func tail(s string, n int) string { return s[len(s)-min(len(s), n):] }
