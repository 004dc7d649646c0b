# Copyright 2026 The Lantage authors
# Distributed under the terms of the GNU Affero General Public License v3

EAPI=8

DESCRIPTION="Notes down what the root that it is built in looks like"
HOMEPAGE="https://example.org/lab"
S="${WORKDIR}"

LICENSE="AGPL-3"
SLOT="0"
KEYWORDS="amd64 arm64"

# What is the same wherever the package is built for one machine.
facts() {
	local file
	for file in /etc/{host.conf,ld.so.conf,locale.conf,nsswitch.conf,os-release} /etc/ld.so.conf.d/* /usr/share/lab-local/*; do
		[[ -f ${file} ]] && sed "s,^,${file}: ," "${file}"
	done
	find /var/db/pkg -mindepth 2 -maxdepth 2 -printf 'installed %P\n' | sort
	# But for the one line about the builder, MAKEOPTS, that lantage appends to make.conf.
	find /etc/portage -name gnupg -prune -o -type f -print | sort | while read -r file; do
		sed '/^$/N;/\n# Appended by lantage/,$d' "${file}" | cksum | sed "s,$, ${file},"
	done
	find /usr/lib /usr/lib64/ /usr/local -maxdepth 2 ! -type d -printf '%p %m %U:%G %T@ %s %l\n' | sort
	getfattr -hR --absolute-names -d -m '^user' /usr/local 2> /dev/null
	ldconfig -p | sort
	"${CHOST}-gcc" --version
	python3 -c 'import sys, portage; print(sys.version, portage.VERSION)'
	type -P lab-gen > /dev/null && lab-gen lab
	true
}

# What a build must not see. The word that marks secrets is not in one piece here, so that this does not find itself.
secrets() {
	local mark="LAB-""SECRET" dir
	for dir in /root /home /srv /mnt /boot /var/lib/* /var/cache /var/log /var/spool; do
		umount -l "${dir}" 2> /dev/null && echo "unmounted ${dir}"
	done
	find /root /home /srv /mnt /boot /var/lib/lantage -mindepth 1 -printf 'has %p\n' 2> /dev/null
	awk -F: '$2 !~ /^[*!x]*$/ { print "shadow " $0 }' /etc/{,g}shadow 2> /dev/null
	grep -rls -- "${mark}" /etc /root /home /srv /mnt /boot /opt /usr/local /usr/share/lab-local /var/lib /var/cache \
		/var/log /var/spool /run /tmp /dev/shm | sed 's,^,read ,'
	true
}

# As root, who sees most; where a binary package is merged there is nothing to note.
pkg_setup() {
	[[ ${MERGE_TYPE} == binary ]] && return
	facts > "${T}"/facts || die
	secrets > "${T}"/secrets || die
}

src_install() {
	insinto /usr/share/lab-facts
	doins "${T}"/facts "${T}"/secrets
}
