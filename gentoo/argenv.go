package gentoo

import "strings"

// Environment returns the variables that a job is built with: env, those of the user's environment, and what options of
// emerge say in their place. It is what emerge itself makes of these options.
func (a Args) Environment(env []string) []string {
	for _, o := range []struct{ option, name string }{
		{"--accept-properties", "ACCEPT_PROPERTIES"},
		{"--accept-restrict", "ACCEPT_RESTRICT"},
	} {
		if a.has(o.option) {
			env = withVariable(env, o.name, func(string) string { return a.value(o.option) })
		}
	}
	if a.has("--digest") {
		env = withVariable(env, "FEATURES", func(old string) string { return strings.TrimSpace(old + " digest") })
	}
	return env
}

// withVariable returns a copy of env in which change has made the value of a variable, of its old one or of "".
func withVariable(env []string, name string, change func(old string) string) []string {
	var out []string
	old := ""
	for _, v := range env {
		if value, ok := strings.CutPrefix(v, name+"="); ok {
			old = value
			continue
		}
		out = append(out, v)
	}
	return append(out, name+"="+change(old))
}

// MayChangeConfig reports whether emerge itself, where a plan fails for want of a change of the configuration, would make
// that change (after a question, with --ask) instead of giving up.
func (a Args) MayChangeConfig() bool {
	if v := a.value("--autounmask"); v == "n" {
		return false
	}
	write := a.value("--autounmask-write")
	return a.Ask && write != "n" || a.on("--autounmask-write") || a.on("--autounmask-continue")
}
