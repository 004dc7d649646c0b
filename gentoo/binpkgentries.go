package gentoo

import (
	"archive/tar"
	"io"
	"path"
	"path/filepath"
	"strings"
)

// ReadBinpkgEntries is ReadBinpkg for those who compare: visit is called for the metadata alone, and entry for each entry
// of the image as its tar has it: directories, links, devices and sparse files, too, with owners, modes and, as PAX records,
// extended attributes. The names in the headers are below the root that the image is merged to, "." for that itself; so is
// the target of a hard link. Sparse files count as much as they expand to.
func ReadBinpkgEntries(r io.ReaderAt, size int64, visit func(BinpkgFile) error, entry func(*tar.Header, io.Reader) error) error {
	b := &binpkgReader{lim: defaultBinpkgLimits, visit: visit, entry: entry}
	return b.read(r, size)
}

// imageEntry checks the names of one entry of the image, makes them relative to the root, and hands the entry on.
func (b *binpkgReader) imageEntry(hdr *tar.Header, r io.Reader, prefix string) error {
	var err error
	if hdr.Name, err = inImage(hdr.Name, prefix); err != nil {
		return err
	}
	if hdr.Typeflag == tar.TypeLink {
		if hdr.Linkname, err = inImage(hdr.Linkname, prefix); err != nil {
			return err
		}
	}
	if isSparse(hdr) { // the holes are not read from the archive, and so not bounded there
		r = &bounded{r: r, left: b.lim.image, limit: b.lim.image}
	}
	b.visitErr = b.entry(hdr, r)
	return b.visitErr
}

// inImage is the clean path below the root of a name in an image.
func inImage(name, prefix string) (string, error) {
	clean := path.Clean(name)
	if clean == path.Clean(prefix) {
		return ".", nil
	}
	rest, ok := strings.CutPrefix(clean, strings.TrimPrefix(prefix, "./"))
	if !ok || len(rest) > maxBinpkgName || strings.Contains(rest, "\x00") || !filepath.IsLocal(rest) {
		return "", errNotBelow(name, prefix)
	}
	return rest, nil
}
