package trust

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"unicode/utf8"

	"golang.org/x/term"
)

// Side is a book of this machine with what belongs to its peers elsewhere.
type Side struct {
	Book
	Kind    string                                                  // what its peers are: KindBuilder or KindClient
	About   func(Key) string                                        // more of a peer for the list, or nil
	Changed func(ctx context.Context, p Peer, forgotten bool) error // acts on a change that was made, or nil
}

// Kinds of peers.
const (
	KindBuilder = "builder"
	KindClient  = "client"
)

// Manager is `lantage trust`: it shows and changes what this machine holds of others.
type Manager struct {
	Sides  []Side
	Stdout io.Writer
}

// List shows this machine's own key and all peers.
func (m *Manager) List() error {
	shown := false
	var last Key
	for _, side := range m.Sides {
		dir := filepath.Dir(side.File)
		if _, err := os.Stat(filepath.Join(dir, IdentityFile)); err != nil { // it has none, or it is not this user's
			continue
		}
		self, err := LoadIdentity(dir)
		if errors.Is(err, fs.ErrPermission) {
			continue
		}
		if err != nil {
			return err
		}
		if self.Key != last {
			fmt.Fprintf(m.Stdout, "This machine's key is %v.\n", self.Key)
		}
		last, shown = self.Key, true
	}
	if !shown {
		fmt.Fprintln(m.Stdout, "There is no key yet that you may see; one is made on first use.")
	}
	rows := []listRow{{[]string{"KIND", "NAME", "KEY", "STATE", "SINCE"}, ""}}
	for _, side := range m.Sides {
		peers, err := side.peers()
		if err != nil {
			return err
		}
		slices.SortStableFunc(peers, func(a, b Peer) int { return cmp.Compare(a.Name, b.Name) })
		for _, p := range peers {
			about := ""
			if side.About != nil {
				about = side.About(p.Key)
			}
			cells := []string{side.Kind, p.Name, p.Key.String(), string(p.State), p.Since.Local().Format("2006-01-02")}
			rows = append(rows, listRow{cells, about})
		}
	}
	if len(rows) == 1 {
		fmt.Fprintln(m.Stdout, "It knows no builder and no client.")
		return nil
	}
	_, err := fmt.Fprint(m.Stdout, listTable(rows, terminalWidth(m.Stdout)))
	return err
}

// listRow is a line of the list of peers.
type listRow struct {
	cells []string
	about string
}

// keyCell is the column of the list with the keys.
const keyCell = 2

// listTable lays the list of peers out for a terminal of this width; 0 is none. A key is never cut, since it is there to be compared:
// where a line is too long, the keys have lines of their own.
func listTable(rows []listRow, width int) string {
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	for _, r := range rows {
		fmt.Fprintln(w, strings.Join(append(slices.Clone(r.cells), r.about), "\t"))
	}
	w.Flush()
	var lines []string
	fits := true
	for line := range strings.Lines(text.String()) {
		line = strings.TrimRight(line, " \n")
		fits = fits && (width == 0 || utf8.RuneCountInString(line) <= width)
		lines = append(lines, line)
	}
	if fits {
		return strings.Join(lines, "\n") + "\n"
	}
	narrow := make([]listRow, len(rows))
	for i, r := range rows {
		narrow[i].cells = slices.Delete(slices.Clone(r.cells), keyCell, keyCell+1)
	}
	lines = lines[:0]
	for i, line := range strings.Split(strings.TrimSuffix(listTable(narrow, 0), "\n"), "\n") {
		lines = append(lines, line)
		if i == 0 {
			continue
		}
		for _, more := range []string{rows[i].cells[keyCell], rows[i].about} {
			if more != "" {
				lines = append(lines, "  "+more)
			}
		}
	}
	return strings.Join(lines, "\n") + "\n"
}

// terminalWidth is the width of a terminal in columns, and 0 of anything else.
func terminalWidth(out io.Writer) int {
	f, ok := out.(*os.File)
	if !ok {
		return 0
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return width
}

// Set puts a peer of the books into a state. One that was only seen is trusted by its fingerprint alone: its name is what it says
// itself.
func (m *Manager) Set(ctx context.Context, word string, state State) error {
	side, p, err := m.find(word)
	if err != nil {
		return err
	}
	if p.State == Seen && state == Trusted && !strings.HasPrefix(word, keyPrefix) {
		return fmt.Errorf("the %s %s came by itself, and anybody may call itself so; if lantage trust list shows the key %v on that machine: "+
			"lantage trust allow %[3]v", side.Kind, p.Name, p.Key)
	}
	if p.State == state {
		fmt.Fprintf(m.Stdout, "The %s %s (%v) is %s already.\n", side.Kind, p.Name, p.Key, state)
		return nil
	}
	if err := side.Set(p.Key, p.Name, state); err != nil {
		return err
	}
	p.State = state
	fmt.Fprintf(m.Stdout, "The %s %s (%v) is %s now.\n", side.Kind, p.Name, p.Key, state)
	return side.changed(ctx, p, false)
}

// Pin trusts a builder that was never met, by the fingerprint that somebody has read on it.
func (m *Manager) Pin(name, fingerprint string) error {
	key, err := ParseKey(fingerprint)
	if err != nil {
		return err
	}
	for _, side := range m.Sides {
		if side.Kind != KindBuilder {
			continue
		}
		if err := side.Set(key, name, Trusted); err != nil {
			return err
		}
		fmt.Fprintf(m.Stdout, "The builder %s (%v) is trusted.\n", CleanName(name), key)
	}
	return nil
}

// Forget removes a peer from its book: it is met anew.
func (m *Manager) Forget(ctx context.Context, word string) error {
	side, p, err := m.find(word)
	if err != nil {
		return err
	}
	if err := side.Book.Forget(p.Key); err != nil {
		return err
	}
	fmt.Fprintf(m.Stdout, "The %s %s (%v) is forgotten.\n", side.Kind, p.Name, p.Key)
	return side.changed(ctx, p, true)
}

// peers are those that this user may know of.
func (s *Side) peers() ([]Peer, error) {
	peers, err := s.Peers()
	if errors.Is(err, fs.ErrPermission) {
		err = nil
	}
	return peers, err
}

func (s *Side) changed(ctx context.Context, p Peer, forgotten bool) error {
	if s.Changed == nil {
		return nil
	}
	return s.Changed(ctx, p, forgotten)
}

// find finds the one peer that a word means.
func (m *Manager) find(word string) (*Side, Peer, error) {
	var side *Side
	var found []Peer
	var lines []string
	for i := range m.Sides {
		peers, err := m.Sides[i].peers()
		if err != nil {
			return nil, Peer{}, err
		}
		for _, p := range Named(peers, word) {
			side, found = &m.Sides[i], append(found, p)
			lines = append(lines, fmt.Sprintf("  %s %s %v", m.Sides[i].Kind, p.Name, p.Key))
		}
	}
	switch len(found) {
	case 0:
		return nil, Peer{}, fmt.Errorf("no builder and no client is called %q; lantage trust list shows all", word)
	case 1:
		return side, found[0], nil
	}
	return nil, Peer{}, fmt.Errorf("%q may be one of %d; write its fingerprint, or the beginning of that:\n%s", word, len(found),
		strings.Join(lines, "\n"))
}
