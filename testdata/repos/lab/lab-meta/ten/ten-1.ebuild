# Copyright 2026 The Lantage authors
# Distributed under the terms of the GNU Affero General Public License v3

EAPI=8

DESCRIPTION="Pulls in ten packages, which pull in more"
HOMEPAGE="https://example.org/lab"

LICENSE="metapackage"
SLOT="0"
KEYWORDS="amd64 arm64"

RDEPEND="
	lab-apps/bothslots
	lab-apps/environ
	lab-apps/generated
	lab-apps/hello
	lab-apps/oddfiles
	lab-apps/patched
	lab-apps/targets
	lab-apps/versions
	lab-five/p1
	virtual/greeting
"
