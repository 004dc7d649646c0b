package build

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"lantage/gentoo"
)

// Root is a copy of a client's root. It does not change.
type Root struct {
	Client string // what the PKGDIRs of jobs on this client's roots are named by; [0-9a-f]{32}
	Dir    string // the tree; no path in it may be followed on this machine but inside a build root
	// Files lists the tree in order: directories, files and symbolic links, by path below it.
	Files func(visit func(RootFile) error) error
	// Note is the path of a file, not there at first, in which something may be kept that was found out of this root.
	Note func(name string) string
}

// RootFile is one entry of a Root.
type RootFile struct {
	Path   string
	Sum    [32]byte // SHA-256 of a file's content
	Target string   // of a symbolic link
}

// ClientBase is a copy of the client's own root: its Portage, toolchain, libraries, configuration, repositories and
// installed packages are there, so that nothing of the job has to be put in place, and nothing of this machine is seen.
type ClientBase struct{ Root *Root }

// Name implements Base.
func (ClientBase) Name() string { return "client" }

// Layers implements Base.
func (b ClientBase) Layers() ([]Layer, error) { return []Layer{{b.Root.Dir, "/"}}, nil }

// Masks implements Base: a copy has nothing in it to be hidden.
func (ClientBase) Masks() (dirs, files []string) { return nil, nil }

// Fingerprint implements Base.
func (b ClientBase) Fingerprint() (string, error) { return b.Root.Dir, nil }

func (b ClientBase) adapt(_ context.Context, job Job) (adapted, error) {
	r := rootReader{repos: job.Repos}
	want := map[string]Package{}
	for _, p := range job.Packages {
		if i := indexRepo(job.Repos, p.Repo); i >= 0 {
			want[path.Join(below(job.Repos[i].Location), p.Category, p.Name, p.PF()+".ebuild")] = p
		}
	}
	r.want = want
	if err := b.Root.Files(r.visit); err != nil {
		return adapted{}, fmt.Errorf("the list of the client's root: %w", err)
	}
	var a adapted
	for _, p := range job.Packages {
		if r.found[p] {
			a.pkgs = append(a.pkgs, p)
			continue
		}
		a.declined = append(a.declined, PackageReport{
			CPV: p.CPV, State: StateDeclined, Text: fmt.Sprintf("the copy of this machine's root has no such version in the "+
				"repository %q; bring the copy up to date (lantage sync --full)", p.Repo),
		})
	}
	key, err := r.key(job)
	a.pkgDir = filepath.Join(b.Root.Client, key)
	return a, err
}

func indexRepo(repos []gentoo.Repo, name string) int {
	for i, r := range repos {
		if r.Name == name {
			return i
		}
	}
	return -1
}

// below is an absolute path as lists of roots have it.
func below(abs string) string { return strings.TrimPrefix(path.Clean(abs), "/") }

// proof is run by the root's own bash before the first job on it. What it finds wrong is its last line.
const proof = `
exec 2>&1
try() { # WHAT COMMAND...
	local what=$1 out code; shift
	out=$("$@" </dev/null 2>&1); code=$?
	((code == 0)) && return
	printf '%s\n' "$out" | tail -n 5
	local why="it ended with status $code"
	((code == 126 || code == 127)) && why="it cannot be started"
	((code == 132)) || [[ $out == *[Ii]"llegal instruction"* ]] && why="it uses an instruction that the CPU of this builder lacks (SIGILL)"
	((code == 139)) && why="it crashes"
	echo "lantage: the client's own $what does not run here: $why"
	exit 9
}
try python python3 -c 'import hashlib, json, subprocess'
try Portage emerge --version
eval "$(portageq envvar -v CHOST CC CFLAGS LDFLAGS)"
cd /tmp || exit 1
printf '%s\n' '#include <stdio.h>' 'int main(void) { return puts("hello, world") < 0; }' >hello.c
cc=${CC:-$CHOST-gcc}
try "compiler ($cc)" $cc $CFLAGS $LDFLAGS -o hello hello.c
try "compiler's program (CFLAGS=\"$CFLAGS\")" ./hello
`

// proveRoot sees to it, once for each root and what the job has in the place of its native flags, that what builds there runs here at
// all: python, Portage and the compiler, and a program that the compiler made with the client's flags. If not, the job is declined
// with the reason.
func (r *Runner) proveRoot(ctx context.Context, root *Root, inputs string) error {
	sum := sha256.New()
	if err := hashResolved(sum, inputs); err != nil {
		return err
	}
	with := hex.EncodeToString(sum.Sum(nil))
	mark := root.Note("proved")
	if before, err := os.ReadFile(mark); err == nil && string(before) == with {
		return nil
	}
	err := r.try(ctx, ClientBase{root}, inputs, []string{"/bin/bash", "-c", proof})
	if failed, ok := errors.AsType[*tryError](err); ok {
		return &DeclineError{failed.reason()}
	}
	if err != nil && strings.Contains(err.Error(), "cannot run /bin/bash") {
		return &DeclineError{"the client's own bash does not run here: " + err.Error()}
	}
	if err != nil {
		return err
	}
	return os.WriteFile(mark, []byte(with), 0o600)
}

// reason is what the proof says last.
func (e *tryError) reason() string {
	if i := strings.LastIndex(e.output, "lantage: "); i >= 0 {
		text, rest, _ := strings.Cut(e.output[i+len("lantage: "):], "\n")
		if before := strings.TrimSpace(e.output[:i]); before != "" && rest == "" {
			lines := strings.Split(before, "\n")
			text += " (" + gentoo.Printable(lines[len(lines)-1]) + ")"
		}
		return text
	}
	why := fmt.Sprintf("it ended with status %d", e.code)
	if e.code == 128+int(syscall.SIGILL) {
		why = "it uses an instruction that the CPU of this builder lacks (SIGILL)"
	}
	return "the client's own bash does not run here: " + why
}
