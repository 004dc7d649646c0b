package e2e

import (
	"context"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// leakMark is in each secret that a client has written into its configuration, and keptMark in what goes to the builder.
const (
	leakMark = secretMark + "-written"
	keptMark = "LAB-KEPT"
)

// writtenSecrets are files that people write, with secrets in them.
var writtenSecrets = map[string]string{
	"/etc/portage/make.conf": `# ` + keptMark + `
USE="escape"
GENTOO_MIRRORS="https://me:` + leakMark + `@mirror.example/"
PORTAGE_BINHOST="https://` + leakMark + `@binhost.example/"
FETCHCOMMAND_SECRET="wget --user=me --password=` + leakMark + ` -O \"\${DISTDIR}/\${FILE}\" \"\${URI}\""
RESUMECOMMAND_SECRET="curl --header=\"Authorization: Bearer ` + leakMark + `\" -o \"\${DISTDIR}/\${FILE}\" \"\${URI}\""
FETCHCOMMAND_OTHER="curl -u me:` + leakMark + ` -H 'X-Token: ` + leakMark + `' \"\${URI}\""
http_proxy="http://me:` + leakMark + `@proxy.example:3128/"
RSYNC_PROXY="me:` + leakMark + `@proxy.example:873"
RSYNC_PASSWORD="` + leakMark + `"
`,
	"/etc/portage/repos.conf/mirror.conf":        "# sync-uri = git+ssh://me:" + leakMark + "@git.example/repo.git\n",
	"/etc/portage/binrepos.conf/own.conf":        "[own]\npriority = 1\nsync-uri = https://me:" + leakMark + "@binhost.example/\n",
	"/etc/portage/bashrc":                        "export GITHUB_TOKEN=" + leakMark + " # " + keptMark + "\n",
	"/etc/portage/env/mine":                      "MY_API_KEY='" + leakMark + "'\n",
	"/etc/portage/.netrc":                        "machine h login me password " + leakMark + "\n",
	"/etc/portage/.ssh/id_rsa":                   leakMark,
	"/etc/portage/deploy":                        "-----BEGIN OPENSSH PRIVATE KEY-----\n" + leakMark + "\n-----END OPENSSH PRIVATE KEY-----\n",
	"/etc/portage/secureboot.key":                leakMark,
	"/etc/portage/gnupg/secring.gpg":             leakMark,
	"/etc/portage/.git/config":                   "url = https://me:" + leakMark + "@git.example/etc.git\n",
	"/etc/env.d/99proxy":                         "https_proxy=\"http://me:" + leakMark + "@proxy.example:3128/\"\n",
	"/etc/wgetrc":                                "http_password = " + leakMark + "\n",
	"/etc/fstab":                                 "//nas/x /mnt cifs user=me,password=" + leakMark + ",uid=0 0 0\n",
	"/etc/msmtprc":                               "password " + leakMark + "\n",
	"/etc/netplan/lan.yaml":                      "password: " + leakMark + "\n",
	"/etc/ipsec.secrets":                         leakMark,
	"/etc/ssl/certs/both.pem":                    "-----BEGIN PRIVATE KEY-----\n" + leakMark + "\n-----END PRIVATE KEY-----\n",
	"/etc/nginx/Server.KEY.bak":                  leakMark,
	"/etc/docker.json":                           `{"auths":{},"token":"` + leakMark + `"}`,
	"/root/.netrc":                               leakMark,
	"/root/.git-credentials":                     leakMark,
	"/home/larry/.ssh/id_ed25519":                leakMark,
	"/var/db/repos/mine/.git/config":             "url = https://me:" + leakMark + "@git.example/mine.git\n",
	"/var/db/repos/mine/.git-credentials":        "https://me:" + leakMark + "@git.example\n",
	"/var/db/repos/mine/a/b/files/id_ed25519":    leakMark,
	"/var/db/repos/mine/a/b/files/x":             "-----BEGIN RSA PRIVATE KEY-----\n" + leakMark + "\n-----END RSA PRIVATE KEY-----\n",
	"/var/db/repos/mine/eclass/secret.eclass":    "# " + keptMark + "\nEGIT_REPO_URI=\"https://me:" + leakMark + "@git.example/x.git\"\n",
	"/var/db/repos/mine/profiles/profile.bashrc": "MINE_TOKEN=" + leakMark + "\n",
}

// TestSecretsStay: whatever a job is built on, no secret of the client is ever on the builder's disk, in its processes or in its log.
func TestSecretsStay(t *testing.T) {
	t.Parallel()
	_, tower, lappy := pair(t, map[string]string{"package.env": "lab-apps/sleeper nap\n", "env/nap": "LAB_SLEEP=600\n"})
	d := serve(t, tower, "--bases=auto")
	ownOverlay(t, lappy) // its profile makes it a part of each job
	for path, mode := range secretFiles {
		put(t, lappy, path, leakMark+" in "+path+"\n")
		if err := os.Chmod(lappy.Path(path), mode); err != nil {
			t.Fatal(err)
		}
	}
	for path, text := range writtenSecrets {
		put(t, lappy, path, text)
	}
	none := func(where string) {
		t.Helper()
		if found := marked(t, tower, leakMark); found != "" {
			t.Errorf("%s, secrets of the client are on the builder:\n%s", where, found)
		}
		if strings.Contains(d.log.String(), leakMark) {
			t.Errorf("%s, secrets of the client are in the daemon's log", where)
		}
	}
	for _, base := range []string{"host", "client"} {
		res := lantage(t, lappy, "--base="+base, "emerge", "--show-inputs", "-1", "lab-apps/sleeper").ok(t)
		for _, line := range []string{
			"base " + base, "/etc/portage/make.conf  — without credentials", "/etc/portage/gnupg  — a secret", "lab-apps/sleeper-1::lab",
			"/var/db/repos/mine/eclass/secret.eclass  — without credentials",
		} {
			if !strings.Contains(res.out, line) {
				t.Errorf("--show-inputs does not say %q with base %s", line, base)
			}
		}
		res.saysNot(t, leakMark)
		if found := marked(t, tower, keptMark); base == "host" && found != "" {
			t.Errorf("the builder has got something that was only to be shown:\n%s", found)
		}

		r := &running{t: t, out: newWatched(), done: make(chan struct{})}
		r.cmd = lappy.Command(context.Background(), "env", "GENTOO_MIRRORS=https://me:"+leakMark+"@mirror.example/",
			"lantage", "--no-fallback", "--base="+base, "emerge", "-1", "lab-apps/sleeper")
		r.cmd.Stdout, r.cmd.Stderr = r.out, r.out
		r.run(nil)
		eventually(t, time.Minute, "the job compiles", func() bool { return sleepers(t, tower) || r.over() })
		if r.over() {
			t.Fatalf("base %s: it is over before it could be looked at; it said:\n%s", base, r.out)
		}
		none("while a job on base " + base + " runs")
		for _, file := range []string{"make.conf", "bashrc", "secret.eclass"} {
			if !strings.Contains(marked(t, tower, keptMark), file) && base == "host" {
				t.Errorf("base %s: %s has not arrived as it should", base, file)
			}
		}
		if marked(t, tower, keptMark) == "" {
			t.Errorf("base %s: nothing of the configuration has arrived", base)
		}
		for _, pid := range strings.Fields(in(t, tower, nil, "pidof", "sleep").out) {
			env := in(t, tower, nil, "cat", "/proc/"+pid+"/environ").out
			if strings.Contains(env, leakMark) {
				t.Errorf("base %s: secrets of the client are in the environment of a build", base)
			}
		}
		r.signal(syscall.SIGINT)
		r.end(time.Minute)
		if strings.Contains(r.out.String(), leakMark) {
			t.Errorf("base %s: the client prints its secrets:\n%s", base, r.out)
		}
		none("after a job on base " + base)
	}
}
