# Copyright 2026 The Lantage authors
# Distributed under the terms of the GNU Affero General Public License v3

EAPI=8

DESCRIPTION="One of five independent packages, of which p3 fails"
HOMEPAGE="https://example.org/lab"
S="${WORKDIR}"

LICENSE="AGPL-3"
SLOT="0"
KEYWORDS="amd64 arm64"

src_compile() {
	printf '#include <stdio.h>\nint main(void) { return puts("%s") < 0; }\n' "${PN}" > "${PN}".c || die
	"${CC:-${CHOST}-gcc}" ${CFLAGS} ${LDFLAGS} -o lab-"${PN}" "${PN}".c || die
}

src_install() {
	dobin lab-"${PN}"
}
