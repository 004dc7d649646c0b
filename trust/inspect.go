package trust

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
)

// Grades of what `lantage doctor` finds.
const (
	Pass = "pass"
	Warn = "warn"
	Fail = "fail"
)

// Tell takes what was found: a grade, a sentence, and, of what is wrong, what mends it.
type Tell func(grade, text, mend string)

// Inspect looks at the key and the book of one side of this machine, and makes neither.
func (s *Side) Inspect(tell Tell) {
	dir := filepath.Dir(s.File)
	switch id, err := ReadIdentity(dir); {
	case errors.Is(err, fs.ErrNotExist):
		tell(Pass, fmt.Sprintf("this machine's identity is made on first use, in %s", filepath.Join(dir, IdentityFile)), "")
	case err != nil:
		tell(Fail, err.Error(), fmt.Sprintf("rm %s, and on the other machines lantage trust forget NAME", filepath.Join(dir, IdentityFile)))
	default:
		tell(Pass, fmt.Sprintf("this machine's identity is %v", id.Key), "")
	}
	peers, err := s.Peers()
	if err != nil {
		tell(Fail, fmt.Sprintf("the %ss that are known: %v", s.Kind, err),
			fmt.Sprintf("mend that line of %s, or remove the file: what was trusted and revoked is forgotten with it", s.File))
		return
	}
	states := map[State]int{}
	for _, p := range peers {
		states[p.State]++
	}
	tell(Pass, fmt.Sprintf("%ss that are known: %d trusted, %d seen, %d revoked (lantage trust list)", s.Kind, states[Trusted], states[Seen],
		states[Revoked]), "")
}
