package rootfs

import (
	"cmp"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// ruler is Rules made ready to judge paths, all of which are as in an Entry: "etc/portage", "." for the root.
type ruler struct {
	root  string
	exact map[string]row
	globs []pattern
	deep  []pattern
	way   map[string]bool // directories above what is copied
	named map[string]bool // places that Rules name, and those above: they may be on a tmpfs
	repos []string        // where the repositories really are

	text     func([]byte) []byte // Rules.Text
	written  []string            // where people write what it is for, without links
	included []string            // what the configuration names goes as it is
}

// pattern is a row for names in (if deep, anywhere below) a directory.
type pattern struct {
	dir, name string
	row       row
}

// compile makes Rules ready.
func (r *Rules) compile() (*ruler, error) {
	m := &ruler{
		root:  cmp.Or(r.Root, "/"),
		exact: map[string]row{".": {"/", empty, ""}}, way: map[string]bool{}, named: map[string]bool{},
		text: r.Text,
	}
	for _, named := range []struct {
		paths []string
		take  take
		why   string
	}{
		{r.Exclude, none, "left out by the configuration"},
		{r.Skip, empty, "PKGDIR or DISTDIR"},
		{r.Include, whole, onRequest},
		{r.Repos, whole, "a repository in use"},
	} {
		for _, p := range named.paths {
			if !path.IsAbs(p) || path.Clean(p) == "/" || strings.Contains(p, "\x00") {
				return nil, fmt.Errorf("%q is not an absolute path below /: it cannot be copied or left out", p)
			}
			if named.take == empty { // PKGDIR may be a link to where it is
				p = "/" + m.follow(rel(p), func(string) {})
			}
			where := m.addPlace(row{path.Clean(p), named.take, named.why})
			if named.take == whole {
				m.named[where] = true
				above(where, m.named)
			}
			if named.why == onRequest {
				m.included = append(m.included, where)
			}
		}
	}
	for _, p := range r.Repos {
		repo := m.follow(rel(p), func(string) {})
		m.repos = append(m.repos, repo)
		for _, name := range []string{".git", ".hg", ".svn", "CVS"} {
			m.deep = append(m.deep, pattern{repo, name, row{p, none, history}})
		}
	}
	for _, p := range slices.Concat([]string{"/etc", "/etc/portage"}, r.Own) {
		dir := m.follow(rel(p), func(string) {})
		m.written = append(m.written, dir)
		if !within(dir, "etc") {
			m.addTable([]row{secretsIn("/" + dir)})
		}
	}
	m.addTable(table)
	m.addTable(kernelRows[r.Kernel])
	return m, nil
}

// onRequest is why what Rules.Include names is copied.
const onRequest = "named in the configuration"

// isWritten reports whether a file is one that goes as Rules.Text has it.
func (m *ruler) isWritten(p string) bool {
	in := func(dir string) bool { return within(p, dir) }
	return m.text != nil && slices.ContainsFunc(m.written, in) && !slices.ContainsFunc(m.included, in)
}

// within reports whether a path is dir or below it.
func within(p, dir string) bool {
	return strings.HasPrefix(p, dir) && (len(p) == len(dir) || p[len(dir)] == '/')
}

// rel makes the path of an Entry of the path of a place.
func rel(p string) string { return cmp.Or(strings.TrimPrefix(path.Clean(p), "/"), ".") }

// join joins the path of a directory and a name in it.
func join(dir, name string) string {
	if dir == "." {
		return name
	}
	return dir + "/" + name
}

func (m *ruler) addTable(rows []row) {
	for _, w := range rows {
		dir, name, deep := strings.Cut(w.place, "/**/")
		switch {
		case deep:
			m.deep = append(m.deep, pattern{rel("/" + dir), name, w})
		case strings.Contains(w.place, "*"):
			m.globs = append(m.globs, pattern{rel(path.Dir(w.place)), path.Base(w.place), w})
		default:
			m.addPlace(w)
		}
	}
}

// addPlace adds a row for a path, unless it has one, and returns where the place really is: a repository or
// the VDB often is a link to another disk. If it is copied, so are links on the way to it.
func (m *ruler) addPlace(w row) string {
	set := func(p string) {
		if _, ok := m.exact[p]; !ok {
			m.exact[p] = w
		}
	}
	p := rel(w.place)
	if w.take < public {
		p = join(m.follow(parent(p), func(string) {}), path.Base(p))
		set(p)
		return p
	}
	where := m.follow(p, func(link string) { set(link); above(link, m.way) })
	if where == p || !m.copied(parent(where)) { // merged /usr: /bin is only a link into it
		set(where)
		above(where, m.way)
	}
	return where
}

// above adds the directories above a path to a set.
func above(p string, set map[string]bool) {
	for p != "." {
		p = parent(p)
		set[p] = true
	}
}

// copied reports whether what has no row of its own and is at p is copied whole.
func (m *ruler) copied(p string) bool {
	for {
		if w, ok := m.exact[p]; ok {
			return w.take == whole
		}
		p = parent(p)
	}
}

// placeOf returns the place that a copied path is in, or belongs to.
func (m *ruler) placeOf(p string) string {
	for at := p; at != "."; at = parent(at) {
		if w, ok := m.exact[at]; ok && w.take >= public {
			return at
		}
	}
	top, _, _ := strings.Cut(p, "/") // /lib64
	return top
}

// follow resolves the symbolic links of a path inside the root, and calls visit for each.
func (m *ruler) follow(p string, visit func(link string)) string {
	done, rest := ".", p
	for links := 0; rest != ""; {
		var elem string
		elem, rest, _ = strings.Cut(rest, "/")
		at := join(done, elem)
		target, err := os.Readlink(filepath.Join(m.root, at))
		if err != nil || links == 40 { // the kernel follows no more, either
			done = at
			continue
		}
		links++
		visit(at)
		if !path.IsAbs(target) {
			target = path.Join("/", done, target)
		}
		done, rest = ".", strings.Trim(path.Join(target, rest), "/")
	}
	return done
}

// here are the patterns for the names in one directory.
type here struct{ globs, deep []pattern }

func (m *ruler) patterns(dir string) here {
	var h here
	for _, g := range m.globs {
		if ok, _ := path.Match(g.dir, dir); ok {
			h.globs = append(h.globs, g)
		}
	}
	for _, d := range m.deep {
		if d.dir == "." || dir == d.dir || strings.HasPrefix(dir, d.dir) && dir[len(d.dir)] == '/' {
			h.deep = append(h.deep, d)
		}
	}
	return h
}

// judge returns the row for a name, at the path p, in a directory that goes by the row up, and whether that
// row speaks of the path itself. It is the zero row for what no row speaks of.
func (m *ruler) judge(p, name string, up row, h here) (w row, own bool) {
	w, ok := m.exact[p]
	switch {
	case ok:
		return w, true
	case up.take == empty && m.way[p]:
		return row{p, empty, ""}, true
	}
	for _, g := range h.globs {
		if matches(g.name, name) {
			return g.row, true
		}
	}
	if up.take < public {
		return row{}, false
	}
	for _, d := range h.deep {
		if d.name == anySecret && SecretName(name) || matches(d.name, name) {
			return d.row, false
		}
	}
	return up, false
}

// matches is path.Match, quick for the names that most patterns are.
func matches(pattern, name string) bool {
	if !strings.Contains(pattern, "*") {
		return pattern == name
	}
	ok, _ := path.Match(pattern, name)
	return ok
}
