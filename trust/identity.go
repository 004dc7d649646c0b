package trust

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// IdentityFile is the name of the file with the private key, in a state directory.
const IdentityFile = "key.pem"

// Identity is this machine's own key.
type Identity struct {
	Key  Key
	cert tls.Certificate
}

// LoadIdentity reads the private key in a state directory (PKCS #8 in PEM, RFC 7468 section 10), or makes one on first use. A
// file that others may read, or that is another user's, is an error: the key may be somebody else's by now.
func LoadIdentity(dir string) (*Identity, error) {
	id, err := ReadIdentity(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if err := makePrivate(filepath.Join(dir, IdentityFile)); err != nil {
			return nil, fmt.Errorf("this machine's identity: %w", err)
		}
		return ReadIdentity(dir)
	}
	return id, err
}

// ReadIdentity is LoadIdentity where none is made: the error is fs.ErrNotExist then.
func ReadIdentity(dir string) (*Identity, error) {
	private, err := readPrivate(filepath.Join(dir, IdentityFile))
	if err != nil {
		return nil, fmt.Errorf("this machine's identity: %w", err)
	}
	return newIdentity(private)
}

// NewIdentity makes an identity that is not kept.
func NewIdentity() (*Identity, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	return newIdentity(private)
}

func newIdentity(private ed25519.PrivateKey) (*Identity, error) {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC), // nobody looks: clocks are often wrong
		NotAfter:     time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		return nil, fmt.Errorf("this machine's certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("this machine's certificate: %w", err)
	}
	return &Identity{
		Key:  keyOf(leaf),
		cert: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private, Leaf: leaf},
	}, nil
}

func keyOf(cert *x509.Certificate) Key { return sha256.Sum256(cert.RawSubjectPublicKeyInfo) }

// pemType is the PEM type of an unencrypted PKCS #8 key.
const pemType = "PRIVATE KEY"

func readPrivate(file string) (ed25519.PrivateKey, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if fi.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("others may read %s (%v); if it was so for a moment only, chmod 600 %[1]s, or else remove it: "+
			"a new one is made, and the other machines have to be told to forget this one", file, fi.Mode().Perm())
	}
	if owner := fi.Sys().(*syscall.Stat_t).Uid; int(owner) != os.Geteuid() {
		return nil, fmt.Errorf("%s belongs to the user with ID %d, who may have read and written it; remove it: a new one is made, "+
			"and the other machines have to be told to forget this one", file, owner)
	}
	b := make([]byte, 4096)
	n, err := f.Read(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	block, _ := pem.Decode(b[:n])
	if block == nil || block.Type != pemType {
		return nil, fmt.Errorf("%s is no private key in PEM; remove it to have a new one made", file)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w; remove it to have a new one made", file, err)
	}
	private, ok := key.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%s is no Ed25519 key; remove it to have a new one made", file)
	}
	return private, nil
}

// makePrivate makes a key under its name at once and whole, and not where there is one already: another process may have
// been faster, and its key is the machine's then.
func makePrivate(file string) error {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(file), ".key") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	err = pem.Encode(f, &pem.Block{Type: pemType, Bytes: der})
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), file); !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// Certificate is what the other side is shown, with the private key.
func (id *Identity) Certificate() tls.Certificate { return id.cert }
