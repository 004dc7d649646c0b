package wire

// Distfile is a file of a package's sources, as its Manifest describes it.
type Distfile struct {
	Name    string `json:"name"`
	Size    int64  `json:"size"`
	SHA512  string `json:"sha512,omitempty"`  // hexadecimal; at least one of both
	BLAKE2B string `json:"blake2b,omitempty"` // of 512 bits
}

// Offer says which distfiles of the job that follows lie on the client. With More another Offer goes on with the list.
type Offer struct {
	Identity string     `json:"identity,omitempty"` // as in Job; that in the first counts
	Base     string     `json:"base,omitempty"`     // that the job will ask for: the builder's own may have distfiles
	Files    []Distfile `json:"files"`              // at most OfferFiles
	More     bool       `json:"more,omitempty"`
}

// Stored says what came of the distfiles that a builder wanted.
type Stored struct {
	Count int   `json:"count"` // files that came whole, and are kept
	Bytes int64 `json:"bytes"` // of them
}
