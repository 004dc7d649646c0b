package client

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"lantage/gentoo"
)

// openStore opens the directory that takes the binpkgs and proves that it does, before anything is asked of
// a builder.
func openStore(dir string) (*gentoo.PkgDir, error) {
	store, err := gentoo.OpenPkgDir(dir)
	if err != nil {
		return nil, fmt.Errorf("the directory for binary packages cannot be used: %w", err)
	}
	_, _ = store.Sweep() // of runs that were killed; what cannot go now goes another time
	probe, err := os.CreateTemp(dir, ".lantage-*.pending")
	if err != nil {
		store.Close()
		return nil, fmt.Errorf("%s takes no binary packages: %w\nNothing was sent to a builder. Make it writable, "+
			"or set PKGDIR to a directory that is", dir, err)
	}
	os.Remove(probe.Name())
	probe.Close()
	return store, nil
}

// readErrors remembers the error of the reading side, to tell it from one of the writing side.
type readErrors struct {
	r   io.Reader
	err error
}

func (re *readErrors) Read(p []byte) (int, error) {
	n, err := re.r.Read(p)
	if err != nil && err != io.EOF {
		re.err = err
	}
	return n, err
}

// countingReader tells how much was read, four times a second at most.
type countingReader struct {
	r    io.Reader
	n    int64
	last time.Time
	tell func(int64)
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	if now := time.Now(); now.Sub(c.last) > 250*time.Millisecond {
		if !c.last.IsZero() {
			c.tell(c.n)
		}
		c.last = now
	}
	return n, err
}

// replaceFile gives a file that everybody may read another content as a whole: others may read it now. In PKGDIR the name that
// it has before is neither one that Portage takes for a package nor one that another run sweeps away as left over.
func replaceFile(name string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".lantage-*.new")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(content)
	if err = errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}
