// Package compare tells what two builds of one package differ in: every entry of the image with type, mode, owner, link
// target, device, extended attributes and content, and all metadata, but for what the table Ignored names.
package compare

import (
	"archive/tar"
	"compress/bzip2"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"lantage/gentoo"
)

// Package is all that a binpkg says.
type Package struct {
	CPV   string
	Files int   // entries of the image
	Bytes int64 // of their contents

	// facts are what can differ, by place: "metadata USE", "/usr/bin/x: mode".
	facts map[string]string
}

// environment is the metadata key whose parts are told apart.
const environment = "environment.bz2"

// Read reads the binpkg of that name, a gpkg or an xpak.
func Read(name string) (*Package, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	st, err := file.Stat()
	if err != nil {
		return nil, err
	}
	p := &Package{facts: make(map[string]string)}
	if err := gentoo.ReadBinpkgEntries(file, st.Size(), p.addMetadata, p.addEntry); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	category, pf := p.facts["metadata CATEGORY"], p.facts["metadata PF"]
	if category == "" || pf == "" {
		return nil, fmt.Errorf("%s does not say in its metadata which package it is", name)
	}
	p.CPV = category + "/" + pf
	return p, nil
}

// ReadDir reads all binpkgs of a PKGDIR, by their CPVs. Two of one package are an error: it would be chance which of them
// is compared.
func ReadDir(dir string) (map[string]*Package, error) {
	all := make(map[string]*Package)
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || !IsBinpkg(d.Name()) {
			return err
		}
		p, err := Read(name)
		if err != nil {
			return err
		}
		if all[p.CPV] != nil {
			return fmt.Errorf("%s has two builds of %s", dir, p.CPV)
		}
		all[p.CPV] = p
		return nil
	})
	return all, err
}

// IsBinpkg reports whether a file of that name is a binpkg.
func IsBinpkg(name string) bool {
	for _, ext := range []string{".gpkg.tar", ".xpak", ".tbz2"} {
		if strings.HasSuffix(name, ext) {
			return true
		}
	}
	return false
}

// set notes down a fact. What is there twice cannot be compared.
func (p *Package) set(place, value string) error {
	if _, ok := p.facts[place]; ok {
		return fmt.Errorf("%s is there twice", place)
	}
	p.facts[place] = value
	return nil
}

func (p *Package) addMetadata(f gentoo.BinpkgFile) error {
	data, err := io.ReadAll(f)
	if err != nil {
		return err
	}
	if f.Name != environment {
		return p.set("metadata "+f.Name, strings.TrimRight(string(data), "\n"))
	}
	plain, err := io.ReadAll(io.LimitReader(bzip2.NewReader(strings.NewReader(string(data))), maxEnvironment))
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", f.Name, err)
	case len(plain) == maxEnvironment:
		return errors.New(f.Name + " is too large")
	}
	for name, text := range statements(string(plain)) {
		if err := p.set("environment "+name, text); err != nil {
			return err
		}
	}
	return nil
}

// maxEnvironment is more than any environment has.
const maxEnvironment = 256 << 20

// kinds are the types of an image's entries.
var kinds = map[byte]string{
	tar.TypeReg: "file", tar.TypeGNUSparse: "file", tar.TypeDir: "directory", tar.TypeSymlink: "symbolic link",
	tar.TypeLink: "hard link", tar.TypeChar: "character device", tar.TypeBlock: "block device", tar.TypeFifo: "fifo",
}

// xattrRecord is how PAX headers name extended attributes.
const xattrRecord = "SCHILY.xattr."

// addEntry notes down an entry of the image. Times of modification are no part of it: those of what is built are the time
// of the build.
func (p *Package) addEntry(hdr *tar.Header, r io.Reader) error {
	kind, ok := kinds[hdr.Typeflag]
	if !ok {
		return fmt.Errorf("/%s is of the unknown type %q", hdr.Name, hdr.Typeflag)
	}
	at := "/" + hdr.Name
	if hdr.Name == "." {
		at = "/"
	}
	sum := sha256.New()
	n, err := io.Copy(sum, r)
	if err != nil {
		return fmt.Errorf("%s: %w", at, err)
	}
	facts := map[string]string{
		"type":  kind,
		"mode":  fmt.Sprintf("%04o", hdr.Mode&0o7777),
		"owner": fmt.Sprintf("%d:%d (%s:%s)", hdr.Uid, hdr.Gid, hdr.Uname, hdr.Gname),
	}
	switch hdr.Typeflag {
	case tar.TypeReg, tar.TypeGNUSparse:
		facts["content"] = fmt.Sprintf("%d bytes, SHA-256 %x", n, sum.Sum(nil))
	case tar.TypeSymlink, tar.TypeLink:
		facts["target"] = hdr.Linkname
	case tar.TypeChar, tar.TypeBlock:
		facts["device"] = fmt.Sprintf("%d:%d", hdr.Devmajor, hdr.Devminor)
	}
	for key, value := range hdr.PAXRecords {
		if name, ok := strings.CutPrefix(key, xattrRecord); ok {
			facts["attribute "+name] = fmt.Sprintf("%q", value)
		}
	}
	for what, value := range facts {
		if err := p.set(at+": "+what, value); err != nil {
			return err
		}
	}
	p.Files++
	p.Bytes += n
	return nil
}
