package client

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// With FEATURES=binpkg-request-signature emerge merges no binpkg without a signature that it trusts. A builder cannot sign as
// this machine's owner, and is not asked to: what it sends is checked here and then signed with this machine's own key.

// signing is how this machine signs binpkgs.
type signing struct{ features, key, home, format string }

// wanted reports whether emerge refuses binpkgs without a signature.
func (s signing) wanted() bool {
	return slices.Contains(strings.Fields(s.features), "binpkg-request-signature")
}

const howToSign = "\nEither sign here what arrives: make a key (gpg --homedir DIR --quick-gen-key NAME), say in make.conf\n" +
	"  BINPKG_GPG_SIGNING_GPG_HOME=\"DIR\"\n  BINPKG_GPG_SIGNING_KEY=\"its fingerprint\"\n" +
	"and import its public key, trusted, into BINPKG_GPG_VERIFY_GPG_HOME (/etc/portage/gnupg);\n" +
	"or take packages from your builders as they are: FEATURES=\"-binpkg-request-signature\" lantage emerge …"

// ready says what is missing for signing, before anything is asked of a builder.
func (s signing) ready(t *tools) error {
	_, err := t.find("gpkg-sign")
	switch {
	case s.format == "xpak":
		err = errors.New("BINPKG_FORMAT=\"xpak\" knows no signatures")
	case s.key == "":
		err = errors.New("BINPKG_GPG_SIGNING_KEY is not set")
	case s.home == "":
		err = errors.New("BINPKG_GPG_SIGNING_GPG_HOME is not set")
	case err != nil:
		err = errors.New("gpkg-sign, which comes with Portage, is not on PATH")
	}
	if err != nil {
		return fmt.Errorf("FEATURES=\"binpkg-request-signature\" has emerge refuse binary packages without a signature, and "+
			"this machine cannot sign them: %w.%s", err, howToSign)
	}
	return nil
}

// sign signs what arrived, and notes it in the records.
func (e *Emerge) sign(ctx context.Context, t *tools, o outcome) error {
	for _, a := range o.arrived {
		path := filepath.Join(o.pkgdir, a.path)
		out, err := t.capture(ctx, "gpkg-sign", []string{"--allow-unsigned", path}, "NO_COLOR=1", "NOCOLOR=true")
		if err != nil {
			return err
		}
		if out.status != 0 {
			return fmt.Errorf("%s cannot be signed here, so emerge would refuse it; it stays in %s:\n%s%s\nTo sign it: gpkg-sign --allow-unsigned %s",
				a.cpv, o.pkgdir, out.stdout, out.stderr, quote(path))
		}
		about, err := readProvenance(path)
		if err != nil {
			return fmt.Errorf("the record of %s: %w", a.cpv, err)
		}
		if about.Signed, err = sumOf(path); err != nil {
			return err
		}
		if err := about.save(path); err != nil {
			return err
		}
	}
	if n := len(o.arrived); n > 0 {
		e.say("%s signed with this machine's key.", count(n, "package"))
	}
	return nil
}
