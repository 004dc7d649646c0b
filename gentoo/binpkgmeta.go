package gentoo

import "io"

// maxMetadataValue is the longest value that ReadBinpkgMetadata returns: many times the longest ebuild, which is a list of crates. A
// longer one is for nobody to compare. All together they are no longer than binpkgLimits has it.
const maxMetadataValue = 8 << 20

// ReadBinpkgMetadata returns the metadata of the binpkg of size bytes in r by key, less one newline at the end of each
// value: CATEGORY, PF, SLOT, USE, CFLAGS and so on, as they are found in the VDB once it is merged. Of the image nothing is
// decompressed. Where its metadata are in a compression that only a program of the machine reads (xz, lz4, lzip, lzop), that is
// run, as Portage does. The file may be hostile; see ReadBinpkg for what is bounded. What Portage might read in another way is an
// error: a format other than that of the file's name, by which Portage goes, a key that is there twice or not as a plain file.
func ReadBinpkgMetadata(name string, r io.ReaderAt, size int64) (map[string]string, error) {
	values := map[string]string{}
	b := &binpkgReader{lim: defaultBinpkgLimits, programs: true, noImage: true, format: binpkgFormatOf(name), visit: func(f BinpkgFile) error {
		if f.Size > maxMetadataValue {
			return nil
		}
		value, err := io.ReadAll(f.Reader)
		if n := len(value); n > 0 && value[n-1] == '\n' {
			value = value[:n-1]
		}
		values[f.Name] = string(value)
		return err
	}}
	return values, b.read(r, size)
}
