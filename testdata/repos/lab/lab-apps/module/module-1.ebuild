# Copyright 2026 The Lantage authors
# Distributed under the terms of the GNU Affero General Public License v3

EAPI=8

inherit linux-mod-r1

DESCRIPTION="Notes down which kernel sources it is built for, and their configuration"
HOMEPAGE="https://example.org/lab"
S="${WORKDIR}"

LICENSE="AGPL-3"
SLOT="0"
KEYWORDS="amd64 arm64"

src_compile() {
	linux-info_release > kernel || die
	cat "${KERNEL_DIR}"/.config >> kernel || die "the kernel in ${KERNEL_DIR} is not configured"
}

src_install() {
	insinto /usr/share/lab-module
	doins kernel
}
