package e2e

import (
	"strings"
	"testing"

	"lantage/test/lab"
)

// TestHome: what stays on the client, and why; what comes from a builder is told by verify, and signed where emerge wants
// signatures.
func TestHome(t *testing.T) {
	t.Parallel()
	_, tower, lappy := pair(t, nil)
	d := serve(t, tower)
	built := func(cpv string) {
		t.Helper()
		in(t, lappy, nil, "ls", "/var/db/pkg/"+cpv).ok(t)
	}

	lantage(t, lappy, "emerge", "-1", "virtual/linux-sources").ok(t).says(t, "plain emerge goes on").saysNot(t, "Builder:")
	if strings.Contains(d.log.String(), "job accepted") {
		t.Errorf("for a package with nothing to compile the builder was asked:\n%s", d.log)
	}
	built("virtual/linux-sources-3")

	res := lantage(t, lappy, "--local=*/p2", "emerge", "-1", "lab-five/p1", "lab-five/p2", "lab-apps/running").ok(t)
	res.says(t, "lab-five/p2-1 stays here: you want it so (--local */p2)", "lab-apps/running-1 stays here: it asks for the kernel",
		">>> Emerging binary (1 of 3) lab-five/p1-1", "1 package from tower").saysNot(t, "binary (2 of", "binary (3 of")
	built("lab-apps/running-1")
	lantage(t, lappy, "--remote=running", "--no-fallback", "emerge", "-1", "lab-apps/running").ok(t).says(t, "1 package from tower")

	lantage(t, lappy, "verify").ok(t).says(t, "lab-five/p1-1", "lab-apps/running-1", "tower", "as it came").saysNot(t, "p2-1")
	lantage(t, lappy, "verify", "p1").ok(t).says(t, "ID ", "Portage", "SHA-256", "compiler", "x86-64-v", "EAPI", "::lab")
	in(t, lappy, nil, "sh", "-c", "echo x >> /var/cache/binpkgs/lab-five/p1/p1-1-1.gpkg.tar").ok(t)
	lantage(t, lappy, "verify", "--json").is(t, 1).says(t, `"wrong": [`, "its SHA-256 is", "Not what came from the builder: 1 of 2 packages")
	t.Run("signatures", func(t *testing.T) { signatures(t, lappy) })
}

// signatures: a client whose emerge merges only what is signed signs itself what arrives, or is told how.
func signatures(t *testing.T, lappy *lab.Host) {
	in(t, lappy, nil, "sh", "-c", "rm -rf /var/cache/binpkgs/* && emaint --fix binhost").ok(t)
	const wanted = "FEATURES=binpkg-request-signature"
	in(t, lappy, []string{wanted}, "lantage", "--no-fallback", "emerge", "-1", "lab-five/p4").is(t, 4).
		says(t, "BINPKG_GPG_SIGNING_KEY is not set", "BINPKG_GPG_SIGNING_GPG_HOME", "-binpkg-request-signature").saysNot(t, "Builder:")
	fingerprint := strings.TrimSpace(in(t, lappy, nil, "sh", "-ec", `
		mkdir -p /run/lock && mkdir -p -m 700 /root/signing /etc/portage/gnupg
		exec 3>&1 >/dev/null 2>&1
		gpg --homedir /root/signing --batch --passphrase '' --quick-gen-key 'Lab <lab@example.org>' ed25519 sign never
		key=$(gpg --homedir /root/signing --batch --with-colons --list-keys | sed -n 's/^fpr:*\([0-9A-F]*\):$/\1/p' | head -n 1)
		gpg --homedir /root/signing --batch --export "$key" | gpg --homedir /etc/portage/gnupg --batch --import
		echo "$key:6:" | gpg --homedir /etc/portage/gnupg --batch --import-ownertrust
		gpg --homedir /etc/portage/gnupg --batch --check-trustdb
		chmod -R a+rX /etc/portage/gnupg
		echo "$key" >&3`).ok(t).out)
	env := []string{wanted, "BINPKG_GPG_SIGNING_GPG_HOME=/root/signing", "BINPKG_GPG_SIGNING_KEY=" + fingerprint}
	in(t, lappy, env, "lantage", "--no-fallback", "emerge", "-1", "lab-five/p4").ok(t).
		says(t, "1 package signed with this machine's key", ">>> Emerging binary (1 of 1) lab-five/p4-1")
	in(t, lappy, nil, "tar", "tf", "/var/cache/binpkgs/lab-five/p4/p4-1-1.gpkg.tar").ok(t).says(t, "metadata.tar.zst.sig", "image.tar.zst.sig")
	lantage(t, lappy, "verify", "p4").ok(t).says(t, "as it came", "signed")
	// Without the signature emerge would not have taken it.
	in(t, lappy, nil, "sh", "-c", "rm -rf /var/cache/binpkgs/* && emaint --fix binhost").ok(t)
	lantage(t, lappy, "--no-fallback", "emerge", "-1", "lab-five/p4").ok(t).saysNot(t, "signed")
	in(t, lappy, env, "emerge", "-1K", "lab-five/p4").is(t, 1)
}
