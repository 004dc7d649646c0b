package compare

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
)

// Row is what three builds of one package have shown: two by the machine's own emerge, the third through a builder.
type Row struct {
	CPV     string
	Files   int
	Bytes   int64
	Missing []int        // which of the three builds there is none of
	Own     []Difference // between the first two: the package's own irreproducibility
	Builder []Difference // between the first and the third, where the first two are equal
}

// Exact reports whether all three are there and the third has no difference of its own.
func (r Row) Exact() bool { return len(r.Missing) == 0 && len(r.Builder) == 0 }

// Compare compares the builds of three PKGDIRs, package by package.
func Compare(first, second, third map[string]*Package) []Row {
	builds := []map[string]*Package{first, second, third}
	all := map[string]bool{}
	for _, b := range builds {
		for cpv := range b {
			all[cpv] = true
		}
	}
	var rows []Row
	for _, cpv := range slices.Sorted(maps.Keys(all)) {
		r := Row{CPV: cpv}
		for i, b := range builds {
			if b[cpv] == nil {
				r.Missing = append(r.Missing, i+1)
			}
		}
		if p := first[cpv]; p != nil {
			r.Files, r.Bytes = p.Files, p.Bytes
		}
		if len(r.Missing) == 0 {
			r.Own = Diff(first[cpv], second[cpv])
			r.Builder = Diff(first[cpv], third[cpv])
			r.Builder = slices.DeleteFunc(r.Builder, func(d Difference) bool {
				return slices.ContainsFunc(r.Own, func(own Difference) bool { return own.Place == d.Place })
			})
		}
		rows = append(rows, r)
	}
	return rows
}

// Print prints the rows as a table, and below it each difference; it reports whether there are rows and all are exact.
func Print(w io.Writer, rows []Row) (exact bool, err error) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "PACKAGE\tFILES\tBYTES\tBY ITSELF\tTHROUGH THE BUILDER")
	var details strings.Builder
	exact = len(rows) > 0
	for _, r := range rows {
		own, builder := verdict(r.Own, "reproducible", &details, r.CPV+", two builds here"), ""
		switch {
		case len(r.Missing) > 0:
			own, builder = "-", "not built: "+missing(r.Missing)
		default:
			builder = verdict(r.Builder, "the same", &details, r.CPV+", here and through the builder")
		}
		exact = exact && r.Exact()
		fmt.Fprintf(tw, "%s\t%d\t%d\t%s\t%s\n", r.CPV, r.Files, r.Bytes, own, builder)
	}
	if err := tw.Flush(); err != nil {
		return exact, err
	}
	_, err = io.WriteString(w, details.String())
	return exact, err
}

// verdict is the word for a cell; differences are listed in details.
func verdict(list []Difference, none string, details *strings.Builder, title string) string {
	if len(list) == 0 {
		return none
	}
	fmt.Fprintf(details, "\n%s:\n", title)
	for _, d := range list {
		fmt.Fprintf(details, "  %v\n", d)
	}
	if len(list) == 1 {
		return "1 difference"
	}
	return fmt.Sprintf("%d differences", len(list))
}

func missing(builds []int) string {
	names := []string{"the first here", "the second here", "through the builder"}
	var list []string
	for _, n := range builds {
		list = append(list, names[n-1])
	}
	return strings.Join(list, ", ")
}
