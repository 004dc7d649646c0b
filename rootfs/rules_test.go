package rootfs

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// plant makes what lines say below root, for each a path: "dir/", "link -> target", or a file, which has its
// path as content. Parents are made as needed. After " #" stands the mode, if it is another than 755 or 644.
func plant(t *testing.T, root string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		line, octal, other := strings.Cut(line, " #")
		name, target, link := strings.Cut(line, " -> ")
		p, dir := filepath.Join(root, name), strings.HasSuffix(name, "/")
		check(t, os.MkdirAll(filepath.Dir(p), 0o755))
		switch {
		case link:
			check(t, os.Symlink(target, p))
		case dir:
			check(t, os.MkdirAll(p, 0o755))
		default:
			check(t, os.WriteFile(p, []byte(name), 0o644))
		}
		if other {
			mode, err := strconv.ParseUint(octal, 8, 32)
			check(t, err)
			check(t, unix.Chmod(p, uint32(mode)))
		}
	}
}

// listed walks a root and returns what is listed: directories end in a slash.
func listed(t *testing.T, r Rules) ([]string, []LeftOut) {
	t.Helper()
	m, err := r.compile()
	check(t, err)
	var got []string
	left, err := m.walk(t.Context(), false, func(f *found) error {
		switch {
		case f.Path == ".":
		case f.Type == TypeDir:
			got = append(got, f.Path+"/")
		default:
			got = append(got, f.Path)
		}
		return nil
	})
	check(t, err)
	return got, left
}

// A system has a path of each row of the table; those that are listed begin with a plus.
var system = []string{
	"+bin -> usr/bin", "+lib64/ld.so", "+sbin/init", "+lib32/libc.so",
	"+lib/libc.so", "+lib/modules/", "-lib/modules/6.1/kernel/a.ko", "-lib/modules/6.1/modules.order",
	"-lib/modules/6.1/build/x",
	"-lib/modules/6.1/source/x", "-lib/modules/6.1/Module.symvers", "-lib/modules/6.1/modules.builtin",
	"+usr/bin/gcc", "+usr/bin/sudo #4711", "+usr/lib/gnupg/helper", "+usr/local/bin/mine #700",
	"+usr/local/etc/mine.conf", "-usr/local/etc/mine.secret #600",
	"-usr/share/lost+found/x", "+usr/share/.gnupg/", "-usr/share/.gnupg/x",
	"+etc/passwd", "+etc/shared #2755", "-etc/polkit/secret #640", "+etc/polkit.d/ #750", "-etc/polkit.d/rule",
	"+etc/untraversed/ #754", "-etc/untraversed/x",
	"+etc/portage/make.conf #600", "+etc/portage/private/ #700", "+etc/portage/private/x #600",
	"+etc/portage/gnupg/", "-etc/portage/gnupg/key",
	"-etc/shadow", "-etc/shadow-", "-etc/gshadow", "-etc/gshadow-",
	"-etc/ssh/ssh_host_ed25519_key", "+etc/ssh/ssh_host_ed25519_key.pub", "-etc/x/y/a.key", "-etc/a.p12", "-etc/a.pfx",
	"+etc/a.pem", "+etc/pki.pem/", "+etc/pki.pem/x",
	"+etc/NetworkManager/system-connections/", "-etc/NetworkManager/system-connections/wlan", "+etc/NetworkManager/conf",
	"-etc/cups/subscriptions.conf.O", "+etc/docker/", "-etc/docker/x", "+etc/ipsec.d/", "-etc/ipsec.d/x",
	"+etc/iwd/", "-etc/iwd/x", "-etc/krb5.keytab", "+etc/lantage/", "-etc/lantage/x", "+etc/letsencrypt/",
	"-etc/letsencrypt/x", "-etc/machine-id", "+etc/openvpn/", "-etc/openvpn/x", "-etc/ppp/chap-secrets",
	"+etc/ppp/ip-up",
	"-etc/security/opasswd", "+etc/ssl/private/", "-etc/ssl/private/x", "+etc/ssl/certs/ca.crt", "-etc/sudoers",
	"+etc/sudoers.d/", "-etc/sudoers.d/x", "+etc/wireguard/", "-etc/wireguard/x", "+etc/wpa_supplicant/",
	"-etc/wpa_supplicant/x",
	"-etc/acme/x", "-etc/asterisk/x", "-etc/bluetooth/keys/x", "-etc/borg/x", "-etc/borgmatic/x", "-etc/chrony.keys", "-etc/chrony/chrony.keys",
	"-etc/cifs-utils/x", "-etc/credstore/x", "-etc/credstore.encrypted/x", "-etc/cryptsetup-keys.d/x", "-etc/davfs2/secrets", "-etc/ddclient.conf",
	"-etc/dropbear/x", "-etc/duplicity/x", "-etc/exim/passwd.client", "-etc/fetchmailrc", "-etc/hostapd/x", "-etc/inadyn.conf",
	"-etc/ipsec.secrets", "-etc/kubernetes/x", "-etc/ldap.secret", "-etc/luks/x", "-etc/mail/authinfo", "-etc/mosquitto/passwd", "-etc/msmtprc",
	"-etc/munge/x", "-etc/nebula/x", "-etc/netplan/x", "-etc/ntp.keys", "-etc/nullmailer/remotes", "-etc/nut/upsd.users",
	"-etc/openldap/ldap.secret", "+etc/openldap/ldap.conf", "-etc/pki/private/x", "-etc/pki/tls/private/x", "+etc/pki/tls/openssl.cnf",
	"-etc/postfix/sasl/x", "-etc/postfix/sasl_passwd.db", "-etc/rancher/x", "-etc/rclone.conf", "-etc/restic/x", "-etc/rsyncd.secrets",
	"-etc/samba/private/x", "-etc/samba/smbpasswd", "+etc/samba/smb.conf", "-etc/smbcredentials", "-etc/snmp/snmpd.conf", "-etc/ssmtp/x",
	"-etc/swanctl/x", "-etc/tinc/x", "-etc/tor/x", "-etc/vault/x", "-etc/wpa_supplicant.conf",
	"-etc/x/.aws/x", "-etc/portage/.git-credentials", "-etc/x/.htpasswd", "-etc/x/.my.cnf", "-etc/portage/.netrc", "-etc/x/.npmrc",
	"-etc/x/.password-store/x", "-etc/x/.pgpass", "-etc/x/.pypirc", "-etc/portage/.ssh/x", "-etc/x/a.jks", "-etc/x/a.kdbx", "-etc/x/a.keytab",
	"-etc/x/a.ppk", "-etc/x/id_dsa", "-etc/x/id_ecdsa", "-etc/x/id_ecdsa_sk", "-etc/portage/id_ed25519", "-etc/x/id_ed25519_sk", "-etc/x/id_rsa",
	"+etc/x/id_rsa.pub", "-etc/x/netrc", "-etc/x/private-keys-v1.d/x", "-etc/x/secring.gpg", "-etc/portage/repo.key",
	"-etc/x/Server.KEY", "-etc/x/a.key.bak", "-etc/portage/id_rsa.old", "+etc/x/a.key.pub", "+etc/x/keys",
	"-etc/.git/x", "-etc/portage/.hg/x", "-etc/x/.svn/x", "-etc/x/CVS/x", "-etc/x/lost+found/x",
	"+var/db/pkg/dev-libs/icu-75/SLOT", "-var/db/other/x", "+var/lib/portage/world", "+var/lib/portage/home/",
	"-var/lib/portage/home/x",
	"+var/lib/gentoo/news/x", "+var/lib/eselect/x", "+var/lib/misc/x", "+var/lib/texmf/x",
	"-var/lib/gentoo/secret #600", "-var/lib/eselect/secret #640", "-var/lib/misc/random-seed #600", "-var/lib/texmf/secret #600",
	"+var/lib/portage/config #600", "-var/lib/misc/lost+found/x",
	"-var/lib/mysql/x", "-var/lib/.gnupg/x", "+var/lib/gentoo/gnupg/", "-var/lib/gentoo/gnupg/x", "-var/games/x",
	"+var/cache/", "-var/cache/x", "+var/log/", "-var/log/x", "+var/tmp/ #1777", "-var/tmp/x", "+var/spool/",
	"-var/spool/x",
	"+var/mail/", "-var/mail/x", "+var/empty/", "-var/empty/x", "+var/run -> /run", "+var/lock -> /run/lock",
	"+home/", "-home/alice/x", "+root/ #700", "-root/x", "+srv/", "-srv/x", "+opt/", "-opt/x/y", "+mnt/",
	"-mnt/x", "+media/",
	"-media/x", "+boot/", "-boot/x", "+efi/", "-efi/x", "+tmp/ #1777", "-tmp/x", "+run/", "-run/x", "+proc/", "-proc/x",
	"+sys/", "-sys/x", "+dev/", "-dev/x", "-data/x", "-swapfile", "-lost+found/x", "+emul -> usr/emul",
	"+usr/lib/modules/", "-usr/lib/modules/6.1/kernel/a.ko", "-usr/lib/modules/6.1/modules.order",
	"-usr/lib/modules/6.1/build -> /usr/src/linux", "+usr/src/", "-usr/src/linux/Makefile", "-usr/src/linux/a.o",
	"-usr/src/linux/.a.o.cmd", "-usr/src/linux/a.ko", "-usr/src/linux/a.a", "-usr/src/linux/.git/x",
	"-usr/lib/modules/6.1/source -> /usr/src/linux", "-usr/lib/modules/6.1/Module.symvers",
	"-usr/lib/modules/6.1/modules.builtin",
}

// makeSystem makes a system and returns what is to be listed of it.
func makeSystem(t *testing.T) (root string, want []string) {
	t.Helper()
	root = t.TempDir()
	dirs := map[string]bool{}
	for _, line := range system {
		name := line[1:]
		plant(t, root, name)
		if line[0] != '+' {
			continue
		}
		name, _, _ = strings.Cut(name, " ")
		want = append(want, name)
		for p := parent(strings.TrimSuffix(name, "/")); p != "."; p = parent(p) {
			dirs[p+"/"] = true
		}
	}
	// Directories of which nothing but their names is to go.
	for _, p := range []string{
		"etc/acme/", "etc/asterisk/", "etc/bluetooth/", "etc/bluetooth/keys/", "etc/borg/", "etc/borgmatic/", "etc/chrony/",
		"etc/cifs-utils/", "etc/credstore/", "etc/credstore.encrypted/", "etc/cryptsetup-keys.d/", "etc/davfs2/", "etc/dropbear/",
		"etc/duplicity/", "etc/exim/", "etc/hostapd/", "etc/kubernetes/", "etc/luks/", "etc/mail/", "etc/mosquitto/", "etc/munge/",
		"etc/nebula/", "etc/netplan/", "etc/nullmailer/", "etc/nut/", "etc/openldap/", "etc/pki/", "etc/pki/private/", "etc/pki/tls/",
		"etc/pki/tls/private/", "etc/portage/.ssh/", "etc/postfix/", "etc/postfix/sasl/", "etc/rancher/", "etc/restic/", "etc/samba/",
		"etc/samba/private/", "etc/snmp/", "etc/ssmtp/", "etc/swanctl/", "etc/tinc/", "etc/tor/", "etc/vault/", "etc/x/.aws/",
		"etc/x/.password-store/", "etc/x/private-keys-v1.d/",
	} {
		dirs[p] = true
	}
	for _, p := range []string{"etc/polkit/", "etc/x/", "etc/x/y/", "etc/cups/", "etc/security/", "usr/share/"} {
		dirs[p] = true
	}
	want = slices.AppendSeq(want, maps.Keys(dirs))
	sortTree(want)
	return root, slices.Compact(want)
}

func sortTree(paths []string) {
	slices.SortFunc(paths, func(a, b string) int {
		return Compare(strings.TrimSuffix(a, "/"), strings.TrimSuffix(b, "/"))
	})
}

func TestRules(t *testing.T) {
	root, want := makeSystem(t)
	got, left := listed(t, Rules{Root: root})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("listed (-want +got):\n%s", diff)
	}
	why := map[string]string{}
	for _, l := range left {
		why[l.Path] = l.Why
	}
	for p, want := range map[string]string{
		"/home": "people's data", "/etc/shadow": secret, "/etc/x/y/a.key": secret, "/etc/polkit.d": private,
		"/data": "not a place of the system", "/etc/.git": history, "/etc/polkit/secret": private,
	} {
		if why[p] != want {
			t.Errorf("%s is left out because %q, want %q", p, why[p], want)
		}
	}
	for _, p := range []string{"/var", "/var/db", "/usr", "/home/alice", "/var/lib/mysql"} {
		if w, ok := why[p]; ok {
			t.Errorf("%s is reported to be left out: %s", p, w)
		}
	}
}

// What is listed or reported changes without any row of the table.
func TestRulesRowsNeeded(t *testing.T) {
	root, _ := makeSystem(t)
	// In /usr anyway, but for being a mount point; a link here; and with a test of its own.
	others := []string{"/usr/local", "/usr/src", "/bin", "/etc/**/*.pem"}
	without := func(t *testing.T, whole []row, kernel Kernel, set func([]row)) {
		r := Rules{Root: root, Kernel: kernel}
		before, reported := listed(t, r)
		defer set(whole)
		for i, w := range whole {
			if slices.Contains(others, w.place) && w.take > empty {
				continue
			}
			set(slices.Delete(slices.Clone(whole), i, i+1))
			after, left := listed(t, r)
			if slices.Equal(before, after) && slices.Equal(reported, left) {
				t.Errorf("nothing changes without the row for %s", w.place)
			}
		}
	}
	without(t, table, NoKernel, func(rows []row) { table = rows })
	for _, kernel := range []Kernel{NoKernel, KernelSources} {
		without(t, kernelRows[kernel], kernel, func(rows []row) { kernelRows[kernel] = rows })
	}
}

func TestRulesKernel(t *testing.T) {
	for _, dir := range []string{"lib", "usr/lib"} { // and /lib is a link in the second case
		root := t.TempDir()
		plant(t, root, "usr/src/linux -> linux-6.1", "usr/src/linux-6.1/Makefile", "usr/src/linux-6.1/a/b.o",
			"usr/src/linux-6.1/a/b.c", "usr/src/linux-6.1/a/.b.o.cmd", "usr/src/linux-6.1/scripts/mod/modpost #755",
			dir+"/modules/6.1/build -> /usr/src/linux", dir+"/modules/6.1/kernel/a.ko", dir+"/modules/6.1/modules.order",
			dir+"/modules/6.1/modules.dep")
		want := []string{
			dir + "/", dir + "/modules/", dir + "/modules/6.1/", dir + "/modules/6.1/build",
			dir + "/modules/6.1/modules.order", "usr/", "usr/src/", "usr/src/linux", "usr/src/linux-6.1/",
			"usr/src/linux-6.1/Makefile", "usr/src/linux-6.1/a/", "usr/src/linux-6.1/a/b.c",
			"usr/src/linux-6.1/scripts/", "usr/src/linux-6.1/scripts/mod/", "usr/src/linux-6.1/scripts/mod/modpost",
		}
		if dir == "usr/lib" {
			plant(t, root, "lib -> usr/lib")
			want = append(want, "lib")
		}
		sortTree(want)
		want = slices.Compact(want)
		got, _ := listed(t, Rules{Root: root, Kernel: KernelSources})
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("with kernel sources and /%s/modules (-want +got):\n%s", dir, diff)
		}
	}
}

func TestRulesKernelConfig(t *testing.T) {
	root := t.TempDir()
	const src = "usr/src/linux-6.1/"
	plant(t, root, "usr/src/linux -> linux-6.1", src+"Makefile", src+".config", src+"a/b.c", src+"include/config/kernel.release",
		src+"include/config/auto.conf", src+"include/generated/utsrelease.h", "lib/modules/6.1/build -> /usr/src/linux")
	want := []string{
		"lib/", "lib/modules/", "usr/", "usr/src/", "usr/src/linux", src, src + ".config", src + "Makefile",
		src + "include/", src + "include/config/", src + "include/config/kernel.release", src + "include/generated/",
		src + "include/generated/utsrelease.h",
	}
	sortTree(want)
	got, _ := listed(t, Rules{Root: root, Kernel: KernelConfig})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestRulesNamed(t *testing.T) {
	cases := []struct {
		name  string
		rules Rules
		plant []string
		want  []string
	}{
		{
			"an include, and less of it",
			Rules{Include: []string{"/opt/"}, Exclude: []string{"/opt/big", "/usr/a*"}},
			[]string{"opt/a #600", "opt/big/x", "usr/abc"},
			[]string{"opt/", "opt/a", "usr/", "usr/abc"},
		},
		{
			"a repository in a home",
			Rules{Repos: []string{"/home/alice/overlay"}},
			[]string{"home/alice/overlay/a/a.ebuild", "home/alice/overlay/.git/x", "home/alice/mail", "home/bob/x"},
			[]string{"home/", "home/alice/", "home/alice/overlay/", "home/alice/overlay/a/", "home/alice/overlay/a/a.ebuild"},
		},
		{
			"a repository of its own top, with a package called gnupg",
			Rules{Repos: []string{"/data/repo"}},
			[]string{"data/repo/app-crypt/gnupg/x", "data/repo/a/CVS/x", "data/else"},
			[]string{"data/", "data/repo/", "data/repo/a/", "data/repo/app-crypt/", "data/repo/app-crypt/gnupg/", "data/repo/app-crypt/gnupg/x"},
		},
		{
			"a repository behind links",
			Rules{Repos: []string{"/var/db/repos/gentoo"}},
			[]string{"var/db/repos -> ../../data/repos", "data/repos/gentoo -> /data/real", "data/real/x", "data/y"},
			[]string{"data/", "data/real/", "data/real/x", "data/repos/", "data/repos/gentoo", "var/", "var/db/", "var/db/repos"},
		},
		{
			"distfiles in a repository",
			Rules{Repos: []string{"/usr/portage"}, Skip: []string{"/usr/portage/distfiles"}},
			[]string{"usr/portage/distfiles/a.tar", "usr/portage/a/b.ebuild"},
			[]string{"usr/", "usr/portage/", "usr/portage/a/", "usr/portage/a/b.ebuild", "usr/portage/distfiles/"},
		},
		{
			"distfiles behind links",
			Rules{Repos: []string{"/usr/portage"}, Skip: []string{"/usr/portage/distfiles"}, Exclude: []string{"/usr/portage/b"}},
			[]string{"usr/portage -> /data/repo", "data/repo/distfiles -> cache", "data/repo/cache/x", "data/repo/a", "data/repo/b"},
			[]string{"data/", "data/repo/", "data/repo/a", "data/repo/cache/", "data/repo/distfiles", "usr/", "usr/portage"},
		},
		{
			"a secret that is named",
			Rules{Include: []string{"/etc/mine.key", "/etc/private"}},
			[]string{"etc/mine.key #600", "etc/private/ #700", "etc/private/x #600", "etc/private/y.key #600"},
			[]string{"etc/", "etc/mine.key", "etc/private/", "etc/private/x"},
		},
		{
			"links in a circle",
			Rules{Repos: []string{"/a/x"}},
			[]string{"a -> b", "b -> a"},
			[]string{"a", "b"},
		},
	}
	for _, c := range cases {
		root := t.TempDir()
		plant(t, root, c.plant...)
		c.rules.Root = root
		if got, _ := listed(t, c.rules); !slices.Equal(got, c.want) {
			t.Errorf("%s (-want +got):\n%s", c.name, cmp.Diff(c.want, got))
		}
	}
	for _, bad := range []Rules{{Repos: []string{"x"}}, {Include: []string{"/a/.."}}, {Exclude: []string{""}}} {
		if _, err := bad.compile(); err == nil {
			t.Errorf("%+v is no error", bad)
		}
	}
}

func TestRulesKeysInPEM(t *testing.T) {
	root := t.TempDir()
	key := "-----BEGIN EC PRIVATE KEY-----\n"
	plant(t, root, "etc/ssl/cert.pem", "etc/ssl/key.pem", "etc/ssl/both.pem", "etc/ssl/large.pem", "etc/ssl/private.pem #640")
	check(t, os.WriteFile(filepath.Join(root, "etc/ssl/key.pem"), []byte(key), 0o644))
	check(t, os.WriteFile(filepath.Join(root, "etc/ssl/both.pem"), []byte(strings.Repeat("x\n", 1000)+key), 0o644))
	check(t, os.WriteFile(filepath.Join(root, "etc/ssl/large.pem"), []byte(strings.Repeat("x\n", maxKeyFile)), 0o644))
	want := []string{"etc/", "etc/ssl/", "etc/ssl/cert.pem", "etc/ssl/large.pem"}
	if got, _ := listed(t, Rules{Root: root}); !slices.Equal(got, want) {
		t.Errorf("listed (-want +got):\n%s", cmp.Diff(want, got))
	}
}
