package wire

import (
	"encoding/binary"
	"fmt"
	"io"
)

const magic = "LANTAGE\n"

// Hello is what each side says of itself after the preface. A client fills in Name, Software and Address only: it does not know yet
// whether it trusts the builder.
type Hello struct {
	Name     string   `json:"name"`               // the machine's host name
	Software string   `json:"software"`           // Lantage's version
	ID       string   `json:"id,omitempty"`       // the builder's stable ID, as in its mDNS instance name
	CHOST    string   `json:"chost,omitempty"`    // as Portage says it
	Arch     string   `json:"arch,omitempty"`     // machine, as uname -m says it
	CPU      string   `json:"cpu,omitempty"`      // level of the instruction set, such as x86-64-v3
	Features []string `json:"features,omitempty"` // of the CPU, as /proc/cpuinfo names them, sorted
	Portage  string   `json:"portage,omitempty"`  // Portage's version on the builder
	Compiler string   `json:"compiler,omitempty"` // version of the builder's own compiler, where jobs may be built on its root
	Bases    []string `json:"bases,omitempty"`    // kinds of base that it offers, the preferred one first
	Cores    int      `json:"cores,omitempty"`    // CPUs that jobs may use
	Memory   int      `json:"memory,omitempty"`   // MiB
	Load     float64  `json:"load,omitempty"`     // 1-minute load average
	Jobs     int      `json:"jobs,omitempty"`     // running now
	Waiting  int      `json:"waiting,omitempty"`  // queued now
	JobLimit int      `json:"jobLimit,omitempty"` // how many run at once

	Address string `json:"address,omitempty"` // a client's, that it connects from: where a builder sees another one, somebody is between

	Distfiles bool `json:"distfiles,omitempty"` // it takes those that clients have
	Pairing   bool `json:"pairing,omitempty"`   // its owner waits for a client to be paired
}

// writePreface says which versions we speak.
func writePreface(w io.Writer) error {
	b := []byte(magic)
	b = binary.BigEndian.AppendUint16(b, OldestVersion)
	b = binary.BigEndian.AppendUint16(b, NewestVersion)
	_, err := w.Write(b)
	return err
}

// readPreface reads the peer's preface and returns the version that both will speak. It gives up at the first
// byte that is not Lantage's, so that a peer which waits for us to speak another protocol is not waited for
// in turn.
func readPreface(r io.Reader) (uint16, error) {
	var b [len(magic) + 4]byte
	for i := range magic {
		if _, err := io.ReadFull(r, b[i:i+1]); err != nil {
			return 0, err
		}
		if b[i] != magic[i] {
			return 0, ErrNotLantage
		}
	}
	if _, err := io.ReadFull(r, b[len(magic):]); err != nil {
		return 0, err
	}
	oldest := binary.BigEndian.Uint16(b[len(magic):])
	newest := binary.BigEndian.Uint16(b[len(magic)+2:])
	return agree(oldest, newest)
}

// agree picks the version to speak with a peer that speaks oldest to newest.
func agree(oldest, newest uint16) (uint16, error) {
	if oldest > newest {
		return 0, ErrNotLantage
	}
	v := min(newest, NewestVersion)
	switch {
	case v < OldestVersion:
		return 0, fmt.Errorf("%w (it speaks protocol versions up to %d, this side from %d)",
			ErrPeerOlder, newest, OldestVersion)
	case v < oldest:
		return 0, fmt.Errorf("%w (it speaks protocol versions from %d, this side up to %d)",
			ErrPeerNewer, oldest, NewestVersion)
	}
	return v, nil
}
