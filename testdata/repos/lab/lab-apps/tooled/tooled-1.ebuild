# Copyright 2026 The Lantage authors
# Distributed under the terms of the GNU Affero General Public License v3

EAPI=8

DESCRIPTION="Notes down whether the tool that it asks for was there"
HOMEPAGE="https://example.org/lab"
S="${WORKDIR}"

LICENSE="AGPL-3"
SLOT="0"
KEYWORDS="amd64 arm64"

BDEPEND="lab-tools/gen"

src_install() {
	insinto /usr/share/lab-tooled
	newins - tool <<< "tool: $(type -P lab-gen || echo none)"
}
