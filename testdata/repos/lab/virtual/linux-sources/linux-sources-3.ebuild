# Copyright 2026 The Lantage authors
# Distributed under the terms of the GNU Affero General Public License v3

EAPI=8

DESCRIPTION="Stands for the kernel sources that the administrator put into /usr/src/linux"

SLOT="0"
KEYWORDS="amd64 arm64"
