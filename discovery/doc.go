// Package discovery answers one question: which builders are on the LAN. A builder says so with
// [Advertise], a client listens with [Browse]. What it finds is a hint and never trust: anyone on the LAN
// can send these packets, so a builder counts only after it has answered the hello over TCP.
//
// # On the wire
//
// Builders are DNS-SD services (RFC 6763) of type _lantage._tcp in the domain local, over multicast DNS
// (RFC 6762):
//
//	_lantage._tcp.local.             PTR  <instance>._lantage._tcp.local.
//	<instance>._lantage._tcp.local.  SRV  <port> lantage-<ID>.local.
//	<instance>._lantage._tcp.local.  TXT  v=1 id=… name=… …
//	lantage-<ID>.local.              A, AAAA
//
// The instance is <host>-<first 6 characters of the ID>, see [InstanceName]. The SRV target, with the first
// 32 characters of the ID, is a name of our own, not the machine's: another responder on the same machine
// (Avahi, systemd-resolved) owns that one. All records of one builder travel in one packet of at most 1200
// bytes, and one packet tells of one builder.
//
// # TXT keys
//
// Version 1. A reader takes only packets whose v it knows, ignores keys that it does not know, and refuses
// the whole record when a known key is malformed or v, id, name or proto is missing. The first of two equal
// keys counts (RFC 6763 section 6.4). Values are ASCII without spaces, quotes or backslashes; numbers are
// decimal digits.
//
//	v        format of this list: 1
//	id       the builder's stable ID: 6 to 64 of [a-z0-9]
//	name     the machine's host name, or the name it was given: 1 to 63 of [A-Za-z0-9._-]
//	proto    the newest version of Lantage's protocol that it speaks: 0 to 65535
//	chost    CHOST, as Portage says it: at most 64 of [A-Za-z0-9._-]
//	arch     machine, as uname -m says it: at most 16 of [A-Za-z0-9._-]
//	cpu      level of the instruction set, x86-64-v1 to x86-64-v4, empty elsewhere: as arch
//	cores    CPUs that jobs may use: 0 to 65535
//	mem      memory in MiB: 0 to 2^31-1
//	jobs     jobs running now: 0 to 65535
//	waiting  jobs that wait now: 0 to 65535
//	maxjobs  how many jobs run at once: 0 to 65535
//	load     1-minute load average with two decimals: 0.00 to 99999.99
//	ver      version of the Lantage software: at most 32 of [A-Za-z0-9._+~-]
//	portage  version of Portage: as ver
//	bases    kinds of base (host, dir), the preferred one first: at most 32 of [A-Za-z0-9._-] and commas
//	fp       fingerprint of the builder's key, only to be shown: at most 64 of [A-Za-z0-9._+~:/=-]
//
// # What holds
//
// Interfaces that are up, running, multicast and addressed take part, each with the families (IPv4, IPv6)
// for which it has an address; no default route is needed. Point-to-point interfaces and those of
// containers and virtual machines (docker*, br-*, veth*, virbr*, vnet*, lxc*, lxd*, podman*, cni*) take
// part only when they are named. Both sides follow changes of interfaces and addresses while they run.
//
// A builder on the same machine is found through any interface that takes part. When there is none at all,
// both sides use the loopback interface over IPv4 (127.0.0.1), so a builder on a machine without a network
// is found there too.
//
// The builder answers any question that reaches UDP port 5353, also one from beyond the LAN: the library
// gives no way to see who asks. What it sends is bounded (see answersPerSecond), so that it is a poor
// amplifier; a router or firewall should keep port 5353 inside the LAN in any case.
package discovery
