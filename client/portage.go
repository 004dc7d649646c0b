package client

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"lantage/gentoo"
)

//go:embed portage.py
var portageScript string

// portage is this machine's Portage, loaded in a Python of its own. No program of Portage's tells of packages what is asked here,
// so that it is asked in its own language; and since its start takes longer than its answers, the same process tells of
// variables, waits while emerge makes the plan, and tells of the plan's packages.
type portage struct {
	vars   map[string]string // of those that were asked for those that are set
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	left   *io.LimitedReader // below out
	stderr limitedBuffer
	ended  bool
}

// noPortage is the exit status of portage.py where the Python that runs it has no Portage.
const noPortage = 77

// startPortage loads Portage, in the default Python or else the newest of those that Gentoo has side by side. It has to be closed.
func startPortage(ctx context.Context, t *tools, names ...string) (*portage, error) {
	others, _ := filepath.Glob("/usr/lib/python-exec/python3*/python3")
	slices.SortFunc(others, func(a, b string) int { return comparePythons(b, a) })
	for _, python := range append([]string{"python3"}, others...) {
		p, err := portageOf(ctx, t, python, names)
		if errors.Is(err, errNoPortage) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("ask Portage for its settings: %w", err)
		}
		return p, nil
	}
	return nil, fmt.Errorf("no Python of this machine has Portage's modules (tried python3%s)", prefixed(" and ", strings.Join(others, " ")))
}

// errNoPortage is a Python without Portage's modules.
var errNoPortage = errors.New("no Portage")

func portageOf(ctx context.Context, t *tools, python string, names []string) (*portage, error) {
	told := factVariables + " " + strings.Join(gentoo.SeenByBuilds(), " ")
	cmd, err := t.command(ctx, python, []string{"-c", portageScript, strings.Join(names, " "), told})
	if err != nil {
		return nil, err
	}
	p := &portage{cmd: cmd}
	cmd.Stderr, cmd.WaitDelay = &p.stderr, outputWait
	in, inErr := cmd.StdinPipe()
	out, outErr := cmd.StdoutPipe()
	if err := errors.Join(inErr, outErr); err != nil {
		return nil, err
	}
	p.in, p.left = in, &io.LimitedReader{R: out, N: maxOutput}
	p.out = bufio.NewReader(p.left)
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", python, err)
	}
	line, err := p.answer(`{"variables"`)
	if err == nil {
		var said struct{ Variables map[string]string }
		if err = json.Unmarshal(line, &said); err == nil {
			p.vars = said.Variables
			return p, nil
		}
	}
	return nil, p.failed(ctx, err)
}

// answer reads the next line that begins with this. The others are what Portage has to say to people.
func (p *portage) answer(begin string) ([]byte, error) {
	for {
		line, err := p.out.ReadBytes('\n')
		if err != nil || bytes.HasPrefix(line, []byte(begin)) {
			return line, err
		}
	}
}

// ask returns what Portage tells of packages, each named as CPV::REPOSITORY: a line of JSON for each. It can be asked once.
func (p *portage) ask(ctx context.Context, packages []string) (lines [][]byte, err error) {
	_, err = io.WriteString(p.in, strings.Join(packages, " ")+"\n") // all of them are read before the first answer
	for err == nil && len(lines) < len(packages) {
		var line []byte
		line, err = p.answer(`{"cpv"`)
		lines = append(lines, line)
	}
	if err != nil {
		return nil, fmt.Errorf("ask Portage how it would build the packages of the plan: %w", p.failed(ctx, err))
	}
	return lines, nil
}

// failed ends p after an error of reading or writing, and returns it or a better reason.
func (p *portage) failed(ctx context.Context, err error) error {
	if p.left.N <= 0 {
		err = errOutputTooLarge
	}
	if err != io.EOF && !errors.Is(err, syscall.EPIPE) { // it has not ended by itself
		p.close()
		return cmp.Or(ctx.Err(), err)
	}
	p.ended = true
	ended, failed := errors.AsType[*exec.ExitError](p.cmd.Wait())
	said := strings.TrimSpace(p.stderr.kept.String())
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case failed && ended.ExitCode() == noPortage:
		return errNoPortage
	case failed:
		return fmt.Errorf("it fails:\n%s", said)
	}
	return fmt.Errorf("it ends without an answer:\n%s", said)
}

// close ends Portage. It may be called more than once, and of none.
func (p *portage) close() {
	if p == nil || p.ended {
		return
	}
	p.ended = true
	_ = p.cmd.Process.Kill() // it has nothing to put away
	_ = p.cmd.Wait()
}

// comparePythons orders the directories of Pythons by version: python3.9 before python3.13.
func comparePythons(a, b string) int {
	minor := func(path string) int {
		_, version, _ := strings.Cut(path, "python3.")
		version, _, _ = strings.Cut(version, "/")
		n, _ := strconv.Atoi(strings.TrimSuffix(version, "t"))
		return n
	}
	return cmp.Or(cmp.Compare(minor(a), minor(b)), -cmp.Compare(len(a), len(b))) // the plain one is newer than its kinds
}
