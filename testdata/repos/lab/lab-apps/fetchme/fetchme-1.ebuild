# Copyright 2026 The Lantage authors
# Distributed under the terms of the GNU Affero General Public License v3

EAPI=8

DESCRIPTION="Its source must be fetched by hand, from nowhere"
HOMEPAGE="https://example.org/lab"
SRC_URI="https://example.org/lab/${P}.tar.xz"

LICENSE="AGPL-3"
SLOT="0"
KEYWORDS="amd64 arm64"
RESTRICT="fetch"

pkg_nofetch() {
	einfo "Please put ${P}.tar.xz into your DISTDIR directory."
}
