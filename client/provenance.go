package client

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"lantage/gentoo"
	"lantage/wire"
)

// provenanceSuffix makes a binpkg's name that of the record beside it. Portage passes such files over.
const provenanceSuffix = ".provenance.json"

// provenance tells where a binpkg comes from and what it was found to be when it came. It lies beside the binpkg, so that it
// goes where that goes.
type provenance struct {
	CPV    string    `json:"cpv"`
	Repo   string    `json:"repository"`
	SHA256 string    `json:"sha256"`                 // of the binpkg as it came
	Signed string    `json:"sha256Signed,omitempty"` // of the binpkg since this machine has signed it
	Came   time.Time `json:"came"`
	Asked  time.Time `json:"asked"`  // when the job was sent
	Reused bool      `json:"reused"` // the builder had built it before, with the same settings

	Job     string       `json:"job"`
	Builder builderTrace `json:"builder"`
	Base    string       `json:"base"`
	Root    string       `json:"root,omitempty"` // of base client: the digest of the list of the root that it was built on
	Portage string       `json:"portage"`        // version of the Portage that built it
	// Compiler is what it was compiled with, if anything was.
	Compiler  string            `json:"compiler"`
	Revisions map[string]string `json:"revisions"` // states of the repositories of the plan, by name
	Client    string            `json:"client"`    // Lantage's version here

	// Recorded is what its own metadata say, of the keys that were checked.
	Recorded map[string]string `json:"recorded"`
}

// builderTrace is what is known of the builder.
type builderTrace struct {
	Name     string `json:"name"`
	ID       string `json:"id"`
	Key      string `json:"key,omitempty"` // empty: the connection was not encrypted
	Address  string `json:"address"`
	CPU      string `json:"cpu"`
	Software string `json:"lantage"`
}

// recorder writes the provenance of the binpkgs of one job.
type recorder struct {
	dir   string     // PKGDIR
	about provenance // what all of them have in common
	proof *proof
}

// newRecorder asks for what the binpkgs of a job have in common.
func (e *Emerge) newRecorder(ctx context.Context, t *tools, sys *system, p *plan, b *builder, msg wire.Job, dir string, pr *proof) *recorder {
	about := provenance{
		Asked: time.Now().UTC().Truncate(time.Second), Job: msg.ID, Base: b.base, Root: msg.Root, Client: e.Version, Revisions: map[string]string{},
		Builder: builderTrace{b.hello.Name, b.hello.ID, keyText(b), b.at.String(), b.hello.CPU, b.hello.Software},
		Portage: b.hello.Portage, Compiler: b.hello.Compiler,
	}
	if b.base == wire.BaseClient { // what is there is what is here
		about.Portage, about.Compiler = "", sys.compilerVersion(ctx, t)
	}
	needed := gentoo.PlanRepos(p.send, sys.profiles, sys.repos)
	for _, r := range msg.Repos {
		pkgs, ok := needed[r.Name]
		switch {
		case r.Revision != "": // the builder's must be in this state, too
			about.Revisions[r.Name] = r.Revision
		case ok:
			about.Revisions[r.Name], _ = gentoo.RepoRevision(ctx, r.Location, pkgs) // what cannot be told stays empty
		}
	}
	return &recorder{dir, about, pr}
}

func keyText(b *builder) string {
	if b.key.IsZero() {
		return ""
	}
	return b.key.String()
}

// compilerVersion is the first line that this machine's compiler says of itself, or "".
func (s *system) compilerVersion(ctx context.Context, t *tools) string {
	out, err := t.capture(ctx, s.chost+"-gcc", []string{"--version"})
	if err != nil || out.status != 0 {
		return ""
	}
	return gentoo.FirstLine(out.stdout)
}

// write puts the record beside a binpkg that has arrived, and removes those of binpkgs that are gone since.
func (rec *recorder) write(a arrival, r wire.Result) error {
	about := rec.about
	about.CPV, about.SHA256, about.Reused = a.cpv.String(), strings.ToLower(r.SHA256), r.Reused
	about.Came = time.Now().UTC().Truncate(time.Second)
	f := rec.proof.facts[a.cpv]
	about.Repo, about.Portage = f.Repo, cmp.Or(about.Portage, f.Portage)
	about.Recorded = rec.proof.recorded[a.cpv]
	rec.prune(filepath.Dir(a.path))
	return about.save(filepath.Join(rec.dir, a.path))
}

// prune removes records in a directory of PKGDIR whose binpkg is gone.
func (rec *recorder) prune(dir string) {
	old, _ := filepath.Glob(filepath.Join(rec.dir, dir, "*"+provenanceSuffix))
	for _, record := range old {
		if _, err := os.Lstat(strings.TrimSuffix(record, provenanceSuffix)); errors.Is(err, fs.ErrNotExist) {
			_ = os.Remove(record) // it stays until another time
		}
	}
}

// save writes a record beside its binpkg.
func (about provenance) save(binpkg string) error {
	text, err := json.MarshalIndent(about, "", "\t")
	if err != nil {
		return err
	}
	return replaceFile(binpkg+provenanceSuffix, append(text, '\n'))
}

// maxProvenance is more than any record has.
const maxProvenance = 1 << 20

// readProvenance reads the record of a binpkg.
func readProvenance(binpkg string) (provenance, error) {
	var about provenance
	f, err := os.Open(binpkg + provenanceSuffix)
	if err != nil {
		return about, err
	}
	defer f.Close()
	if fi, err := f.Stat(); err != nil || fi.Size() > maxProvenance {
		return about, errors.Join(err, errors.New("it is not a record of lantage"))
	}
	if err := json.NewDecoder(f).Decode(&about); err != nil {
		return about, fmt.Errorf("it is not a record of lantage: %w", err)
	}
	return about, nil
}

// metadataOf reads a binpkg's metadata.
func metadataOf(binpkg string) (map[string]string, error) {
	f, err := os.Open(binpkg)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return gentoo.ReadBinpkgMetadata(binpkg, f, fi.Size())
}
