# Copyright 2026 The Lantage authors
# Distributed under the terms of the GNU Affero General Public License v3

EAPI=8

DESCRIPTION="Needs both slots of lab-libs/slotted while it is built"
HOMEPAGE="https://example.org/lab"
S="${WORKDIR}"

LICENSE="AGPL-3"
SLOT="0"
KEYWORDS="amd64 arm64"

DEPEND="
	lab-libs/slotted:1=
	lab-libs/slotted:2=
"
RDEPEND="${DEPEND}"

src_compile() {
	cat "${ESYSROOT}"/usr/share/lab-slotted-{1,2}/version > versions || die
}

src_install() {
	insinto /usr/share/lab-bothslots
	doins versions
}
