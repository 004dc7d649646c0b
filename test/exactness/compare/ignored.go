package compare

import (
	"slices"
	"strings"
)

// Rule says that builds may differ at a place, or in what.
type Rule struct {
	Place  string // "metadata KEY", "environment NAME"
	What   string // for people; empty: all of it
	Reason string

	// normal makes equal what may differ; nil: all of the value may.
	normal func(string) string
}

// Ignored is all that two builds of a package may differ in and be called equal. Besides there are times of modification in
// the image: those of what is built are the time of the build.
var Ignored = []Rule{
	{Place: "metadata BUILD_TIME", Reason: "when it was built"},
	{Place: "metadata BUILD_ID", Reason: "counts the builds of a version in one PKGDIR"},
	{Place: "metadata NEEDED", What: "the order of the lines", Reason: "scanelf lists files as the file system does", normal: sortedLines},
	{Place: "metadata NEEDED.ELF.2", What: "the order of the lines", Reason: "likewise", normal: sortedLines},
}

func ruleFor(place string) *Rule {
	i := slices.IndexFunc(Ignored, func(r Rule) bool { return r.Place == place })
	if i < 0 {
		return nil
	}
	return &Ignored[i]
}

// sortedLines sorts the lines of a value.
func sortedLines(s string) string {
	lines := strings.Split(s, "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// sortedWords sorts the words of a value.
func sortedWords(s string) string {
	words := strings.Fields(s)
	slices.Sort(words)
	return strings.Join(words, " ")
}
