package gentoo

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// ErrCompression is wrapped by the error about a binpkg in a compression that cannot be read here (xz, lz4,
// lzip, lzop; zstd with a window above 128 MiB). Others than these may still be fine.
var ErrCompression = errors.New("cannot be read here")

// BinpkgPart is the part of a binpkg that a file is in.
type BinpkgPart int

// Parts of a binpkg.
const (
	BinpkgMetadata BinpkgPart = iota + 1
	BinpkgImage
)

// BinpkgFile is one regular file in a binpkg. What it says is the packager's, and only its form was checked.
type BinpkgFile struct {
	Part BinpkgPart
	Name string // the metadata key, or the clean path below the root that the image is merged to
	Size int64  // of the content

	// Of a file of the image.
	Mode     uint32 // the 12 bits of chmod(2)
	UID, GID int
	ModTime  time.Time

	io.Reader // the content, until visit returns; what is not read is skipped
}

// binpkgLimits bound what is read out of one binpkg.
type binpkgLimits struct {
	image    int64 // decompressed bytes of the image, headers included
	metadata int64 // of the metadata
	files    int   // entries of each
}

// The metadata of real packages are below a MiB, their images below 10 GiB.
var defaultBinpkgLimits = binpkgLimits{image: 64 << 30, metadata: 64 << 20, files: 1_000_000}

const (
	maxBinpkgMembers = 100 // members of a gpkg; there are four, or eight with signatures
	maxBinpkgName    = 4095
)

// ReadBinpkg calls visit for each regular file in the binpkg of size bytes in r, in the order in which they
// are there: a gpkg (GLEP 78) or an xpak (xpak(5)), as the contents say, with its parts uncompressed or
// compressed with gzip, zstd or bzip2. It is for finding contents: hard links are not visited, as their
// contents are, nor sparse files. Checksums and signatures of the gpkg are not verified.
//
// The file may be hostile. Names are checked, and bounded are the memory (the most is zstd's window,
// 128 MiB), the decompressed size (64 GiB; metadata: 64 MiB) and the number of files (a million). An error of
// visit ends the reading and is returned as it is. Other errors, of which ErrCompression is one, may come
// after many visits, so that what was visited counts only as far as the caller has checked it by itself.
//
// # What Portage makes of it
//
// Portage (3.0.83) merges a binpkg by unpacking both parts and copying what it has unpacked. The same bytes are:
//
//   - a file of the image and what it is merged as, under its name or, where configuration is protected, as
//     ._cfgNNNN_NAME. The client's INSTALL_MASK and the ebuild's pkg_preinst can have taken it away or changed
//     it before, and all of a binpkg of another EPREFIX is rewritten;
//   - the value of a metadata key and the file /var/db/pkg/CATEGORY/PF/KEY: NAME.ebuild, NEEDED.ELF.2, USE,
//     DEPEND and so on, to the last newline, except for environment.bz2, which is written anew after
//     pkg_postinst and differs at least in FEATURES.
//
// Made by the merge are CONTENTS, COUNTER, BINPKGMD5 (the MD5 of the binpkg) and metadata (the short values
// again, and the modification time of the directory).
func ReadBinpkg(r io.ReaderAt, size int64, visit func(BinpkgFile) error) error {
	b := &binpkgReader{lim: defaultBinpkgLimits, visit: visit}
	return b.read(r, size)
}

// binpkgReader is one run of ReadBinpkg.
type binpkgReader struct {
	lim      binpkgLimits
	visit    func(BinpkgFile) error
	programs bool                               // the machine's programs may decompress
	entry    func(*tar.Header, io.Reader) error // takes all of the image instead of visit
	noImage  bool                               // the image is passed over
	format   binpkgFormat                       // that it must have
	keys     map[string]bool                    // of metadata that were there
	visitErr error
}

// binpkgFormat is one of the two, or 0.
type binpkgFormat int

const (
	formatGpkg binpkgFormat = iota + 1
	formatXpak
)

// binpkgFormatOf is the format that Portage takes a file of this name for, whatever is in it (portage.binpkg.get_binpkg_format).
func binpkgFormatOf(name string) binpkgFormat {
	switch path.Ext(name) {
	case ".tar":
		return formatGpkg
	case ".tbz2", ".xpak":
		return formatXpak
	}
	return 0
}

func (b *binpkgReader) read(r io.ReaderAt, size int64) error {
	segment, ok, err := findXpak(r, size)
	switch {
	case err != nil:
	case ok && b.format == formatGpkg:
		err = errors.New("it is named as a gpkg, and ends as an xpak does")
	case !ok && b.format == formatXpak:
		err = errors.New("it is named as an xpak, and does not end as one")
	case ok:
		err = b.xpak(r, segment)
	default:
		err = b.gpkg(io.NewSectionReader(r, 0, size))
	}
	if b.visitErr != nil {
		return b.visitErr
	}
	if err != nil {
		return fmt.Errorf("read binpkg: %w", err)
	}
	return nil
}

// gpkg reads the outer tar: NAME/gpkg-1, NAME/metadata.tar.EXT, NAME/image.tar.EXT, Manifest, signatures.
func (b *binpkgReader) gpkg(r io.Reader) error {
	tr := tar.NewReader(r)
	seen := map[string]bool{}
	for range maxBinpkgMembers {
		hdr, err := tr.Next()
		if err == io.EOF {
			return complete(seen)
		}
		if err != nil {
			return err
		}
		dir, base := path.Split(hdr.Name)
		if hdr.Typeflag != tar.TypeReg || strings.Count(dir, "/") != 1 {
			return fmt.Errorf("%s does not belong into a gpkg", shown(hdr.Name))
		}
		kind, _, _ := strings.Cut(base, ".")
		if strings.HasSuffix(base, ".sig") || !slices.Contains(gpkgMembers, kind) {
			continue
		}
		if seen[kind] {
			return fmt.Errorf("the gpkg has %s twice", kind)
		}
		seen[kind] = true
		switch kind {
		case "metadata":
			err = b.tar(BinpkgMetadata, tr, "metadata/", b.lim.metadata)
		case "image":
			if b.noImage {
				continue
			}
			err = b.tar(BinpkgImage, tr, "image/", b.lim.image)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", shown(base), err)
		}
	}
	return fmt.Errorf("the gpkg has more than %d members", maxBinpkgMembers)
}

// gpkgMembers are the members that a gpkg must have, less extensions. The last is the Manifest: without it the
// gpkg was cut.
var gpkgMembers = []string{"gpkg-1", "metadata", "image", "Manifest"}

func complete(seen map[string]bool) error {
	for _, kind := range gpkgMembers {
		if !seen[kind] {
			return fmt.Errorf("there is no %s in it; is it a binpkg?", kind)
		}
	}
	return nil
}

// tar reads one part, whose names begin with prefix.
func (b *binpkgReader) tar(part BinpkgPart, r io.Reader, prefix string, limit int64) error {
	plain, err := decompress(r, b.programs)
	if err != nil {
		return err
	}
	defer plain.Close()
	in := &bounded{r: plain, left: limit, limit: limit}
	tr := tar.NewReader(in)
	for range b.lim.files {
		hdr, err := tr.Next()
		if err == io.EOF {
			// The rest, for the checksum of the compression is at its end.
			_, err := io.Copy(io.Discard, in)
			return err
		}
		if err != nil {
			return err
		}
		if part == BinpkgImage && b.entry != nil {
			if err := b.imageEntry(hdr, tr, prefix); err != nil {
				return err
			}
			continue
		}
		if hdr.Typeflag != tar.TypeReg || isSparse(hdr) {
			if part == BinpkgMetadata && hdr.Typeflag != tar.TypeDir { // others read some of these as files, or as what later files are
				return fmt.Errorf("%s in the metadata is no plain file", shown(hdr.Name))
			}
			continue
		}
		name, ok := strings.CutPrefix(hdr.Name, prefix)
		if !ok {
			return errNotBelow(hdr.Name, prefix)
		}
		f := BinpkgFile{Part: part, Name: name, Size: hdr.Size, Reader: tr}
		if part == BinpkgImage {
			f.Mode, f.UID, f.GID, f.ModTime = uint32(hdr.Mode&0o7777), hdr.Uid, hdr.Gid, hdr.ModTime
		}
		if err := b.file(f); err != nil {
			return err
		}
	}
	return fmt.Errorf("more than %d entries", b.lim.files)
}

// file checks the name of one file and has it visited.
func (b *binpkgReader) file(f BinpkgFile) error {
	bad := len(f.Name) > maxBinpkgName || strings.Contains(f.Name, "\x00") || f.Name == "." ||
		!filepath.IsLocal(f.Name) || path.Clean(f.Name) != f.Name
	if f.Part == BinpkgMetadata {
		bad = bad || len(f.Name) > 255 || strings.Contains(f.Name, "/")
	}
	if f.Part == BinpkgMetadata && !bad { // what one program takes for the value, another might not
		if b.keys[f.Name] {
			return fmt.Errorf("%s is twice in the metadata", shown(f.Name))
		}
		if b.keys == nil {
			b.keys = map[string]bool{}
		}
		b.keys[f.Name] = true
	}
	if bad {
		return fmt.Errorf("%s is not a name that a file of it can have", shown(f.Name))
	}
	b.visitErr = b.visit(f)
	return b.visitErr
}

// isSparse reports whether the content is expanded from less: a few bytes could stand for any number of zeros,
// which no limit of what is read would see.
func isSparse(hdr *tar.Header) bool {
	for key := range hdr.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return hdr.Typeflag == tar.TypeGNUSparse
}

func errNotBelow(name, prefix string) error {
	return fmt.Errorf("%s is not below %s", shown(name), prefix)
}

func shown(name string) string {
	if len(name) > 100 {
		name = name[:100] + "…"
	}
	return fmt.Sprintf("%q", name)
}
