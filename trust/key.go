package trust

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
)

// Key names a peer: the SHA-256 of its public key. The zero Key is nobody's.
type Key [sha256.Size]byte

const keyPrefix = "SHA256:"

// String is the fingerprint as people compare it.
func (k Key) String() string { return keyPrefix + base64.RawStdEncoding.EncodeToString(k[:]) }

// ID is the beginning of the key in hexadecimal digits (128 bits of it), for names of files.
func (k Key) ID() string { return hex.EncodeToString(k[:16]) }

// IsZero reports whether k is nobody's.
func (k Key) IsZero() bool { return k == Key{} }

// ParseKey reads what String wrote.
func ParseKey(s string) (Key, error) {
	rest, ok := strings.CutPrefix(s, keyPrefix)
	b, err := base64.RawStdEncoding.DecodeString(rest)
	if !ok || err != nil || len(b) != len(Key{}) || Key(b).String() != s { // there is one way to write it
		return Key{}, fmt.Errorf("%.60q is no fingerprint, which is %s and 43 characters", s, keyPrefix)
	}
	return Key(b), nil
}
