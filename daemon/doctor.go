package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"

	"lantage/build"
	"lantage/trust"
)

// Doctor is the builder's part of `lantage doctor`.
type Doctor struct {
	StateDir string
	Logger   *slog.Logger
}

// Run tells what it finds: a grade (pass, warn, fail), a sentence, and, of what is wrong, the command that mends it.
func (d *Doctor) Run(ctx context.Context, tell func(grade, text, mend string)) {
	if _, err := os.Stat(d.StateDir); errors.Is(err, fs.ErrNotExist) {
		tell("pass", "this machine is no builder: lantage serve never ran here", "")
		return
	}
	if os.Geteuid() != 0 {
		tell("warn", "whether this machine is a good builder is for root to see", "sudo lantage doctor")
		return
	}
	if !d.daemon(ctx, tell) {
		return
	}
	if id, err := trust.ReadIdentity(d.StateDir); err == nil {
		tell("pass", fmt.Sprintf("the builder's identity is %v", id.Key), "")
	} else if !errors.Is(err, fs.ErrNotExist) {
		tell("fail", err.Error(), fmt.Sprintf("rm %s, and on the clients lantage trust forget NAME", filepath.Join(d.StateDir, trust.IdentityFile)))
	}
	peers, err := clientsOf(d.StateDir).Peers()
	if err != nil {
		tell("fail", fmt.Sprintf("the clients that are known: %v", err), "mend that line, or remove the file: revocations and pairings are lost with it")
	} else {
		states := map[trust.State]int{}
		for _, p := range peers {
			states[p.State]++
		}
		tell("pass", fmt.Sprintf("%d clients came by themselves, %d are trusted, %d revoked (lantage trust list)", states[trust.Seen], states[trust.Trusted],
			states[trust.Revoked]), "")
	}
	d.isolation(ctx, tell)
	d.limits(tell)
}

// daemon looks at the daemon that runs; without one, and without a sign that one ever ran, there is nothing more to see.
func (d *Doctor) daemon(ctx context.Context, tell func(grade, text, mend string)) bool {
	st, err := QueryStatus(ctx, d.StateDir)
	if errors.Is(err, ErrNoDaemon) {
		if _, err := os.Stat(filepath.Join(d.StateDir, "lock")); err != nil {
			tell("pass", "this machine is no builder: lantage serve never ran here", "")
			return false
		}
		tell("warn", "lantage serve does not run", "rc-service lantaged start, or systemctl start lantaged, or lantage serve")
		return true
	}
	if err != nil {
		tell("fail", fmt.Sprintf("lantage serve does not answer: %v", err), "restart it: rc-service lantaged restart, or systemctl restart lantaged")
		return true
	}
	who := "of all machines on its own networks (--allow=lan)"
	if st.Paired {
		who = "of paired machines only (--allow=paired)"
	}
	tell("pass", fmt.Sprintf("lantage serve runs as %s (PID %d) and takes jobs %s; %d run and %d wait", st.Name, st.PID, who, st.Jobs, st.Waiting), "")
	if st.Plain {
		tell("warn", "its connections are not encrypted, and clients prove nothing", "leave --plain out of its flags, and of the clients'")
	}
	return true
}

// isolation makes a build root as a job would have it, which proves that what must fail there does.
func (d *Doctor) isolation(ctx context.Context, tell func(grade, text, mend string)) {
	runner := &build.Runner{StateDir: d.StateDir, Cores: runtime.NumCPU(), Memory: memory(), Logger: d.Logger}
	if err := runner.CheckEmpty(ctx); err != nil {
		tell("fail", fmt.Sprintf("a build root cannot be made, or does not hold: %v", err), "lantage serve says more; until then it takes no jobs")
		return
	}
	tell("pass", "a build root was made, and what a job must not be able to do failed in it", "")
}

// limits tells how the last daemon held its jobs' limits.
func (d *Doctor) limits(tell func(grade, text, mend string)) {
	inForce, err := build.ReadInForce(d.StateDir)
	if err != nil {
		tell("warn", "which limits its jobs have is known since lantage serve runs", "lantage serve")
		return
	}
	for _, l := range inForce {
		if l.How == "" {
			tell("warn", fmt.Sprintf("limit %s: %s, and nothing holds it here", l.Name, l.Value), "run lantage serve where it may make control groups")
			continue
		}
		tell("pass", fmt.Sprintf("limit %s: %v", l.Name, l), "")
	}
}
