package wire

import "time"

// Job is one request to one builder: what to build and how. The /etc/portage that belongs to it follows as
// StreamInputs.
type Job struct {
	ID       string    `json:"id"`             // 32 hexadecimal digits, random, chosen by the client
	Client   string    `json:"client"`         // the client's host name, for people; with base client that of the build root, too
	CHOST    string    `json:"chost"`          // as the client's Portage says it
	Packages []Package `json:"packages"`       // in merge-list order
	Profile  Profile   `json:"profile"`        // what the client's make.profile points to
	Repos    []Repo    `json:"repos"`          // the client's repositories
	Env      []string  `json:"env,omitempty"`  // NAME=value: Portage variables of the user's environment
	Base     string    `json:"base,omitempty"` // the base asked for; empty: the builder's choice
	Log      bool      `json:"log,omitempty"`  // send StreamLog

	Identity string `json:"identity,omitempty"` // the client's secret name, on a carrier that does not say whose it is
	Root     string `json:"root,omitempty"`     // of the base client: the digest of the list that the copy must have
	// Clear are those of gentoo.SeenByBuilds that the client's configuration sets for some package.
	Clear []string `json:"clear,omitempty"`
	// Nodeps is emerge's option: the packages are built with what is there, without what they ask for.
	Nodeps bool `json:"nodeps,omitempty"`
	// Parents are the further profiles where the client's make.profile is a directory that names several.
	Parents []Profile `json:"parents,omitempty"`
}

// BaseClient is the name of the base that is a copy of the client's own root.
const BaseClient = "client"

// Package is one package of a job: exactly this version from exactly this repository.
type Package struct {
	CPV  string `json:"cpv"`
	Repo string `json:"repo"`
}

// Profile is a profile by repository and path below its profiles/, never by a path of the client's disk.
type Profile struct {
	Repo string `json:"repo"`
	Path string `json:"path"`
}

// Repo is one of the client's ebuild repositories; Location is where the client's repos.conf says it is.
type Repo struct {
	Name     string `json:"name"`
	Location string `json:"location"`
	// Revision is the state that it is in; a builder declines unless its own is in the same. Empty: any will do.
	Revision string `json:"revision,omitempty"`
}

// Attach asks to watch a job that was submitted before.
type Attach struct {
	ID    string   `json:"id"`
	After int      `json:"after,omitempty"` // number of the last event that the client has
	Have  []string `json:"have,omitempty"`  // SHA-256 (hex) of the results that the client has
	Log   bool     `json:"log,omitempty"`
}

// Cancel asks for the end of a job.
type Cancel struct {
	ID string `json:"id"`
}

// Pair is one step of a pairing; one of the two is set.
type Pair struct {
	Message []byte `json:"message,omitempty"`
	Proof   []byte `json:"proof,omitempty"`
}

// Accepted answers submit and attach.
type Accepted struct {
	ID   string `json:"id"`
	Base string `json:"base"` // the base that the build root has
}

// EventKind says what an Event tells.
type EventKind string

// Kinds of events.
const (
	EventQueued  EventKind = "queued"  // Position is the job's place among those that wait, 1 for the next
	EventStarted EventKind = "started" // the build root is ready and emerge runs
	EventPackage EventKind = "package" // a package changed its State or Phase
	EventResult  EventKind = "result"  // the next member of StreamResults
	EventNote    EventKind = "note"    // Text is for the user
)

// State is how far a package of a job is.
type State string

// States of a package. All but Building are final.
const (
	StateBuilding State = "building"
	StateBuilt    State = "built"
	StateReused   State = "reused"   // answered from the builder's PKGDIR without a compile
	StateFailed   State = "failed"   // Phase says where; its log follows as a member of StreamResults
	StateSkipped  State = "skipped"  // not tried, because of another; Text says why
	StateDeclined State = "declined" // this builder cannot build it, and nothing failed; Text says why
)

// Event is one step of a job. Events are numbered from 1 without gaps; which fields are set depends on Kind.
type Event struct {
	Seq      int       `json:"seq"`
	Time     time.Time `json:"time"`
	Kind     EventKind `json:"kind"`
	Position int       `json:"position,omitempty"`
	CPV      string    `json:"cpv,omitempty"`
	N        int       `json:"n,omitempty"` // the package's place among the Of that emerge handles, 1-based
	Of       int       `json:"of,omitempty"`
	State    State     `json:"state,omitempty"`
	Phase    string    `json:"phase,omitempty"` // as Portage names it: unpack, compile …
	Text     string    `json:"text,omitempty"`
	Result   *Result   `json:"result,omitempty"`
}

// Result declares a member of StreamResults: a binpkg (Path as below PKGDIR) or the build log of a failed
// package.
type Result struct {
	Kind   ResultKind `json:"kind"`
	CPV    string     `json:"cpv"`
	Path   string     `json:"path"`
	Size   int64      `json:"size"`
	SHA256 string     `json:"sha256"`           // hex, of the member's content
	Reused bool       `json:"reused,omitempty"` // it was in the builder's PKGDIR before the job
}

// ResultKind says what a Result is.
type ResultKind string

// Kinds of results.
const (
	ResultBinpkg ResultKind = "binpkg"
	ResultLog    ResultKind = "log"
)

// Outcome is how a job ended.
type Outcome string

// Outcomes of a job. Whatever the outcome, the packages that were built have arrived.
const (
	OutcomeDone      Outcome = "done"      // every package has its result
	OutcomeFailed    Outcome = "failed"    // some package has not
	OutcomeCancelled Outcome = "cancelled" // by a client or by the end of the daemon
)

// Done is the last message of a job.
type Done struct {
	Outcome  Outcome         `json:"outcome"`
	Text     string          `json:"text,omitempty"` // why it is not OutcomeDone, often in emerge's words
	Packages []PackageResult `json:"packages"`       // one for each package of the job, in its order
}

// PackageResult is how one package of a job ended.
type PackageResult struct {
	CPV   string `json:"cpv"`
	State State  `json:"state"`
	Phase string `json:"phase,omitempty"`
	Text  string `json:"text,omitempty"`
}
