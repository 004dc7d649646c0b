package rootfs

import (
	"regexp"
	"slices"
	"strings"
)

// Rules say what of a root is copied. All paths are absolute and as seen in that root.
type Rules struct {
	Root    string   // where the root is on this machine; "/" if empty
	Repos   []string // the ebuild repositories in use, wherever they are
	Include []string // copied as well, such as /opt
	Exclude []string // not copied, whatever else is said of them
	Skip    []string // directories whose contents no build reads: PKGDIR and DISTDIR
	Kernel  Kernel   // how much of the kernel's sources

	Own []string // those of Repos that only this machine has: people write there, as in /etc
	// Text is what goes in the place of a file's content in /etc and in Own: people write credentials there. nil: the content itself.
	Text func(content []byte) []byte
}

// Kernel is how much of the kernel's sources is copied.
type Kernel int

// How much of the kernel's sources packages need.
const (
	NoKernel      Kernel = iota
	KernelConfig         // its configuration and version, which ebuilds look up (linux-info.eclass)
	KernelSources        // what modules are built against (linux-mod-r1.eclass)
)

// take is what is taken of a place.
type take byte

const (
	none    take = iota // nothing; it is not listed
	chaff               // nothing, and there is too much of it to report each
	links               // a symbolic link; nothing of all else
	empty               // a directory without what is in it, or a symbolic link; nothing of a file
	keyless             // as its directory, but nothing of a file with a private key in it
	public              // it and what is below, but only empty of what not everybody may read
	whole               // it and all that is below
)

// row says what is taken of a place, and why.
//
// What is below a place goes with it, unless it has a row of its own. Of an empty place nothing below is
// listed but what has a row, and the directories on the way to what is copied. A place is a path, or with * in
// it a pattern of path.Match; DIR/**/NAME is a pattern for names at any depth below DIR, where something is
// copied. A path goes before a pattern, and of several patterns the first one counts.
type row struct {
	place string
	take  take
	why   string // reported of what is left out; "" of what only stands on the way
}

// table is what is copied of any root. What Rules name goes before it.
//
// Of extended attributes those go that KeptXattr names. The labels of a machine's own security module and
// what belongs to file systems (ignoredXattr) stay: they mean nothing elsewhere, and jobs could not see them.
var table = []row{
	{"/usr", whole, "the installed system"},
	{"/usr/local", whole, "the installed system, often a file system of its own"},
	{"/usr/local/etc", public, "configuration of what was installed by hand"},
	{"/lib*", whole, "the installed system, or links into /usr"},
	{"/bin", whole, "likewise"},
	{"/sbin", whole, "likewise"},
	{"/etc", public, "configuration"},
	{"/etc/portage", whole, "Portage's configuration, some of which root alone may read"},
	{"/var/db/pkg", whole, "the VDB"},
	{"/var/lib/portage", whole, "world file and sets, preserved libraries"},
	{"/var/lib/gentoo", public, "state of Gentoo's own tools"},
	{"/var/lib/eselect", public, "what eselect has chosen"},
	{"/var/lib/misc", public, "state of the system"},
	{"/var/lib/texmf", public, "TeX's configuration"},

	{"/home", empty, "people's data"},
	{"/root", empty, "people's data"},
	{"/srv", empty, "services' data"},
	{"/opt", empty, "software that builds seldom read: on request"},
	{"/mnt", empty, "other file systems"},
	{"/media", empty, "other file systems"},
	{"/boot", empty, "no build reads it"},
	{"/efi", empty, "no build reads it"},
	{"/tmp", empty, "each job has its own"},
	{"/run", empty, "each job has its own"},
	{"/proc", empty, "each job has its own"},
	{"/sys", empty, "each job has its own"},
	{"/dev", empty, "each job has its own"},
	{"/var/lib", empty, "services' data, but for what is named here"},
	{"/var/lib/portage/home", empty, "people's data"},
	{"/var/cache", empty, "no build reads it"},
	{"/var/empty", empty, ""},
	{"/var/lock", empty, ""},
	{"/var/log", empty, "no build reads it"},
	{"/var/mail", empty, "people's data"},
	{"/var/run", empty, ""},
	{"/var/spool", empty, "services' data"},
	{"/var/tmp", empty, "each job has its own"},
	{"/lost+found", none, "of the file system"},
	{"/usr/**/lost+found", none, "of the file system"},
	{"/etc/**/lost+found", none, "of the file system"},
	{"/var/**/lost+found", none, "of the file system"},

	// Secrets, by name in case their mode is wrong.
	{"/etc/shadow*", empty, secret},
	{"/etc/gshadow*", empty, secret},
	{"/etc/**/*.pem", keyless, secret},
	{"/etc/**/gnupg", empty, secret}, // not elsewhere: it is a package, and a directory of programs
	{"/etc/NetworkManager/system-connections", empty, secret},
	{"/etc/acme", empty, secret},
	{"/etc/asterisk", empty, secret},
	{"/etc/bluetooth/keys", empty, secret},
	{"/etc/borg", empty, secret},
	{"/etc/borgmatic", empty, secret},
	{"/etc/chrony.keys", empty, secret},
	{"/etc/chrony/chrony.keys", empty, secret},
	{"/etc/cifs-utils", empty, secret},
	{"/etc/credstore", empty, secret},
	{"/etc/credstore.encrypted", empty, secret},
	{"/etc/cryptsetup-keys.d", empty, secret},
	{"/etc/cups/subscriptions.conf*", empty, secret},
	{"/etc/davfs2/secrets", empty, secret},
	{"/etc/ddclient*", empty, secret},
	{"/etc/docker", empty, secret},
	{"/etc/dropbear", empty, secret},
	{"/etc/duplicity", empty, secret},
	{"/etc/exim/passwd*", empty, secret},
	{"/etc/fetchmailrc", empty, secret},
	{"/etc/hostapd", empty, secret},
	{"/etc/inadyn.conf", empty, secret},
	{"/etc/ipsec.d", empty, secret},
	{"/etc/ipsec.secrets*", empty, secret},
	{"/etc/iwd", empty, secret},
	{"/etc/kubernetes", empty, secret},
	{"/etc/lantage", empty, secret},
	{"/etc/ldap.secret", empty, secret},
	{"/etc/letsencrypt", empty, secret},
	{"/etc/luks", empty, secret},
	{"/etc/mail/auth*", empty, secret},
	{"/etc/mosquitto/passwd*", empty, secret},
	{"/etc/msmtprc", empty, secret},
	{"/etc/munge", empty, secret},
	{"/etc/nebula", empty, secret},
	{"/etc/netplan", empty, secret},
	{"/etc/ntp.keys", empty, secret},
	{"/etc/nullmailer/remotes", empty, secret},
	{"/etc/nut/upsd.users", empty, secret},
	{"/etc/openldap/ldap.secret", empty, secret},
	{"/etc/openvpn", empty, secret},
	{"/etc/pki/private", empty, secret},
	{"/etc/pki/tls/private", empty, secret},
	{"/etc/postfix/sasl", empty, secret},
	{"/etc/postfix/sasl_passwd*", empty, secret},
	{"/etc/ppp/*-secrets", empty, secret},
	{"/etc/rancher", empty, secret},
	{"/etc/rclone*", empty, secret},
	{"/etc/restic", empty, secret},
	{"/etc/rsyncd.secrets", empty, secret},
	{"/etc/samba/private", empty, secret},
	{"/etc/samba/smbpasswd", empty, secret},
	{"/etc/security/opasswd", empty, secret},
	{"/etc/smbcredentials", empty, secret},
	{"/etc/snmp/snmpd.conf", empty, secret},
	{"/etc/ssl/private", empty, secret},
	{"/etc/ssmtp", empty, secret},
	{"/etc/sudoers", empty, secret},
	{"/etc/sudoers.d", empty, secret},
	{"/etc/swanctl", empty, secret},
	{"/etc/tinc", empty, secret},
	{"/etc/tor", empty, secret},
	{"/etc/vault", empty, secret},
	{"/etc/wireguard", empty, secret},
	{"/etc/wpa_supplicant", empty, secret},
	{"/etc/wpa_supplicant.conf", empty, secret},
	{"/etc/machine-id", empty, "it names this machine"},
	{"/var/lib/**/gnupg", empty, secret},
	{"/**/.gnupg", empty, secret},

	// History: no build reads it, and what was once a secret may be in it.
	{"/etc/**/.git", none, history},
	{"/etc/**/.hg", none, history},
	{"/etc/**/.svn", none, history},
	{"/etc/**/CVS", none, history},

	secretsIn("/etc"),

	{"/*", links, "not a place of the system"},
}

// secretNames are names of files and directories that hold keys or passwords, wherever people write. What files with other names
// have of them, Rules.Text takes out.
var secretNames = []string{
	".aws", ".git-credentials", ".gnupg", ".my.cnf", ".npmrc", ".password-store", ".pgpass", ".pypirc", ".ssh", "*.jks",
	"*.kdbx", "*.key", "*.keytab", "*.p12", "*.pfx", "*.ppk", "htpasswd", "id_dsa*", "id_ecdsa*", "id_ed25519*", "id_rsa*", "netrc",
	"private-keys-v1.d", "secring.gpg", "ssh_host_*_key",
}

// SecretName reports whether files or directories of this name stay on their machine, with all that is in them. So do copies, as
// editors and people make them; but not public keys, nor changes to what has such a name.
func SecretName(name string) bool {
	name = strings.ToLower(name)
	return secretRE.MatchString(name) && !openRE.MatchString(name)
}

var (
	secretRE = namesRE(secretNames)
	openRE   = regexp.MustCompile(`\.(?:pub|patch|diff)$`)
)

// namesRE matches names in lower case, with a dot before them or not, and those of copies: KEY~, KEY-, KEY.bak, KEY_old, #KEY#, .KEY.swp
// and ._cfg0000_KEY.
func namesRE(names []string) *regexp.Regexp {
	var all []string
	for _, n := range names {
		all = append(all, strings.ReplaceAll(regexp.QuoteMeta(n), `\*`, `.*`))
	}
	return regexp.MustCompile(`(?s)^(?:\._cfg\d+_|[.#])?(?:` + strings.Join(all, "|") + `)(?:[.~].*|[_-](?:\d|bak|backup|copy|old|orig|save).*|[#-])?$`)
}

// anySecret as the name in a row stands for those that SecretName knows.
const anySecret = "any secret"

func secretsIn(dir string) row { return row{dir + "/**/" + anySecret, empty, secret} }

const (
	secret  = "a secret"
	history = "no build reads a repository's history"
	private = "not everybody may read it"
)

// kernelRows add to the table, by Rules.Kernel.
var kernelRows = map[Kernel][]row{
	NoKernel: slices.Concat(modules, []row{
		{"/usr/src", empty, "kernel sources: only for packages that need them"},
	}),
	KernelConfig: slices.Concat(modules, []row{
		{"/usr/src", empty, "kernel sources: only for packages that need them"},
		{"/usr/src/*", empty, ""},
		{"/usr/src/*/.config", whole, "the kernel's configuration"},
		{"/usr/src/*/Makefile", whole, "the kernel's version"},
		{"/usr/src/*/include", empty, ""},
		{"/usr/src/*/include/config", empty, ""},
		{"/usr/src/*/include/config/kernel.release", whole, "the kernel's version"},
		{"/usr/src/*/include/generated", empty, ""},
		{"/usr/src/*/include/generated/utsrelease.h", whole, "the kernel's version"},
	}),
	KernelSources: sources,
}

var modules = []row{
	{"/lib/modules", empty, "kernel modules: no build reads them"},
	{"/usr/lib/modules", empty, "kernel modules: no build reads them"},
}

var sources = slices.Concat([]row{
	{"/usr/src", whole, "kernel sources"},
	{"/usr/src/**/*.o", chaff, "objects, which are made anew"},
	{"/usr/src/**/*.ko", chaff, "objects"},
	{"/usr/src/**/*.a", chaff, "objects"},
	{"/usr/src/**/*.cmd", chaff, "how objects were made"},
	{"/usr/src/**/.git", none, history},
}, modulesIn("/lib/modules"), modulesIn("/usr/lib/modules"))

func modulesIn(dir string) []row {
	rows := []row{{dir, empty, "kernel modules: no build reads them"}, {dir + "/*", empty, ""}}
	for _, name := range []string{"build", "source", "Module.symvers", "modules.builtin", "modules.order"} {
		rows = append(rows, row{dir + "/*/" + name, whole, "what builds of modules read"})
	}
	return rows
}

// ignoredXattr reports whether an extended attribute stays without a word, even if a copy could have it.
func ignoredXattr(name string) bool {
	switch name {
	case "security.selinux", "security.apparmor", "security.ima", "security.evm":
		return true
	}
	return strings.HasPrefix(name, "security.SMACK") || strings.HasPrefix(name, "trusted.") ||
		strings.HasPrefix(name, "btrfs.") // how the file system stores it
}
