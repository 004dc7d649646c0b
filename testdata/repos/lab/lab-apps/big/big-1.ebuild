# Copyright 2026 The Lantage authors
# Distributed under the terms of the GNU Affero General Public License v3

EAPI=8

DESCRIPTION="Incompressible data, to measure transfers"
HOMEPAGE="https://example.org/lab"
S="${WORKDIR}"

LICENSE="AGPL-3"
SLOT="0"
KEYWORDS="amd64 arm64"
RESTRICT="strip"

# LAB_MB comes from /etc/portage/env through package.env: the size in MiB.
src_compile() {
	head -c "${LAB_MB:-200}M" /dev/urandom > data || die
	sha256sum data > data.sha256 || die
}

src_install() {
	insinto /usr/share/lab-big
	doins data.sha256
	# Moved: doins would copy the data once more.
	mv data "${ED}"/usr/share/lab-big/data || die
}
