# Copyright 2026 The Lantage authors
# Distributed under the terms of the GNU Affero General Public License v3

EAPI=8

DESCRIPTION="Code generator that only builds need"
HOMEPAGE="https://example.org/lab"
S="${WORKDIR}"

LICENSE="AGPL-3"
SLOT="0"
KEYWORDS="amd64 arm64"

src_unpack() {
	cp "${FILESDIR}"/lab-gen.c . || die
}

src_compile() {
	"${CC:-${CHOST}-gcc}" ${CFLAGS} ${LDFLAGS} -o lab-gen lab-gen.c || die
}

src_install() {
	dobin lab-gen
}
