# Copyright 2026 The Lantage authors
# Distributed under the terms of the GNU Affero General Public License v3

EAPI=8

DESCRIPTION="A version with everything that a version can have"
HOMEPAGE="https://example.org/lab"
S="${WORKDIR}"

LICENSE="AGPL-3"
SLOT="stable-1.2/1.2.3b"
KEYWORDS="amd64 arm64"

src_install() {
	insinto /usr/share/lab-versions
	newins - pvr <<< "${PVR}"
}
