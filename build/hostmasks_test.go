package build

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
)

// TestHostMasks: of a builder's own system jobs see what is installed, and nothing that people or services keep there.
func TestHostMasks(t *testing.T) {
	root := t.TempDir()
	put := func(path string, mode os.FileMode) {
		t.Helper()
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("x"), mode); err != nil {
			t.Fatal(err)
		}
	}
	hidden := []string{
		"/home/alice/.ssh/id_ed25519", "/root/.gnupg/secring.gpg", "/srv/www/x", "/mnt/disk/x", "/media/usb/x", "/boot/initramfs", "/data/x",
		"/.snapshots/1/snapshot/etc/shadow", "/swapfile", "/crypto_keyfile.bin",
		"/etc/shadow", "/etc/shadow-", "/etc/gshadow", "/etc/gshadow-", "/etc/security/opasswd", "/etc/sudoers", "/etc/sudoers.d/wheel",
		"/etc/machine-id", "/etc/krb5.keytab", "/etc/ssh/ssh_host_ed25519_key", "/etc/ssl/private/key.pem", "/etc/pki/tls/private/key.pem",
		"/etc/portage/gnupg/secring.gpg", "/etc/portage/make.conf", "/etc/make.conf", "/etc/lantage/lantage.toml",
		"/etc/NetworkManager/system-connections/home.nmconnection", "/etc/wpa_supplicant/wpa_supplicant.conf", "/etc/wireguard/wg0.conf",
		"/etc/openvpn/client.key", "/etc/iwd/x", "/etc/letsencrypt/live/x/privkey.pem",
		"/var/lib/lantage/identity", "/var/lib/docker/x", "/var/lib/mysql/x", "/var/log/messages", "/var/mail/alice", "/var/spool/cron/root",
		"/var/backups/shadow.bak", "/var/cache/other/x", "/var/tmp/x", "/var/www/x", "/var/db/sudo/ts", "/var/db/dhcpcd/secret",
		"/opt/state/jobs/x",
	}
	for _, path := range hidden {
		put(path, 0o644)
	}
	private := []string{
		"/etc/ssl/nginx/server.key", "/etc/mail.secret", "/usr/local/etc/vault.conf", "/etc/closed/deep/x", "/opt/gitea/conf/app.ini",
		"/opt/secret", "/usr/local/nagios/etc/resource.cfg", "/var/lib/misc/random-seed", "/var/lib/gentoo/secret", "/var/lib/portage/secret",
		"/var/lib/texmf/secret",
	}
	for _, path := range private {
		put(path, 0o640)
	}
	put("/etc/closed/open", 0o644)
	if err := os.Chmod(filepath.Join(root, "/etc/closed"), 0o750); err != nil {
		t.Fatal(err)
	}
	seen := []string{
		"/usr/lib/libc.so", "/opt/vendor/app", "/opt/gitea/conf/other.ini", "/usr/local/bin/x", "/var/lib/misc/x", "/etc/ld.so.conf", "/etc/env.d/00basic", "/etc/ssl/nginx/server.crt", "/etc/passwd",
		"/var/db/pkg/a/b-1/CONTENTS", "/var/db/repos/gentoo/profiles/x", "/var/lib/portage/world", "/var/lib/gentoo/x", "/lib64/x", "/bin/sh",
	}
	for _, path := range seen {
		put(path, 0o644)
	}
	if err := os.Symlink("/proc/self/mounts", filepath.Join(root, "etc/mtab")); err != nil {
		t.Fatal(err)
	}
	dirs, files := hostMasks(root, "/opt/state")
	isHidden := func(path string) bool { return insideOne(dirs, path) || slices.Contains(files, path) }
	for _, path := range append(append(hidden, private...), "/etc/closed/open") {
		if !isHidden(path) {
			t.Errorf("jobs see %s", path)
		}
	}
	for _, path := range append(seen, "/etc/mtab") {
		if isHidden(path) {
			t.Errorf("jobs do not see %s", path)
		}
	}
	for _, dir := range dirs {
		if insideOne(dirs, dir) && dir != "/opt/state" {
			t.Errorf("%s is hidden twice", dir)
		}
	}
}

// TestHostMasksHaveBounds: what would take too long to look through, or to hide piece by piece, is hidden as a whole, and nothing beside it.
func TestHostMasksHaveBounds(t *testing.T) {
	root := t.TempDir()
	defer func(installed, hidden int) { maxInstalled, maxHidden = installed, hidden }(maxInstalled, maxHidden)
	maxInstalled, maxHidden = 30, 10
	for dir, n := range map[string]int{"opt/large": 30, "opt/fits": 29, "usr/local/private": 11, "etc/private": 10} {
		for i := range n {
			mode := os.FileMode(0o644)
			if filepath.Base(dir) == "private" {
				mode = 0o600
			}
			name := filepath.Join(root, dir, strconv.Itoa(i))
			put(t, name, "")
			if err := os.Chmod(name, mode); err != nil {
				t.Fatal(err)
			}
		}
	}
	dirs, files := hostMasks(root, "/opt/state")
	if want := []string{"/opt/large", "/opt/state", "/usr/local/private"}; !slices.Equal(dirs, want) {
		t.Errorf("these directories are hidden: %v, want %v", dirs, want)
	}
	if !slices.Contains(files, "/etc/private/9") || slices.ContainsFunc(files, func(f string) bool { return insideOne(dirs, f) }) {
		t.Errorf("these files are hidden: %v", files)
	}
}
