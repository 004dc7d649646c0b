package client

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"lantage/trust"
)

// keyring is what this machine knows of builders' keys: read once for each search.
type keyring struct {
	secret string          // the name that stands for the key then
	self   *trust.Identity // nil: connections are not encrypted, and a builder's key is not known (--plain)
	book   trust.Book
	peers  []trust.Peer
}

// openKeyring loads this machine's identity and the builders that it knows.
func (w *Where) openKeyring(environ []string) (keyring, error) {
	if w.Plain {
		secret, err := loadSecret(w.stateDir(environ))
		if err != nil {
			err = fmt.Errorf("the name by which builders know this machine: %w", err)
		}
		return keyring{secret: secret}, err
	}
	k := keyring{book: KnownBuilders(w.stateDir(environ))}
	var err error
	if k.self, err = trust.LoadIdentity(filepath.Dir(k.book.File)); err != nil {
		return k, err
	}
	if k.peers, err = k.book.Peers(); err != nil {
		return k, fmt.Errorf("the builders that are known: %w", err)
	}
	return k, nil
}

// KnownBuilders is the book of the builders that a client with this state directory knows.
func KnownBuilders(stateDir string) trust.Book {
	return trust.Book{File: filepath.Join(stateDir, trust.KnownBuilders)}
}

// judge says what to think of a builder that answered. What this machine itself answers it need not be told.
func (k *keyring) judge(b *builder) (trust.Verdict, trust.Peer) {
	if k.self == nil || b.key == k.self.Key {
		return trust.Known, trust.Peer{Name: b.hello.Name}
	}
	return trust.Judge(k.peers, b.hello.Name, b.key)
}

// enough reports whether a builder that answered is one for which no other address of the same candidate is tried: packets that
// anybody can send say where a builder is, and who answers there first must not hide one that is known.
func (k *keyring) enough(b *builder) bool {
	knowsSome := slices.ContainsFunc(k.peers, func(p trust.Peer) bool { return p.State == trust.Trusted })
	return k.knows(b) || !knowsSome && k.distrust(b, true) == nil
}

// knows reports whether nobody has to be asked about a builder.
func (k *keyring) knows(b *builder) bool {
	v, _ := k.judge(b)
	return v == trust.Known
}

// distrust says why nothing is sent to a builder, or nil. One that was never met is no such case where mayMeet says that
// somebody can be asked.
func (k *keyring) distrust(b *builder, mayMeet bool) error {
	switch v, held := k.judge(b); {
	case v == trust.Changed:
		return &changedKeyError{b.hello.Name, held, b.key}
	case v == trust.Refused:
		return fmt.Errorf("its key is revoked here; to take that back: lantage trust allow %s", quoted(held.Name))
	case v == trust.New && !mayMeet:
		return fmt.Errorf("it was never met before, and nobody can be asked here (its key is %v). Run this in a terminal once, "+
			"or pair the two (lantage pair), or pin its key (lantage trust pin), or say --accept-new", b.key)
	}
	return nil
}

// changedKeyError is a builder with a known name and another key: another machine of that name, a new installation, or
// somebody who pretends to be it.
type changedKeyError struct {
	name string
	held trust.Peer
	now  trust.Key
}

func (e *changedKeyError) Error() string {
	return fmt.Sprintf("it has not the key that %s has had: another machine may pretend to be it. Known since %s: %v; now: %v. "+
		"If it was installed anew: lantage trust forget %s", e.name, e.held.Since.Local().Format("2006-01-02"), e.held.Key, e.now, quoted(e.held.Name))
}

// quoted is a name as a shell takes it.
func quoted(name string) string {
	if strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") == "" {
		return name
	}
	return "'" + strings.ReplaceAll(name, "'", `'\''`) + "'"
}

// mayMeet reports whether a builder that was never met can be used: somebody has said so, or can be asked.
func (e *Emerge) mayMeet() bool { return e.AcceptNew || e.isTerminal(e.Stdin) }

// meet asks whether a builder that was never met is to be used, and notes the answer. A builder that is known is returned as it is.
// errUnwanted is the answer No.
func (e *Emerge) meet(ctx context.Context, k *keyring, b *builder) (*builder, error) {
	if k.knows(b) {
		return b, nil
	}
	if !e.AcceptNew {
		b.conn.Close() // people take their time
		if err := e.introduce(ctx, b); err != nil {
			return nil, err
		}
		again, err := b.again(ctx)
		if err != nil {
			return nil, &errNoBuilder{"the builder has gone: " + reasonLine(err)}
		}
		again.base = b.base
		b = again
	}
	if err := k.book.Set(b.key, b.hello.Name, trust.Trusted); err != nil {
		b.conn.Close()
		return nil, fmt.Errorf("%v cannot be noted as known: %w", b, err)
	}
	e.say("%v is known from now on, by its key %v.", b, b.key)
	return b, nil
}

// errUnwanted is a builder that the user does not want.
var errUnwanted = errors.New("you did not want it")

// introduce asks about a builder as ssh asks about a host.
func (e *Emerge) introduce(ctx context.Context, b *builder) error {
	fmt.Fprintf(e.Stdout, "%s at %s was never met before.\n"+
		"Its key: %v (lantage trust list shows it there)\n"+
		"It would get this machine's configuration, and what it builds is installed here.\n"+
		"Do you trust it? [yes/no/fingerprint] ", b.hello.Name, b.addr, b.key)
	a := asker{in: e.Stdin, out: e.Stdout}
	for {
		answer, err := a.line(ctx)
		if err != nil {
			fmt.Fprintln(e.Stdout, "Interrupted.")
			return errInterrupted
		}
		switch answer = strings.TrimSpace(answer); {
		case strings.EqualFold(answer, "yes"), answer == b.key.String():
			return nil
		case strings.EqualFold(answer, "no"):
			return errUnwanted
		case strings.HasPrefix(answer, "SHA256:"):
			fmt.Fprint(e.Stdout, "That is not its key. ")
		}
		fmt.Fprint(e.Stdout, "Type yes, no, or the fingerprint that it should have: ")
	}
}

// loadSecret reads this client's secret name, or makes one: where a connection does not say whose it is, who knows it may build on
// the copies of its root.
func loadSecret(dir string) (string, error) {
	file := filepath.Join(dir, secretFile)
	b, err := os.ReadFile(file)
	if id := strings.TrimSpace(string(b)); err == nil && len(id) == 32 {
		return id, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	var random [16]byte
	rand.Read(random[:])
	id := hex.EncodeToString(random[:])
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	return id, os.WriteFile(file, []byte(id+"\n"), 0o600)
}

// revokedSince says that a builder was revoked since the job began. A book that cannot be read now says nothing.
func revokedSince(book trust.Book, b *builder) error {
	peers, err := book.Peers()
	if p, known := trust.Find(peers, b.key); err == nil && known && p.State == trust.Revoked {
		return fmt.Errorf("%v was revoked here meanwhile; nothing more is taken of it", b)
	}
	return nil
}

// secretFile is the file of the secret name, in the state directory.
const secretFile = "identity"

// BuildersSide is the side of `lantage trust` that is a client's.
func BuildersSide(stateDir string, environ []string) trust.Side {
	dir := (&Where{StateDir: stateDir}).stateDir(environ)
	return trust.Side{Book: KnownBuilders(dir), Kind: trust.KindBuilder}
}

// stateDir is where a client keeps what must not be lost.
func (w *Where) stateDir(environ []string) string {
	if isRoot() {
		return cmp.Or(w.StateDir, stateHome)
	}
	return cmp.Or(w.StateDir, userState(environ))
}

// keyChanged is the trust of a builder with a known name and another key.
const keyChanged = "KEY CHANGED"

// trustOf is a builder's trust as list-builders shows it.
func (k *keyring) trustOf(b *builder) string {
	if k.self == nil {
		return "not encrypted"
	}
	switch v, _ := k.judge(b); v {
	case trust.Known:
		return "known"
	case trust.Changed:
		return keyChanged
	case trust.Refused:
		return "revoked"
	}
	return "new"
}
