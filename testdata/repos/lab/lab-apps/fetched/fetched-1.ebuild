# Copyright 2026 The Lantage authors
# Distributed under the terms of the GNU Affero General Public License v3

EAPI=8

DESCRIPTION="Its source is downloaded, with whatever does that"
HOMEPAGE="https://example.org/lab"
SRC_URI="https://example.org/lab/${P}.txt"
S="${WORKDIR}"

LICENSE="AGPL-3"
SLOT="0"
KEYWORDS="amd64 arm64"
RESTRICT="mirror"

src_install() {
	insinto /usr/share/lab-fetched
	doins "${DISTDIR}"/${P}.txt
}
