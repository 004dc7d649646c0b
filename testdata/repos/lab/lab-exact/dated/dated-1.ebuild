# Copyright 2026 The Lantage authors
# Distributed under the terms of the GNU Affero General Public License v3

EAPI=8

DESCRIPTION="Two builds of it are never the same: one file has the time, the other never changes"
HOMEPAGE="https://example.org/lab"
S="${WORKDIR}"

LICENSE="AGPL-3"
SLOT="0"
KEYWORDS="amd64 arm64"

src_install() {
	insinto /usr/share/lab-dated
	newins - built <<< "$(date +%s.%N)"
	newins - always <<< "the same"
}
