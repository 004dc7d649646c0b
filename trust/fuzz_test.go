package trust

import (
	"bytes"
	"errors"
	"testing"
)

// FuzzBook reads whatever text: what is taken is what would be written.
func FuzzBook(f *testing.F) {
	f.Add([]byte("# x\n" + keyN(1).String() + " trusted 2026-01-02T03:04:05Z tower\n" + keyN(2).String() + " seen 2026-01-02T03:04:05+01:00 a b\n"))
	f.Add([]byte(keyN(1).String() + " revoked 0000-01-01T00:00:00Z (no name)"))
	f.Add([]byte("\n\n#"))
	f.Fuzz(func(t *testing.T, text []byte) {
		peers, err := parsePeers(text)
		if err != nil {
			return
		}
		b := newBook(t)
		must(t, b.Update(func([]Peer) ([]Peer, error) { return peers, nil }))
		again := b.mustHave(t)
		if len(again) != len(peers) {
			t.Fatalf("%d peers of %d are read back", len(again), len(peers))
		}
		for i, p := range peers {
			if p.Since = p.Since.UTC(); !p.Since.Equal(again[i].Since) && p.Since.Truncate(1e9) != again[i].Since || p.Key != again[i].Key ||
				p.Name != again[i].Name || p.State != again[i].State {
				t.Errorf("%v is read back as %v", p, again[i])
			}
		}
	})
}

// FuzzKey reads whatever text: there is one way to write a key.
func FuzzKey(f *testing.F) {
	f.Add(keyN(1).String())
	f.Add("SHA256:")
	f.Fuzz(func(t *testing.T, s string) {
		if k, err := ParseKey(s); err == nil && k.String() != s {
			t.Errorf("%q is read as %v", s, k)
		}
		if name := CleanName(s); CleanName(name) != name {
			t.Errorf("%q is cleaned to %q, and then to %q", s, name, CleanName(name))
		}
	})
}

// FuzzPairing gives both ends of a pairing whatever a peer may send. It has no code, so it is never believed.
func FuzzPairing(f *testing.F) {
	for role := range 2 {
		for _, message := range hostileMessages(role) {
			f.Add([]byte(message), []byte(nil))
		}
	}
	good, err := newPairing(roleClient, "654321", keyN(1), keyN(2), []byte("binding"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good.Start(), bytes.Repeat([]byte{0}, 32))
	f.Fuzz(func(t *testing.T, message, proof []byte) {
		for role := range 2 {
			p, err := newPairing(role, "123456", keyN(1), keyN(2), []byte("binding"))
			must(t, err)
			if role == roleBuilder {
				_, err = p.Answer(message)
			} else {
				p.Start()
				err = p.Take(message)
			}
			if checked := p.Check(proof); checked == nil || err == nil && !errors.Is(checked, ErrWrongCode) {
				t.Errorf("role %d: %q and the proof %x: %v, %v", role, message, proof, err, checked)
			}
		}
	})
}
