package gentoo

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// zstdWindow is the largest window that zstd's levels and --long have unless asked for more.
const zstdWindow = 128 << 20

// decompress returns what r holds uncompressed, by the first bytes: an xpak does not say in its name what it
// is. Closing it does not close r.
func decompress(r io.Reader) (io.ReadCloser, error) {
	br := bufio.NewReaderSize(r, 64<<10)
	magic, err := br.Peek(6)
	if err != nil && err != io.EOF {
		return nil, err
	}
	is := func(s string) bool { return bytes.HasPrefix(magic, []byte(s)) }
	unknown := func(name string) error { return fmt.Errorf("compression %s %w", name, ErrCompression) }
	switch {
	case is("\x1f\x8b"):
		gz, err := gzip.NewReader(br)
		return gz, err
	case is("BZh"):
		return io.NopCloser(bzip2.NewReader(br)), nil
	case is("\x28\xb5\x2f\xfd"), len(magic) >= 4 && magic[0]>>4 == 5 && string(magic[1:4]) == "\x2a\x4d\x18":
		// The second is a skippable frame, with which pzstd begins.
		z, err := zstd.NewReader(br, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(zstdWindow))
		if err != nil {
			return nil, err
		}
		return zstdReader{z}, nil
	case is("\xfd7zXZ\x00"):
		return nil, unknown("xz")
	case is("\x04\x22\x4d\x18"):
		return nil, unknown("lz4")
	case is("LZIP"):
		return nil, unknown("lzip")
	case is("\x89LZO"):
		return nil, unknown("lzop")
	}
	return io.NopCloser(br), nil
}

// zstdReader is a decoder that closes as readers do.
type zstdReader struct{ z *zstd.Decoder }

func (z zstdReader) Read(p []byte) (int, error) {
	n, err := z.z.Read(p)
	if errors.Is(err, zstd.ErrWindowSizeExceeded) {
		err = fmt.Errorf("compression zstd with a window above %d MiB %w", zstdWindow>>20, ErrCompression)
	}
	return n, err
}

func (z zstdReader) Close() error {
	z.z.Close()
	return nil
}

// bounded is a reader that fails where more than limit bytes come.
type bounded struct {
	r           io.Reader
	left, limit int64
}

func (b *bounded) Read(p []byte) (int, error) {
	// One byte more than allowed tells what ends at the limit from what goes on.
	if int64(len(p)) > b.left {
		p = p[:b.left+1]
	}
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, fmt.Errorf("more than the allowed %d bytes", b.limit)
	}
	return n, err
}
