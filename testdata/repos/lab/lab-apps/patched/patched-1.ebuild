# Copyright 2026 The Lantage authors
# Distributed under the terms of the GNU Affero General Public License v3

EAPI=8

DESCRIPTION="Says whether the user's patch was applied"
HOMEPAGE="https://example.org/lab"

LICENSE="AGPL-3"
SLOT="0"
KEYWORDS="amd64 arm64"

src_unpack() {
	mkdir "${S}" || die
	cp "${FILESDIR}"/patched.c "${S}" || die
}

# No src_prepare: the default one calls eapply_user.

src_compile() {
	"${CC:-${CHOST}-gcc}" ${CFLAGS} ${LDFLAGS} -o patched patched.c || die
}

src_install() {
	dobin patched
}
