# Copyright 2026 The Lantage authors
# Distributed under the terms of the GNU Affero General Public License v3

EAPI=8

DESCRIPTION="Installs a file with a newline in its name"
HOMEPAGE="https://example.org/lab"
S="${WORKDIR}"

LICENSE="AGPL-3"
SLOT="0"
KEYWORDS="amd64 arm64"

src_install() {
	dodir /usr/share/lab-newline
	echo data > "${ED}"/usr/share/lab-newline/$'one\ntwo' || die
}
