package client

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"lantage/archive"
	"lantage/gentoo"
)

// keep packs the binpkgs of a staging directory into one tar.gz laid out as PKGDIR, and prints how to
// install them. The staging directory goes.
func (e *Emerge) keep(args gentoo.Args, sys *system, p *plan, o outcome) error {
	dir := filepath.Dir(o.pkgdir)
	defer os.Remove(dir) // unless logs or the archive are in it
	defer os.RemoveAll(o.pkgdir)
	if len(o.arrived) == 0 {
		return nil
	}
	name := filepath.Join(filepath.Dir(dir), "lantage-"+o.id+".tar.gz")
	if err := packArrived(name, o); err != nil {
		return fmt.Errorf("keep what was built in %s: %w", name, err)
	}
	e.say("\nKept in %s: %s.\nTo install them, as root:\n", name, count(len(o.arrived), "binary package"))
	e.say("  tar -xzf %s -C %s", quote(name), quote(sys.pkgdir))
	e.say("  emaint --fix binhost")
	if args.BuildPkgOnly {
		return nil
	}
	e.say("  emerge %s", quoteAll(installArgs(args, p, o)))
	return nil
}

// installArgs is the emerge command that merges an archive's packages: the user's own where all is there,
// else the packages that are.
func installArgs(args gentoo.Args, p *plan, o outcome) []string {
	if len(o.arrived) == len(p.send) {
		return args.MergeArgs(false)
	}
	words := []string{"--oneshot", "--usepkgonly", "--binpkg-respect-use=y"}
	for _, a := range o.arrived {
		words = append(words, "="+a.cpv.String())
	}
	return words
}

// packArrived writes the archive under a pending name first, so that only a whole one is ever called by its
// name.
func packArrived(name string, o outcome) (err error) {
	file, err := os.CreateTemp(filepath.Dir(name), ".lantage-*.pending")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	defer file.Close()
	root, err := os.OpenRoot(o.pkgdir)
	if err != nil {
		return err
	}
	defer root.Close()
	w := archive.NewWriter(file, archive.Options{Level: archive.ForBinpkgs})
	for _, a := range o.arrived {
		if err = addBinpkg(w, root, a.path); err == nil {
			err = addBinpkg(w, root, a.path+provenanceSuffix)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // a record may be missing
			break
		}
		err = nil
	}
	if closeErr := w.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = file.Chmod(0o644)
	}
	if err == nil {
		err = file.Sync()
	}
	if err != nil {
		return err
	}
	return os.Rename(file.Name(), name)
}

func addBinpkg(w *archive.Writer, root *os.Root, path string) error {
	file, err := root.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	return w.AddFile(path, file)
}

// quote quotes a word for a POSIX shell where it needs it.
func quote(s string) string {
	const plain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789@%+=:,./_-"
	if s != "" && strings.Trim(s, plain) == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

func quoteAll(words []string) string {
	var quoted []string
	for _, w := range words {
		quoted = append(quoted, quote(w))
	}
	return strings.Join(quoted, " ")
}
