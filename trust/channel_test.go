package trust

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"
)

// wires are the two ends of a TCP connection.
func wires(t testing.TB) (client, server net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		c, err := ln.Accept()
		if err != nil {
			t.Error(err)
		}
		accepted <- c
	}()
	if client, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	server = <-accepted
	for _, c := range []net.Conn{client, server} {
		c.SetDeadline(time.Now().Add(20 * time.Second))
		t.Cleanup(func() { c.Close() })
	}
	return client, server
}

// channel is a channel between two.
func channel(t testing.TB, client, builder *Identity) (atClient, atBuilder *Conn) {
	t.Helper()
	c, s := wires(t)
	return over(t, c, s, client, builder)
}

func over(t testing.TB, c, s net.Conn, client, builder *Identity) (atClient, atBuilder *Conn) {
	t.Helper()
	made := make(chan error, 1)
	go func() {
		var err error
		atBuilder, err = Server(t.Context(), s, builder)
		made <- err
	}()
	atClient, err := Client(t.Context(), c, client)
	if err = errors.Join(err, <-made); err != nil {
		t.Fatal(err)
	}
	return atClient, atBuilder
}

func TestChannel(t *testing.T) {
	laptop, tower := someone(t), someone(t)
	c, b := channel(t, laptop, tower)
	if c.Peer != tower.Key || b.Peer != laptop.Key {
		t.Errorf("the client sees %v, the builder %v", c.Peer, b.Peer)
	}
	if v := c.ConnectionState().Version; v != tls.VersionTLS13 {
		t.Errorf("version %x", v)
	}
	go func() {
		_, _ = b.Write([]byte("hello"))
		_ = b.CloseWrite()
	}()
	if got, err := io.ReadAll(c); string(got) != "hello" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

// A peer in the middle with keys of its own is seen by its key.
func TestManInTheMiddle(t *testing.T) {
	laptop, tower, mallory := someone(t), someone(t), someone(t)
	c, mc := channel(t, laptop, mallory)
	mb, b := channel(t, mallory, tower)
	if c.Peer == tower.Key || b.Peer == laptop.Key || c.Peer != mallory.Key || b.Peer != mallory.Key {
		t.Errorf("the client sees %v, the builder %v", c.Peer, b.Peer)
	}
	var bindings [][]byte
	for _, end := range []*Conn{c, mc, mb, b} {
		binding, err := end.binding("pair")
		if err != nil {
			t.Fatal(err)
		}
		bindings = append(bindings, binding)
	}
	if !bytes.Equal(bindings[0], bindings[1]) || !bytes.Equal(bindings[2], bindings[3]) {
		t.Error("the two ends of a channel do not have the same binding")
	}
	if bytes.Equal(bindings[0], bindings[3]) {
		t.Error("two channels have the same binding")
	}
	if other, err := c.binding("other"); err != nil || bytes.Equal(other, bindings[0]) {
		t.Error("two purposes have the same binding")
	}
}

// certificateOf is a self-signed certificate of any kind of key.
func certificateOf(t *testing.T, public crypto.PublicKey, private crypto.PrivateKey) tls.Certificate {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}
}

// Whoever is not just what this package makes is no peer, on either side.
func TestOddPeers(t *testing.T) {
	tower, mallory := someone(t), someone(t)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, otherKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*tls.Config){
		"RSA":   func(c *tls.Config) { c.Certificates[0] = certificateOf(t, rsaKey.Public(), rsaKey) },
		"ECDSA": func(c *tls.Config) { c.Certificates[0] = certificateOf(t, ecKey.Public(), ecKey) },
		"two certificates": func(c *tls.Config) {
			c.Certificates[0].Certificate = append(c.Certificates[0].Certificate[:1:1], tower.cert.Certificate[0])
		},
		"tower's certificate without its key": func(c *tls.Config) {
			c.Certificates[0] = tls.Certificate{Certificate: tower.cert.Certificate, PrivateKey: otherKey}
		},
		"TLS 1.2":        func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12 },
		"no protocol":    func(c *tls.Config) { c.NextProtos = nil },
		"other protocol": func(c *tls.Config) { c.NextProtos = []string{"h2"} },
		"no certificate": func(c *tls.Config) { c.Certificates = nil },
	} {
		odd := func() *tls.Config {
			conf := config(mallory)
			conf.Certificates = append([]tls.Certificate(nil), conf.Certificates...)
			conf.VerifyConnection = nil
			change(conf)
			return conf
		}
		t.Run(name+", client", func(t *testing.T) {
			c, s := wires(t)
			go func() { _ = tls.Client(c, odd()).HandshakeContext(t.Context()) }()
			if conn, err := Server(t.Context(), s, tower); err == nil {
				t.Errorf("it is taken for %v", conn.Peer)
			} else if errors.Is(err, ErrPlain) {
				t.Error(err)
			}
		})
		t.Run(name+", builder", func(t *testing.T) {
			c, s := wires(t)
			go func() { _ = tls.Server(s, odd()).HandshakeContext(t.Context()) }()
			if conn, err := Client(t.Context(), c, tower); err == nil {
				t.Errorf("it is taken for %v", conn.Peer)
			} else if errors.Is(err, ErrPlain) {
				t.Error(err)
			}
		})
	}
}

// Who speaks Lantage's protocol without encryption is told from those that speak something else.
func TestPlainPeers(t *testing.T) {
	self := someone(t)
	for words, plain := range map[string]bool{
		"LANTAGE\n\x00\x01\x00\x01": true, "LANTA": true, "GET / HTTP/1.1\r\n\r\n": false, "LANTERN\n": false, "lantage\n": false, "": false,
		"\x80\x2e\x01\x00\x02": false,
	} {
		for side, channel := range map[string]func(context.Context, net.Conn, *Identity) (*Conn, error){"client": Client, "server": Server} {
			near, far := wires(t)
			if side == "server" {
				near, far = far, near
			}
			if _, err := io.WriteString(far, words); err != nil {
				t.Fatal(err)
			}
			if words == "" {
				far.Close()
			}
			_, err := channel(t.Context(), near, self)
			if err == nil || errors.Is(err, ErrPlain) != plain {
				t.Errorf("%q at the %s: %v", words, side, err)
			}
			if side == "server" && plain { // nothing stands before what is said in the clear now
				if _, err := io.WriteString(near, "sorry"); err != nil {
					t.Error(err)
				}
				near.(*net.TCPConn).CloseWrite()
				if got, _ := io.ReadAll(far); string(got) != "sorry" {
					t.Errorf("%q was read", got)
				}
			}
		}
	}
}

// The handshake ends with its context.
func TestHandshakeEnds(t *testing.T) {
	for side, channel := range map[string]func(context.Context, net.Conn, *Identity) (*Conn, error){"client": Client, "server": Server} {
		ctx, cancel := context.WithCancel(t.Context())
		near, far := wires(t)
		near.SetDeadline(time.Time{})
		ended := make(chan error, 1)
		go func() {
			_, err := channel(ctx, near, someone(t))
			ended <- err
		}()
		if side == "client" { // it waits for an answer
			if _, err := io.ReadFull(far, make([]byte, 5)); err != nil {
				t.Fatal(err)
			}
		}
		cancel()
		select {
		case err := <-ended:
			if err == nil {
				t.Errorf("%s: a channel with nobody", side)
			}
		case <-time.After(20 * time.Second):
			t.Errorf("%s: it goes on", side)
		}
	}
}

// tap notes what is written.
type tap struct {
	net.Conn
	mu    sync.Mutex
	wrote []byte
}

func (c *tap) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wrote = append(c.wrote, p...)
	return c.Conn.Write(p)
}

// What was recorded of one conversation opens no other.
func TestReplay(t *testing.T) {
	laptop, tower := someone(t), someone(t)
	c, s := wires(t)
	tc, ts := &tap{Conn: c}, &tap{Conn: s}
	atClient, atBuilder := over(t, tc, ts, laptop, tower)
	if _, err := atClient.Write([]byte("configuration")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(atBuilder, make([]byte, len("configuration"))); err != nil {
		t.Fatal(err)
	}

	again := func(recorded []byte, far net.Conn) {
		_, _ = far.Write(recorded)
		_, _ = io.Copy(io.Discard, far)
	}
	far, near := wires(t)
	go again(tc.wrote, far)
	if conn, err := Server(t.Context(), near, tower); err == nil {
		t.Errorf("the builder takes a recorded client for %v", conn.Peer)
	}
	near, far2 := wires(t)
	go again(ts.wrote, far2)
	if conn, err := Client(t.Context(), near, laptop); err == nil {
		t.Errorf("the client takes a recorded builder for %v", conn.Peer)
	}
}

// A client that would resume a session cannot.
func TestNoResumption(t *testing.T) {
	laptop, tower := someone(t), someone(t)
	conf := config(laptop)
	conf.ServerName = "tower"
	conf.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	for range 2 {
		c, s := wires(t)
		served := make(chan error, 1)
		go func() {
			conn, err := Server(t.Context(), s, tower)
			if err == nil {
				_, err = conn.Write([]byte("x"))
			}
			served <- err
		}()
		conn := tls.Client(c, conf)
		if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		if err := <-served; err != nil {
			t.Fatal(err)
		}
		if conn.ConnectionState().DidResume {
			t.Error("a session was resumed")
		}
		if _, ok := conf.ClientSessionCache.Get("tower"); ok {
			t.Error("the builder gives tickets")
		}
	}
}
