package trust

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// TestMain is a process that loads an identity, too.
func TestMain(m *testing.M) {
	if dir := os.Getenv("TRUST_TEST_IDENTITY"); dir != "" {
		self, err := LoadIdentity(dir)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(self.Key)
		os.Exit(0)
	}
	if addr := os.Getenv("TRUST_TEST_ATTACHED"); addr != "" {
		fmt.Println(Attached(netip.MustParseAddr(addr)))
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func someone(t testing.TB) *Identity {
	t.Helper()
	self, err := NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	return self
}

// keyN is one of many keys.
func keyN(n int) Key { return sha256.Sum256(fmt.Append(nil, n)) }

func wantContains(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, want one with %q", parts)
		return
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("the error is %q and should have %q", err, p)
		}
	}
}

// A key is read as it was written, and is the sum of the public key as RFC 5280 has it.
func TestKey(t *testing.T) {
	self := someone(t)
	spki, err := x509.MarshalPKIXPublicKey(self.cert.Leaf.PublicKey)
	if err != nil || self.Key != Key(sha256.Sum256(spki)) {
		t.Errorf("the key is not the sum of the public key (%v)", err)
	}
	s := self.Key.String()
	if k, err := ParseKey(s); err != nil || k != self.Key {
		t.Errorf("%s is read as %v, %v", s, k, err)
	}
	if len(self.Key.ID()) != 32 || !strings.HasPrefix(fmt.Sprintf("%x", self.Key[:]), self.Key.ID()) {
		t.Errorf("ID %q", self.Key.ID())
	}
	if self.Key.IsZero() || !(Key{}).IsZero() {
		t.Error("IsZero")
	}
	for _, bad := range []string{
		"", "SHA256:", s[7:], "sha256:" + s[7:], s + "=", s + "A", s[:len(s)-1], s + "\n", s[:20] + "\n" + s[20:], " " + s,
		"SHA256:" + strings.Repeat("-", 43), s[:len(s)-1] + "B", // bits that are in no byte
	} {
		if k, err := ParseKey(bad); err == nil {
			t.Errorf("%q is read as %v", bad, k)
		}
	}
}

func TestIdentityStays(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	first, err := LoadIdentity(dir)
	if err != nil {
		t.Fatal(err)
	}
	again, err := LoadIdentity(dir)
	if err != nil || again.Key != first.Key {
		t.Errorf("%v, %v; was %v", again, err, first.Key)
	}
	for path, want := range map[string]os.FileMode{dir: os.ModeDir | 0o700, filepath.Join(dir, IdentityFile): 0o600} {
		if fi, err := os.Stat(path); err != nil || fi.Mode() != want {
			t.Errorf("%s: %v, %v; want %v", path, fi.Mode(), err, want)
		}
	}
	if other := someone(t); other.Key == first.Key {
		t.Error("two identities are one")
	}
}

// Who comes first makes the key, and all have that one: in one process and in several.
func TestIdentityIsMadeOnce(t *testing.T) {
	dir := t.TempDir()
	var mu sync.Mutex
	keys := map[string]int{}
	note := func(key string) {
		mu.Lock()
		defer mu.Unlock()
		keys[key]++
	}
	var all sync.WaitGroup
	begin := make(chan struct{})
	for range 16 {
		all.Go(func() {
			<-begin
			self, err := LoadIdentity(dir)
			if err != nil {
				t.Error(err)
				return
			}
			note(self.Key.String())
		})
	}
	for range 6 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "TRUST_TEST_IDENTITY="+dir)
		all.Go(func() {
			<-begin
			out, err := cmd.Output()
			if err != nil {
				t.Errorf("%v: %s", err, out)
			}
			note(strings.TrimSpace(string(out)))
		})
	}
	close(begin)
	all.Wait()
	if len(keys) != 1 {
		t.Errorf("%d keys: %v", len(keys), keys)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 1 {
		t.Errorf("there should be the key alone: %v, %v", files, err)
	}
	// Who comes too late, having seen no key, makes none.
	if err := makePrivate(filepath.Join(dir, IdentityFile)); err != nil {
		t.Error(err)
	}
	if self, err := LoadIdentity(dir); err != nil || keys[self.Key.String()] == 0 {
		t.Errorf("the key was replaced (%v)", err)
	}
}

// A key that others may have read, and a file that is none, is an error that says what to do; it is never replaced.
func TestBadIdentity(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(ec)
	if err != nil {
		t.Fatal(err)
	}
	good := filepath.Join(t.TempDir(), "good")
	if _, err := LoadIdentity(good); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(good, IdentityFile))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		text string
		mode os.FileMode
		want []string
	}{
		"the group reads":  {string(text), 0o640, []string{"others may read", "chmod 600", "-rw-r-----"}},
		"all read":         {string(text), 0o604, []string{"others may read"}},
		"others write":     {string(text), 0o602, []string{"others may read"}},
		"empty":            {"", 0o600, []string{"key.pem"}},
		"cut":              {string(text[:len(text)/2]), 0o600, []string{"no private key in PEM", "remove it"}},
		"text":             {"not a key\n", 0o600, []string{"no private key in PEM"}},
		"a public key":     {strings.ReplaceAll(string(text), "PRIVATE KEY", "PUBLIC KEY"), 0o600, []string{"no private key in PEM"}},
		"damaged":          {strings.Replace(string(text), "MC4", "MCA", 1), 0o600, []string{"key.pem", "remove it"}},
		"another kind":     {string(pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: der})), 0o600, []string{"no Ed25519 key"}},
		"too much of good": {strings.Repeat("\n", 5000) + string(text), 0o600, []string{"no private key in PEM"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, IdentityFile)
			if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(file, c.mode); err != nil {
				t.Fatal(err)
			}
			_, err := LoadIdentity(dir)
			wantContains(t, err, append(c.want, "this machine's identity")...)
			if now, err := os.ReadFile(file); err != nil || string(now) != c.text {
				t.Errorf("the file was changed (%v)", err)
			}
		})
	}
}

// A key that is another user's is as good as known to that user. Root alone can give files away.
func TestForeignIdentity(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, as the suite has it")
	}
	dir := t.TempDir()
	if _, err := LoadIdentity(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(filepath.Join(dir, IdentityFile), 1, -1); err != nil {
		t.Fatal(err)
	}
	_, err := LoadIdentity(dir)
	wantContains(t, err, "this machine's identity", "belongs to the user with ID 1", "remove it")
}

func TestIdentityNowhere(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := LoadIdentity(filepath.Join(file, "state"))
	wantContains(t, err, "this machine's identity", file)
}
