package gentoo

import (
	"errors"
	"io"
)

// maxMetadataValue is the longest value that ReadBinpkgMetadata returns: many times the longest ebuild, which is a list of crates. A
// longer one is for nobody to compare. All together they are no longer than binpkgLimits has it.
const maxMetadataValue = 8 << 20

// errEnough ends a reading.
var errEnough = errors.New("enough")

// ReadBinpkgMetadata returns the metadata of the binpkg of size bytes in r by key, less one newline at the end of each
// value: CATEGORY, PF, SLOT, USE, CFLAGS and so on, as they are found in the VDB once it is merged. Of the image nothing is
// decompressed. Where its metadata are in a compression that only a program of the machine reads (xz, lz4, lzip, lzop), that is
// run, as Portage does. The file may be hostile; see ReadBinpkg for what is bounded.
func ReadBinpkgMetadata(r io.ReaderAt, size int64) (map[string]string, error) {
	values := map[string]string{}
	b := &binpkgReader{lim: defaultBinpkgLimits, programs: true, visit: func(f BinpkgFile) error {
		if f.Part != BinpkgMetadata {
			return errEnough
		}
		if f.Size > maxMetadataValue {
			return nil
		}
		b, err := io.ReadAll(f.Reader)
		if n := len(b); n > 0 && b[n-1] == '\n' {
			b = b[:n-1]
		}
		values[f.Name] = string(b)
		return err
	}}
	err := b.read(r, size)
	if errors.Is(err, errEnough) {
		err = nil
	}
	return values, err
}
