package rootfs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"slices"
	"strings"
)

// fingerprintVersion changes with what a fingerprint is made of, and with what Rules.Text takes out of the same text.
const fingerprintVersion = 3

// depth is how far below its place a place is looked at.
type depth int

const all depth = 1 << 20

// depths are how far a fingerprint looks at places of the table; of others, it looks at directories down to the
// depth shallow: of the VDB, at categories and packages.
//
// What is installed changes with the VDB. Links that eselect, gcc-config and binutils-config make are seen by
// the times of the directories that they are in.
var depths = map[string]depth{
	"/etc":             all,
	"/etc/portage":     all,
	"/var/lib/portage": all,
	"/var/lib/gentoo":  all,
}

const shallow depth = 2

// Fingerprint is a hash of what changes when something does that the rules copy: the rules themselves, the
// VDB, configuration, the revisions of the repositories, and the times of the upper directories of the rest. It
// takes no walk of /usr, and so does not see files that somebody changes in place there, or creates further
// down, without a package manager.
func (r *Rules) Fingerprint() (string, error) {
	m, err := r.compile()
	if err != nil {
		return "", err
	}
	p := &fingerprint{m: m, h: sha256.New(), stamped: map[string]bool{}}
	p.add("lantage root", fingerprintVersion, r.Kernel, table, kernelRows[r.Kernel], secretRE, openRE)
	for _, paths := range [][]string{r.Repos, r.Include, r.Exclude, r.Skip, r.Own} {
		p.add(len(paths))
		for _, path := range slices.Sorted(slices.Values(paths)) {
			p.add(path)
		}
	}
	if _, err := m.walk(context.Background(), true, p.entry); err != nil {
		return "", err
	}
	return hex.EncodeToString(p.h.Sum(nil)), nil
}

type fingerprint struct {
	m *ruler
	h hash.Hash
	// stamped says of the repositories walked so far whether their revision says it all.
	stamped map[string]bool
}

// add hashes values such that no two lists of them are the same bytes.
func (p *fingerprint) add(values ...any) {
	for _, v := range values {
		s := fmt.Sprint(v)
		fmt.Fprintf(p.h, "%d:%s,", len(s), s)
	}
}

// entry is called by the walk.
func (p *fingerprint) entry(f *found) error {
	if f.row.take == empty { // or on the way
		p.status(f)
		return nil
	}
	place := p.m.placeOf(f.Path)
	below := strings.Count(f.Path[len(place):], "/")
	var look, enter bool
	if slices.Contains(p.m.repos, place) {
		look, enter = p.inRepo(f, place, below)
	} else {
		d, ok := depths[f.row.place]
		if !ok {
			d = shallow
		}
		look = below <= int(d) && (d == all || f.Type == TypeDir || below == 0)
		enter = below < int(d)
	}
	if look {
		p.status(f)
	}
	if f.Type == TypeDir && !enter && !p.m.way[f.Path] {
		return errStay
	}
	return nil
}

func (p *fingerprint) status(f *found) {
	p.add(f.Path, f.Type, f.Mode, f.UID, f.GID, f.Size, f.Target, f.Sec, f.Nsec, f.ctime)
}

// inRepo says whether to look at an entry of a repository, and to enter it. Where there is a time stamp, the
// repository is a copy that a server made, and that changes with the stamp; a look at its upper directories is
// for those who edit it nevertheless. Other repositories are those that people write, and are looked at whole.
func (p *fingerprint) inRepo(f *found, place string, below int) (look, enter bool) {
	if below == 0 {
		p.stamped[place] = p.revision(place)
	}
	if !p.stamped[place] || below == 0 {
		return true, true
	}
	name := f.Path[len(place)+1:]
	return below == 1 || below == 2, below == 1 && (name == "profiles" || name == "eclass")
}

// revision hashes the revision of a repository, and reports whether it has a time stamp.
func (p *fingerprint) revision(repo string) bool {
	stamped := false
	for _, name := range []string{"metadata/timestamp.commit", "metadata/timestamp.chk"} {
		stamp := p.read(join(repo, name))
		p.add(string(stamp))
		stamped = stamped || stamp != nil
	}
	head := string(bytes.TrimSpace(p.read(join(repo, ".git/HEAD"))))
	p.add(head)
	ref, ok := strings.CutPrefix(head, "ref: ")
	if !ok || checkPath(ref) != nil {
		return stamped
	}
	commit := p.read(join(repo, ".git/"+ref))
	if commit == nil {
		for line := range bytes.Lines(p.read(join(repo, ".git/packed-refs"))) {
			if bytes.HasSuffix(bytes.TrimSpace(line), []byte(" "+ref)) {
				commit = line
			}
		}
	}
	p.add(string(commit))
	return stamped
}

// maxRevision bounds the files that say a repository's revision; packed-refs is the large one.
const maxRevision = 16 << 20

// read reads a file, or as much of it as is reasonable; nil if it cannot be read.
func (p *fingerprint) read(name string) []byte {
	f, _, err := openBelow(p.m.root, name)
	if err != nil {
		return nil
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxRevision))
	if err != nil {
		return nil
	}
	return b
}
