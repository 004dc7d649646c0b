package e2e

import "testing"

// TestHostBase: the builder's own system builds what the client would, from the client's profile and repositories, or says
// what of its own differs.
func TestHostBase(t *testing.T) {
	t.Parallel()
	_, tower, lappy := pair(t, nil)
	serve(t, tower)
	const eclass = "/var/db/repos/lab/eclass/lab-only-here.eclass"

	t.Run("an eclass differs", func(t *testing.T) {
		put(t, tower, eclass, "# of the builder\n")
		for _, base := range []string{"--base=host", "--base=auto"} {
			lantage(t, lappy, base, "--no-fallback", "emerge", "-1", "lab-five/p1").is(t, 4).
				says(t, `its repository "lab" is in another state (contents `, ") than this machine's (contents ",
					"emaint sync -r lab", "--base client", "--ignore-revisions").saysNot(t, "built in")
		}
		lantage(t, lappy, "--ignore-revisions", "--no-fallback", "emerge", "-B", "lab-five/p1").ok(t).says(t, "base host", "lab-five/p1-1 built in")
		in(t, tower, nil, "rm", eclass).ok(t)
		lantage(t, lappy, "--base=host", "--no-fallback", "emerge", "-B", "lab-five/p2").ok(t).says(t, "base host", "lab-five/p2-1 built in")
	})
	t.Run("synced in two ways", func(t *testing.T) {
		const commit = "0123456789abcdef0123456789abcdef01234567"
		put(t, lappy, "/var/db/repos/lab/metadata/timestamp.commit", commit+" 1795677301 2026-11-26T07:15:01+00:00\n")
		lantage(t, lappy, "--no-fallback", "emerge", "-1", "lab-five/p5").is(t, 4).says(t, "this machine's (commit 0123456789)")
		put(t, tower, "/var/db/repos/lab/metadata/timestamp.commit", commit+" 1 another date\n")
		lantage(t, lappy, "--no-fallback", "emerge", "-B", "lab-five/p5").ok(t).says(t, "lab-five/p5-1 built in")
	})
	t.Run("an overlay that only the client has", func(t *testing.T) {
		ownOverlay(t, lappy) // its profile is chosen by a relative link
		res := lantage(t, lappy, "--base=host", "--no-fallback", "emerge", "-1", "lab-mine/own").says(t, "base host")
		binariesOnly(t, res, "lab-libs/greet-2", "lab-mine/own-1", "lab-tools/gen-1")
		in(t, lappy, nil, "lab-own").ok(t).says(t, "own: 2, profile laptop")
		in(t, tower, nil, "test", "!", "-e", "/var/db/repos/mine").ok(t)
	})
	t.Run("a make.profile directory", func(t *testing.T) {
		in(t, lappy, nil, "rm", "/etc/portage/make.profile").ok(t)
		put(t, lappy, "/etc/portage/make.profile/parent", "/var/db/repos/lab/profiles/default\n")
		put(t, lappy, "/etc/portage/make.profile/eapi", "8\n")
		put(t, lappy, "/etc/portage/make.profile/make.defaults", "CFLAGS=\"-O1 -DMARK=directory\"\nLAB_TARGETS=\"-green red\"\n")
		put(t, lappy, "/etc/portage/make.profile/package.use", "lab-apps/hello shout\n")
		res := lantage(t, lappy, "--base=host", "--no-fallback", "emerge", "-1", "lab-apps/hello", "lab-apps/targets")
		binariesOnly(t, res, "lab-apps/hello-1.1", "lab-apps/targets-1")
		in(t, lappy, nil, "hello").ok(t).says(t, "shout: on", "-DMARK=directory")
		in(t, lappy, nil, "cat", "/usr/share/lab-targets/targets").ok(t).says(t, "red").saysNot(t, "green")

		in(t, lappy, nil, "sh", "-c", "cp -a /var/db/repos/lab/profiles/default /var/db/repos/lab/profiles/more &&"+
			"echo /var/db/repos/lab/profiles/more >> /etc/portage/make.profile/parent").ok(t)
		lantage(t, lappy, "--ignore-revisions", "--no-fallback", "emerge", "-1", "lab-five/p4").is(t, 4).
			says(t, `repository "lab" has no profile "more"`, "emaint sync -r lab")
	})
}
