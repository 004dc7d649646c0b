package trust

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
)

// protocol is what both ends must want to speak inside (ALPN, RFC 7301).
const protocol = "lantage"

// ErrPlain means that the other side speaks without encryption.
var ErrPlain = errors.New("the other side does not encrypt")

// Conn is a channel whose two ends have proved their keys. Whose key Peer is, is for the caller to judge, before it says or believes
// anything.
type Conn struct {
	*tls.Conn
	Peer Key
}

// Client makes a channel to a builder over conn. It gives up when ctx ends. On error conn is of no use but to be closed.
func Client(ctx context.Context, conn net.Conn, self *Identity) (*Conn, error) {
	return handshake(ctx, tls.Client(conn, config(self)))
}

// Server makes a channel to a client that has connected. If that client does not encrypt, the error is ErrPlain and conn
// can still be written to.
func Server(ctx context.Context, conn net.Conn, self *Identity) (*Conn, error) {
	return handshake(ctx, tls.Server(conn, config(self)))
}

func handshake(ctx context.Context, c *tls.Conn) (*Conn, error) {
	if err := c.HandshakeContext(ctx); err != nil {
		if other, ok := errors.AsType[tls.RecordHeaderError](err); ok && string(other.RecordHeader[:]) == "LANTA" {
			return nil, ErrPlain
		}
		return nil, fmt.Errorf("the encrypted channel: %w", err)
	}
	return &Conn{c, keyOf(c.ConnectionState().PeerCertificates[0])}, nil
}

// config is the same on both sides. What crypto/tls verifies by itself is that the peer has the private key of its
// certificate; all else that a certificate says is somebody's claim.
func config(self *Identity) *tls.Config {
	return &tls.Config{
		Certificates:           []tls.Certificate{self.Certificate()},
		MinVersion:             tls.VersionTLS13,
		NextProtos:             []string{protocol},
		ClientAuth:             tls.RequireAnyClientCert,
		InsecureSkipVerify:     true, // of the names and issuers of a certificate that has none
		SessionTicketsDisabled: true,
		VerifyConnection:       verify,
	}
}

func verify(state tls.ConnectionState) error {
	if len(state.PeerCertificates) != 1 {
		return errors.New("the other side has no certificate of its own")
	}
	if _, ok := state.PeerCertificates[0].PublicKey.(ed25519.PublicKey); !ok || state.PeerCertificates[0].PublicKeyAlgorithm != x509.Ed25519 {
		return errors.New("the other side's key is not an Ed25519 key")
	}
	if state.NegotiatedProtocol != protocol {
		return errors.New("the other side does not speak Lantage's protocol")
	}
	return nil
}

// binding is a value that both ends of this channel have and no other channel has (RFC 8446 section 7.5).
func (c *Conn) binding(label string) ([]byte, error) {
	state := c.ConnectionState()
	return state.ExportKeyingMaterial("EXPORTER-lantage-"+label, nil, 32)
}
