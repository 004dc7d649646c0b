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

// What is kept of a job's logs, and read of them in one look, has bounds, since the job can make logs of any number and size: with
// holes in them they take no room on its disk. The largest world has some 2000 packages.
const (
	maxLogLine = 4096 // of which the rest is another line
	maxLogs    = 20_000
	maxFollows = 20_000 // packages
	maxLook    = 64 << 20
	lastLooks  = 16 // when the job has ended
)

// follower turns what Portage writes while it builds (emerge.log and the build logs of the packages) into
// events. Its files are written by the job, which is not trusted: they are opened below logDir only, never
// through a link, and read in bounded pieces.
type follower struct {
	job     Job
	logDir  *os.Root
	results *results
	emit    func(Event)

	files  map[string]int64 // how much of each was read
	buf    []byte
	left   int64 // of maxLook
	more   bool  // than maxLook there was in the last look
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

func newFollower(job Job, logDir *os.Root, results *results, emit func(Event)) (*follower, error) {
	f := &follower{
		job: job, logDir: logDir, results: results, emit: emit,
		files: map[string]int64{emergeLog: 0}, buf: make([]byte, 64<<10), states: make(map[gentoo.CPV]*progress),
	}
	if job.Log == "" {
		return f, nil
	}
	var err error
	f.all, err = os.OpenFile(job.Log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	return f, err
}

// run follows until done is closed and then to the end, so that nothing that was written is missed but of logs beyond all measure.
func (f *follower) run(done <-chan struct{}) {
	untilDone(done, followEvery, f.look)
	for n := 1; f.more && n < lastLooks; n++ {
		f.look()
	}
	if f.all != nil {
		f.all.Close()
	}
}

// untilDone calls look again and again until done is closed, and then once more.
func untilDone(done <-chan struct{}, every time.Duration, look func()) {
	t := time.NewTicker(every)
	defer t.Stop()
	for ended := false; !ended; {
		select {
		case <-done:
			ended = true
		case <-t.C:
		}
		look()
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
	f.left = maxLook
	logNames(dir, func(name string) {
		if cpv, err := gentoo.ParseBuildLogName(name); err == nil {
			f.lines(name, func(line string) { f.buildLine(cpv, name, line) })
		}
	})
	f.more = f.left <= 0
	f.left = maxLook
	f.lines(emergeLog, f.emergeLine)
	f.more = f.more || f.left <= 0
}

const emergeLog = "emerge.log"

// logNames calls fn for the names in a log directory. Of too many it calls fn for some and reports false.
func logNames(dir *os.File, fn func(name string)) bool {
	for n := 0; ; {
		names, err := dir.Readdirnames(1024)
		for _, name := range names {
			if n++; n > maxLogs {
				return false
			}
			fn(name)
		}
		if err != nil {
			return true
		}
	}
}

// lines calls fn for each line that was added to a file. A line that is not finished is read again with its rest.
func (f *follower) lines(name string, fn func(string)) {
	offset, known := f.files[name]
	if !known && len(f.files) > maxLogs { // those of earlier looks may be gone
		return
	}
	file, err := openRegular(f.logDir, name)
	if err != nil {
		return
	}
	defer file.Close()
	for f.left > 0 {
		n, err := file.ReadAt(f.buf, offset)
		f.left -= int64(n)
		data := f.buf[:n]
		for {
			end, skip := bytes.IndexByte(data[:min(len(data), maxLogLine+1)], '\n'), 1
			if end < 0 {
				if len(data) <= maxLogLine {
					break
				}
				end, skip = maxLogLine, 0
			}
			fn(string(data[:end]))
			data = data[end+skip:]
		}
		offset += int64(n - len(data))
		f.files[name] = offset
		if err != nil {
			return
		}
	}
}

// progress is that of a package, or nil if it is one too many.
func (f *follower) progress(cpv gentoo.CPV) *progress {
	p := f.states[cpv]
	if p == nil && len(f.states) < maxFollows {
		p = new(progress)
		// Not parts of a line, which would be kept with them.
		cpv = gentoo.CPV{Category: strings.Clone(cpv.Category), Name: strings.Clone(cpv.Name), Version: strings.Clone(cpv.Version)}
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
	if f.all != nil {
		fmt.Fprintf(f.all, "%s> %s\n", cpv, strings.TrimRight(line, "\r"))
	}
	p := f.progress(cpv)
	if p == nil {
		return
	}
	p.log = name
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
	switch e.Kind {
	case gentoo.LogMergingBinary:
		f.results.reused(e.CPV, e.Path)
	case gentoo.LogMerging, gentoo.LogCompleted:
		f.results.built(e.CPV) // does nothing when it is known
	}
	p := f.progress(e.CPV)
	if p == nil {
		return
	}
	switch e.Kind {
	case gentoo.LogStart:
		f.total = max(f.total, e.M)
		failed := p.n == 0 && p.state == StateFailed // the build logs are read first
		if p.n == 0 {
			f.begun++
			p.n = f.begun
		}
		p.of = f.total
		if failed {
			return
		}
		p.state, p.phase = StateBuilding, ""
		f.update(e.CPV, p)
	case gentoo.LogMerging:
		p.phase = "merge"
		f.update(e.CPV, p)
	case gentoo.LogCompleted:
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
			if p := f.progress(pkg.CPV); p != nil {
				p.n, p.of, p.state = i+1, f.total, f.results.state(pkg.CPV)
				f.update(pkg.CPV, p)
			}
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
