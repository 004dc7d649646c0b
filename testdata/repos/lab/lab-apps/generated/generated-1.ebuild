# Copyright 2026 The Lantage authors
# Distributed under the terms of the GNU Affero General Public License v3

EAPI=8

DESCRIPTION="Program whose source lab-tools/gen writes during the build"
HOMEPAGE="https://example.org/lab"
S="${WORKDIR}"

LICENSE="AGPL-3"
SLOT="0"
KEYWORDS="amd64 arm64"

BDEPEND="lab-tools/gen"

src_compile() {
	lab-gen "generated: ${PVR}" > generated.c || die "lab-gen did not run"
	"${CC:-${CHOST}-gcc}" ${CFLAGS} ${LDFLAGS} -o generated generated.c || die
}

src_install() {
	dobin generated
}
