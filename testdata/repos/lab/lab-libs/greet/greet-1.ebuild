# Copyright 2026 The Lantage authors
# Distributed under the terms of the GNU Affero General Public License v3

EAPI=8

DESCRIPTION="Library whose SONAME and sub-slot change with its version"
HOMEPAGE="https://example.org/lab"
S="${WORKDIR}"

LICENSE="AGPL-3"
SLOT="0/${PV}"
KEYWORDS="amd64 arm64"

src_unpack() {
	cp "${FILESDIR}"/greet.{c,h} . || die
}

src_compile() {
	"${CC:-${CHOST}-gcc}" ${CFLAGS} ${LDFLAGS} -fPIC -shared -DGREET_VERSION="${PV}" \
		-Wl,-soname,libgreet.so."${PV}" -o libgreet.so."${PV}" greet.c || die
}

src_install() {
	dolib.so libgreet.so."${PV}"
	dosym libgreet.so."${PV}" /usr/lib/libgreet.so
	doheader greet.h
}
