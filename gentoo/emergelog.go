package gentoo

import (
	"regexp"
	"strconv"
	"strings"
	"time"
)

// LogKind says what an event of emerge.log is.
type LogKind int

// The events of emerge.log that tell how far a run is.
const (
	LogStart         LogKind = iota + 1 // emerge begins with a package
	LogCleaning                         // its build directory is cleaned before the build
	LogFetching                         // its binpkg is being downloaded
	LogCompiling                        // phases from unpack to install, and packaging
	LogMerging                          // the built package is being merged
	LogMergingBinary                    // a binpkg is being merged
	LogCompleted                        // the package is merged
	LogFinished                         // emerge ends, all went well
	LogFailed                           // emerge ends with an error; which package failed it does not say
	LogUnmergeFailed                    // removing a package failed
	LogTerminated                       // the last line of every run
)

// LogEvent is one line of emerge.log that is understood.
type LogEvent struct {
	Kind LogKind
	Time time.Time // to the second
	N, M int       // "(N of M)"; 0 for events of the whole run
	CPV  CPV       // zero for events of the whole run
	Path string    // the ebuild, or the binpkg for LogFetching and LogMergingBinary
	Root string    // where to merge, for LogStart and LogCompleted
	Code int       // exit status, for LogFailed
}

const logCount = `\(([0-9]{1,6}) of ([0-9]{1,6})\)`

var (
	logLineRE  = regexp.MustCompile(`^([0-9]{1,12}): +(\S.*)$`)
	logStepRE  = regexp.MustCompile(`^(?:===|---) ` + logCount + ` ([A-Za-z/ -]+) \(([^:]+)::(.*)\)$`)
	logStartRE = regexp.MustCompile(`^(>>>|::: completed) emerge ` + logCount + ` (\S+) to (.*)$`)
	logExitRE  = regexp.MustCompile(`^\*\*\* exiting unsuccessfully with status '([0-9]{1,3})'\.$`)
	unmergeRE  = regexp.MustCompile(`^!!! unmerge FAILURE: (\S+)$`)

	logSteps = map[string]LogKind{
		"Cleaning": LogCleaning, "Fetching Binary": LogFetching, "Compiling/Packaging": LogCompiling,
		"Compiling/Merging": LogCompiling, "Merging": LogMerging, "Merging Binary": LogMergingBinary,
	}
)

// ParseLogLine reads one line of emerge.log, which emerge writes to /var/log or EMERGE_LOG_DIR. Lines about
// other things (the command line, world file, AUTOCLEAN) give false; so does everything not understood,
// since the log is shared by all emerges of a machine and an older one may have written it.
func ParseLogLine(line string) (LogEvent, bool) {
	m := logLineRE.FindStringSubmatch(strings.TrimRight(line, "\r\n"))
	if m == nil {
		return LogEvent{}, false
	}
	seconds, _ := strconv.ParseInt(m[1], 10, 64) // at most 12 digits
	e := LogEvent{Time: time.Unix(seconds, 0)}
	return e, e.read(m[2])
}

// read fills in what the text behind the time says.
func (e *LogEvent) read(text string) bool {
	if m := logStepRE.FindStringSubmatch(text); m != nil {
		e.Kind, e.Path = logSteps[m[3]], m[5]
		return e.Kind != 0 && e.setPackage(m[1], m[2], m[4])
	}
	if m := logStartRE.FindStringSubmatch(text); m != nil {
		e.Kind, e.Root = LogStart, m[5]
		if m[1] != ">>>" {
			e.Kind = LogCompleted
		}
		return e.setPackage(m[2], m[3], m[4])
	}
	if m := logExitRE.FindStringSubmatch(text); m != nil {
		e.Kind = LogFailed
		e.Code, _ = strconv.Atoi(m[1])
		return true
	}
	if m := unmergeRE.FindStringSubmatch(text); m != nil {
		e.Kind = LogUnmergeFailed
		return e.setPackage("0", "0", m[1])
	}
	switch text {
	case "*** exiting successfully.":
		e.Kind = LogFinished
	case "*** terminating.":
		e.Kind = LogTerminated
	}
	return e.Kind != 0
}

func (e *LogEvent) setPackage(n, m, cpv string) bool {
	var err error
	e.N, _ = strconv.Atoi(n)
	e.M, _ = strconv.Atoi(m)
	e.CPV, err = ParseCPV(cpv)
	return err == nil
}
