# Copyright 2026 The Lantage authors
# Distributed under the terms of the GNU Affero General Public License v3

EAPI=8

DESCRIPTION="Notes down the kernel that runs"
HOMEPAGE="https://example.org/lab"
S="${WORKDIR}"

LICENSE="AGPL-3"
SLOT="0"
KEYWORDS="amd64 arm64"

src_compile() {
	uname -r > release || die
}

src_install() {
	insinto /usr/share/lab-running
	doins release
}
