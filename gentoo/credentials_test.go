package gentoo

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// Each secret of these texts has "hush" in it, and what stands after them is what is left.
var credentialTexts = []struct{ text, want string }{
	{`GENTOO_MIRRORS="https://me:hush@one.example/ rsync://two.example/"`, `GENTOO_MIRRORS="https://one.example/ rsync://two.example/"`},
	{"sync-uri = https://me:hush@git.example/repo.git", "sync-uri = https://git.example/repo.git"},
	{"sync-uri = git+ssh://git@git.example/repo.git", "sync-uri = git+ssh://git@git.example/repo.git"},
	{"sync-uri = ssh://git:hush@git.example/repo.git", "sync-uri = ssh://git.example/repo.git"},
	{"sync-uri = https://hush@git.example/", "sync-uri = https://git.example/"},
	{"sync-uri = https://hush:@git.example/", "sync-uri = https://git.example/"},
	{"sync-uri = https://hush:x-oauth-basic@git.example/", "sync-uri = https://git.example/"},
	{"https://me:hu@sh@host/a@b", "https://host/a@b"},
	{"https://me:hu/sh/hush@host/a", "https://host/a"},
	{"'https://me:hu\"hush", "'https://me:hu\"hush"}, // no URL
	{`"https://me:it'hush@host/"`, `"https://host/"`},
	{"https://a:hush@b/,https://c:hush@d/", "https://b/,https://d/"},
	{`PORTAGE_BINHOST="https://host:8443/a@b ftp://anonymous@host/"`, `PORTAGE_BINHOST="https://host:8443/a@b ftp://anonymous@host/"`},
	{`url="https://${USER}:${PASS}@host/"`, `url="https://${USER}:${PASS}@host/"`},
	{`url="https://me:${PASS:-hush}@host/"`, `url="https://host/"`},
	{`url="${SCHEME}://me:hush@host/"`, `url="${SCHEME}://host/"`},
	{"#old: https://me:hush@host/", "#old: https://host/"},
	{`http_proxy="http://me:hush@proxy:3128/"`, `http_proxy="http://proxy:3128/"`},
	{"https_proxy=me:hush@proxy:3128", "https_proxy=proxy:3128"},
	{`RSYNC_PROXY="me:hush@proxy:873"`, `RSYNC_PROXY="proxy:873"`},
	{"wget --password hush file", "wget --password - file"},
	{"curl --proxy me:hush@proxy:1 $URI", "curl --proxy proxy:1 $URI"},
	{
		`FETCHCOMMAND="wget --user=me --password=hush -O \"\${DISTDIR}/\${FILE}\" \"\${URI}\""`,
		`FETCHCOMMAND="wget --user=me --password= -O \"\${DISTDIR}/\${FILE}\" \"\${URI}\""`,
	},
	{
		`FETCHCOMMAND_HTTPS="wget --http-password=\"hush hush\" --ask-password \"\${URI}\""`,
		`FETCHCOMMAND_HTTPS="wget --http-password=\"\" --ask-password \"\${URI}\""`,
	},
	{
		`RESUMECOMMAND="curl -C - --header=\"Authorization: Basic hush==\" -o \"\${FILE}\" \"\${URI}\""`,
		`RESUMECOMMAND="curl -C - --header=\"Authorization: -\" -o \"\${FILE}\" \"\${URI}\""`,
	},
	{`FETCHCOMMAND="curl -H 'X-Api-Key: hush' -u me:hush \"\${URI}\""`, `FETCHCOMMAND="curl -H 'X-Api-Key: -' -u me: \"\${URI}\""`},
	{`FETCHCOMMAND='curl -H "PRIVATE-TOKEN: hush" --user "me:hush" -o f'`, `FETCHCOMMAND='curl -H "PRIVATE-TOKEN: -" --user "me:" -o f'`},
	{`FETCHCOMMAND="curl -H \"Authorization: Bearer hush\$hush\" x"`, `FETCHCOMMAND="curl -H \"Authorization: -\" x"`},
	{`FETCHCOMMAND="aria2c --http-passwd=hush --rpc-secret=hush -o f"`, `FETCHCOMMAND="aria2c --http-passwd= --rpc-secret= -o f"`},
	{`FETCHCOMMAND="sshfetch --password hush --password \$PW"`, `FETCHCOMMAND="sshfetch --password - --password \$PW"`},
	{"EXTRA_ECONF=--with-password=hush --x", "EXTRA_ECONF=--with-password= --x"},
	{"http_password=a&hush,hush\n", "http_password=\n"},
	{"export GITHUB_TOKEN=hush\n", "export GITHUB_TOKEN=\n"},
	{"RSYNC_PASSWORD='hush hush'\n", "RSYNC_PASSWORD=''\n"},
	{"RSYNC_PASSWORD=\"hu\\\"hush\"\n", "RSYNC_PASSWORD=\"\"\n"},
	{"my_password='hush'\"hush hush\"hush\nX=1\n", "my_password=''\nX=1\n"},
	{"PASSWORD=hush\\ hush\\\"hush\n", "PASSWORD=\n"},
	{"PASSWORD=hush'hush'\"hush\"\n", "PASSWORD=-\n"},
	// The quotation mark that is left is not the beginning of something.
	{"FETCH=\"sh -c\nPASSWORD=hush\"\nCFLAGS=\"-O2 -pipe\"\n", "FETCH=\"sh -c\nPASSWORD=-\"\nCFLAGS=\"-O2 -pipe\"\n"},
	{"x='a\npassword=hush'\nCFLAGS='-O2 -pipe'\n", "x='a\npassword=-'\nCFLAGS='-O2 -pipe'\n"},
	{"PASSWORD=\"hush\"; fi # it's\n", "PASSWORD=\"\"; fi # it's\n"},
	{"token=\"${a}\"-b\n", "token=\"${a}\"-b\n"},
	{"AWS_SECRET_ACCESS_KEY=hush\nAWS_REGION=x\n", "AWS_SECRET_ACCESS_KEY=\nAWS_REGION=x\n"},
	{"\t//registry/:_authToken=hush\n", "\t//registry/:_authToken=\n"},
	{"- password: hush\n  \"api_key\": \"hush\",\n", "- password: -\n  \"api_key\": \"\",\n"},
	{`{"token":"hush","user":"me","password" : "hush"}`, `{"token":"","user":"me","password" : ""}`},
	{"{\n\"password\":\"hush\"}\n{'x':1, 'my-secret':'hush'}\n", "{\n\"password\":\"\"}\n{'x':1, 'my-secret':''}\n"},
	{`FETCHCOMMAND="curl -d '{\"token\":\"hush\"}' x"`, `FETCHCOMMAND="curl -d '{\"token\":\"\"}' x"`},
	{`{"token":null,"password":true,"tokens":"x","password":password,"passwords":{"x":1},"memfd_secret":447}`, `{"token":null,"password":true,"tokens":"x","password":password,"passwords":{"x":1},"memfd_secret":447}`},
	{"passwd:     files systemd\npassword    include system-auth\n", "passwd:     files systemd\npassword    include system-auth\n"},
	{`FETCHCOMMAND="curl -sSu me:hush -o f"`, `FETCHCOMMAND="curl -sSu me: -o f"`},
	{`curl -sS#Lu "me:hush" --output-use x:y -fuse x:y`, `curl -sS#Lu "me:" --output-use x:y -fuse x:y`},
	{`FETCHCOMMAND="lftp -u me,hush -e x"`, `FETCHCOMMAND="lftp -u me, -e x"`},
	{`FETCHCOMMAND="sshpass -p hush scp x"`, `FETCHCOMMAND="sshpass -p - scp x"`},
	{"local token=\"${line%% *}\" secret=$(next) pass=${1}\n", "local token=\"${line%% *}\" secret=$(next) pass=${1}\n"},
	{"token=${T:-hush}\n", "token=\n"},
	{"password = hush hush\nuser = me\n", "password = -\nuser = me\n"},
	{"DB_PASS=hush\n", "DB_PASS=\n"},
	{"COMPASS=north\nBYPASS=1\nTOKENS=3\nPASSWORD_FILE=/x\n", "COMPASS=north\nBYPASS=1\nTOKENS=3\nPASSWORD_FILE=/x\n"},
	{"//nas/x /mnt cifs user=me,password=hush,uid=0 0 0", "//nas/x /mnt cifs user=me,password=,uid=0 0 0"},
	{"https://host/file?access_token=hush&x=1", "https://host/file?access_token=&x=1"},
	{"machine host login me password hush\nmachine other\n", "machine host login me password -\nmachine other\n"},
	{"machine host\nlogin me\npassword hush\n", "machine host\nlogin me\npassword -\n"},
	{"a\n-----BEGIN OPENSSH PRIVATE KEY-----\nhush\n-----END OPENSSH PRIVATE KEY-----\nb\n", "a\n-\nb\n"},
	{"-----BEGIN PGP PRIVATE KEY BLOCK-----\nhush", ""},
	{"-----BEGIN PUBLIC KEY-----\nkey\n-----END PUBLIC KEY-----\n", "-----BEGIN PUBLIC KEY-----\nkey\n-----END PUBLIC KEY-----\n"},
	{"x ghp_hush567890123456789012345678901234567890 y", "x - y"},
	// What make.conf, repos.conf and bashrc files have in them otherwise.
	{`FETCHCOMMAND="rsync -LtvP \"\${URI}\" \"\${DISTDIR}/\${FILE}\""`, `FETCHCOMMAND="rsync -LtvP \"\${URI}\" \"\${DISTDIR}/\${FILE}\""`},
	{`CFLAGS="-O2 -DDEFAULT_PASSWORD=none -DTOKEN=1"`, `CFLAGS="-O2 -DDEFAULT_PASSWORD=none -DTOKEN=1"`},
	{`PORTAGE_SSH_OPTS="-l me -i /root/.ssh/id"`, `PORTAGE_SSH_OPTS="-l me -i /root/.ssh/id"`},
	{"[[ $token = $secret || $token == x ]]", "[[ $token = $secret || $token == x ]]"},
	{"password\trequired pam_unix.so try_first_pass", "password\trequired pam_unix.so try_first_pass"},
	{"SRC_URI=\"mirror://gnu/x.tar.gz https://h/x@1.tar -> x.tar\"", "SRC_URI=\"mirror://gnu/x.tar.gz https://h/x@1.tar -> x.tar\""},
	{"    password = xstrdup(v);\n    token = next;\n    password => 'x',\n", "    password = xstrdup(v);\n    token = next;\n    password => 'x',\n"},
	{"OLDPWD=/x\n<a accesskey=\"n\">", "OLDPWD=/x\n<a accesskey=\"n\">"},
	{"a\x00password=hush\n", "a\x00password=hush\n"},
	{"", ""},
}

func TestWithoutCredentials(t *testing.T) {
	for _, c := range credentialTexts {
		if got := WithoutCredentials(c.text); got != c.want {
			t.Errorf("%q\nis  %q\nnot %q", c.text, got, c.want)
		}
	}
}

// Each rule is needed by one of the texts.
func TestCredentialRulesNeeded(t *testing.T) {
	rules := credentialRules
	defer func() { credentialRules = rules }()
	for i := range rules {
		credentialRules = append(append([]credentialRule{}, rules[:i]...), rules[i+1:]...)
		needed := false
		for _, c := range credentialTexts {
			needed = needed || WithoutCredentials(c.text) != c.want
		}
		if !needed {
			t.Errorf("no text needs the rule %s", rules[i].re)
		}
	}
}

// The hints of a rule leave out nothing that it would find.
func TestCredentialHints(t *testing.T) {
	for _, r := range credentialRules {
		for _, c := range credentialTexts {
			text := strings.Repeat("a line\n", 200) + c.text + strings.Repeat("\na line", 200)
			var near []span
			for _, part := range r.near(lowerASCII(text)) {
				near = append(near, r.find(text, part)...)
			}
			if all := r.find(text, span{0, len(text)}); !slices.Equal(all, near) {
				t.Errorf("of %q the rule %s finds %v, and with hints %v", c.text, r.re, all, near)
			}
		}
	}
}

// A text that is eight times as long takes about eight times as long, not 64 times.
func TestCredentialsInLargeText(t *testing.T) {
	for name, part := range map[string]string{
		"lines":  "CFLAGS=\"-O2 -pipe\" # the password is not here; see https://wiki.example/x@y\n",
		"one":    strings.Repeat("x", 50),
		"quotes": "password=\"",
		"users":  "lftp -u x,y",
		"urls":   "://",
		"json":   "{\"token\":\"",
		"pieces": "password='a'\"b\"\\ ",
		"words":  "\npassword=a\"b",
	} {
		took := func(size int) time.Duration {
			best := time.Hour
			for range 2 {
				start := time.Now()
				WithoutCredentials(strings.Repeat(part, size/len(part)))
				best = min(best, time.Since(start))
			}
			return best
		}
		short, long := took(4<<10), took(32<<10)
		if long > 24*short+50*time.Millisecond {
			t.Errorf("%s: %v for 4 KiB, and %v for 32 KiB", name, short, long)
		}
		t.Logf("%s: %v for 4 KiB, and %v for 32 KiB", name, short, long)
	}
}

// Whatever stands around them, credentials go, and nothing else is changed, nor anything added but dashes.
func FuzzWithoutCredentials(f *testing.F) {
	for _, c := range credentialTexts {
		f.Add(c.text, "")
		f.Add("", c.text)
	}
	planted := []string{
		"\nGENTOO_MIRRORS=\"https://me:QzHush9@h/\"\n", "\nX=1\npassword = QzHush9\n", "\nexport A_TOKEN=QzHush9\n",
		"\nFETCHCOMMAND=\"wget --password=QzHush9 x\"\n", "\nmachine h login m password QzHush9\n", "\nhttp_proxy=me:QzHush9@h:1\n",
		"\nFETCHCOMMAND=\"curl -H \\\"Authorization: QzHush9\\\" x\"\n",
	}
	f.Fuzz(func(t *testing.T, before, after string) {
		for _, secret := range planted {
			text := before + secret + after
			if len(text) > 1<<16 {
				t.Skip()
			}
			got := WithoutCredentials(text)
			if strings.IndexByte(text, 0) < 0 && !strings.Contains(before+after, "QzHush9") && strings.Contains(got, "QzHush9") {
				t.Errorf("%q is left in %q, of %q", "QzHush9", got, text)
			}
			if again := WithoutCredentials(got); again != got {
				t.Errorf("%q, and the second time %q", got, again)
			}
			if rest := leftOf(strings.ReplaceAll(got, blank, ""), text); rest != "" {
				t.Errorf("%q has %q, which %q has not", got, rest, text)
			}
		}
	})
}

// leftOf is what of a text is not in another one, in order.
func leftOf(part, whole string) string {
	for i := 0; i < len(whole) && part != ""; i++ {
		if whole[i] == part[0] {
			part = part[1:]
		}
	}
	return part
}
