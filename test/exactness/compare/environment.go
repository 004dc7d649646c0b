package compare

import (
	"regexp"
	"strings"
)

// begins matches the line that begins a statement of a saved environment: a variable as `declare -p` prints it, or a
// function.
var begins = regexp.MustCompile(`^(?:declare -[-a-zA-Z]+ ([A-Za-z_][A-Za-z0-9_]*)(?:=|$)|([^\s(){}"'=]+) \(\)\s*$)`)

// statements takes a saved environment apart: the text of each variable and function by its name, functions with "()". A
// value of many lines can have one that looks like the beginning of another statement; then the parts have odd names, and
// still all of the text is in them. Parts of equal names are one.
func statements(text string) map[string]string {
	parts := make(map[string]string)
	name := ""
	for line := range strings.Lines(text) {
		switch m := begins.FindStringSubmatch(strings.TrimSuffix(line, "\n")); {
		case m == nil:
		case m[1] != "":
			name = m[1]
		default:
			name = m[2] + "()"
		}
		parts[name] += line
	}
	return parts
}
