# Copyright 2026 The Lantage authors
# Distributed under the terms of the GNU Affero General Public License v3

EAPI=8

DESCRIPTION="Tries to get out of its build root, and notes down how far it came"
HOMEPAGE="https://example.org/lab"
S="${WORKDIR}"

LICENSE="AGPL-3"
SLOT="0"
KEYWORDS="amd64 arm64"

# Writes what it finds to a file named after the phase: a line for each thing that
# an isolated build cannot do, and facts for a test to judge. The test marks the
# builder's secrets with this word, which is not in one piece here, so that the
# ebuild does not find itself.
probe() {
	local mark="LAB-""SECRET" out="${T}/probe-$1" file dir pid
	exec 7> "${out}" || die

	# First take away what hides them: the mounts on top.
	for dir in /root /home /var/lib/* /var/cache /var/log /var/tmp /sys; do
		umount -l "${dir}" 2> /dev/null && echo "unmounted ${dir}" >&7
	done
	for file in $(grep -rls "${mark}" /root /home /srv /mnt /var/lib /var/log /var/cache /var/spool \
		/etc /run /tmp /dev/shm /proc/1/root/root /proc/1/cwd/root)
	do
		echo "read ${file}" >&7
	done

	for file in /usr/lab-probe /etc/lab-probe /var/db/pkg/lab-probe /opt/lab-probe /boot/lab-probe; do
		echo here 2> /dev/null > "${file}" # may succeed, in the layer that is thrown away
	done
	chmod 0777 /usr/bin/env 2> /dev/null
	echo >> /var/db/repos/lab/profiles/categories

	for file in /proc/[0-9]*/cmdline; do
		grep -qs "31415" "${file}" && echo "sees ${file}" >&7
	done
	for pid in {1..40000}; do
		[[ -d /proc/${pid} ]] || ! kill -0 "${pid}" 2> /dev/null || echo "signals ${pid}" >&7
	done

	mknod "${T}"/disk b 8 0 2> /dev/null && echo "made a disk" >&7
	mknod "${T}"/memory c 1 1 2> /dev/null && echo "made /dev/mem" >&7
	for file in /dev/*; do
		[[ -b ${file} ]] && echo "has ${file}" >&7
	done
	echo 1 2> /dev/null > /proc/sys/vm/drop_caches && echo "wrote /proc/sys" >&7
	mount -t sysfs sysfs /mnt 2> /dev/null && echo "mounted /sys" >&7
	mount -o remount,rw /sys 2> /dev/null && echo "remounted /sys" >&7
	chroot /proc/1/root/.. true 2> /dev/null && [[ -e /proc/1/root/../.lab-outside ]] && echo "left the root" >&7

	echo "user $(id -u)" >&7
	echo "outside $(awk '{ print $2 }' /proc/self/uid_map)" >&7
	echo "host $(hostname)" >&7
	echo "interfaces" $(awk -F: 'NR > 2 { print $1 }' /proc/net/dev | sort) >&7
	exec 7>&-
}

pkg_setup() {
	# Where a binary package is merged nothing is tried.
	[[ ${MERGE_TYPE} == binary ]] || probe setup
}

src_compile() {
	probe compile 2> /dev/null
}

src_install() {
	insinto /usr/share/lab-probe
	newins "${T}"/probe-setup setup
	newins "${T}"/probe-compile compile
}
