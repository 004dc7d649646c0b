# Copyright 2026 The Lantage authors
# Distributed under the terms of the GNU Affero General Public License v3

EAPI=8

DESCRIPTION="Prints its version, its library's version, its USE flag and its CFLAGS"
HOMEPAGE="https://example.org/lab"
S="${WORKDIR}"

LICENSE="AGPL-3"
SLOT="0"
KEYWORDS="amd64 arm64"
IUSE="shout"

DEPEND="lab-libs/greet:="
RDEPEND="${DEPEND}"

src_unpack() {
	cp "${FILESDIR}"/hello.c . || die
}

src_compile() {
	"${CC:-${CHOST}-gcc}" ${CFLAGS} ${LDFLAGS} $(usev shout -DSHOUT) \
		-DHELLO_VERSION="\"${PV}\"" -DHELLO_CFLAGS="\"${CFLAGS}\"" \
		-o hello hello.c -lgreet || die
}

src_install() {
	dobin hello
}
