// Package daemon is `lantage serve`: it accepts connections, takes jobs, queues them, has them run and lets
// clients watch them. It is the only package that joins network and building.
//
// # Who can do what
//
// As yet anyone who can reach the port can run code on this machine: as the root of a build root, which is an
// unprivileged ID range outside of it. Package build says what that limits and what not. What a peer can make
// the daemon itself hold and do is bounded by the limits in limits.go, by those of wire, and by archive's.
//
// # A job's life
//
// A session (session.go) reads a job, judges it (job.go), and takes its inputs into the job's own directory
// (inputs.go). Then the job belongs to the queue (queue.go), and lives on whatever becomes of the session: it
// waits, runs, ends, and stays attachable for a while. Its events are kept (events.go), so that any number of
// sessions can watch it from any point on (watch.go).
//
// A job's directory, StateDir/jobs/ID, has
//
//	job.json      the job as it was submitted
//	events.jsonl  its events, one line each, for the builder's owner
//	inputs/       the client's etc/portage
//	log           the build logs
//
// and what package build puts there. It is removed with the job, and what an earlier daemon left is removed
// at the start. PKGDIR caches are elsewhere and stay: a job that is submitted again is answered from them.
package daemon
