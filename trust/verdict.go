package trust

import (
	"strings"
	"unicode"
)

// Verdict is what a client thinks of a builder that answered.
type Verdict int

// Verdicts.
const (
	New     Verdict = iota // it was never met
	Known                  // this key is trusted
	Changed                // its name is trusted with another key: it is another machine, or a new installation, or somebody in between
	Refused                // this key is revoked
)

// Judge says what to think of a builder with this key that calls itself name. The key is what counts; names are compared without
// case, as DNS does, and without what is not seen in them. held is the entry that decided, if one did.
func Judge(peers []Peer, name string, key Key) (v Verdict, held Peer) {
	if p, ok := Find(peers, key); ok {
		switch p.State {
		case Trusted:
			return Known, p
		case Revoked:
			return Refused, p
		}
	}
	for _, p := range peers {
		if p.State == Trusted && strings.EqualFold(asSeen(p.Name), asSeen(name)) {
			return Changed, p
		}
	}
	return New, Peer{}
}

// asSeen is a name without what is not seen in it: a dot at its end, and characters that are shown as nothing, such as U+3164. Names
// that only look alike (0 and O, one accent in two spellings) stay two.
func asSeen(name string) string {
	unseen := func(r rune) rune {
		if r == '\u2800' || unicode.In(r, unicode.Cf, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point) {
			return -1
		}
		return r
	}
	return strings.TrimRight(strings.Map(unseen, CleanName(name)), " .")
}
