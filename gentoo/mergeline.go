package gentoo

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
)

// Marks stand at fixed places of the bracket: interactive, new, replace, fetch, upgrade, downgrade, mask.
// --quiet leaves the last place out.
var markPlaces = [...]string{" I", " rN", " RS", " fFg", " U", " D", " #*~"}

var (
	// The download size at the end of a --verbose line; --quiet-repo-display puts a repository number after
	// it.
	lineSizeRE = regexp.MustCompile(`(?:^| )([0-9][^A-Za-z"\[\]]* KiB)(?: \[[0-9?]+(?:=>[0-9?]+)?\])?$`)
	useGroupRE = regexp.MustCompile(`(?:^| )([A-Z][A-Z0-9_]*)="([^"]*)"$`)
	restRE     = regexp.MustCompile(`^(?:\[([^\]]*)\] *)?(?:to (/.*))?$`)
	blockRE    = regexp.MustCompile(`^(\S+) \((?:"([^"]*)" )?is (hard|soft) blocking (.*)\)$`)
	slotRE     = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9+_.-]*$`) // PMS 3.1.3
)

// addPackage reads one package line: the marks of its bracket and what follows it.
func (l *MergeList) addPackage(kind Kind, marks, body, line string) (reason string) {
	p := Package{Kind: kind, Line: line}
	if reason = p.readMarks(marks); reason != "" {
		return reason
	}
	rest := strings.TrimLeft(body, " ")
	if len(rest) == len(body) {
		return "no space after the bracket"
	}
	p.Depth = len(body) - len(rest) - 1 // --tree indents by one space for each level
	rest = strings.TrimRight(rest, " ")
	if m := lineSizeRE.FindStringSubmatchIndex(rest); m != nil {
		size, ok := parseKiB(rest[m[2]:m[3]])
		if !ok {
			return fmt.Sprintf("%q is not a size", rest[m[2]:m[3]])
		}
		p.Size, rest = size, strings.TrimRight(rest[:m[0]], " ")
	}
	if rest, reason = p.readUse(rest); reason != "" {
		return reason
	}
	if reason = p.readName(rest); reason != "" {
		return reason
	}
	l.Packages = append(l.Packages, p)
	return ""
}

func (p *Package) readMarks(marks string) (reason string) {
	if p.Kind == KindNomerge || p.Kind == KindUninstall {
		if strings.TrimSpace(marks) != "" {
			return fmt.Sprintf("marks %q where none are expected", marks)
		}
		return ""
	}
	if len(marks) > len(markPlaces) {
		return fmt.Sprintf("more marks than are known: %q", marks)
	}
	var at [len(markPlaces)]byte
	for i := range len(marks) {
		if !strings.Contains(markPlaces[i], string(rune(marks[i]))) {
			return fmt.Sprintf("unknown mark %q at place %d of %q", marks[i], i+1, marks)
		}
		at[i] = marks[i]
	}
	p.Flags = Flags{
		Interactive:    at[0] == 'I',
		ForceReinstall: at[1] == 'r',
		New:            at[1] == 'N',
		Reinstall:      at[2] == 'R',
		NewSlot:        at[2] == 'S',
		FetchedByHand:  at[3] == 'f',
		FetchManually:  at[3] == 'F',
		Remote:         at[3] == 'g',
		Upgrade:        at[4] == 'U' && at[5] != 'D',
		Downgrade:      at[5] == 'D',
		Mask:           strings.Trim(string(at[6]), " \x00"),
	}
	return ""
}

// readName reads "name [old, old] to root", where name is a CPV with slot and repository, or with --columns a
// category/package with the version in a bracket of its own.
func (p *Package) readName(s string) (reason string) {
	name, rest, _ := strings.Cut(s, " ")
	rest = strings.TrimLeft(rest, " ")
	full, attrs := cutAttributes(name)
	if category, pn, ok := splitCP(full); ok && attrs == "" {
		version, after, found := strings.Cut(strings.TrimPrefix(rest, "["), "]")
		if !found || !strings.HasPrefix(rest, "[") {
			return fmt.Sprintf("no version for %q", name)
		}
		version, attrs = cutAttributes(version)
		full = category + "/" + pn + "-" + version
		rest = strings.TrimLeft(after, " ")
	}
	if reason = p.readCPV(full); reason != "" {
		return reason
	}
	var ok bool
	if p.Slot, p.SubSlot, p.Repo, ok = parseAttributes(attrs); !ok {
		return fmt.Sprintf("%q is not a slot and a repository", attrs)
	}
	m := restRE.FindStringSubmatch(rest)
	if m == nil {
		return fmt.Sprintf("unknown text %q", rest)
	}
	p.Root = m[2]
	p.Old, reason = parseOld(m[1])
	return reason
}

// readCPV reads "cat/pkg-1.0", for a binpkg with its BUILD_ID at the end: "cat/pkg-1.0-3". No version ends
// in a hyphen and a number, so there is one way to read it.
func (p *Package) readCPV(s string) (reason string) {
	cpv, err := ParseCPV(s)
	if err != nil && (p.Kind == KindBinary || p.Kind == KindUnknown) {
		if i := strings.LastIndexByte(s, '-'); i > 0 {
			if id, ok := parseBuildID(s[i+1:]); ok {
				p.BuildID = id
				cpv, err = ParseCPV(s[:i])
			}
		}
	}
	if err != nil {
		return err.Error()
	}
	p.CPV = cpv
	return ""
}

// cutAttributes splits "1.0:0/5::repo" into what stands before the first colon and the rest.
func cutAttributes(s string) (name, attrs string) {
	if i := strings.IndexByte(s, ':'); i >= 0 {
		return s[:i], s[i:]
	}
	return s, ""
}

// parseAttributes reads ":slot/sub-slot::repo", each part optional.
func parseAttributes(s string) (slot, subSlot, repo string, ok bool) {
	slots, repo, hasRepo := strings.Cut(s, "::")
	if hasRepo && !ValidRepoName(repo) {
		return "", "", "", false
	}
	if slots == "" {
		return "", "", repo, true
	}
	slot, subSlot, hasSub := strings.Cut(strings.TrimPrefix(slots, ":"), "/")
	ok = slots[0] == ':' && slotRE.MatchString(slot) && (!hasSub || slotRE.MatchString(subSlot))
	return slot, subSlot, repo, ok
}

func parseOld(s string) (old []OldVersion, reason string) {
	if s == "" {
		return nil, ""
	}
	for part := range strings.SplitSeq(s, ", ") {
		version, attrs := cutAttributes(part)
		slot, subSlot, repo, ok := parseAttributes(attrs)
		if !ok || !versionRE.MatchString(version) {
			return nil, fmt.Sprintf("%q is not an installed version", part)
		}
		old = append(old, OldVersion{version, slot, subSlot, repo})
	}
	return old, ""
}

func (l *MergeList) addBlock(marks, body, line string) (reason string) {
	rest := strings.TrimLeft(body, " ")
	m := blockRE.FindStringSubmatch(strings.TrimRight(rest, " "))
	mark := strings.TrimSpace(marks)
	if m == nil || len(rest) == len(body) || mark != "b" && mark != "B" {
		return "not a blocker with its explanation"
	}
	l.Blocks = append(l.Blocks, Block{
		Atom: m[1], Satisfied: mark == "b", Hard: m[3] == "hard", Original: m[2],
		Parents: strings.Split(m[4], ", "), Depth: len(body) - len(rest) - 1, Line: line,
	})
	return ""
}

// parseKiB reads a size such as "1,234 KiB": a number grouped as the locale wants it.
func parseKiB(s string) (int64, bool) {
	number, ok := strings.CutSuffix(s, " KiB")
	digits := strings.Map(func(r rune) rune {
		if strings.ContainsRune(" ,.'’_\u00a0\u202f", r) {
			return -1
		}
		return r
	}, number)
	n, err := strconv.ParseInt(digits, 10, 64)
	return n, ok && err == nil && n >= 0 && n < math.MaxInt64/1024
}

// parseBuildID reads a BUILD_ID: a positive number as Portage writes it.
func parseBuildID(s string) (int, bool) {
	n, err := strconv.ParseInt(s, 10, 32)
	return int(n), err == nil && n > 0 && s[0] >= '1' && s[0] <= '9'
}
