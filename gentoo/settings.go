package gentoo

import (
	"slices"
	"strings"
)

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

// LastOfEach leaves out the variables of an environment ("NAME=value") that a later one of the same name replaces: of two, some
// programs take the first.
func LastOfEach(environ []string) []string {
	var list []string
	seen := map[string]bool{}
	for _, v := range slices.Backward(environ) {
		if name, _, _ := strings.Cut(v, "="); !seen[name] {
			seen[name] = true
			list = append(list, v)
		}
	}
	slices.Reverse(list)
	return list
}
