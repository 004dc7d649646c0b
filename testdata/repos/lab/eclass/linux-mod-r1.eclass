# Copyright 2026 The Lantage authors
# Distributed under the terms of the GNU Affero General Public License v3

# What kernel modules need of the eclass of this name in ::gentoo.

inherit linux-info

DEPEND="virtual/linux-sources"
