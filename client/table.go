package client

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
)

// column is one of a table.
type column[row any] struct {
	name string
	of   func(row) string
}

// columns are all of list-builders' table. Where the terminal is too narrow, those of spare go, the first one first.
var columns = []column[listed]{
	{"NAME", func(r listed) string { return cut(r.Name, 16) }},
	{"ADDRESS", func(r listed) string { return r.Address }},
	{"CHOST", func(r listed) string { return cut(r.CHOST, 24) }},
	{"CPU", func(r listed) string { return cut(cmp.Or(r.CPU, r.Arch), 16) }},
	{"CORES", known(func(r listed) string { return fmt.Sprint(r.Cores) })},
	{"LOAD", known(func(r listed) string { return fmt.Sprintf("%.1f", r.Load) })},
	{"JOBS", known(jobsOf)},
	{"VERSION", func(r listed) string { return cut(r.Version, 9) }},
	{"TRUST", func(r listed) string { return r.Trust }},
	{"FOUND", func(r listed) string { return strings.Join(r.Found, ",") }},
}

// known leaves out numbers of a builder that does not answer and of which no packet told any.
func known(of func(listed) string) func(listed) string {
	return func(r listed) string {
		if !r.usable() && r.Cores == 0 && r.JobLimit == 0 {
			return ""
		}
		return of(r)
	}
}

var spare = []string{"CPU", "FOUND", "CHOST", "VERSION", "JOBS", "TRUST"}

// table is the list for people: a line for each builder, and more where it does not answer. --json has
// what does not fit.
func table(rows []listed, width int) string {
	shown, lines := fitted(columns, spare, rows, width)
	for i, r := range slices.Backward(rows) {
		if r.Error != "" {
			lines = slices.Insert(lines, i+2, wrapLine("  does not answer: "+r.Error, width, "    ")...)
		}
	}
	if !slices.ContainsFunc(shown, func(c column[listed]) bool { return c.name == "TRUST" }) {
		var trusts []string
		for _, r := range rows {
			if r.Trust != "" {
				trusts = append(trusts, r.Name+" "+r.Trust)
			}
		}
		lines = append(lines, cut("Trust: "+strings.Join(trusts, ", "), width))
	}
	for i, line := range lines {
		lines[i] = cut(line, width)
	}
	return strings.Join(lines, "\n") + "\n"
}

// fitted lays rows out with as many of the columns as fit into width: those of spare go, the first one first. A width of 0 has
// room for all.
func fitted[row any](all []column[row], spare []string, rows []row, width int) ([]column[row], []string) {
	shown := all
	lines := layOut(rows, shown)
	for _, name := range spare {
		if width == 0 || widest(lines) <= width {
			break
		}
		shown = slices.DeleteFunc(slices.Clone(shown), func(c column[row]) bool { return c.name == name })
		lines = layOut(rows, shown)
	}
	return shown, lines
}

func layOut[row any](rows []row, shown []column[row]) []string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	var heads []string
	for _, c := range shown {
		heads = append(heads, c.name)
	}
	fmt.Fprintln(w, strings.Join(heads, "\t"))
	for _, r := range rows {
		var cells []string
		for _, c := range shown {
			cells = append(cells, cmp.Or(c.of(r), "-"))
		}
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	w.Flush()
	lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimRight(line, " ")
	}
	return lines
}

func widest(lines []string) int {
	n := 0
	for _, line := range lines {
		n = max(n, len([]rune(line)))
	}
	return n
}
