# Copyright 2026 The Lantage authors
# Distributed under the terms of the GNU Affero General Public License v3

EAPI=8

DESCRIPTION="Files that a careless archive loses: modes, links, capabilities, odd names"
HOMEPAGE="https://example.org/lab"
S="${WORKDIR}"

LICENSE="AGPL-3"
SLOT="0"
KEYWORDS="amd64 arm64"

# Portage strips nothing here, so that a test can compare bytes.
RESTRICT="strip"

src_unpack() {
	cp "${FILESDIR}"/whoami.c . || die
}

src_compile() {
	"${CC:-${CHOST}-gcc}" ${CFLAGS} ${LDFLAGS} -o lab-whoami whoami.c || die
}

src_install() {
	dobin lab-whoami
	cp lab-whoami "${ED}"/usr/bin/lab-whoami-setuid || die
	fperms 4711 /usr/bin/lab-whoami-setuid
	cp lab-whoami "${ED}"/usr/bin/lab-whoami-setgid || die
	fperms 2755 /usr/bin/lab-whoami-setgid
	cp lab-whoami "${ED}"/usr/bin/lab-whoami-cap || die

	dosym lab-whoami /usr/bin/lab-relative
	dosym /usr/bin/lab-whoami /usr/bin/lab-absolute
	dosym nowhere /usr/share/lab-odd/dangling
	dodir /usr/share/lab-odd
	ln "${ED}"/usr/bin/lab-whoami "${ED}"/usr/bin/lab-hard || die

	keepdir /var/lib/lab-odd
	fowners nobody:nogroup /var/lib/lab-odd
	fperms 1770 /var/lib/lab-odd

	local name
	for name in \
		"two words" \
		" leading space" \
		"trailing space " \
		"-leading-dash" \
		"naïve-Grüße-日本語-🐧" \
		"it's \"quoted\"" \
		'back\slash' \
		'dollar$HOME' \
		'star*question?' \
		'semi;colon&amp' \
		$'tab\tinside' \
		"%41 percent" \
		"#hash" \
		".hidden" \
		"$(printf 'n%.0s' {1..251})" # Portage appends "#new" where it merges from another file system
	do
		printf '%s' "${name}" > "${ED}/usr/share/lab-odd/${name}" || die
	done
	: > "${ED}"/usr/share/lab-odd/empty || die
	truncate -s 1M "${ED}"/usr/share/lab-odd/sparse || die
}

# As fcaps.eclass does it: a binpkg carries no capabilities (seen with Portage
# 3.0.83, with FEATURES=xattr too), so they are set where the package is merged.
pkg_postinst() {
	setcap cap_net_raw+ep "${EROOT}"/usr/bin/lab-whoami-cap || die
}
