# Copyright 2026 The Lantage authors
# Distributed under the terms of the GNU Affero General Public License v3

EAPI=8

DESCRIPTION="Service that builds packages for other Gentoo machines on the LAN"
HOMEPAGE="https://wiki.gentoo.org/wiki/No_homepage"
S="${WORKDIR}"

LICENSE="AGPL-3"
SLOT="0"
KEYWORDS="amd64 arm64 ~arm ~loong ~ppc64 ~riscv ~x86"

RDEPEND="~app-admin/lantage-${PV}"

# The daemon is the program of app-admin/lantage under another name.
src_install() {
	dosym lantage /usr/bin/lantaged
	newinitd "${FILESDIR}"/lantaged.initd lantaged
	newconfd "${FILESDIR}"/lantaged.confd lantaged
	insinto /usr/lib/systemd/system
	doins "${FILESDIR}"/lantaged.service
}

pkg_postinst() {
	elog "A client's job runs that client's ebuilds as root of an isolated build root."
	elog "Jobs are taken of all machines on this one's networks, or, with"
	elog "LANTAGED_OPTS=--allow=paired, of those alone that lantage pair has paired."
	elog "  OpenRC:   rc-update add lantaged default && rc-service lantaged start"
	elog "  systemd:  systemctl enable --now lantaged"
}
