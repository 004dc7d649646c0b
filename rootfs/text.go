package rootfs

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// MaxText is the size up to which a file is taken for a text that somebody may have written.
const MaxText = 1 << 20

// blank looks whether a file goes with another text, and has its entry say so then. One that changes after this is noticed when it is
// sent, as the text is made anew from what is read then.
func (w *walker) blank(d *dir, name string, f *found) error {
	if f.Size == 0 || f.Size > MaxText {
		return nil
	}
	fd, err := openat(d.fd, name, unix.O_NONBLOCK)
	if vanished(err) || err == unix.ENXIO {
		return nil // and the scan sees that, too
	}
	if err != nil {
		return err
	}
	file := os.NewFile(uintptr(fd), name)
	defer file.Close()
	text, other, err := w.textOf(file)
	if errors.Is(err, ErrChanged) {
		return nil
	}
	if err != nil || !other {
		return err
	}
	f.blanked, f.Size, f.Sum, f.Sparse = true, int64(len(text)), sha256.Sum256(text), false
	return nil
}

// textOf is what goes of an open file of at most MaxText bytes, and whether that is another text than it has.
func (m *ruler) textOf(f *os.File) (text []byte, other bool, err error) {
	content, err := io.ReadAll(io.LimitReader(f, MaxText+1))
	if err != nil {
		return nil, false, fmt.Errorf("read %s: %w", f.Name(), err)
	}
	if len(content) > MaxText {
		return nil, false, fmt.Errorf("%s: %w", f.Name(), ErrChanged)
	}
	text = m.text(content)
	return text, !bytes.Equal(text, content), nil
}
