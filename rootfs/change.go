package rootfs

import (
	"fmt"
	"io"
)

// Diff reads two whole lists side by side and calls emit, in tree order, for each entry of the newer one that
// is not the same in the older one, and with TypeGone for each path that only the older one has. Applied to
// the older list it makes the newer one.
func Diff(older, newer *ListReader, emit func(*Entry) error) error {
	a, aErr := older.Next()
	b, bErr := newer.Next()
	for {
		switch {
		case aErr != nil && aErr != io.EOF:
			return aErr
		case bErr != nil && bErr != io.EOF:
			return bErr
		case aErr == io.EOF && bErr == io.EOF:
			return nil
		case bErr == io.EOF || aErr == nil && Compare(a.Path, b.Path) < 0:
			if err := emit(&Entry{Path: a.Path, Type: TypeGone}); err != nil {
				return err
			}
			a, aErr = older.Next()
		case aErr == io.EOF || Compare(a.Path, b.Path) > 0:
			if err := emit(b); err != nil {
				return err
			}
			b, bErr = newer.Next()
		default:
			if !a.same(b) {
				if err := emit(b); err != nil {
					return err
				}
			}
			a, aErr = older.Next()
			b, bErr = newer.Next()
		}
	}
}

// Apply calls emit for each entry of the list that a change makes of an older one.
func Apply(older, change *ListReader, emit func(*Entry) error) error {
	a, aErr := older.Next()
	c, cErr := change.Next()
	for {
		switch {
		case aErr != nil && aErr != io.EOF:
			return aErr
		case cErr != nil && cErr != io.EOF:
			return cErr
		case aErr == io.EOF && cErr == io.EOF:
			return nil
		case cErr == io.EOF || aErr == nil && Compare(a.Path, c.Path) < 0:
			if err := emit(a); err != nil {
				return err
			}
			a, aErr = older.Next()
		case aErr == nil && a.Path == c.Path:
			if c.Type != TypeGone {
				if err := emit(c); err != nil {
					return err
				}
			}
			a, aErr = older.Next()
			c, cErr = change.Next()
		default:
			if c.Type == TypeGone {
				return fmt.Errorf("%w: %q is gone and was not there", ErrList, c.Path)
			}
			if err := emit(c); err != nil {
				return err
			}
			c, cErr = change.Next()
		}
	}
}

// Each calls visit for each entry of a list.
func Each(l *ListReader, visit func(*Entry) error) error {
	for {
		e, err := l.Next()
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = visit(e)
		}
		if err != nil {
			return err
		}
	}
}
