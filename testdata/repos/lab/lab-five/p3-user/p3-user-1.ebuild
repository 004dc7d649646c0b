# Copyright 2026 The Lantage authors
# Distributed under the terms of the GNU Affero General Public License v3

EAPI=8

DESCRIPTION="Could be built, but needs p3, which fails"
HOMEPAGE="https://example.org/lab"
S="${WORKDIR}"

LICENSE="AGPL-3"
SLOT="0"
KEYWORDS="amd64 arm64"

DEPEND="lab-five/p3"
RDEPEND="${DEPEND}"

src_install() {
	insinto /usr/share/lab-p3-user
	newins - built <<< "built"
}
