package gentoo

import (
	"slices"
	"strings"
)

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

// UserEnvironment returns the variables of an environment ("NAME=value") that change what Portage builds, such as USE in
// `USE=… emerge …`, sorted by name. useExpand are the names in the profile's USE_EXPAND, in addition to the well-known ones.
// Variables that are not the client's (MAKEOPTS, PKGDIR, ROOT) and unknown ones are left out.
func UserEnvironment(environ []string, useExpand ...string) []string {
	var sent []string
	for _, variable := range environ {
		name, _, ok := strings.Cut(variable, "=")
		w := WhoseVariable(name)
		if w == Unknown && slices.Contains(useExpand, name) {
			w = Client
		}
		if ok && w == Client {
			sent = append(sent, variable)
		}
	}
	slices.Sort(sent)
	return sent
}
