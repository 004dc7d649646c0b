package trust

import (
	"bytes"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/schollz/pake/v3"
)

// Bounds of pairing. A guess costs a try, so somebody who guesses succeeds once in 300,000 pairings.
const (
	PairTime  = 2 * time.Minute
	PairTries = 3

	codeDigits     = 6
	maxPairMessage = 4096 // bytes
)

// ErrWrongCode means that the other side has another code, or that somebody is in between.
var ErrWrongCode = errors.New("the code is another on the other side, or somebody is between the two machines")

// NewCode makes a code for people to read on one machine and type on the other.
func NewCode() string {
	n, err := rand.Int(rand.Reader, big.NewInt(1_000_000))
	if err != nil {
		panic(err) // crypto/rand ends the program by itself
	}
	s := fmt.Sprintf("%0*d", codeDigits, n)
	return s[:3] + "-" + s[3:]
}

// ParseCode reads what somebody typed.
func ParseCode(s string) (string, error) {
	digits := strings.NewReplacer("-", "", " ", "").Replace(strings.TrimSpace(s))
	if len(digits) != codeDigits || strings.Trim(digits, "0123456789") != "" {
		return "", fmt.Errorf("%.20q is no code, which is %d digits", s, codeDigits)
	}
	return digits, nil
}

// Pairing is one end of a pairing over a channel: SPAKE2 (RFC 9382 explains it; on P-256, with the points M and N and the key derivation
// of the library, which are not those of the RFC) with the code as the password, bound to the keys
// of both ends and to the channel itself, and proved by both, by the client first:
//
//	client                 builder
//	Start   -- message --> Answer
//	Take    <- message --- (of Answer)
//	Proof   -- proof ----> Check
//	Check   <- proof ----- Proof
//
// Who does not know the code learns nothing from it that helps to guess, but whether one guess was right.
type Pairing struct {
	pake       *pake.Pake
	role       int
	transcript []byte
	key        []byte
}

// Roles of the library.
const (
	roleClient  = 0
	roleBuilder = 1
)

// NewPairing begins a pairing at one end.
func NewPairing(c *Conn, self *Identity, code string, builder bool) (*Pairing, error) {
	binding, err := c.binding("pair")
	if err != nil {
		return nil, err
	}
	client, server := self.Key, c.Peer
	role := roleClient
	if builder {
		client, server, role = server, client, roleBuilder
	}
	return newPairing(role, code, client, server, binding)
}

func newPairing(role int, code string, client, builder Key, binding []byte) (*Pairing, error) {
	code, err := ParseCode(code)
	if err != nil {
		return nil, err
	}
	// All that both ends must agree in is part of the password.
	password, err := hkdf.Key(sha256.New, []byte(code), bytes.Join([][]byte{client[:], builder[:], binding}, nil), "lantage pairing", 32)
	if err != nil {
		return nil, err
	}
	p, err := pake.InitCurve(password, role, "p256")
	if err != nil {
		return nil, err
	}
	return &Pairing{pake: p, role: role, transcript: binding}, nil
}

// Start is the client's first message.
func (p *Pairing) Start() []byte {
	message := p.pake.Bytes()
	p.transcript = append(p.transcript, message...)
	return message
}

// Answer takes the client's message and returns the builder's. From then on the client may know whether it has the code: it is a try.
func (p *Pairing) Answer(message []byte) ([]byte, error) {
	p.transcript = append(p.transcript, message...)
	if err := p.update(message); err != nil {
		return nil, err
	}
	answer := p.pake.Bytes()
	p.transcript = append(p.transcript, answer...)
	return answer, nil
}

// Take takes the builder's message.
func (p *Pairing) Take(message []byte) error {
	p.transcript = append(p.transcript, message...)
	return p.update(message)
}

// update gives the library what the peer sent, once it is known to be whole: the library trusts that it is.
func (p *Pairing) update(message []byte) error {
	var peer *pake.Pake
	if len(message) > maxPairMessage {
		return fmt.Errorf("a message of pairing has %d bytes", len(message))
	}
	if err := json.Unmarshal(message, &peer); err != nil || peer == nil {
		return errors.New("a message of pairing cannot be read")
	}
	x, y := peer.Xᵤ, peer.Xᵥ
	if p.role == roleClient {
		x, y = peer.Yᵤ, peer.Yᵥ
	}
	if peer.Role != 1-p.role || x == nil || y == nil || x.Sign() < 0 || y.Sign() < 0 || x.BitLen() > 256 || y.BitLen() > 256 {
		return errors.New("a message of pairing is not whole")
	}
	if err := p.pake.Update(message); err != nil {
		return fmt.Errorf("pairing: %w", err)
	}
	key, err := p.pake.SessionKey()
	p.key = key
	return err
}

// Proof proves to the other side that this one has the code.
func (p *Pairing) Proof() ([]byte, error) { return p.proof(p.role) }

// Check checks the other side's proof; the error is ErrWrongCode.
func (p *Pairing) Check(proof []byte) error {
	want, err := p.proof(1 - p.role)
	if err != nil {
		return err
	}
	if subtle.ConstantTimeCompare(proof, want) != 1 {
		return ErrWrongCode
	}
	return nil
}

// proof is a key that only the holders of the pairing's key can compute, of one role.
func (p *Pairing) proof(role int) ([]byte, error) {
	if p.key == nil {
		return nil, errors.New("pairing: it has not begun")
	}
	transcript := sha256.Sum256(p.transcript)
	return hkdf.Key(sha256.New, p.key, transcript[:], fmt.Sprintf("lantage pairing, proof of role %d", role), 32)
}
