package wire

// Sync asks what a builder has of this client's root.
type Sync struct {
	Identity string `json:"identity"`         // 32 hexadecimal digits or more: the client's secret name
	Client   string `json:"client"`           // the client's host name, for people
	CHOST    string `json:"chost"`            // as the client's Portage says it
	Forget   bool   `json:"forget,omitempty"` // remove the copy, and all that was built on it
}

// Copy says what a builder has of a client's root.
type Copy struct {
	Digest      string `json:"digest,omitempty"`      // of its list; empty: there is no copy
	Fingerprint string `json:"fingerprint,omitempty"` // the client's own, of the Commit
	Entries     int    `json:"entries,omitempty"`     // files, directories and links
	Bytes       int64  `json:"bytes,omitempty"`       // content of all files
	Nothing     bool   `json:"nothing,omitempty"`     // the builder has no file of any client: sums are of no use to it
}

// List precedes StreamList.
type List struct {
	Against string `json:"against,omitempty"` // a change to the list of this digest; empty: a whole list
}

// Wants precedes StreamWants.
type Wants struct {
	Count int   `json:"count"` // files
	Bytes int64 `json:"bytes"` // of their content
	Found int64 `json:"found"` // bytes that the builder found in binpkgs that it built
}

// Commit ends a sync.
type Commit struct {
	Fingerprint string `json:"fingerprint"` // of the root before its list was made; for the client itself
}
