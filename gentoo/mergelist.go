package gentoo

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Kind says what emerge would do with a package of a merge list.
type Kind int

// The kinds of a merge list, by the word in their bracket.
const (
	KindEbuild    Kind = iota + 1 // built from its ebuild
	KindBinary                    // merged from a binpkg
	KindNomerge                   // not merged; shown by --tree as the parent of others
	KindUninstall                 // removed, because it blocks another
	KindUnknown                   // "--quiet --columns" does not tell ebuild from binpkg
)

var kindWords = map[Kind]string{
	KindEbuild: "ebuild", KindBinary: "binary", KindNomerge: "nomerge", KindUninstall: "uninstall",
	KindUnknown: "unknown",
}

// String returns the word that emerge prints for the kind.
func (k Kind) String() string {
	if w, ok := kindWords[k]; ok {
		return w
	}
	return fmt.Sprintf("Kind(%d)", int(k))
}

// MarshalText makes the kind readable in JSON.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// Package is one package of a merge list.
type Package struct {
	Kind    Kind
	CPV            // what would be merged or removed
	BuildID int    `json:",omitempty"` // of a binpkg; 0 where none is shown
	Slot    string `json:",omitempty"` // as shown: --verbose leaves slot 0/0 out, other forms show none
	SubSlot string `json:",omitempty"` // as shown: left out where it equals the slot
	Repo    string `json:",omitempty"` // shown with --verbose only
	Root    string `json:",omitempty"` // where it is merged, if that is not "/"
	Flags
	Use   []UseFlag    `json:",omitempty"` // in the order shown; without --verbose only what changed
	Old   []OldVersion `json:",omitempty"` // what is installed already
	Size  int64        `json:",omitempty"` // KiB to download, with --verbose
	Depth int          `json:",omitempty"` // of --tree
	Line  string       // as printed, without escape sequences
}

// Flags are the marks in the bracket of a merge list line; emerge(1), section OUTPUT.
type Flags struct {
	New            bool `json:",omitempty"` // N: not installed, or not in this slot
	NewSlot        bool `json:",omitempty"` // S: installed in another slot
	Reinstall      bool `json:",omitempty"` // R: this version is installed
	Upgrade        bool `json:",omitempty"` // U without D
	Downgrade      bool `json:",omitempty"` // UD
	ForceReinstall bool `json:",omitempty"` // r: forced by, or forcing, a rebuild
	Interactive    bool `json:",omitempty"` // I: needs the user while it builds
	FetchManually  bool `json:",omitempty"` // F: RESTRICT=fetch, and the files are missing
	FetchedByHand  bool `json:",omitempty"` // f: RESTRICT=fetch, and the files are there
	Remote         bool `json:",omitempty"` // g: binpkg still to be downloaded from a binhost
	// Mask is "#" (package.mask), "*" (missing keyword) or "~" (unstable keyword) for a package that is
	// masked.
	Mask string `json:",omitempty"`
}

// OldVersion is an installed version that a package replaces or stands beside.
type OldVersion struct {
	Version string
	Slot    string `json:",omitempty"`
	SubSlot string `json:",omitempty"`
	Repo    string `json:",omitempty"`
}

// Atom returns the exact atom of the package. The repository is in it if the line showed one.
func (p Package) Atom() string {
	if p.Repo == unknownRepo {
		return ExactAtom(p.CPV, "")
	}
	return ExactAtom(p.CPV, p.Repo)
}

// Block is one [blocks …] line.
type Block struct {
	Atom      string   // what must not be installed
	Satisfied bool     // "b": emerge resolves it itself; "B": it cannot go on
	Hard      bool     // a "!!" blocker
	Original  string   `json:",omitempty"` // the blocker as its ebuild writes it, where it differs from Atom
	Parents   []string // the CPVs that block
	Depth     int      `json:",omitempty"`
	Line      string
}

// Total is the "Total: N packages" line of --verbose. Of several lists in one text it is the sum.
type Total struct {
	Packages    int   // merged packages
	Binaries    int   // of them from binpkgs
	DownloadKiB int64 // size of downloads
}

// MergeList is what emerge --pretend says that it would do, in its order.
type MergeList struct {
	Packages []Package
	Blocks   []Block `json:",omitempty"`
	Total    *Total  `json:",omitempty"` // nil where none is printed (without --verbose)
}

// Builds returns the packages that have to be built, in merge-list order.
func (l *MergeList) Builds() []Package {
	var builds []Package
	for _, p := range l.Packages {
		if p.Kind == KindEbuild || p.Kind == KindUnknown {
			builds = append(builds, p)
		}
	}
	return builds
}

// ParseError is a line of a merge list that was not understood.
type ParseError struct {
	Line   int    // counted from 1; 0 where the list as a whole is wrong
	Text   string // the line, safe to print
	Reason string
}

func (e *ParseError) Error() string {
	if e.Line == 0 {
		return "emerge's merge list was not understood: " + e.Reason
	}
	return fmt.Sprintf("line %d of emerge's merge list was not understood (%s):\n  %s",
		e.Line, e.Reason, e.Text)
}

var (
	// A list line: a lower-case word directly after a bracket in the first column, then a space or the end
	// of the bracket.
	bracketRE = regexp.MustCompile(`^\[([a-z]+)(?:\]| ([^\]]*)\])(.*)$`)
	openRE    = regexp.MustCompile(`^\[(?:ebuild|binary|nomerge|uninstall|blocks)(?:[^a-z]|$)`)
	// What follows the bracket of a list line whose word is not known: something with a slash.
	nameFollowsRE = regexp.MustCompile(`^ +\S*/\S`)
	quietRE       = regexp.MustCompile(`^([I ][rN ][RS ][fFg ][U ][D ][#*~ ]?) +([^\s/]+/\S+) ([0-9]\S*)(?: (.*))?$`)
	quietBlockRE  = regexp.MustCompile(`^([bB]) {6,7}(\S+ \(.*is (?:hard|soft) blocking .*\))$`)
	totalRE       = regexp.MustCompile(`^Total: ([0-9]{1,9}) packages?(?: \((.*)\))?, Size of downloads: (.*)$`)
	binariesRE    = regexp.MustCompile(`(?:^|, )([0-9]{1,9}) binar(?:y|ies)(?:,|$)`)
)

// ParseMergeList reads what emerge printed for --pretend, in every form: --verbose, --quiet, --columns,
// --tree, with or without colours. It is meant to be given `--pretend --verbose --color=n`, the form that
// says the most.
//
// A line belongs to the list if, escape sequences removed,
//   - it begins with "[" and one of the words ebuild, binary, nomerge, uninstall, blocks; or
//   - it begins with "[", another lower-case word, and "]", and a word with a slash follows; or
//   - it begins with the six or seven columns of marks of --quiet --columns, at least one mark among them,
//     and then category/package and a version follow.
//
// Such a line is understood in full or is a *ParseError. All other lines (headings, news, "Global Updates",
// autounmask text) are noise. Where a "Total: N packages" line is printed, N must be the number of packages
// that were read before it.
func ParseMergeList(text string) (*MergeList, error) {
	list := &MergeList{Packages: []Package{}}
	counted := 0 // packages that a Total line has confirmed
	for i, raw := range strings.Split(text, "\n") {
		line := strings.TrimRight(stripEscapes(raw), "\r")
		reason := list.addLine(line)
		if m := totalRE.FindStringSubmatch(line); m != nil {
			reason = list.addTotal(m, list.Packages[counted:])
			counted = len(list.Packages)
		}
		if reason != "" {
			return nil, &ParseError{Line: i + 1, Text: Printable(line), Reason: reason}
		}
	}
	return list, nil
}

// addLine adds what one line says. It returns why a line of the list was not understood; "" for noise too.
func (l *MergeList) addLine(line string) (reason string) {
	if m := bracketRE.FindStringSubmatch(line); m != nil {
		return l.addBracket(m[1], m[2], m[3], line)
	}
	if openRE.MatchString(line) {
		return "the bracket does not close"
	}
	if m := quietBlockRE.FindStringSubmatch(line); m != nil {
		return l.addBlock(m[1]+"     ", " "+m[2], line)
	}
	if m := quietRE.FindStringSubmatch(line); m != nil && strings.TrimSpace(m[1]) != "" {
		body := fmt.Sprintf(" %s [%s] %s", m[2], m[3], m[4])
		return l.addPackage(KindUnknown, m[1], body, line)
	}
	return ""
}

func (l *MergeList) addBracket(word, marks, body, line string) (reason string) {
	switch word {
	case "ebuild":
		return l.addPackage(KindEbuild, marks, body, line)
	case "binary":
		return l.addPackage(KindBinary, marks, body, line)
	case "nomerge":
		return l.addPackage(KindNomerge, marks, body, line)
	case "uninstall":
		return l.addPackage(KindUninstall, marks, body, line)
	case "blocks":
		return l.addBlock(marks, body, line)
	}
	if nameFollowsRE.MatchString(body) {
		return fmt.Sprintf("unknown kind %q", word)
	}
	return ""
}

func (l *MergeList) addTotal(m []string, since []Package) (reason string) {
	n, err := strconv.Atoi(m[1])
	if err != nil {
		return err.Error()
	}
	size, ok := parseKiB(m[3])
	if !ok {
		return fmt.Sprintf("%q is not a size in KiB", m[3])
	}
	binaries := 0
	if b := binariesRE.FindStringSubmatch(m[2]); b != nil {
		binaries, _ = strconv.Atoi(b[1]) // at most nine digits
	}
	merged, fromBinpkg := 0, 0
	for _, p := range since {
		switch p.Kind {
		case KindBinary:
			fromBinpkg++
			merged++
		case KindEbuild, KindUnknown:
			merged++
		}
	}
	if merged != n || fromBinpkg != binaries {
		return fmt.Sprintf("emerge counts %d packages, %d of them binary, but %d and %d were read",
			n, binaries, merged, fromBinpkg)
	}
	if l.Total == nil {
		l.Total = &Total{}
	}
	l.Total.Packages += n
	l.Total.Binaries += binaries
	l.Total.DownloadKiB += size
	return ""
}
