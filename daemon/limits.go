package daemon

import (
	"time"

	"lantage/archive"
)

// What the owner can set of the bounds below.
const (
	DefaultConnections = 256
	DefaultWaiting     = 32
)

// Bounds of what peers can make the daemon hold, in one place.
const (
	maxRefusals = 64 // connections at once whose peers are told that there are too many

	maxPackages = 5000    // of a job
	maxNames    = 800_000 // bytes of all package names of a job: Done repeats them in one message
	maxRepos    = 500
	maxParents  = 100       // of a make.profile that is a directory
	maxEnv      = 200       // variables
	maxEnvBytes = 128 << 10 // of all of them; exec allows no single one to be longer
	maxText     = 255       // bytes of a name for people
	maxPath     = 1024

	maxResolved      = 1000 // files of a job's resolvedDir
	maxResolvedBytes = 8 << 20

	// Events of a job. What a job says of its phases is the first to be left out; the rest has room in any
	// case.
	maxEvents      = 1 << 16
	maxPhaseEvents = maxEvents - 3*maxPackages
	maxEventText   = 4 << 10
	maxDoneText    = 64 << 10
	maxDonePackage = 500 // bytes of text for each package

	keepEnded  = 64            // ended jobs that stay attachable
	keepFor    = time.Hour     // and for how long
	keepEvents = 2 * maxEvents // of all ended jobs together
)

// inputsLimits bound a client's /etc/portage. Large ones, with patches and a thousand entries of package.use,
// have a few megabytes.
var inputsLimits = archive.Limits{
	Entries: 100_000, Bytes: 256 << 20, EntryBytes: 64 << 20, NameBytes: maxPath, Depth: 32,
}

// Times that sessions have.
const (
	requestTime = time.Minute            // from the hello to the request
	inputsTime  = 10 * time.Minute       // for all inputs
	syncPause   = time.Hour              // from a copy's state to the list: the client reads all its files meanwhile
	syncTime    = 12 * time.Hour         // for a whole root
	offerTime   = time.Minute            // for all distfiles to be named
	sendTime    = 12 * time.Hour         // for the distfiles that are wanted
	refuseTime  = 3 * time.Second        // for a peer for which there is no place
	lingerTime  = 5 * time.Second        // for the peer to read the last words and close
	logInterval = 200 * time.Millisecond // between looks at a job's log
)
