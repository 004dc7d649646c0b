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

// Run tells what it finds: see trust.Tell.
func (d *Doctor) Run(ctx context.Context, tell trust.Tell) {
	if _, err := os.Stat(d.StateDir); errors.Is(err, fs.ErrNotExist) {
		tell(trust.Pass, "this machine is no builder: lantage serve never ran here", "")
		return
	}
	if os.Geteuid() != 0 {
		tell(trust.Warn, "whether this machine is a good builder is for root to see", "sudo lantage doctor")
		return
	}
	if !d.daemon(ctx, tell) {
		return
	}
	side := (&Clients{StateDir: d.StateDir}).Side()
	side.Inspect(tell)
	d.isolation(ctx, tell)
	d.limits(tell)
}

// daemon looks at the daemon that runs; without one, and without a sign that one ever ran, there is nothing more to see.
func (d *Doctor) daemon(ctx context.Context, tell trust.Tell) bool {
	st, err := QueryStatus(ctx, d.StateDir)
	if errors.Is(err, ErrNoDaemon) {
		if _, err := os.Stat(filepath.Join(d.StateDir, "lock")); err != nil {
			tell(trust.Pass, "this machine is no builder: lantage serve never ran here", "")
			return false
		}
		tell(trust.Warn, "lantage serve does not run", "rc-service lantaged start, or systemctl start lantaged, or lantage serve")
		return true
	}
	if err != nil {
		tell(trust.Fail, fmt.Sprintf("lantage serve does not answer: %v", err), "restart it: rc-service lantaged restart, or systemctl restart lantaged")
		return true
	}
	who := "of all machines on its own networks (--allow=lan)"
	if st.Paired {
		who = "of paired machines only (--allow=paired)"
	}
	tell(trust.Pass, fmt.Sprintf("lantage serve runs as %s (PID %d) and takes jobs %s; %d run and %d wait", st.Name, st.PID, who, st.Jobs, st.Waiting), "")
	if st.Plain {
		tell(trust.Warn, "its connections are not encrypted, and clients prove nothing", "leave --plain out of its flags, and of the clients'")
	}
	return true
}

// isolation makes a build root as a job would have it, which proves that what must fail there does.
func (d *Doctor) isolation(ctx context.Context, tell trust.Tell) {
	runner := &build.Runner{StateDir: d.StateDir, Cores: runtime.NumCPU(), Memory: memory(), Logger: d.Logger}
	if err := runner.CheckEmpty(ctx); err != nil {
		tell(trust.Fail, fmt.Sprintf("a build root cannot be made, or does not hold: %v", err), "lantage serve says more; until then it takes no jobs")
		return
	}
	tell(trust.Pass, "a build root was made, and what a job must not be able to do failed in it", "")
}

// limits tells how the last daemon held its jobs' limits.
func (d *Doctor) limits(tell trust.Tell) {
	inForce, err := build.ReadInForce(d.StateDir)
	if err != nil {
		tell(trust.Warn, "which limits its jobs have is known since lantage serve runs", "lantage serve")
		return
	}
	for _, l := range inForce {
		if l.How == "" {
			tell(trust.Warn, fmt.Sprintf("limit %s: %s, and nothing holds it here", l.Name, l.Value), "run lantage serve where it may make control groups")
			continue
		}
		tell(trust.Pass, fmt.Sprintf("limit %s: %v", l.Name, l), "")
	}
}
