package gentoo

import (
	"regexp"
	"slices"
	"strings"
)

// varClass says what a variable of the environment is about; make.conf(5).
type varClass int

const (
	varUnknown varClass = iota // not Portage's: not sent
	varBuild                   // changes what is built: sent with a job
	varMachine                 // about this machine, its network or its terminal: not sent
)

// Every variable of make.conf(5) has a class; TestMakeConfVariables holds this.
const (
	buildVariables = `ACCEPT_CHOSTS ACCEPT_KEYWORDS ACCEPT_LICENSE ACCEPT_PROPERTIES ACCEPT_RESTRICT
		ALLOW_TEST
		BINPKG_COMPRESS BINPKG_COMPRESS_FLAGS BINPKG_FORMAT CBUILD CHOST CTARGET DOC_SYMLINKS_DIR EXTRA_ECONF
		EXTRA_EMAKE FEATURES INSTALL_MASK MYCMAKEARGS MYMESONARGS PKG_INSTALL_MASK PORTAGE_BINPKG_FORMAT
		PORTAGE_COMPRESS PORTAGE_COMPRESS_EXCLUDE_SUFFIXES PORTAGE_COMPRESS_FLAGS PORTAGE_XATTR_EXCLUDE
		QA_STRICT_EXECSTACK QA_STRICT_FLAGS_IGNORED QA_STRICT_MULTILIB_PATHS QA_STRICT_PRESTRIPPED
		QA_STRICT_TEXTRELS QA_STRICT_WX_LOAD USE USE_ORDER
		AR AS CC CPP CXX F77 FC LD NM OBJCOPY OBJDUMP RANLIB READELF STRIP`
	// The USE_EXPAND variables of ::gentoo whose names show no pattern.
	useExpandVariables = `ABI_MIPS ABI_S390 ABI_X86 ALSA_CARDS APACHE2_MODULES APACHE2_MPMS
		CALLIGRA_FEATURES CAMERAS
		COLLECTD_PLUGINS CURL_QUIC CURL_SSL ELIBC GPSD_PROTOCOLS GRUB_PLATFORMS INPUT_DEVICES KERNEL L10N
		LCD_DEVICES
		LIBREOFFICE_EXTENSIONS LINGUAS LLVM_SLOT NGINX_MODULES_HTTP NGINX_MODULES_MAIL NGINX_MODULES_STREAM
		OFFICE_IMPLEMENTATION OPENMPI_FABRICS OPENMPI_OFED_FEATURES OPENMPI_RM PERL_FEATURES ROS_MESSAGES
		RUST_SYSROOTS SANE_BACKENDS SELINUX_POLICY_TYPES USERLAND UWSGI_PLUGINS VIDEO_CARDS
		VOICEMAIL_STORAGE XTABLES_ADDONS`
	machineVariables = `BINPKG_GPG_SIGNING_BASE_COMMAND BINPKG_GPG_SIGNING_DIGEST BINPKG_GPG_SIGNING_GPG_HOME
		BINPKG_GPG_SIGNING_KEY BINPKG_GPG_VERIFY_BASE_COMMAND BINPKG_GPG_VERIFY_GPG_HOME CCACHE_DIR
		CCACHE_SIZE
		CLEAN_DELAY COLLISION_IGNORE CONFIG_PROTECT CONFIG_PROTECT_MASK DISTDIR EBEEP_IGNORE
		EMERGE_DEFAULT_OPTS EMERGE_LOG_DIR EMERGE_WARNING_DELAY EPAUSE_IGNORE FETCHCOMMAND FETCH_WRAPPER
		GENTOO_MIRRORS GPG_VERIFY_GROUP_DROP GPG_VERIFY_USER_DROP MAKEFLAGS MAKEOPTS NOCOLOR NO_COLOR PKGDIR
		PORTAGE_BINHOST PORTAGE_BINHOST_HEADER_URI PORTAGE_BINHOST_TTL PORTAGE_BINPKG_TAR_OPTS
		PORTAGE_BUNZIP2_COMMAND PORTAGE_BZIP2_COMMAND PORTAGE_CGROUP_ROOT PORTAGE_CHECKSUM_FILTER
		PORTAGE_CONFIGROOT PORTAGE_ELOG_CLASSES PORTAGE_ELOG_COMMAND PORTAGE_ELOG_MAILFROM
		PORTAGE_ELOG_MAILSUBJECT PORTAGE_ELOG_MAILURI PORTAGE_ELOG_SYSTEM PORTAGE_FETCH_CHECKSUM_TRY_MIRRORS
		PORTAGE_FETCH_RESUME_MIN_SIZE PORTAGE_GPG_DIR PORTAGE_GPG_KEY PORTAGE_GPG_SIGNING_COMMAND
		PORTAGE_GRPNAME PORTAGE_INST_GID PORTAGE_INST_UID PORTAGE_IONICE_COMMAND PORTAGE_LOGDIR
		PORTAGE_LOGDIR_CLEAN PORTAGE_LOG_FILE_SEP PORTAGE_LOG_FILTER_FILE_CMD PORTAGE_NICENESS
		PORTAGE_RO_DISTDIRS PORTAGE_RSYNC_EXTRA_OPTS PORTAGE_RSYNC_INITIAL_TIMEOUT PORTAGE_RSYNC_OPTS
		PORTAGE_RSYNC_RETRIES PORTAGE_SCHEDULING_POLICY PORTAGE_SCHEDULING_PRIORITY PORTAGE_SSH_OPTS
		PORTAGE_SYNC_STALE PORTAGE_TMPDIR PORTAGE_TRUST_HELPER PORTAGE_USERNAME PORTAGE_WORKDIR_MODE PORTDIR
		PORTDIR_OVERLAY PORT_LOGDIR PORT_LOGDIR_CLEAN RESUMECOMMAND ROOT RPMDIR RSYNC_PROXY SYNC SYSROOT
		UNINSTALL_IGNORE ftp_proxy http_proxy https_proxy`
)

var varClasses = func() map[string]varClass {
	classes := map[string]varClass{}
	for list, class := range map[string]varClass{
		buildVariables: varBuild, useExpandVariables: varBuild, machineVariables: varMachine,
	} {
		for _, name := range strings.Fields(list) {
			classes[name] = class
		}
	}
	return classes
}()

// Names that follow a pattern: flags of compilers and linkers (per ABI: CFLAGS_x86; for the builder's own
// tools: BUILD_CFLAGS), arguments of one compressor, CPU flags, and targets (PYTHON_TARGETS, LLVM_TARGETS).
var buildPatternRE = regexp.MustCompile(`^(?:` +
	`(?:BUILD_)?(?:C|CXX|CPP|F|FC|LD|AS|GO|RUST|ADA|OBJC|OBJCXX)FLAGS(?:_\w+)?` +
	`|BINPKG_COMPRESS_FLAGS_\w+|CPU_FLAGS_\w+|\w+_(?:SINGLE_)?TARGETS?)$`)

// UserEnvironment returns the variables of an environment ("NAME=value") that change what Portage builds,
// such as USE in `USE=… emerge …`, sorted by name. useExpand are the names in the profile's USE_EXPAND, in
// addition to the well-known ones. Variables about the machine (MAKEOPTS, PKGDIR, ROOT) and unknown ones
// are left out.
func UserEnvironment(environ []string, useExpand ...string) []string {
	var sent []string
	for _, variable := range environ {
		name, _, ok := strings.Cut(variable, "=")
		class := classOf(name)
		if class == varUnknown && slices.Contains(useExpand, name) {
			class = varBuild
		}
		if ok && class == varBuild {
			sent = append(sent, variable)
		}
	}
	slices.Sort(sent)
	return sent
}

func classOf(name string) varClass {
	if class, ok := varClasses[name]; ok {
		return class
	}
	if buildPatternRE.MatchString(name) {
		return varBuild
	}
	return varUnknown
}
