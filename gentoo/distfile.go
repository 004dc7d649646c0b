package gentoo

import (
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/blake2b"
)

// MaxDistfile is the largest distfile that is spoken of, in bytes.
const MaxDistfile = 64 << 30

// Distfile is a file of a package's SRC_URI as its Manifest describes it.
type Distfile struct {
	Name    string // in DISTDIR
	Size    int64
	SHA512  string // hexadecimal, lower case; at least one of both
	BLAKE2B string
}

// ErrDistfile is the error of a content that is not what the Manifest says.
var ErrDistfile = errors.New("it is not what the Manifest says")

// Validate reports what is wrong with a distfile that somebody else describes. A name that passes is one element of a path,
// and not a hidden one.
func (d Distfile) Validate() error {
	switch {
	case d.Name == "" || len(d.Name) > 255 || d.Name[0] == '.' || strings.ContainsAny(d.Name, "/\x00") ||
		!utf8.ValidString(d.Name) || Printable(d.Name) != d.Name || strings.ContainsAny(d.Name, "\n\t"):
		return fmt.Errorf("%.60q is not the name of a distfile", d.Name)
	case d.Size < 0 || d.Size > MaxDistfile:
		return fmt.Errorf("%s cannot have %d bytes", d.Name, d.Size)
	case d.SHA512 == "" && d.BLAKE2B == "":
		return fmt.Errorf("%s has neither a SHA512 nor a BLAKE2B", d.Name)
	case !validSum(d.SHA512, sha512.Size):
		return fmt.Errorf("%s: %.40q is not a SHA512", d.Name, d.SHA512)
	case !validSum(d.BLAKE2B, blake2b.Size):
		return fmt.Errorf("%s: %.40q is not a BLAKE2B", d.Name, d.BLAKE2B)
	}
	return nil
}

// validSum reports whether s is empty, or n bytes in hexadecimal digits of lower case.
func validSum(s string, n int) bool {
	if s == "" {
		return true
	}
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == n && strings.ToLower(s) == s
}

// Key names the content of a valid Distfile, whatever the file is called.
func (d Distfile) Key() string {
	if d.BLAKE2B != "" {
		return "blake2b-" + d.BLAKE2B
	}
	return "sha512-" + d.SHA512
}

// KeyedDistfile is the Distfile of this size that has the Key, by which it is called, too. If there can be none, it is not valid.
func KeyedDistfile(key string, size int64) Distfile {
	d := Distfile{Name: key, Size: size}
	switch kind, sum, _ := strings.Cut(key, "-"); kind {
	case "blake2b":
		d.BLAKE2B = sum
	case "sha512":
		d.SHA512 = sum
	}
	return d
}

// Verify reads r to its end. The error is ErrDistfile if it is another content.
func (d Distfile) Verify(r io.Reader) error {
	_, err := io.Copy(io.Discard, d.Verifying(r))
	return err
}

// Verifying reads r, and ends with ErrDistfile instead of io.EOF if that was another content. It never reads more than one
// byte too many.
func (d Distfile) Verifying(r io.Reader) io.Reader {
	v := &verifier{Distfile: d, r: io.LimitReader(r, d.Size+1)}
	if d.SHA512 != "" {
		v.sha512 = sha512.New()
	}
	if d.BLAKE2B != "" {
		v.blake2b, _ = blake2b.New512(nil) // the error is for keys that are too long
	}
	return v
}

type verifier struct {
	Distfile
	r               io.Reader
	read            int64
	sha512, blake2b hash.Hash // nil: not declared
}

func (v *verifier) Read(p []byte) (int, error) {
	n, err := v.r.Read(p)
	v.read += int64(n)
	for _, h := range []hash.Hash{v.sha512, v.blake2b} {
		if h != nil {
			h.Write(p[:n])
		}
	}
	if v.read > v.Size {
		return n, fmt.Errorf("%w: it has more than %d bytes", ErrDistfile, v.Size)
	}
	if err == io.EOF {
		err = v.verdict()
	}
	return n, err
}

// verdict is io.EOF if all that was read is right.
func (v *verifier) verdict() error {
	switch {
	case v.read != v.Size:
		return fmt.Errorf("%w: it has %d bytes, not %d", ErrDistfile, v.read, v.Size)
	case v.blake2b != nil && hex.EncodeToString(v.blake2b.Sum(nil)) != v.BLAKE2B:
		return fmt.Errorf("%w: its BLAKE2B is another", ErrDistfile)
	case v.sha512 != nil && hex.EncodeToString(v.sha512.Sum(nil)) != v.SHA512:
		return fmt.Errorf("%w: its SHA512 is another", ErrDistfile)
	}
	return io.EOF
}
