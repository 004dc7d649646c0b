package archive

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// tree is the way from the root down to the directory that was entered last. Each level holds a descriptor,
// so that the entries of one directory, which an archive brings one after the other, need no walk from the
// top.
type tree struct {
	levels []level // levels[0] is the caller's root
}

type level struct {
	name string
	root *os.Root
}

func (t *tree) top() *os.Root { return t.levels[0].root }

// enter returns the directory of that clean name, "" for the top. It makes what is missing and follows no
// symbolic link, not even one that stays in the root, which os.Root alone would do. The result is good until
// the next call.
func (t *tree) enter(name string) (*os.Root, error) {
	var elems []string
	if name != "" {
		elems = strings.Split(name, "/")
	}
	same := 0
	for same < len(elems) && same+1 < len(t.levels) && t.levels[same+1].name == elems[same] {
		same++
	}
	t.leave(same + 1)
	for _, elem := range elems[same:] {
		parent := t.levels[len(t.levels)-1].root
		if err := makeDir(parent, elem, 0o755); err != nil {
			return nil, err
		}
		sub, err := parent.OpenRoot(elem)
		if err != nil {
			return nil, err
		}
		t.levels = append(t.levels, level{elem, sub})
	}
	return t.levels[len(t.levels)-1].root, nil
}

// makeDir makes the directory base in parent, unless there is one.
func makeDir(parent *os.Root, base string, mode fs.FileMode) error {
	err := parent.Mkdir(base, mode)
	if err == nil || !errors.Is(err, fs.ErrExist) {
		return err
	}
	fi, err := parent.Lstat(base)
	if err != nil {
		return err
	}
	if !fi.IsDir() {
		return fmt.Errorf("%s is there and is no directory: %w", base, fs.ErrExist)
	}
	return nil
}

// leave closes all but the first n levels.
func (t *tree) leave(n int) {
	for _, l := range t.levels[n:] {
		l.root.Close()
	}
	t.levels = t.levels[:n]
}

func (t *tree) close() { t.leave(1) }
