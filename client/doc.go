// Package client is the side of Lantage that a user meets: `lantage emerge` and `lantage list-builders`.
//
// emerge.go reads from top to bottom as the way of a job: plan (emerge.go, plan.go, system.go), find a
// builder (where.go, cache.go, find.go, search.go, dial.go, pick.go, explain.go), submit and watch (job.go,
// session.go, display.go), take what arrives (results.go), install it (install.go) or keep it for later
// (keep.go), and tell what failed (report.go).
//
// Two promises shape all of it. It is never worse than plain emerge: without a builder, or after losing one,
// the same command goes on here, with everything that has arrived. And nothing of a builder is trusted as
// far as it need not be: what it sends is checked against the plan, against its own declared size and hash,
// and made printable before it is shown; a binpkg becomes visible in PKGDIR only once it is whole.
package client
