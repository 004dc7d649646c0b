# Copyright 2026 The Lantage authors
# Distributed under the terms of the GNU Affero General Public License v3

EAPI=8

DESCRIPTION="The one of five packages that does not compile"
HOMEPAGE="https://example.org/lab"
S="${WORKDIR}"

LICENSE="AGPL-3"
SLOT="0"
KEYWORDS="amd64 arm64"

src_compile() {
	echo "int main(void) { return missing; }" > p3.c || die
	"${CC:-${CHOST}-gcc}" ${CFLAGS} ${LDFLAGS} -o lab-p3 p3.c || die "p3 does not compile"
}
