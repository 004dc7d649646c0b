package rootfs

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// hushed takes the word hush out of a text.
func hushed(content []byte) []byte { return bytes.ReplaceAll(content, []byte("hush"), nil) }

// What people write goes without what Text takes out of it: the list says so, and so does what is sent.
func TestText(t *testing.T) {
	root := t.TempDir()
	plant(t, root, "data/portage/make.conf #600", "etc/portage -> ../data/portage", "data/mine/x.ebuild", "var/db/repos/mine -> /data/mine",
		"data/mine/repo.key", "data/mine/.netrc", "data/portage/.ssh/id", "etc/env.d/99proxy", "usr/share/doc/x", "opt/mine/x.key", "opt/mine/conf",
		"etc/large", "var/db/repos/gentoo/hush", "etc/mine/asis", "data/portagex/x", "etc/nothing")
	for _, p := range []string{
		"data/portage/make.conf", "data/mine/x.ebuild", "etc/env.d/99proxy", "usr/share/doc/x", "opt/mine/conf", "var/db/repos/gentoo/hush",
		"etc/mine/asis",
	} {
		check(t, os.WriteFile(filepath.Join(root, p), []byte("of "+p+": hush\n"), 0o644))
	}
	check(t, os.WriteFile(filepath.Join(root, "etc/large"), bytes.Repeat([]byte("hush"), MaxText/4+1), 0o644))
	check(t, os.Truncate(filepath.Join(root, "etc/nothing"), 0))
	r := Rules{
		Root: root, Repos: []string{"/var/db/repos/gentoo", "/var/db/repos/mine"}, Own: []string{"/var/db/repos/mine"},
		Include: []string{"/opt/mine", "/etc/mine"}, Text: hushed,
	}
	for _, hash := range []bool{true, false} {
		var out bytes.Buffer
		_, err := Scan(t.Context(), ScanOptions{Rules: r, Hash: hash, Out: &out})
		check(t, err)
		got := map[string]Entry{}
		check(t, Each(NewListReader(&out, true), func(e *Entry) error { got[e.Path] = *e; return nil }))
		for _, p := range []string{"data/mine/repo.key", "data/mine/.netrc", "data/portage/.ssh/id", "data/portagex/x"} {
			if _, ok := got[p]; ok {
				t.Errorf("%s is listed", p)
			}
		}
		o := opener(t, r)
		for p, blanked := range map[string]bool{
			"data/portage/make.conf": true, "data/mine/x.ebuild": true, "etc/env.d/99proxy": true, "usr/share/doc/x": false, "opt/mine/conf": false,
			"var/db/repos/gentoo/hush": false, "opt/mine/x.key": false, "etc/large": false, "etc/mine/asis": false, "etc/nothing": false,
		} {
			e, ok := got[p]
			if !ok {
				t.Errorf("%s is not listed", p)
				continue
			}
			want, err := os.ReadFile(filepath.Join(root, p))
			check(t, err)
			if blanked {
				want = hushed(want)
			}
			c, err := o.Open(&e)
			check(t, err)
			text, err := io.ReadAll(c)
			check(t, err)
			check(t, c.StillIs(&e))
			check(t, c.Close())
			if !bytes.Equal(text, want) || e.Size != int64(len(want)) || (hash || blanked) && e.Sum != sha256.Sum256(want) {
				t.Errorf("%s goes as %.60q (%d bytes), its entry says %d bytes, %x", p, text, len(text), e.Size, e.Sum[:4])
			}
		}
	}
}

// What is written into a file after the list was made does not go: not with another text, and not as it is.
func TestTextChanges(t *testing.T) {
	for name, c := range map[string]struct{ before, after string }{
		"a secret comes":   {"x12345", "xhush5"},
		"a secret goes":    {"xhush5", "x12345"},
		"another text":     {"xhush5", "yhush5"},
		"the same":         {"xhush5", "xhush5"},
		"it grows too big": {"xhush5", strings.Repeat("hush", MaxText)},
	} {
		root := t.TempDir()
		p := filepath.Join(root, "etc/f")
		plant(t, root, "etc/f")
		check(t, os.WriteFile(p, []byte(c.before), 0o644))
		r := Rules{Root: root, Text: hushed}
		e := entries(t, r)["etc/f"].Entry
		e.Stamp = Stamp{}
		fi, err := os.Stat(p)
		check(t, err)
		check(t, os.WriteFile(p, []byte(c.after), 0o644))
		check(t, os.Chtimes(p, fi.ModTime(), fi.ModTime()))
		f, err := opener(t, r).Open(&e)
		if want := c.before != c.after; errors.Is(err, ErrChanged) != want {
			t.Errorf("%s: %v, want changed %t", name, err, want)
		}
		if err == nil {
			f.Close()
		}
	}
}

// A list that was made without Text is no reason to leave a secret in.
func TestTextAndOlderList(t *testing.T) {
	root := t.TempDir()
	plant(t, root, "etc/f")
	check(t, os.WriteFile(filepath.Join(root, "etc/f"), []byte("xhush"), 0o644))
	var older, newer bytes.Buffer
	_, err := Scan(t.Context(), ScanOptions{Rules: Rules{Root: root}, Hash: true, Out: &older})
	check(t, err)
	_, err = Scan(t.Context(), ScanOptions{Rules: Rules{Root: root, Text: hushed}, Hash: true, Out: &newer, Older: &older})
	check(t, err)
	var size int64
	check(t, Each(NewListReader(&newer, true), func(e *Entry) error { size += e.Size; return nil }))
	if size != 1 {
		t.Errorf("%d bytes are listed, want 1", size)
	}
}

func TestSecretName(t *testing.T) {
	secrets := []string{
		".aws", ".git-credentials", ".gnupg", ".htpasswd", ".my.cnf", ".netrc", ".npmrc", ".password-store", ".pgpass", ".pypirc", ".ssh", "a.jks",
		"a.kdbx", "a.key", "a.keytab", "a.p12", "a.pfx", "a.ppk", "htpasswd", "id_dsa", "id_ecdsa", "id_ecdsa_sk", "id_ed25519", "id_ed25519_sk",
		"id_rsa", "netrc", "private-keys-v1.d", "secring.gpg", "ssh_host_rsa_key",
		"A.KEY", "ID_rsa", "id_rsa.old", "id_rsa_github", "a.key.bak", "a.key~", "a.key-", "a.key_old", "a.key-20260101", "a.key.1", ".a.key.swp", "#a.key#",
		"._cfg0000_netrc", ".ssh.bak", "a\nb.key", "krb5.keytab.1", "ssh_host_rsa_key.old",
	}
	for _, name := range secrets {
		if !SecretName(name) {
			t.Errorf("%s is no secret", name)
		}
	}
	for _, name := range []string{
		"gnupg", "id_rsa.pub", "id_rsa-cert.pub", "ssh_host_rsa_key.pub", "a.key.pub", "key", "keys", "a.pem", "make.conf", "a.keyring",
		"a.keymap", "a.keys", "gentoo-release.asc", "monkey", "netrc-parser", "netrc-parser-1.0.ebuild", "libnetrc", "htpasswd-tool", "a.key.patch",
		"a.key-size.patch", "key.eclass", "trustedkeys.gpg", "pubring.gpg", "passwd", "a.key-size.c",
	} {
		if SecretName(name) {
			t.Errorf("%s is a secret", name)
		}
	}
	defer func(re *regexp.Regexp) { secretRE = re }(secretRE)
	for i, name := range secretNames {
		secretRE = namesRE(slices.Delete(slices.Clone(secretNames), i, i+1))
		if !slices.ContainsFunc(secrets, func(s string) bool { return !SecretName(s) }) {
			t.Errorf("nothing needs the name %s", name)
		}
	}
}
