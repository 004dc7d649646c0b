package gentoo

import (
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"golang.org/x/crypto/blake2b"
)

func distfile(name, content string) Distfile {
	b, s := blake2b.Sum512([]byte(content)), sha512.Sum512([]byte(content))
	return Distfile{Name: name, Size: int64(len(content)), BLAKE2B: hex.EncodeToString(b[:]), SHA512: hex.EncodeToString(s[:])}
}

func TestDistfileValidate(t *testing.T) {
	good := distfile("a-1.tar.xz", "text")
	for what, change := range map[string]func(*Distfile){
		"no name":           func(d *Distfile) { d.Name = "" },
		"a path":            func(d *Distfile) { d.Name = "a/b" },
		"the directory":     func(d *Distfile) { d.Name = "." },
		"one above":         func(d *Distfile) { d.Name = ".." },
		"hidden":            func(d *Distfile) { d.Name = ".a" },
		"a NUL":             func(d *Distfile) { d.Name = "a\x00b" },
		"two lines":         func(d *Distfile) { d.Name = "a\nb" },
		"an escape":         func(d *Distfile) { d.Name = "a\x1b[2Jb" },
		"not UTF-8":         func(d *Distfile) { d.Name = "a\xff" },
		"a long name":       func(d *Distfile) { d.Name = strings.Repeat("a", 256) },
		"negative":          func(d *Distfile) { d.Size = -1 },
		"too large":         func(d *Distfile) { d.Size = MaxDistfile + 1 },
		"no sum":            func(d *Distfile) { d.SHA512, d.BLAKE2B = "", "" },
		"a short SHA512":    func(d *Distfile) { d.SHA512 = d.SHA512[2:] },
		"no digits":         func(d *Distfile) { d.BLAKE2B = strings.Repeat("x", 128) },
		"digits that shout": func(d *Distfile) { d.BLAKE2B = strings.Repeat("A", 128) },
	} {
		d := good
		change(&d)
		if d.Validate() == nil {
			t.Errorf("%s: %+v is taken", what, d)
		}
	}
	for _, change := range []func(*Distfile){
		func(*Distfile) {},
		func(d *Distfile) { d.Name = "ä +~.tar" },
		func(d *Distfile) { d.SHA512 = "" },
		func(d *Distfile) { d.BLAKE2B = "" },
	} {
		d := good
		change(&d)
		if err := d.Validate(); err != nil {
			t.Errorf("%+v: %v", d, err)
		}
	}
}

func TestDistfileVerify(t *testing.T) {
	whole := distfile("a", "text")
	sha, blake := whole, whole
	sha.BLAKE2B, blake.SHA512 = "", ""
	mixed := whole
	mixed.SHA512 = distfile("a", "test").SHA512
	for _, tt := range []struct {
		what    string
		file    Distfile
		content string
		good    bool
	}{
		{"both sums", whole, "text", true},
		{"SHA512 alone", sha, "text", true},
		{"BLAKE2B alone", blake, "text", true},
		{"no content", distfile("a", ""), "", true},
		{"another content, by SHA512", sha, "test", false},
		{"another content, by BLAKE2B", blake, "test", false},
		{"one of two sums is wrong", mixed, "text", false},
		{"shorter", whole, "tex", false},
		{"longer", whole, "texts", false},
		{"much longer", whole, strings.Repeat("text", 1<<20), false},
	} {
		r := strings.NewReader(tt.content)
		err := tt.file.Verify(r)
		if tt.good && err != nil || !tt.good && !errors.Is(err, ErrDistfile) {
			t.Errorf("%s: %v", tt.what, err)
		}
		if read := len(tt.content) - r.Len(); read > 5 {
			t.Errorf("%s: %d bytes were read", tt.what, read)
		}
	}
}

func TestDistfileKey(t *testing.T) {
	d := distfile("a", "text")
	if d.Key() != "blake2b-"+d.BLAKE2B {
		t.Error(d.Key())
	}
	d.BLAKE2B = ""
	if d.Key() != "sha512-"+d.SHA512 {
		t.Error(d.Key())
	}
}
