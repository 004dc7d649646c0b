# Copyright 2026 The Lantage authors
# Distributed under the terms of the GNU Affero General Public License v3

EAPI=8

DESCRIPTION="Asks a question in pkg_setup"
HOMEPAGE="https://example.org/lab"
S="${WORKDIR}"

LICENSE="AGPL-3"
SLOT="0"
KEYWORDS="amd64 arm64"
PROPERTIES="interactive"

pkg_setup() {
	local answer
	[[ ${MERGE_TYPE} == binary ]] && return
	read -r -p "lab: what is your favourite colour? " answer || die "nobody answered"
	LAB_ANSWER="${answer}"
}

src_install() {
	insinto /usr/share/lab-asks
	newins - answer <<< "${LAB_ANSWER}"
}
