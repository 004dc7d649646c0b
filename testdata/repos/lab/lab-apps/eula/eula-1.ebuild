# Copyright 2026 The Lantage authors
# Distributed under the terms of the GNU Affero General Public License v3

EAPI=8

DESCRIPTION="Under a licence that the profile does not accept"
HOMEPAGE="https://example.org/lab"
S="${WORKDIR}"

LICENSE="LAB-EULA"
SLOT="0"
KEYWORDS="amd64 arm64"
