# Copyright 2026 The Lantage authors
# Distributed under the terms of the GNU Affero General Public License v3

EAPI=8

DESCRIPTION="USE_EXPAND flags, forced and plain ones among them"
HOMEPAGE="https://example.org/lab"
S="${WORKDIR}"

LICENSE="AGPL-3"
SLOT="0"
KEYWORDS="amd64 arm64"
IUSE="lab_targets_blue lab_targets_green lab_targets_red +shout"

src_compile() {
	echo "${LAB_TARGETS}" > targets || die
}

src_install() {
	insinto /usr/share/lab-targets
	doins targets
}
