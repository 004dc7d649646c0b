package gentoo

import (
	"regexp"
	"slices"
	"strings"
)

// variableTable has every variable of make.conf(5) and of emerge(1); a test in test/lab reads these pages and holds that.
// What is the client's is sent from the user's environment; in the client's files it acts anyhow, because the build root has
// them. What is the builder's is set in the build root, where the environment wins over these files.
var variableTable = []setting{
	{Client, "USE flags, keywords, licences", `USE USE_ORDER ACCEPT_CHOSTS ACCEPT_KEYWORDS ACCEPT_LICENSE ACCEPT_PROPERTIES
		ACCEPT_RESTRICT`, ""},
	{
		Client, "flags that USE_EXPAND makes", `ABI_X86 INPUT_DEVICES L10N LLVM_SLOT
		VIDEO_CARDS ABI_MIPS ABI_S390 ALSA_CARDS APACHE2_MODULES APACHE2_MPMS
		CALLIGRA_FEATURES CAMERAS COLLECTD_PLUGINS CURL_QUIC CURL_SSL ELIBC GPSD_PROTOCOLS GRUB_PLATFORMS KERNEL
		LCD_DEVICES LIBREOFFICE_EXTENSIONS LINGUAS NGINX_MODULES_HTTP NGINX_MODULES_MAIL NGINX_MODULES_STREAM
		OFFICE_IMPLEMENTATION OPENMPI_FABRICS OPENMPI_OFED_FEATURES OPENMPI_RM PERL_FEATURES ROS_MESSAGES RUST_SYSROOTS
		SANE_BACKENDS SELINUX_POLICY_TYPES USERLAND UWSGI_PLUGINS VOICEMAIL_STORAGE XTABLES_ADDONS`,
		"with those that the profile names, *_TARGETS and CPU_FLAGS_*",
	},
	{Client, "compilers and their flags", `CFLAGS CXXFLAGS FFLAGS FCFLAGS LDFLAGS CHOST CBUILD CTARGET AR AS CC CPP CXX F77 FC
		LD NM OBJCOPY OBJDUMP RANLIB READELF STRIP`, "with all other *FLAGS, for one ABI too, and GOAMD64 and its like"},
	{Client, "arguments for build systems, tests", `EXTRA_ECONF EXTRA_EMAKE MYCMAKEARGS MYMESONARGS CMAKE_BUILD_TYPE ALLOW_TEST
		PORTAGE_DO_NOT_EXPORT_PMS_VARS`, ""},
	{Client, "FEATURES", "FEATURES", "those below; the builder adds its own"},
	{Client, "what is installed, and how", `INSTALL_MASK PKG_INSTALL_MASK DOC_SYMLINKS_DIR PORTAGE_COMPRESS
		PORTAGE_COMPRESS_EXCLUDE_SUFFIXES PORTAGE_COMPRESS_FLAGS PORTAGE_BZIP2_COMMAND PORTAGE_BUNZIP2_COMMAND PORTAGE_INST_GID
		PORTAGE_INST_UID PORTAGE_WORKDIR_MODE PORTAGE_XATTR_EXCLUDE QA_STRICT_EXECSTACK QA_STRICT_FLAGS_IGNORED
		QA_STRICT_MULTILIB_PATHS QA_STRICT_PRESTRIPPED QA_STRICT_TEXTRELS QA_STRICT_WX_LOAD`, ""},
	{Client, "form of binary packages", `BINPKG_COMPRESS BINPKG_COMPRESS_FLAGS BINPKG_FORMAT PORTAGE_BINPKG_TAR_OPTS`, ""},
	{Client, "where sources come from", `GENTOO_MIRRORS`, "a Manifest says whether they are the right ones, whoever has fetched them"},
	{Client, "repositories", `PORTAGE_REPOSITORIES PORTDIR PORTDIR_OVERLAY`, "as repos.conf has them"},

	{Plan, "the merge", `CLEAN_DELAY COLLISION_IGNORE CONFIG_PROTECT CONFIG_PROTECT_MASK EBEEP_IGNORE
		EMERGE_WARNING_DELAY EPAUSE_IGNORE UNINSTALL_IGNORE`, ""},
	{Plan, "options, and Portage's own workings", `EMERGE_DEFAULT_OPTS PORTAGE_CIRCULAR_MAX_USE_FLAGS PORTAGE_FORK_DEP_CALC
		PORTAGE_MULTIPROCESSING_START_METHOD PORTAGE_NATIVE_DEP_PARSER PORTAGE_SERIALIZE_FRONTIER_DISABLE PORTAGE_SHOW_HTTP_TRACE
		PORTAGE_SHOW_LRU_CACHE_INFO`, "EMERGE_DEFAULT_OPTS acts as if it were typed"},

	{Builder, "how many jobs", `MAKEOPTS MAKEFLAGS`, "from its cores and memory; package.env can say another for one package"},
	{Builder, "directories", `DISTDIR PKGDIR PORTAGE_RO_DISTDIRS PORTAGE_TMPDIR`, "its own; each job has a DISTDIR of its own"},
	{Builder, "logs", `EMERGE_LOG_DIR PORTAGE_ELOG_CLASSES PORTAGE_ELOG_COMMAND PORTAGE_ELOG_MAILFROM PORTAGE_ELOG_MAILSUBJECT
		PORTAGE_ELOG_MAILURI PORTAGE_ELOG_SYSTEM PORTAGE_LOGDIR PORTAGE_LOGDIR_CLEAN PORTAGE_LOG_FILE_SEP
		PORTAGE_LOG_FILTER_FILE_CMD PORT_LOGDIR PORT_LOGDIR_CLEAN`, "logs of packages that failed come to the client"},
	{Builder, "fetching, proxies", `FETCHCOMMAND RESUMECOMMAND FETCH_WRAPPER PORTAGE_CHECKSUM_FILTER
		PORTAGE_FETCH_CHECKSUM_TRY_MIRRORS PORTAGE_FETCH_RESUME_MIN_SIZE PORTAGE_SSH_OPTS RSYNC_PROXY ftp_proxy http_proxy
		https_proxy`, "wget, or curl where there is none; proxies as the daemon's environment has them"},
	{
		Builder, "compiler caches", `CCACHE_DIR CCACHE_SIZE CCACHE_DISABLE RUSTC_WRAPPER`,
		"there is none: packages that are built already lie in the builder's PKGDIR",
	},
	{Builder, "priority", `PORTAGE_CGROUP_ROOT PORTAGE_IONICE_COMMAND PORTAGE_NICENESS PORTAGE_SCHEDULING_POLICY
		PORTAGE_SCHEDULING_PRIORITY`, "nice 10: its owner comes first"},
	{Builder, "users", `PORTAGE_USERNAME PORTAGE_GRPNAME`, "always portage, who is in every Gentoo root"},
	{Builder, "roots", `ROOT SYSROOT PORTAGE_CONFIGROOT`, "always /; what the client builds for another root is built there"},
	{Builder, "terminal", `NOCOLOR NO_COLOR`, ""},

	{
		Off, "binary packages of others", `PORTAGE_BINHOST PORTAGE_BINHOST_HEADER_URI PORTAGE_BINHOST_TTL PORTAGE_TRUST_HELPER`,
		"what the plan takes from a binhost the client takes from there",
	},
	{Off, "signatures", `BINPKG_GPG_SIGNING_BASE_COMMAND BINPKG_GPG_SIGNING_DIGEST BINPKG_GPG_SIGNING_GPG_HOME BINPKG_GPG_SIGNING_KEY
		BINPKG_GPG_VERIFY_BASE_COMMAND BINPKG_GPG_VERIFY_GPG_HOME GPG_VERIFY_GROUP_DROP GPG_VERIFY_USER_DROP PORTAGE_GPG_DIR
		PORTAGE_GPG_KEY PORTAGE_GPG_SIGNING_COMMAND`, "a builder has nobody's keys"},
	{Off, "synchronising, RPMs, Prefix", `EPREFIX PORTAGE_BINPKG_FORMAT PORTAGE_RSYNC_EXTRA_OPTS PORTAGE_RSYNC_INITIAL_TIMEOUT
		PORTAGE_RSYNC_OPTS PORTAGE_RSYNC_RETRIES PORTAGE_SYNC_STALE RPMDIR SYNC`, "no part of a job"},
}

var variables = index(variableTable)

// Names that follow a pattern, all of them the client's: flags of compilers and linkers (per ABI: CFLAGS_x86; for the
// builder's own tools: BUILD_CFLAGS), Go's levels of a CPU, arguments of one compressor, CPU flags, and targets
// (PYTHON_TARGETS, LLVM_TARGETS). And the fetch commands of one protocol, the builder's.
var (
	clientPatternRE = regexp.MustCompile(`^(?:` +
		`(?:BUILD_)?(?:C|CXX|CPP|LIBC|LIBCXX|F|FC|LD|AS|GO|RUST|ADA|D|OBJC|OBJCXX)FLAGS(?:_\w+)?` +
		`|GO(?:386|AMD64|ARM|ARM64|MIPS|MIPS64|PPC64|RISCV64)` +
		`|BINPKG_COMPRESS_FLAGS_\w+|CPU_FLAGS_\w+|\w+_(?:SINGLE_)?TARGETS?)$`)
	builderPatternRE = regexp.MustCompile(`^(?:FETCH|RESUME)COMMAND_\w+$`)
)

// WhoseVariable says who decides about a variable.
func WhoseVariable(name string) Whose {
	if w := whose(variables, name); w != Unknown {
		return w
	}
	switch {
	case clientPatternRE.MatchString(name):
		return Client
	case builderPatternRE.MatchString(name):
		return Builder
	}
	return Unknown
}

// checkedVariables are the client's variables that change which packages are built, and with which USE flags, but not how,
// or where from: Portage itself checks them when it reuses a binary package.
var checkedVariables = map[string]bool{
	"USE": true, "ACCEPT_CHOSTS": true, "ACCEPT_KEYWORDS": true, "ACCEPT_LICENSE": true, "ACCEPT_PROPERTIES": true,
	"ACCEPT_RESTRICT": true, "GENTOO_MIRRORS": true,
}

// ChangesBuild reports whether a variable of the client's may change a package in a way that Portage does not see when it
// reuses a binary package. A variable that is unknown may: some ebuild asks for it. So may those of SeenByBuilds, and commands
// that fetch by protocols that a builder sets none for.
func ChangesBuild(name string) bool {
	if slices.Contains(SeenByBuilds(), name) || otherFetch(name) {
		return true
	}
	switch WhoseVariable(name) {
	case Builder, Off:
		return false
	}
	return !checkedVariables[name] && name != "EMERGE_DEFAULT_OPTS"
}

// FetchProtocols are those for which a builder sets commands that fetch; make.conf(5), FETCHCOMMAND.
func FetchProtocols() []string { return []string{"HTTP", "HTTPS", "FTP", "RSYNC"} }

// otherFetch reports whether a variable is a command that fetches by another protocol.
func otherFetch(name string) bool {
	for _, command := range []string{"FETCHCOMMAND_", "RESUMECOMMAND_"} {
		if protocol, ok := strings.CutPrefix(name, command); ok {
			return !slices.Contains(FetchProtocols(), protocol)
		}
	}
	return false
}

// BuilderVariables are the names that have to be set in a build root.
func BuilderVariables() []string { return names(variableTable, Builder) }

// SeenByBuilds are those of the builder's variables that what is built can see, and that are set for nothing but to hide the
// client's value: they are set, empty, only where it has one.
func SeenByBuilds() []string {
	return []string{
		"CCACHE_DIR", "MAKEFLAGS", "PORTAGE_SCHEDULING_POLICY", "RSYNC_PROXY", "RUSTC_WRAPPER", "ftp_proxy", "http_proxy", "https_proxy",
	}
}
