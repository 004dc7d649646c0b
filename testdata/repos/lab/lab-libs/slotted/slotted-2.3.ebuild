# Copyright 2026 The Lantage authors
# Distributed under the terms of the GNU Affero General Public License v3

EAPI=8

DESCRIPTION="Two slots that are installed side by side"
HOMEPAGE="https://example.org/lab"
S="${WORKDIR}"

LICENSE="AGPL-3"
SLOT="${PV%%.*}/${PV}"
KEYWORDS="amd64 arm64"

src_install() {
	insinto /usr/share/lab-slotted-"${SLOT%%/*}"
	newins - version <<< "${PV}"
}
