package client

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"lantage/gentoo"
)

// Verify is `lantage verify`: it shows where the binary packages in PKGDIR come from that a builder has built, and checks that
// they are still what came.
type Verify struct {
	Atoms   []string // packages; none: all
	JSON    bool
	Environ []string
	Stdout  io.Writer
	Stderr  io.Writer
}

// verified is a binpkg with its record, and what is wrong with it now.
type verified struct {
	Path string `json:"path"` // below PKGDIR
	provenance
	Wrong []string `json:"wrong"` // empty: it is what came
}

// Run shows them. The error has exit status ExitFailed where one is not what came, or where an atom has no package.
func (v *Verify) Run(ctx context.Context) error {
	patterns, err := parsePatterns(v.Atoms)
	if err != nil {
		return err
	}
	t := &tools{environ: v.Environ, stdout: v.Stdout, stderr: v.Stderr}
	vars, err := t.load(ctx, "PKGDIR")
	t.end()
	if err != nil {
		return err
	}
	list, err := v.find(ctx, vars["PKGDIR"], patterns)
	if err != nil {
		return interrupted(err)
	}
	if v.JSON {
		err = writeJSON(v.Stdout, list)
	} else {
		v.show(list, vars["PKGDIR"], len(patterns) > 0)
	}
	wrong := 0
	for _, one := range list {
		wrong += btoi(len(one.Wrong) > 0)
	}
	switch {
	case err != nil:
		return err
	case wrong > 0:
		return exitf(ExitFailed, "Not what came from the builder: %d of %s. Remove what is marked in %s, run `emaint --fix binhost`, and lantage emerge again.",
			wrong, count(len(list), "package"), vars["PKGDIR"])
	case len(list) == 0 && len(patterns) > 0:
		return exitf(ExitFailed, "No package in %s that a builder has built is %s.", vars["PKGDIR"], strings.Join(v.Atoms, " or "))
	}
	return nil
}

// find reads the records in PKGDIR and checks each binpkg against its own.
func (v *Verify) find(ctx context.Context, pkgDir string, patterns []gentoo.Pattern) ([]verified, error) {
	list := []verified{}
	err := filepath.WalkDir(pkgDir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || ctx.Err() != nil {
			if path == pkgDir && errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return errors.Join(err, ctx.Err())
		}
		binpkg, ok := strings.CutSuffix(path, provenanceSuffix)
		if !ok || d.IsDir() {
			return nil
		}
		one := verified{}
		if one.Path, err = filepath.Rel(pkgDir, binpkg); err != nil {
			return err
		}
		if _, err := os.Lstat(binpkg); errors.Is(err, fs.ErrNotExist) {
			return nil // it was cleaned away; the next package of this name takes the record along
		}
		if one.provenance, err = readProvenance(binpkg); err != nil {
			one.Wrong = []string{fmt.Sprintf("its record cannot be read: %v", err)}
			list = append(list, one)
			return nil
		}
		cpv, err := gentoo.ParseCPV(one.CPV)
		if err != nil || len(patterns) > 0 && !slices.ContainsFunc(patterns, func(p gentoo.Pattern) bool {
			return p.Matches(cpv, one.Recorded["SLOT"], one.Repo)
		}) {
			return nil
		}
		one.Wrong = one.check(binpkg)
		list = append(list, one)
		return nil
	})
	return list, err
}

// check says what of a binpkg is not as its record has it.
func (about provenance) check(binpkg string) []string {
	sum, err := sumOf(binpkg)
	if err != nil {
		return []string{err.Error()}
	}
	if sum != cmp.Or(about.Signed, about.SHA256) {
		return []string{fmt.Sprintf("its SHA-256 is %s and was %s", sum, cmp.Or(about.Signed, about.SHA256))}
	}
	metadata, err := metadataOf(binpkg)
	if err != nil {
		return []string{err.Error()}
	}
	var wrong []string
	for _, key := range slices.Sorted(maps.Keys(about.Recorded)) {
		if metadata[key] != about.Recorded[key] {
			wrong = append(wrong, fmt.Sprintf("%s is %s and was %s", key, shownValue(metadata[key]), shownValue(about.Recorded[key])))
		}
	}
	return wrong
}

// sumOf is the SHA-256 of a file, in hex.
func sumOf(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", err
	}
	return fmt.Sprintf("%x", sum.Sum(nil)), nil
}

// show prints the list, or with details what is asked for by name.
func (v *Verify) show(list []verified, pkgDir string, details bool) {
	if len(list) == 0 && !details {
		fmt.Fprintf(v.Stdout, "No binary package in %s was built by a builder.\n", pkgDir)
		return
	}
	if details {
		for _, one := range list {
			one.detail(v.Stdout)
		}
		return
	}
	fmt.Fprint(v.Stdout, verifiedTable(list, lineWidth(v.Stdout, v.Environ)))
}

// verifiedColumns are all of verify's table. Where the terminal is too narrow, those of verifiedSpare go, the first one first.
var verifiedColumns = []column[verified]{
	{"PACKAGE", func(one verified) string { return cmp.Or(gentoo.Printable(one.CPV), one.Path) }},
	{"BUILDER", func(one verified) string { return oneLine(one.Builder.Name, 20) }},
	{"BASE", func(one verified) string { return oneLine(cmp.Or(one.Base, "host"), 20) }},
	{"CAME", func(one verified) string { return one.Came.Local().Format("2006-01-02 15:04") }},
	{"NOW", func(one verified) string {
		if len(one.Wrong) > 0 {
			return "CHANGED"
		}
		return "as it came"
	}},
}

var verifiedSpare = []string{"BASE", "CAME", "BUILDER"}

// verifiedTable is the list for people: a line for each package, and more where it is not what came.
func verifiedTable(list []verified, width int) string {
	_, lines := fitted(verifiedColumns, verifiedSpare, list, width)
	for i, one := range slices.Backward(list) {
		if len(one.Wrong) == 0 {
			continue
		}
		wrong := []string{"  CHANGED: " + oneLine(strings.Join(one.Wrong, "; "), 200)}
		if width > 0 {
			wrong = wrapLine(wrong[0], width, "    ")
		}
		lines = slices.Insert(lines, i+2, wrong...)
	}
	return strings.Join(lines, "\n") + "\n"
}

// detail prints one record.
func (one verified) detail(out io.Writer) {
	fmt.Fprintf(out, "%s  (%s)\n", cmp.Or(gentoo.Printable(one.CPV), one.Path), one.Path)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "  %s\t%s\n", name, oneLine(value, 500))
		}
	}
	if len(one.Wrong) == 0 {
		row("now", "as it came")
	}
	for _, wrong := range one.Wrong {
		row("CHANGED", wrong)
	}
	row("builder", fmt.Sprintf("%s, ID %s, at %s, CPU %s", one.Builder.Name, one.Builder.ID, one.Builder.Address,
		cmp.Or(one.Builder.CPU, "unknown")))
	row("its key", cmp.Or(one.Builder.Key, "none: the connection was not encrypted"))
	row("lantage", fmt.Sprintf("%s there, %s here", one.Builder.Software, one.Client))
	base := cmp.Or(one.Base, "host")
	if one.Root != "" {
		base += ", root " + one.Root
	}
	row("base", base)
	row("job", fmt.Sprintf("%s, sent %s, came %s", one.Job, one.Asked.Format(time.RFC3339), one.Came.Format(time.RFC3339)))
	if one.Reused {
		row("", "built for an earlier job with the same settings")
	}
	row("Portage", one.Portage)
	row("compiler", one.Compiler)
	row("SHA-256", one.SHA256)
	row("signed", one.Signed)
	for _, name := range slices.Sorted(maps.Keys(one.Revisions)) {
		row("::"+name, one.Revisions[name])
	}
	for _, key := range slices.Sorted(maps.Keys(one.Recorded)) {
		row(key, one.Recorded[key])
	}
	w.Flush()
}
