package e2e

import (
	"context"
	"crypto/sha512"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/elastic/go-seccomp-bpf/arch"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"lantage/test/lab"
)

// attempt is something that a job tries. These rows are those of the table in SECURITY.md.
type attempt struct {
	what  string
	stops string
	// script is run by bash in an ebuild or in a bashrc, as root in pkg_setup and as Portage's user in src_compile. It ends with 0 if it
	// has done what it tries, and may say how far it came.
	script string
	only   string                              // one of the phases
	after  func(t *testing.T, tower *lab.Host) // what a script cannot see, it looks at from outside
	alone  string                              // a job of its own, ended by this limit
}

// secret is what no job may read. The attempts look for it.
const secret = "LAB-SECRET\n"

// outside is a file that exists on the builder, for those that get out.
const outside = "/var/lib/lantage/id"

// othersSource is what another job has downloaded.
const othersSource = "sources of others\n"

// attempts is the table. What a script runs besides bash is in header.
var attempts = []attempt{
	{
		what: "read people's and services' files", stops: "they are not in the root: of base `host` only what is installed is, and nothing that not everybody may read in `/opt`, `/usr/local` and `/var/lib`",
		script: `found=$(grep -rlsF "${MARK}" /root /home /srv /mnt /media /boot /opt /usr/local /data /swapfile /var --exclude-dir=portage); echo "${found}"; [[ ${found} ]]`,
	},
	{
		what: "read passwords and keys (`/etc/shadow`, SSH, TLS, GPG, VPN)", stops: "what not everybody may read in `/etc` is not in the root, nor are `/etc/ssh` and its like",
		script: `found=$(grep -rlsF "${MARK}" /etc); echo "${found}"; [[ ${found} ]]`,
	},
	{
		what: "read Lantage's state: other jobs, other clients' copies and `PKGDIR`s", stops: "the state directory is not in the root",
		script: `found=$(grep -rlsF "${MARK}" /var/lib/lantage /var/cache /var/tmp /tmp /run); echo "${found}"; [[ ${found} || -e ` + outside + ` ]]`,
	},
	{
		what: "reach the builder's sockets", stops: "`/run` and `/tmp` are the job's own; abstract sockets are scoped (Landlock, Linux 6.12)",
		script: `found=$(find /run /tmp /var -type s 2> /dev/null); echo "${found}"; [[ ${found} ]] || connect_abstract`,
	},
	{
		what: "see other processes", stops: "PID namespace",
		script: `for f in /proc/[0-9]*/cmdline; do grep -qs 31415 "${f}" && echo "${f}" && exit 0; done; exit 1`,
	},
	{
		what: "signal other processes", stops: "PID namespace, IDs of nobody outside",
		script: `signal_any`,
		after: func(t *testing.T, tower *lab.Host) {
			if !runs(t, tower, "sleep 31415") {
				t.Error("a process of the builder was killed")
			}
		},
	},
	{
		what: "change files of the builder", stops: "read-only, ID-mapped layers below an overlay that is thrown away",
		script: `for f in /usr/lab-attack /etc/lab-attack /var/db/pkg/lab-attack /opt/lab-attack /boot/lab-attack; do echo here > "${f}"; done
			chmod 0777 /usr/bin/env; echo lab-attack >> /var/db/repos/lab/profiles/categories; exit 1`,
		after: func(t *testing.T, tower *lab.Host) {
			for _, path := range []string{"/usr/lab-attack", "/etc/lab-attack", "/var/db/pkg/lab-attack", "/opt/lab-attack", "/boot/lab-attack"} {
				if _, err := os.Lstat(tower.Path(path)); err == nil {
					t.Errorf("the job wrote %s on the builder", path)
				}
			}
			if fi, err := os.Stat(tower.Path("/usr/bin/env")); err != nil || fi.Mode().Perm() == 0o777 {
				t.Errorf("the job changed /usr/bin/env on the builder: %v, %v", fi.Mode(), err)
			}
			in(t, tower, nil, "cat", "/var/db/repos/lab/profiles/categories").ok(t).saysNot(t, "lab-attack")
		},
	},
	{
		what: "change sources that other jobs build from", stops: "a `DISTDIR` of its own, thrown away; what others have downloaded it sees read-only, by content",
		script: `for f in /var/cache/distfiles-*/*; do chmod 0666 "${f}"; mv "${f}" "${f}.moved"; { echo lab-attack > "${f}"; } 2> /dev/null && echo "${f}" && exit 0; done
			touch /var/cache/distfiles-shared/lab-attack`,
		after: func(t *testing.T, tower *lab.Host) {
			in(t, tower, nil, "sh", "-c", "cd /var/lib/lantage/distfiles && ls && cat *").is(t, 0).saysNot(t, "lab-attack", "moved").says(t, othersSource)
		},
	},
	{
		what: "leave a setuid program that acts outside", stops: "what lasts (`PKGDIR`) lies below a directory of root's alone, mode 0700",
		script: `for d in /var/cache/binpkgs /var/cache/distfiles; do cp /usr/bin/id "${d}"/lab-attack && chmod 4755 "${d}"/lab-attack; done
			cp /usr/bin/id /usr/bin/lab-attack && chmod 4755 /usr/bin/lab-attack; exit 1`,
		after: func(t *testing.T, tower *lab.Host) {
			const larry = `for f in $(find /var/lib/lantage -name lab-attack -type f); do echo found; setpriv --reuid 1000 --regid 1000 --clear-groups sh -c "$f -u"; done`
			in(t, tower, nil, "sh", "-c", larry).says(t, "found", "denied").saysNot(t, "\n0\n")
		},
	},
	{
		what: "become root by a setuid program", stops: "`no_new_privs`, `nosuid`", only: "compile", // setup has left them
		script: `for f in /var/cache/distfiles/lab-attack /usr/bin/lab-attack; do [[ $("${f}" -u) == 0 ]] && exit 0; done; exit 1`,
	},
	{
		what: "mount, or take away what hides", stops: "seccomp",
		script: `denied mount umount2 move_mount open_tree fsopen fsmount mount_setattr pivot_root || exit 0
			mount -t tmpfs tmpfs /mnt || umount -l /proc/keys || mount -o remount,rw /sys`,
	},
	{
		what: "load a kernel module, boot another kernel, read the kernel's log", stops: "seccomp, no capability for it",
		script: `denied init_module finit_module delete_module kexec_load reboot syslog; (($?)) || exit 1`,
	},
	{
		what: "BPF, perf, io_uring, userfaultfd, open_by_handle_at", stops: "seccomp",
		script: `denied bpf perf_event_open io_uring_setup userfaultfd open_by_handle_at; (($?)) || exit 1`,
	},
	{what: "use the kernel's keyrings", stops: "seccomp", script: `denied keyctl add_key request_key; (($?)) || exit 1`},
	{
		what: "set the clock, use swap, accounting or quotas", stops: "seccomp, no capability for it",
		script: `denied settimeofday clock_settime swapon acct quotactl; (($?)) || exit 1`,
	},
	{
		what: "get all capabilities in a user namespace, or enter another namespace", stops: "the job's user namespace has room for no other; seccomp",
		script: `unshare -Ur true && exit 0; denied setns; (($?)) || exit 1`,
	},
	{
		what: "make or open devices", stops: "user namespace; a `/dev` with six nodes",
		script: `mknod "${T}"/disk b 8 0 || mknod "${T}"/memory c 1 1 || [[ -e /dev/mem || -e /dev/kmsg || $(find /dev -type b) ]]`,
	},
	{
		what: "change the kernel's settings", stops: "`/proc/sys` and `/sys` are read-only, and not its own",
		script: `for f in /proc/sys/kernel/core_pattern /proc/sys/vm/drop_caches /proc/sys/user/max_user_namespaces /proc/sysrq-trigger \
			/sys/kernel/mm/transparent_hugepage/enabled; do [[ -e ${f} ]] && { echo 1 > "${f}"; } 2> /dev/null && echo "${f}" && exit 0; done; exit 1`,
	},
	{
		what: "learn of the machine from `/proc` and `/sys`", stops: "masked, as container engines do",
		script: `for f in /proc/{kcore,keys,kmsg,interrupts,timer_list,sched_debug}; do [[ $(head -c 1 "${f}" | wc -c) == 1 ]] && echo "${f}" && exit 0; done
			found=$(ls -A /proc/acpi /proc/scsi /sys/firmware /sys/fs /sys/kernel/security | grep -v :); [[ ${found//[[:space:]]} ]]`,
	},
	{
		what: "leave the root by `chroot`", stops: "`pivot_root`: nothing of the builder is mounted in the job's namespace",
		script: `escape ` + outside,
	},
	{
		what: "listen on the LAN in a compile phase", stops: "Portage's network sandbox, in which there is only `lo`", only: "compile",
		script: `others=$(awk -F: 'NR > 2 { print $1 }' /proc/net/dev | grep -vw lo); echo "${others}"; [[ ${others} ]] && listen "${TOWER}"`,
	},
	{
		what: "take what its limits or its niceness deny", stops: "no capability for it",
		script: `(($(nice -n -15 nice) < 10)) || ulimit -Hu unlimited || { echo -1000 > /proc/self/oom_score_adj; } 2> /dev/null`,
	},
	{
		what: "fill the disk", stops: "`--job-disk`, `--keep-free`: the job is ended", alone: "--job-disk",
		script: `dd if=/dev/zero of="${T}"/fill bs=1M; sleep 600`,
	},
	{
		what: "fork without end", stops: "`--job-processes`: the job is ended", alone: "--job-processes",
		script: `bomb() { bomb | bomb & }; bomb; sleep 600`,
	},
}

// header is before each script.
const header = `MARK="LAB-""SECRET"
shopt -s nullglob
denied() { python3 /etc/portage/attack/calls.py "$@"; }
connect_abstract() { python3 -c 'import socket; socket.socket(socket.AF_UNIX).connect("\0lantage-lab")'; }
listen() { python3 -c 'import socket, sys; s = socket.socket(); s.bind((sys.argv[1], 18474)); s.listen()' "$1"; }
signal_any() { python3 -c '
import os, sys
for p in range(2, 40000):
    try: os.kill(p, 0)
    except OSError: continue
    if not os.path.exists("/proc/%d" % p): sys.exit(print(p))
sys.exit(1)'; }
escape() { python3 -c '
import os, sys
os.makedirs("/tmp/jail", exist_ok=True)
here = os.open(".", os.O_RDONLY)
os.chroot("/tmp/jail")
os.fchdir(here)
for _ in range(64): os.chdir("..")
os.chroot(".")
sys.exit(not os.path.exists(sys.argv[1]))' "$1"; }
`

// callsProgram makes system calls with arguments that make no sense, in all ABIs of the machine, and fails (status 1) as soon as the
// kernel has looked at them.
const callsProgram = `
import ctypes, mmap, sys
libc = ctypes.CDLL(None, use_errno=True)
native, compat = %s, %s
def call(n):
	ctypes.set_errno(0)
	libc.syscall(ctypes.c_long(n), *[ctypes.c_long(-1)] * 6)
	return ctypes.get_errno()
def call32(n):
	code = b"\x53\xb8" + n.to_bytes(4, "little") + b"\xbb\xff\xff\xff\xff\xb9\xff\xff\xff\xff\xba\xff\xff\xff\xff\xcd\x80\x5b\xc3"
	page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
	page.write(code)
	return -ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()
for name in sys.argv[1:]:
	for errno in [call(native[name])] + ([call32(compat[name])] if name in compat else []):
		if errno != 1:
			print(name, "is answered with error", errno)
			sys.exit(1)
`

// attackProgram is sourced by the ebuild and by the bashrc.
const attackProgram = `attack() {
	local file out
	for file in /etc/portage/attack/*.any.sh /etc/portage/attack/*."$1".sh; do
		[[ -e ${file} ]] || continue
		out=$(T=${T} timeout 60 bash "${file}" 2>&1) && echo "worked ${file##*/}: ${out:0:300}"
	done > "${T}/attack-$1"
	echo "ended $(id -u), root is $(awk '{ print $2 }' /proc/self/uid_map)" >> "${T}/attack-$1"
}
`

const attackBashrc = `
if [[ -e /etc/portage/attack/alone && ${EBUILD_PHASE} == compile && ${PN} == p5 ]]; then
	until grep -qs "Merging .*lab-five/p1" /var/log/portage/emerge.log; do sleep 0.1; done # its result is there
	bash /etc/portage/attack/alone
fi
if [[ ${PN} == p2 && ${MERGE_TYPE} != binary ]]; then
	if [[ ${EBUILD_PHASE} == setup || ${EBUILD_PHASE} == compile ]]; then
		source /etc/portage/attack/attack
		attack "${EBUILD_PHASE}"
	fi
	post_src_install() {
		mkdir -p "${D}"/usr/share/lab-attack/bashrc && cp "${T}"/attack-{setup,compile} "${D}"/usr/share/lab-attack/bashrc
	}
fi
`

// numbers are the system calls of an ABI as Python has a dictionary.
func numbers(abi *arch.Info) string {
	var s strings.Builder
	for name, n := range abi.SyscallNames {
		fmt.Fprintf(&s, "%q: %d, ", name, n)
	}
	return "{" + s.String() + "}"
}

// callNumbers are callsProgram's tables for this machine.
func callNumbers(t *testing.T) (native, compat string) {
	t.Helper()
	abi, err := arch.GetInfo("")
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOARCH == "amd64" {
		return numbers(abi), numbers(arch.I386)
	}
	return numbers(abi), "{}"
}

// scopesSockets reports whether the kernel can keep abstract sockets out of a job.
func scopesSockets() bool {
	attr := unix.LandlockRulesetAttr{Scoped: unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET}
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), unsafe.Offsetof(attr.Scoped)+8, 0)
	if errno == 0 {
		unix.Close(int(fd))
	}
	return errno == 0
}

// TestAttacker: none of the attempts works, from an ebuild on the builder's own root or from a bashrc on a copy of the client's; and the
// builder builds on.
func TestAttacker(t *testing.T) {
	t.Parallel()
	l := newLab(t, lab.HostSpec{Name: "tower", Builder: true, WritableBase: true}, lab.HostSpec{Name: "lappy"})
	tower, lappy := l.Host("tower"), l.Host("lappy")
	in(t, tower, nil, "sh", "-c", "cp -a /etc /var/lib/etc && mount --bind /var/lib/etc /etc && mkdir -m 755 /var/lib/lantage").ok(t)
	serve(t, tower, "--bases=client,host", "--job-disk=500", "--job-processes=500")
	for _, path := range []string{
		"/root/.ssh/id_ed25519", "/home/alice/secret", "/srv/www/secret", "/var/lib/mail/secret", "/var/log/secret", "/var/spool/cron/root",
		"/var/cache/secret", "/var/tmp/secret", "/run/secret", "/tmp/secret",
		"/var/lib/lantage/secret", "/var/lib/lantage/jobs/other/inputs/secret", "/var/lib/lantage/binpkgs/other/secret",
		"/etc/shadow", "/etc/gshadow", "/etc/sudoers", "/etc/machine-id", "/etc/ssh/ssh_host_ed25519_key", "/etc/ssl/private/key.pem",
		"/etc/portage/gnupg/secring.gpg", "/etc/NetworkManager/system-connections/home", "/etc/wireguard/wg0.conf",
	} {
		put(t, tower, path, secret)
	}
	for _, path := range []string{"/etc/ssl/nginx/server.key", "/opt/app/settings", "/usr/local/app/settings", "/var/lib/misc/random-seed"} {
		put(t, tower, path, secret)
		in(t, tower, nil, "chmod", "600", path).ok(t)
	}
	put(t, tower, fmt.Sprintf("/var/lib/lantage/distfiles/sha512-%x", sha512.Sum512([]byte(othersSource))), othersSource)
	outsider := tower.Command(context.Background(), "python3", "-c",
		`import socket, os; s = socket.socket(socket.AF_UNIX); s.bind("\0lantage-lab"); s.listen(); os.execvp("sleep", ["sleep", "31415"])`)
	if err := outsider.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = signal(outsider, 9); _ = outsider.Wait() }()

	native, compat := callNumbers(t)
	put(t, lappy, "/etc/portage/attack/calls.py", fmt.Sprintf(callsProgram, native, compat))
	put(t, lappy, "/etc/portage/attack/attack", attackProgram)
	put(t, lappy, "/etc/portage/bashrc", attackBashrc)
	for i, a := range attempts {
		if a.alone != "" {
			continue
		}
		script := a.script
		if !scopesSockets() {
			script = strings.ReplaceAll(script, "|| connect_abstract", "")
		}
		phase := a.only
		if phase == "" {
			phase = "any"
		}
		put(t, lappy, fmt.Sprintf("/etc/portage/attack/%02d.%s.sh", i, phase), header+"TOWER="+tower.IP()+"\n"+script+"\n")
	}
	for base, by := range map[string]struct{ name, pkg string }{"host": {"ebuild", "lab-apps/attacker"}, "client": {"bashrc", "lab-five/p2"}} {
		t.Run(base, func(t *testing.T) {
			lantage(t, lappy, "--no-fallback", "--base="+base, "emerge", "-1", by.pkg).ok(t).says(t, by.pkg+"-1 built")
			for phase, user := range map[string]string{"setup": "0", "compile": "250"} {
				text, err := os.ReadFile(lappy.Path("/usr/share/lab-attack/" + by.name + "/attack-" + phase))
				if err != nil {
					t.Fatal(err)
				}
				for _, m := range regexp.MustCompile(`(?m)^worked (\d+)\..*\n?`).FindAllStringSubmatch(string(text), -1) {
					i, _ := strconv.Atoi(m[1])
					t.Errorf("from a %s in %s it could %s: %s", by.name, phase, attempts[i].what, m[0])
				}
				if _, end, _ := strings.Cut(string(text), "ended "+user+", root is "); len(end) != len("1900000000\n") || end < "19" {
					t.Errorf("the attempts from a %s in %s did not end as user %s of those that are nobody's; they said %q", by.name, phase, user, text)
				}
			}
			for _, a := range attempts {
				if a.after != nil {
					a.after(t, tower)
				}
			}
		})
	}
	for _, a := range attempts {
		if a.alone == "" {
			continue
		}
		t.Run(a.what, func(t *testing.T) {
			put(t, lappy, "/etc/portage/attack/alone", header+a.script)
			began := time.Now()
			lantage(t, lappy, "--no-fallback", "--base=host", "emerge", "-1", "lab-five/p1", "lab-five/p5").is(t, 4).
				says(t, "tower ended the job: it ", "(lantage serve "+a.alone+")", "lab-five/p1-1")
			if took := time.Since(began); took > time.Minute {
				t.Errorf("it took %v to end it", took)
			}
			in(t, lappy, nil, "rm", "/etc/portage/attack/alone").ok(t)
		})
	}
	in(t, tower, nil, "sh", "-c", "ls /var/lib/lantage/jobs").saysNot(t, "upper")
	lantage(t, lappy, "--no-fallback", "--base=host", "emerge", "-1", "lab-five/p5").ok(t).says(t, "lab-five/p5-1 built")
}

// TestAttackerTable: SECURITY.md has the attempts of this test.
func TestAttackerTable(t *testing.T) {
	text, err := os.ReadFile("../../SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	want.WriteString("| it tries to | what stops it |\n|---|---|\n")
	for _, a := range attempts {
		fmt.Fprintf(&want, "| %s | %s |\n", a.what, a.stops)
	}
	_, rest, _ := strings.Cut(string(text), "## What a job tries, and what stops it\n")
	begin := strings.Index(rest, "| it tries to")
	if begin < 0 {
		t.Fatalf("SECURITY.md has no such table; it is\n%s", want.String())
	}
	table, _, _ := strings.Cut(rest[begin:], "\n\n")
	if diff := cmp.Diff(want.String(), table+"\n"); diff != "" && diff != "\n" {
		t.Errorf("the table of SECURITY.md differs (-test +SECURITY.md):\n%s\nit is\n%s", diff, want.String())
	}
}
