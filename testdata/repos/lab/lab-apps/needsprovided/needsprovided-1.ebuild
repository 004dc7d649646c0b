# Copyright 2026 The Lantage authors
# Distributed under the terms of the GNU Affero General Public License v3

EAPI=8

DESCRIPTION="Needs a package that only package.provided has"
HOMEPAGE="https://example.org/lab"
S="${WORKDIR}"

LICENSE="AGPL-3"
SLOT="0"
KEYWORDS="amd64 arm64"

DEPEND="lab-libs/elsewhere"
RDEPEND="${DEPEND}"

src_install() {
	insinto /usr/share/lab-needsprovided
	newins - note <<< "built"
}
