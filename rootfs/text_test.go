package rootfs

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
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
	for _, name := range []string{".gnupg", ".netrc", "a.key", "id_rsa", "ssh_host_rsa_key"} {
		if !SecretName(name) {
			t.Errorf("%s is no secret", name)
		}
	}
	if i := slices.IndexFunc([]string{"gnupg", "id_rsa.pub", "key", "a.pem", "make.conf"}, SecretName); i >= 0 {
		t.Errorf("name %d is a secret", i)
	}
}
