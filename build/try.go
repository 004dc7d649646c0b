package build

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// Check says whether this machine can make build roots, by making one on each base, running nothing in it,
// and removing it.
func (r *Runner) Check(ctx context.Context) error {
	for _, base := range r.Bases {
		if err := r.try(ctx, base, "", []string{"/bin/true"}); err != nil {
			return fmt.Errorf("cannot make a build root on the %s base: %w", base.Name(), err)
		}
	}
	return nil
}

// CheckEmpty does the same on an empty base: it says whether clients' roots could be built on.
func (r *Runner) CheckEmpty(ctx context.Context) error {
	dir, err := r.checkDir()
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := r.try(ctx, DirBase{dir}, "", nil); err != nil {
		return fmt.Errorf("cannot make a build root below %s: %w", r.StateDir, err)
	}
	return nil
}

// checkDir makes a directory among those of the jobs, whose leftovers are removed.
func (r *Runner) checkDir() (string, error) {
	jobs := filepath.Join(r.StateDir, "jobs")
	if err := os.MkdirAll(jobs, 0o700); err != nil {
		return "", err
	}
	return os.MkdirTemp(jobs, "check-")
}

// try makes a build root on a base, with what a job's inputs have in the place of its files (resolved.go), and runs a command in it;
// no command runs nothing. An exit status other than 0 is a *tryError.
func (r *Runner) try(ctx context.Context, base Base, inputs string, argv []string) error {
	dir, err := r.checkDir()
	if err != nil {
		return err
	}
	defer RemoveAll(dir)
	first, release := r.ranges.take()
	defer release()
	layers, err := base.Layers()
	if err != nil {
		return err
	}
	s := &rootSpec{Dir: dir, FirstID: first, Layers: layers, Inputs: inputs, Argv: argv, Env: baseEnv()}
	s.MaskDirs, s.Remove = base.Masks()
	if err := s.prepare(); err != nil {
		return err
	}
	output, err := os.Create(filepath.Join(dir, "out"))
	if err != nil {
		return err
	}
	defer output.Close()
	p := r.start(ctx, s, output)
	err = <-p.started
	<-p.done
	if err == nil {
		err = p.err
	}
	if err == nil && p.code != 0 {
		err = &tryError{argv[0], p.code, tailText(output, 4<<10)}
	}
	return err
}

// tryError is a command that ran in a build root and failed.
type tryError struct {
	program string
	code    int
	output  string
}

func (e *tryError) Error() string {
	return fmt.Sprintf("%s ended with status %d: %s", e.program, e.code, e.output)
}
