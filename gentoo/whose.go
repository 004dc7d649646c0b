package gentoo

import (
	"fmt"
	"strings"
)

// Whose says who decides about a setting of Portage's: a variable, an option of emerge, one of FEATURES.
type Whose int

const (
	Unknown Whose = iota // in no table
	Client               // changes the package: the client's value is sent and acts in the build root
	Plan                 // acts where the plan is made and the results are merged, and that is the client
	Builder              // about the machine that builds: its own value, whatever the client's files say
	Off                  // does nothing in a build root
	Local                // of options: the whole command goes to the client's own emerge
	Display              // of options: changes what is shown
)

// setting is one row of a table: names that are treated alike, and why. README's table is made of these rows.
type setting struct {
	whose Whose
	what  string // what they are about, for people
	names string // separated by white space
	why   string // where it is not evident
}

// index finds the row of a name. It panics if a name is there twice: a table has one answer.
func index(table []setting) map[string]*setting {
	rows := make(map[string]*setting)
	for i := range table {
		for _, name := range strings.Fields(table[i].names) {
			if strings.HasPrefix(name, "-") && !strings.HasPrefix(name, "--") { // FEATURES that are off
				name = name[1:]
			}
			if rows[name] != nil {
				panic(fmt.Sprintf("gentoo: %s is in two rows of a table", name))
			}
			rows[name] = &table[i]
		}
	}
	return rows
}

func whose(rows map[string]*setting, name string) Whose {
	if row := rows[name]; row != nil {
		return row.whose
	}
	return Unknown
}

// names lists the names of a table's rows that are somebody's, in order.
func names(table []setting, w Whose) []string {
	var list []string
	for _, row := range table {
		if row.whose == w {
			list = append(list, strings.Fields(row.names)...)
		}
	}
	return list
}
