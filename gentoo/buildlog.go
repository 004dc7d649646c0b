package gentoo

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"strings"
)

// Phase is a phase of building a package, by its name in PMS chapter 9 without "src_" and "pkg_": "compile".
type Phase string

// The beginning of a line that Portage writes when a phase begins (bin/phase-functions.sh,
// bin/misc-functions.sh). With --quiet emerge writes none of them; --quiet-build does not matter.
var phaseLines = []struct {
	text  string
	phase Phase
}{
	{">>> Unpacking source...", "unpack"},
	{">>> Preparing source in ", "prepare"},
	{">>> Configuring source in ", "configure"},
	{">>> Compiling source in ", "compile"},
	{">>> Test phase: ", "test"},
	{">>> Install ", "install"},
	{">>> Creating binpkg", "package"},
}

// PhaseOf returns the phase that begins with this line of a build log; false for all other lines.
func PhaseOf(line string) (Phase, bool) {
	line = stripEscapes(line)
	for _, p := range phaseLines {
		if strings.HasPrefix(line, p.text) {
			return p.phase, true
		}
	}
	return "", false
}

// BuildFailure is what die wrote into a build log.
type BuildFailure struct {
	CPV   CPV
	Repo  string
	Phase Phase // empty where die was called outside a phase
}

var dieRE = regexp.MustCompile(`^ \* ERROR: (\S+)::([A-Za-z0-9_-]+) failed(?: \(([a-z]+) phase\))?:$`)

// FailureOf reads the line of a build log that says that a package failed and in which phase; false for all
// others.
func FailureOf(line string) (BuildFailure, bool) {
	m := dieRE.FindStringSubmatch(strings.TrimRight(stripEscapes(line), "\r\n"))
	if m == nil {
		return BuildFailure{}, false
	}
	cpv, err := ParseCPV(m[1])
	return BuildFailure{cpv, m[2], Phase(m[3])}, err == nil && ValidRepoName(m[2])
}

var failedRE = regexp.MustCompile(`^>>> Failed to [a-z]+ ([^\s,]+)(?: [a-z]+ /.*)?(?:, Log file:)?$`)

// FailedPackage reads the line of emerge's own output that names a package that was not built or not
// merged, which emerge.log does not tell; false for all other lines.
func FailedPackage(line string) (CPV, bool) {
	m := failedRE.FindStringSubmatch(strings.TrimRight(stripEscapes(line), " \r\n"))
	if m == nil {
		return CPV{}, false
	}
	cpv, err := ParseCPV(m[1])
	return cpv, err == nil
}

// FailureLines returns the n lines of a build log that tell best why it failed, without their line ends, reading no
// more than its last maxBytes bytes: those before Portage's own report of the failure, which is long, and that report's
// message. A log without such a report gives its last lines. A first line that was cut is left out, unless it is all there is.
func FailureLines(r io.ReadSeeker, n int, maxBytes int64) ([]string, error) {
	size, err := r.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	start := max(0, size-maxBytes)
	if _, err := r.Seek(start, io.SeekStart); err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(r, maxBytes)) // the log may grow meanwhile
	if err != nil {
		return nil, err
	}
	data = bytes.TrimRight(data, "\n")
	if len(data) == 0 || n <= 0 {
		return nil, nil
	}
	lines := strings.Split(string(data), "\n")
	if start > 0 && len(lines) > 1 {
		lines = lines[1:]
	}
	lines = lines[:endOfMessage(lines)]
	return lines[max(0, len(lines)-n):], nil
}

// endOfMessage returns where the message of the last reported failure ends: " * ERROR: …", the text that die was given, " * ".
func endOfMessage(lines []string) int {
	for i := len(lines) - 1; i >= 0; i-- {
		if _, ok := FailureOf(lines[i]); !ok {
			continue
		}
		for i++; i < len(lines) && strings.HasPrefix(stripEscapes(lines[i]), " *   "); i++ {
		}
		return i
	}
	return len(lines)
}

var logDateRE = regexp.MustCompile(`^[0-9]{8}-[0-9]{6}\.log(\.gz)?$`)

// ParseBuildLogName returns the package whose build log has this path below PORTAGE_LOGDIR:
// "cat:pf:date.log", or with FEATURES=split-log "build/cat/pf:date.log". Logs end in ".gz" with
// FEATURES=compress-build-logs.
func ParseBuildLogName(rel string) (CPV, error) {
	parts := strings.Split(path.Base(rel), ":")
	dir := path.Dir(rel)
	if category, ok := strings.CutPrefix(dir, "build/"); ok {
		parts = append([]string{category}, parts...)
	} else if dir != "." {
		return CPV{}, errNotBuildLog(rel)
	}
	if len(parts) != 3 || !logDateRE.MatchString(parts[2]) {
		return CPV{}, errNotBuildLog(rel)
	}
	cpv, err := ParseCPV(parts[0] + "/" + parts[1])
	if err != nil {
		return CPV{}, errNotBuildLog(rel)
	}
	return cpv, nil
}

func errNotBuildLog(rel string) error {
	return fmt.Errorf("%q: %w", Printable(rel), ErrNotBuildLog)
}

// ErrNotBuildLog is the error of ParseBuildLogName for any other file.
var ErrNotBuildLog = errors.New("not a build log of Portage")
