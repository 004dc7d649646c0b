package rootfs

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// Inputs is what of a root is copied, and what is not.
type Inputs struct {
	Places  []Place   // that are there, by path
	Blanked []string  // files that go with another text, by path
	LeftOut []LeftOut // by path
}

// Blanked is what people are told of a file that goes with another text.
const Blanked = "without credentials"

// Place is a part of a root that is copied.
type Place struct {
	Path  string
	Files int
	Bytes int64 // of the content of its files
}

// Inputs lists what the rules copy, for people to look at. each, if it is not nil, is told of every file. It is an error if something
// could not be copied.
func (r *Rules) Inputs(ctx context.Context, each func(path string, size int64, blanked bool)) (Inputs, error) {
	m, err := r.compile()
	if err != nil {
		return Inputs{}, err
	}
	places := map[string]*Place{}
	var in Inputs
	in.LeftOut, err = m.walk(ctx, false, func(f *found) error {
		if f.row.take == empty {
			return nil
		}
		at := m.placeOf(f.Path)
		p := places[at]
		if p == nil {
			p = &Place{Path: "/" + at}
			places[at] = p
		}
		if f.Type == TypeFile {
			p.Files++
			p.Bytes += f.Size
			if f.blanked {
				in.Blanked = append(in.Blanked, "/"+f.Path)
			}
			if each != nil {
				each("/"+f.Path, f.Size, f.blanked)
			}
		}
		return nil
	})
	if err != nil {
		return Inputs{}, err
	}
	for _, p := range places {
		in.Places = append(in.Places, *p)
	}
	slices.SortFunc(in.Places, func(a, b Place) int { return cmp.Compare(a.Path, b.Path) })
	slices.Sort(in.Blanked)
	slices.SortFunc(in.LeftOut, func(a, b LeftOut) int { return cmp.Compare(a.Path, b.Path) })
	return in, nil
}

// countFiles is a number of files, for people.
func countFiles(n int) string {
	if n == 1 {
		return "1 file"
	}
	return fmt.Sprintf("%d files", n)
}

// WriteTo writes the inputs as two tables.
func (in Inputs) WriteTo(w io.Writer) (int64, error) {
	var b strings.Builder
	var total Place
	fmt.Fprint(&b, "Copied:\n")
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, p := range in.Places {
		fmt.Fprintf(t, "%s\t%s\t  %s\n", countFiles(p.Files), HumanBytes(p.Bytes), Shown(p.Path))
		total.Files += p.Files
		total.Bytes += p.Bytes
	}
	fmt.Fprintf(t, "%s\t%s\t  in all\n", countFiles(total.Files), HumanBytes(total.Bytes))
	_ = t.Flush() // to memory
	if len(in.Blanked) > 0 {
		fmt.Fprintf(&b, "\nOf that, %s:\n", Blanked)
	}
	for _, p := range in.Blanked {
		fmt.Fprintf(&b, "  %s\n", Shown(p))
	}
	fmt.Fprint(&b, "\nNot copied:\n")
	t = tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, l := range in.LeftOut {
		fmt.Fprintf(t, "  %s\t%s\n", Shown(l.Path), l.Why)
	}
	if len(in.LeftOut) == maxLeftOut {
		fmt.Fprint(t, "  and more\n")
	}
	_ = t.Flush()
	n, err := io.WriteString(w, b.String())
	return int64(n), err
}

// String is what WriteTo writes.
func (in Inputs) String() string {
	var b strings.Builder
	_, _ = in.WriteTo(&b) // to memory
	return b.String()
}

// Shown quotes a path that would not show as it is on a terminal.
func Shown(p string) string {
	if q := fmt.Sprintf("%q", p); q != `"`+p+`"` {
		return q
	}
	return p
}

// HumanBytes is a number of bytes as people read it.
func HumanBytes(n int64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	f, unit := float64(n)/1024, "KiB"
	for _, next := range []string{"MiB", "GiB", "TiB", "PiB"} {
		if f < 1000 {
			break
		}
		f, unit = f/1024, next
	}
	return fmt.Sprintf("%.1f %s", f, unit)
}
