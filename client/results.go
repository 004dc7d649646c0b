package client

import (
	"archive/tar"
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"lantage/archive"
	"lantage/gentoo"
	"lantage/wire"
)

// Names of the members of StreamResults begin with one of these.
const (
	binpkgPrefix = "binpkgs/"
	logPrefix    = "logs/"
)

// Bounds of what a builder may declare.
const (
	maxBinpkg = 64 << 30 // bytes
	maxLog    = 1 << 30  // bytes

	maxOtherLogs = 100 // of packages that were not asked for
)

// arrival is a binpkg that is whole and in its place.
type arrival struct {
	cpv  gentoo.CPV
	path string // below PKGDIR
}

// results takes what a builder sends, checks it against the plan and against what was declared, and puts it
// in its place. It lasts as long as the job, over several connections.
type results struct {
	wanted map[string]gentoo.CPV // what was asked for, by CPV
	store  *gentoo.PkgDir        // takes the binpkgs
	logDir string                // takes the logs of failed packages; made when the first one comes
	// check judges a binpkg before it becomes visible; a *unfitError keeps it out. nil: all are taken.
	check func(cpv gentoo.CPV, name string, r io.ReaderAt, size int64) error
	// arrive is told of each binpkg that is in its place; nil: nobody wants to know.
	arrive func(a arrival, r wire.Result) error
	// progress is told how far a member is: 0 at its beginning and size at its end.
	progress func(cpv string, done, size int64)

	mu       sync.Mutex             // guards the rest: the connection's reader declares while members are taken
	declared map[string]wire.Result // by member name; what has arrived is taken out
	seen     map[string]bool        // kinds and CPVs that were declared
	arrived  []arrival
	unfit    []failure         // binpkgs that came and were not taken
	logs     map[string]string // paths on this machine, by CPV
	have     []string          // hashes, for attach
}

func newResults(
	sent []gentoo.Package, store *gentoo.PkgDir, logDir string, progress func(string, int64, int64),
) *results {
	rs := &results{
		wanted: map[string]gentoo.CPV{}, store: store, logDir: logDir, progress: progress,
		declared: map[string]wire.Result{}, seen: map[string]bool{}, logs: map[string]string{},
	}
	for _, p := range sent {
		rs.wanted[p.CPV.String()] = p.CPV
	}
	return rs
}

// badResult is a result that breaks a rule. The builder is at fault, so no further byte of it is wanted.
func badResult(format string, args ...any) error {
	return fmt.Errorf("%w: %s", wire.ErrProtocol, fmt.Sprintf(format, args...))
}

// A localError is a fault of this machine while results come in, such as a full disk.
type localError struct{ err error }

func (e *localError) Error() string { return e.err.Error() }
func (e *localError) Unwrap() error { return e.err }

// declare takes note of a result that is to come.
func (rs *results) declare(r wire.Result) error {
	cpv, err := gentoo.ParseCPV(r.CPV)
	if err != nil {
		return badResult("result for %q, which is no package", oneLine(r.CPV, 100))
	}
	if sum, err := hex.DecodeString(r.SHA256); err != nil || len(sum) != sha256.Size {
		return badResult("result for %s without a SHA-256", r.CPV)
	}
	var name string
	limit := int64(maxBinpkg)
	switch r.Kind {
	case wire.ResultBinpkg:
		if _, ok := rs.wanted[r.CPV]; !ok {
			return badResult("binary package of %s, which was not asked for", r.CPV)
		}
		if err := gentoo.ValidBinpkgPath(r.Path, cpv); err != nil {
			return badResult("%v", err)
		}
		name = binpkgPrefix + r.Path
	case wire.ResultLog: // also of a build dependency that was not asked for, and failed
		if archive.ValidName(r.Path) != nil || strings.Contains(r.Path, "/") || gentoo.Printable(r.Path) != r.Path {
			return badResult("log of %s named %q", r.CPV, oneLine(r.Path, 100))
		}
		name, limit = logPrefix+r.Path, maxLog
	default:
		return badResult("result of unknown kind %q", oneLine(string(r.Kind), 40))
	}
	if r.Size < 0 || r.Size > limit {
		return badResult("result for %s of %d bytes", r.CPV, r.Size)
	}
	rs.mu.Lock()
	defer rs.mu.Unlock()
	key := string(r.Kind) + " " + r.CPV
	if _, dup := rs.declared[name]; dup || rs.seen[key] {
		return badResult("two results for %s (%s)", r.CPV, r.Kind)
	}
	if len(rs.seen) >= 2*len(rs.wanted)+maxOtherLogs {
		return badResult("too many results")
	}
	rs.seen[key] = true
	rs.declared[name] = r
	return nil
}

// lookUp returns what was declared under a member's name.
func (rs *results) lookUp(name string) (wire.Result, bool) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	r, ok := rs.declared[name]
	return r, ok
}

// take reads the results of one connection to their end. io errors of r are returned as they are.
func (rs *results) take(r io.Reader) error {
	in := bufio.NewReader(r)
	if _, err := in.Peek(1); err == io.EOF {
		return nil // a stream without an archive: no results
	}
	members := archive.NewReader(in, archive.Limits{
		Entries: 2*len(rs.wanted) + maxOtherLogs, EntryBytes: maxBinpkg, NameBytes: 1000, Depth: 10,
	})
	for {
		member, err := members.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := rs.takeMember(member, members); err != nil {
			return err
		}
	}
}

func (rs *results) takeMember(member *archive.Header, content io.Reader) error {
	r, ok := rs.lookUp(member.Name)
	if !ok {
		return badResult("%q came without being declared", oneLine(member.Name, 100))
	}
	if member.Typeflag != tar.TypeReg || member.Size != r.Size {
		return badResult("%q is not the file of %d bytes that was declared", oneLine(member.Name, 100), r.Size)
	}
	rs.progress(r.CPV, 0, r.Size)
	defer rs.progress(r.CPV, r.Size, r.Size)
	counted := &countingReader{r: content, tell: func(n int64) { rs.progress(r.CPV, n, r.Size) }}
	read := &readErrors{r: counted}
	if r.Kind == wire.ResultLog {
		err := rs.takeLog(r, read)
		return rs.fault(r, read, err)
	}
	err := rs.takeBinpkg(r, read)
	return rs.fault(r, read, err)
}

// fault sorts the errors of taking a member: those of the connection, those of the builder, those of this
// machine.
func (rs *results) fault(r wire.Result, read *readErrors, err error) error {
	switch {
	case err == nil:
		return nil
	case read.err != nil:
		return read.err
	case errors.Is(err, gentoo.ErrMismatch):
		return badResult("%s is not what was declared; nothing of it is kept: %v", path.Base(r.Path), err)
	}
	return &localError{err}
}

func (rs *results) takeBinpkg(r wire.Result, content io.Reader) error {
	var sum [sha256.Size]byte
	if _, err := hex.Decode(sum[:], []byte(r.SHA256)); err != nil {
		return err // declare has checked it
	}
	cpv := rs.wanted[r.CPV]
	judge := func(file io.ReaderAt) error {
		if rs.check == nil {
			return nil
		}
		return rs.check(cpv, r.Path, file, r.Size)
	}
	name, err := rs.store.Add(cpv, r.Path, r.Size, sum, content, judge)
	if unfit, ok := errors.AsType[*unfitError](err); ok {
		rs.mu.Lock()
		defer rs.mu.Unlock()
		rs.unfit = append(rs.unfit, failure{cpv: cpv, state: wire.StateDeclined, text: unfit.text, unfit: unfit})
		rs.arrivedLocked(binpkgPrefix+r.Path, r) // it is not to come again
		return nil
	}
	if err == nil && rs.arrive != nil {
		err = rs.arrive(arrival{cpv, name}, r)
	}
	if err != nil {
		return err
	}
	rs.mu.Lock()
	defer rs.mu.Unlock()
	rs.arrived = append(rs.arrived, arrival{cpv, name})
	rs.arrivedLocked(binpkgPrefix+r.Path, r)
	return nil
}

func (rs *results) takeLog(r wire.Result, content io.Reader) error {
	if err := os.MkdirAll(rs.logDir, 0o755); err != nil {
		return err
	}
	file, err := os.CreateTemp(rs.logDir, ".log-*")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	defer file.Close()
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(file, sum), content)
	if err != nil {
		return err
	}
	if n != r.Size || hex.EncodeToString(sum.Sum(nil)) != strings.ToLower(r.SHA256) {
		return gentoo.ErrMismatch
	}
	target := filepath.Join(rs.logDir, r.Path)
	if err := errors.Join(file.Chmod(0o644), os.Rename(file.Name(), target)); err != nil {
		return err
	}
	rs.mu.Lock()
	defer rs.mu.Unlock()
	rs.logs[r.CPV] = target
	rs.arrivedLocked(logPrefix+r.Path, r)
	return nil
}

// arrivedLocked notes that a declared member is in its place.
func (rs *results) arrivedLocked(name string, r wire.Result) {
	delete(rs.declared, name)
	rs.have = append(rs.have, strings.ToLower(r.SHA256))
}

// has reports whether a package's binpkg has arrived.
func (rs *results) has(cpv gentoo.CPV) bool {
	return slices.ContainsFunc(rs.arrived, func(a arrival) bool { return a.cpv == cpv })
}

// inOrder returns what has arrived in the order of the plan.
func (rs *results) inOrder(sent []gentoo.Package) []arrival {
	var list []arrival
	for _, p := range sent {
		for _, a := range rs.arrived {
			if a.cpv == p.CPV {
				list = append(list, a)
			}
		}
	}
	return list
}

// hashes returns the SHA-256 of everything that has arrived.
func (rs *results) hashes() []string {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	return append([]string(nil), rs.have...)
}
