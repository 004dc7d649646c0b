package gentoo

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestREADME holds that README's tables of what is whose are those that the program uses; -update writes them.
func TestREADME(t *testing.T) {
	const (
		readme     = "../README.md"
		begin, end = "<!-- tables: begin -->\n", "<!-- tables: end -->\n"
	)
	text, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), begin)
	got, after, ended := strings.Cut(rest, end)
	if !ok || !ended {
		t.Fatalf("%s has no place for the tables: %s…%s", readme, begin, end)
	}
	want := readmeTable("variables", variableTable) + readmeTable("FEATURES", featureTable) +
		readmeTable("options of emerge", optionTable)
	if got == want {
		return
	}
	if !*update {
		t.Fatalf("README's tables are not those of the program; `go test ./gentoo -run TestREADME -update` writes them "+
			"(-README +program):\n%s", cmp.Diff(got, want))
	}
	if err := os.WriteFile(readme, []byte(before+begin+want+end+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

// said is how README calls whose something is.
var said = map[Whose]string{
	Client: "client", Plan: "client: plan and merge", Builder: "builder", Off: "off", Local: "client: all of it", Display: "client: display",
}

// readmeTable is a table in Markdown, with a blank line after it. Of a long row it has the first names.
func readmeTable(heading string, table []setting) string {
	var b strings.Builder
	fmt.Fprintf(&b, "| %s | | whose | |\n|---|---|---|---|\n", heading)
	for _, row := range table {
		const most = 9
		names := strings.Fields(row.names)
		more := ""
		if n := len(names); n > most+3 {
			names, more = names[:most], fmt.Sprintf(" and %d more", n-most)
		}
		names = slices.Clone(names)
		for i, name := range names {
			if strings.HasPrefix(name, "-") && !strings.HasPrefix(name, "--") {
				name = name[1:] // the whole row is the builder's, or off: the sign is for Portage
			}
			names[i] = "`" + name + "`"
		}
		fmt.Fprintf(&b, "| %s | %s%s | %s | %s |\n", row.what, strings.Join(names, " "), more, said[row.whose], row.why)
	}
	return b.String() + "\n"
}
