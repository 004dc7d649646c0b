package trust

import "strings"

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
// case, as DNS does. held is the entry that decided, if one did.
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
		if p.State == Trusted && strings.EqualFold(p.Name, CleanName(name)) {
			return Changed, p
		}
	}
	return New, Peer{}
}
