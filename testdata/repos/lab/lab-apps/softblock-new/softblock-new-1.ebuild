# Copyright 2026 The Lantage authors
# Distributed under the terms of the GNU Affero General Public License v3

EAPI=8

DESCRIPTION="Takes the place of lab-apps/softblock-old, which emerge then uninstalls"
HOMEPAGE="https://example.org/lab"
S="${WORKDIR}"

LICENSE="AGPL-3"
SLOT="0"
KEYWORDS="amd64 arm64"

RDEPEND="!lab-apps/softblock-old"

src_install() {
	insinto /usr/share/lab-softblock
	newins - owner <<< "${PN}"
}
