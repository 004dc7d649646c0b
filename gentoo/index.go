package gentoo

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"
)

// Limits of a Packages file. A PKGDIR with 20,000 binpkgs has one of about 40 MiB.
const (
	maxIndexLine    = 1 << 20
	maxIndexSize    = 512 << 20
	maxIndexEntries = 500_000
)

// Index is the Packages file of a PKGDIR: what Portage knows about the binpkgs in it.
type Index struct {
	Header  map[string]string // CHOST, PROFILE, USE, FEATURES, …: the builder's settings
	Entries []IndexEntry
}

// IndexEntry is one binpkg. Empty fields were not in the index.
type IndexEntry struct {
	CPV
	BuildID        int    // 0 without binpkg-multi-instance
	BuildTime      int64  // Unix time
	Path           string // relative to PKGDIR, checked to be free of ".."
	Size           int64  // bytes
	MD5, SHA1      string // in hexadecimal
	Repo, CHOST    string
	Slot, SubSlot  string
	Use            []string
	Depend, RDeps  string // DEPEND and RDEPEND with the sub-slots that were built against
	RepoRevisions  string // JSON: the revision of each repository that was built from
	Keywords, EAPI string
}

// ReadIndex reads a Packages file: a header and one stanza of "KEY: value" lines for each binpkg, with
// empty lines between them. Stanzas inherit CHOST and repository from the header. A stanza without CPV is
// left out, as Portage does; one with a CPV, PATH or number that cannot be is an error.
func ReadIndex(r io.Reader) (*Index, error) {
	limited := &io.LimitedReader{R: r, N: maxIndexSize + 1}
	lines := bufio.NewScanner(limited)
	lines.Buffer(nil, maxIndexLine)
	index := &Index{}
	stanza := map[string]string{}
	end := func() error {
		if index.Header == nil {
			index.Header, stanza = stanza, map[string]string{}
			return nil
		}
		entry, err := index.entry(stanza)
		if err == nil && entry.Name != "" {
			index.Entries = append(index.Entries, entry)
		}
		clear(stanza)
		if len(index.Entries) > maxIndexEntries {
			return fmt.Errorf("more than %d packages", maxIndexEntries)
		}
		return err
	}
	for lines.Scan() {
		key, value, ok := strings.Cut(lines.Text(), ":")
		switch {
		case ok:
			stanza[indexKey(key)] = strings.TrimPrefix(value, " ")
		case key == "" && (len(stanza) > 0 || index.Header == nil):
			if err := end(); err != nil {
				return nil, fmt.Errorf("package index: %w", err)
			}
		}
	}
	err := lines.Err()
	if err == nil && limited.N == 0 {
		err = fmt.Errorf("larger than %d MiB", maxIndexSize>>20)
	}
	if err == nil && (len(stanza) > 0 || index.Header == nil) {
		err = end()
	}
	if err != nil {
		return nil, fmt.Errorf("package index: %w", err)
	}
	return index, nil
}

// indexKey undoes the short names that the file uses.
func indexKey(key string) string {
	if key == "REPO" {
		return "repository"
	}
	return key
}

func (x *Index) entry(stanza map[string]string) (IndexEntry, error) {
	if stanza["CPV"] == "" {
		return IndexEntry{}, nil
	}
	cpv, err := ParseCPV(stanza["CPV"])
	if err != nil {
		return IndexEntry{}, err
	}
	e := IndexEntry{
		CPV: cpv, Path: stanza["PATH"], MD5: stanza["MD5"], SHA1: stanza["SHA1"], Repo: stanza["repository"],
		Use: strings.Fields(stanza["USE"]), Depend: stanza["DEPEND"], RDeps: stanza["RDEPEND"],
		RepoRevisions: stanza["REPO_REVISIONS"], Keywords: stanza["KEYWORDS"], EAPI: stanza["EAPI"], Slot: "0",
	}
	e.CHOST = stanza["CHOST"]
	if e.Repo == "" {
		e.Repo = x.Header["repository"]
	}
	if e.CHOST == "" {
		e.CHOST = x.Header["CHOST"]
	}
	if slot := stanza["SLOT"]; slot != "" {
		e.Slot, e.SubSlot, _ = strings.Cut(slot, "/")
	}
	if e.Path == "" {
		e.Path = cpv.String() + ".tbz2" // the layout before PATH was recorded
	}
	if path.IsAbs(e.Path) || path.Clean(e.Path) != e.Path || strings.HasPrefix(e.Path, "..") {
		return IndexEntry{}, fmt.Errorf("%s: PATH %q leads out of PKGDIR", cpv, Printable(e.Path))
	}
	buildID, err1 := indexNumber(stanza, "BUILD_ID")
	size, err2 := indexNumber(stanza, "SIZE")
	buildTime, err3 := indexNumber(stanza, "BUILD_TIME")
	if err := errors.Join(err1, err2, err3); err != nil {
		return IndexEntry{}, fmt.Errorf("%s: %w", cpv, err)
	}
	e.BuildID, e.Size, e.BuildTime = int(buildID), size, buildTime
	return e, nil
}

func indexNumber(stanza map[string]string, key string) (int64, error) {
	s := strings.TrimSpace(stanza[key])
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || key == "BUILD_ID" && n > 1<<31-1 {
		return 0, fmt.Errorf("%s %q is not a number that can be", key, Printable(s))
	}
	return n, nil
}
