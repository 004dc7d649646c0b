# Copyright 2026 The Lantage authors
# Distributed under the terms of the GNU Affero General Public License v3

EAPI=8

DESCRIPTION="Virtual for a program that greets"

SLOT="0"
KEYWORDS="amd64 arm64"

RDEPEND="
	|| (
		lab-apps/hello
		lab-apps/patched
	)
"
