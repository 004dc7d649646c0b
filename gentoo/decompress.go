package gentoo

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// zstdWindow is the largest window that zstd's levels and --long have unless asked for more.
const zstdWindow = 128 << 20

// unpackers are the programs with which Portage reads the compressions that this package has no reader for.
var unpackers = map[string][]string{
	"xz": {"xz", "-dcq", "--memlimit-decompress=1GiB"}, "lz4": {"lz4", "-dcq"}, "lzip": {"lzip", "-dcq"}, "lzop": {"lzop", "-dcq"},
}

// decompress returns what r holds uncompressed, by the first bytes: an xpak does not say in its name what it
// is. With programs those of the machine are run for what is not read here. Closing it does not close r.
func decompress(r io.Reader, programs bool) (io.ReadCloser, error) {
	br := bufio.NewReaderSize(r, 64<<10)
	magic, err := br.Peek(6)
	if err != nil && err != io.EOF {
		return nil, err
	}
	is := func(s string) bool { return bytes.HasPrefix(magic, []byte(s)) }
	unknown := func(name string) (io.ReadCloser, error) {
		if programs {
			return startUnpacker(br, name)
		}
		return nil, fmt.Errorf("compression %s %w", name, ErrCompression)
	}
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
		return unknown("xz")
	case is("\x04\x22\x4d\x18"):
		return unknown("lz4")
	case is("LZIP"):
		return unknown("lzip")
	case is("\x89LZO"):
		return unknown("lzop")
	}
	return io.NopCloser(br), nil
}

// unpacker is a program that decompresses.
type unpacker struct {
	io.Reader
	cmd    *exec.Cmd
	stderr bytes.Buffer
	ended  bool
}

func startUnpacker(r io.Reader, name string) (io.ReadCloser, error) {
	argv := unpackers[name]
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return nil, fmt.Errorf("compression %s %w: the program %s is not on PATH", name, ErrCompression, argv[0])
	}
	u := &unpacker{cmd: exec.Command(path, argv[1:]...)}
	u.cmd.Stdin, u.cmd.Stderr = r, &u.stderr
	u.cmd.WaitDelay = time.Second
	if u.Reader, err = u.cmd.StdoutPipe(); err != nil {
		return nil, err
	}
	return u, u.cmd.Start()
}

// Read reads what the program writes; that it failed comes in the place of the end.
func (u *unpacker) Read(p []byte) (int, error) {
	n, err := u.Reader.Read(p)
	if err == io.EOF && !u.ended {
		u.ended = true
		if failed := u.cmd.Wait(); failed != nil {
			err = fmt.Errorf("%s: %w: %.200q", u.cmd.Path, failed, bytes.TrimSpace(u.stderr.Bytes()))
		}
	}
	return n, err
}

// Close ends the program, if it still runs: what is left is not wanted.
func (u *unpacker) Close() error {
	if u.ended {
		return nil
	}
	u.ended = true
	_ = u.cmd.Process.Kill()
	_ = u.cmd.Wait() // it was killed
	return nil
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
