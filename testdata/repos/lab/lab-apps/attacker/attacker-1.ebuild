# Copyright 2026 The Lantage authors
# Distributed under the terms of the GNU Affero General Public License v3

EAPI=8

DESCRIPTION="Does what a test has it try, as root and as Portage's user"
HOMEPAGE="https://example.org/lab"
S="${WORKDIR}"

LICENSE="AGPL-3"
SLOT="0"
KEYWORDS="amd64 arm64"

# The attempts come from the test: attack is the function that runs them.
run_attack() {
	[[ -e /etc/portage/attack/attack ]] || return
	source /etc/portage/attack/attack
	attack "$1"
}

pkg_setup() {
	[[ ${MERGE_TYPE} == binary ]] || run_attack setup
}

src_compile() {
	run_attack compile
}

src_install() {
	insinto /usr/share/lab-attack/ebuild
	[[ ! -e ${T}/attack-compile ]] || doins "${T}"/attack-{setup,compile}
}
