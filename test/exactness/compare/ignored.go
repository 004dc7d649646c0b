package compare

import (
	"regexp"
	"slices"
	"strings"

	"lantage/gentoo"
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
	{Place: "metadata SIZE", Reason: "the sum of the sizes of the files, which are compared themselves"},
	{Place: "metadata FEATURES", What: machineFeatures, Reason: "about the machine that builds", normal: features},
	{Place: "environment FEATURES", What: machineFeatures, Reason: "likewise", normal: features},
	{Place: "environment PORTAGE_FEATURES", What: machineFeatures, Reason: "likewise", normal: features},
	{Place: "environment PORTAGE_COMPRESSION_COMMAND", What: "the number of threads", Reason: "it has other cores", normal: threads},
	{Place: "environment GNUMAKEFLAGS", Reason: "how busy make may keep that machine, as MAKEOPTS, which Portage does not record"},
	{Place: "environment PORTAGE_LOG_FILE_SEP", Reason: "where the builder's logs lie"},
	{Place: "environment PORTAGE_NICENESS", Reason: "how important a build is on that machine"},
	{Place: "metadata NEEDED", What: "the order of the lines", Reason: "that in which a file system lists files", normal: sortedLines},
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

// machineFeatures is what may differ in a value with FEATURES.
const machineFeatures = "those that are the builder's, or off there (README, tables)"

// features takes the words that are not the client's out of a value with FEATURES, and sorts the others.
func features(s string) string {
	words := strings.FieldsFunc(s, func(r rune) bool { return r == ' ' || r == '"' || r == '\n' })
	words = slices.DeleteFunc(words, func(w string) bool {
		whose := gentoo.WhoseFeature(w)
		return whose == gentoo.Builder || whose == gentoo.Off
	})
	slices.Sort(words)
	return strings.Join(words, " ")
}

var threadOption = regexp.MustCompile(` -[Tp] ?\d+`)

// threads takes the number of threads out of a compressor's command line.
func threads(s string) string { return threadOption.ReplaceAllString(s, "") }
