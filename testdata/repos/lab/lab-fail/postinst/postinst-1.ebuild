# Copyright 2026 The Lantage authors
# Distributed under the terms of the GNU Affero General Public License v3

EAPI=8

DESCRIPTION="Builds and packages, then fails in pkg_postinst"
HOMEPAGE="https://example.org/lab"
S="${WORKDIR}"

LICENSE="AGPL-3"
SLOT="0"
KEYWORDS="amd64 arm64"

src_install() {
	insinto /usr/share/lab-postinst
	newins - merged <<< "merged"
}

pkg_postinst() {
	die "the lab wants this to fail after the merge"
}
