package build

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"

	"lantage/gentoo"
)

// followEvery is how often a job's logs are looked at. They are on the builder's own disk and small reads.
const followEvery = 200 * time.Millisecond

// maxLogLine bounds a line of a build log that is passed on.
const maxLogLine = 4096

// follower turns what Portage writes while it builds (emerge.log and the build logs of the packages) into
// events. Its files are written by the job, which is not trusted: they are opened below logDir only, never
// through a link, and read in bounded pieces.
type follower struct {
	job     Job
	logDir  *os.Root
	results *results
	emit    func(Event)

	files  map[string]*tail
	states map[gentoo.CPV]*progress
	all    *os.File // Job.Log

	begun, total int // packages; emerge counts anew when it goes on after a failure, and this does not
}

// progress is what is known of a package.
type progress struct {
	state State
	phase gentoo.Phase
	n, of int
	log   string // name of its build log
}

// tail reads what is added to a file.
type tail struct {
	offset int64
	rest   []byte // an unfinished line
}

func newFollower(job Job, logDir *os.Root, results *results, emit func(Event)) (*follower, error) {
	f := &follower{
		job: job, logDir: logDir, results: results, emit: emit,
		files: make(map[string]*tail), states: make(map[gentoo.CPV]*progress),
	}
	if job.Log == "" {
		return f, nil
	}
	var err error
	f.all, err = os.OpenFile(job.Log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	return f, err
}

// run follows until done is closed and then once more, so that nothing that was written is missed.
func (f *follower) run(done <-chan struct{}) {
	t := time.NewTicker(followEvery)
	defer t.Stop()
	for ended := false; !ended; {
		select {
		case <-done:
			ended = true
		case <-t.C:
		}
		f.look()
	}
	if f.all != nil {
		f.all.Close()
	}
}

// look reads what is new in every log, emerge's own last: what it says of a package (merged, done) comes
// after what the package's log says.
func (f *follower) look() {
	dir, err := f.logDir.Open(".")
	if err != nil {
		return
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	for _, name := range names {
		if cpv, err := gentoo.ParseBuildLogName(name); err == nil {
			f.lines(name, func(line string) { f.buildLine(cpv, name, line) })
		}
	}
	f.lines("emerge.log", f.emergeLine)
}

// lines calls fn for each line that was added to a file.
func (f *follower) lines(name string, fn func(string)) {
	t := f.files[name]
	if t == nil {
		t = new(tail)
		f.files[name] = t
	}
	file, err := openRegular(f.logDir, name)
	if err != nil {
		return
	}
	defer file.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := file.ReadAt(buf, t.offset)
		t.offset += int64(n)
		data := append(t.rest, buf[:n]...)
		for {
			line, rest, ok := bytes.Cut(data, []byte("\n"))
			if !ok && len(data) < maxLogLine {
				break
			}
			if !ok {
				line, rest = data[:maxLogLine], data[maxLogLine:]
			}
			fn(string(line))
			data = rest
		}
		t.rest = append([]byte(nil), data...)
		if err != nil || n == 0 {
			return
		}
	}
}

func (f *follower) progress(cpv gentoo.CPV) *progress {
	p := f.states[cpv]
	if p == nil {
		p = new(progress)
		f.states[cpv] = p
	}
	return p
}

// update emits a package's progress as it is now.
func (f *follower) update(cpv gentoo.CPV, p *progress) {
	f.emit(Event{Kind: EventPackage, CPV: cpv, N: p.n, Of: p.of, State: p.state, Phase: p.phase})
}

// buildLine takes one line of a package's build log.
func (f *follower) buildLine(cpv gentoo.CPV, name, line string) {
	p := f.progress(cpv)
	p.log = name
	if f.all != nil {
		fmt.Fprintf(f.all, "%s> %s\n", cpv, strings.TrimRight(line, "\r"))
	}
	if failure, ok := gentoo.FailureOf(line); ok && failure.CPV == cpv {
		p.state, p.phase = StateFailed, failure.Phase
		f.update(cpv, p)
	} else if phase, ok := gentoo.PhaseOf(line); ok && phase != p.phase && p.state == StateBuilding {
		p.phase = phase
		f.update(cpv, p)
	}
}

// emergeLine takes one line of emerge.log.
func (f *follower) emergeLine(line string) {
	e, ok := gentoo.ParseLogLine(line)
	if !ok {
		return
	}
	p := f.progress(e.CPV)
	switch e.Kind {
	case gentoo.LogStart:
		f.total = max(f.total, e.M)
		if p.n == 0 {
			f.begun++
			p.n = f.begun
		}
		p.of, p.state, p.phase = f.total, StateBuilding, ""
		f.update(e.CPV, p)
	case gentoo.LogMergingBinary:
		f.results.reused(e.CPV, e.Path)
	case gentoo.LogMerging:
		f.results.built(e.CPV)
		p.phase = "merge"
		f.update(e.CPV, p)
	case gentoo.LogCompleted:
		f.results.built(e.CPV) // does nothing when it is known
		p.state, p.phase = f.results.state(e.CPV), ""
		f.update(e.CPV, p)
	}
}

// planned takes the plan of a job that needed nothing but what is in PKGDIR, if there is one (see planFirst): what it names
// is what emerge would have merged.
func (f *follower) planned() {
	file, err := openRegular(f.logDir, planName)
	if err != nil {
		return
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxPlan))
	if err != nil {
		return
	}
	list, err := gentoo.ParseMergeList(string(text))
	if err != nil {
		f.emit(Event{Kind: EventNote, Text: "what emerge would do with the binary packages here was not understood: " + err.Error()})
		return
	}
	f.total = len(list.Packages)
	for i, pkg := range list.Packages {
		if name := f.results.instance(pkg.CPV, pkg.BuildID); name != "" {
			f.results.add(pkg.CPV, name, f.results.before[name])
		}
		if _, ok := f.results.found[pkg.CPV]; ok {
			p := f.progress(pkg.CPV)
			p.n, p.of, p.state = i+1, f.total, f.results.state(pkg.CPV)
			f.update(pkg.CPV, p)
		}
	}
}

// maxPlan bounds a plan, in bytes.
const maxPlan = 8 << 20

// openRegular opens a file that an untrusted job wrote: below root, not through a link, and only if it is a
// regular file; anything else could block or lead elsewhere.
func openRegular(root *os.Root, name string) (*os.File, error) {
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if fi, err := f.Stat(); err != nil || !fi.Mode().IsRegular() {
		f.Close()
		return nil, &os.PathError{Op: "open", Path: name, Err: syscall.EINVAL}
	}
	return f, nil
}

// tailText returns the last lines of a file that a job wrote, at most n bytes.
func tailText(f *os.File, n int64) string {
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return ""
	}
	buf := make([]byte, min(n, size))
	if _, err := f.ReadAt(buf, size-int64(len(buf))); err != nil {
		return ""
	}
	return strings.TrimSpace(string(buf))
}
