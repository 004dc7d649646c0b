package wire

import (
	"errors"
	"fmt"
)

// Errors of the connection itself.
var (
	ErrNotLantage = errors.New("the other side does not speak Lantage's protocol")
	ErrPeerOlder  = errors.New("the other side runs an older Lantage; update it")
	ErrPeerNewer  = errors.New("the other side runs a newer Lantage; update this one")
	ErrProtocol   = errors.New("protocol error")
	// ErrLost means that the connection ended, or that the peer fell silent, before the message that was due.
	ErrLost = errors.New("connection lost")
)

// Code says what kind of refusal an Error is. Codes are part of the protocol: append, never rename.
type Code string

// Codes of errors.
const (
	CodeBadRequest Code = "bad-request" // what was sent breaks a rule; sending it again will not help
	CodeDeclined   Code = "declined"    // this builder cannot do this job (another might)
	CodeBusy       Code = "busy"        // too many connections or waiting jobs; try later
	CodeUnknownJob Code = "unknown-job" // attach or cancel of a job that is not there (any more)
	CodeShutdown   Code = "shutdown"    // the daemon ends
	CodeInternal   Code = "internal"    // the builder's own fault, such as a full disk
)

// Error is a refusal that crossed the wire: a code for programs and a sentence for people.
type Error struct {
	Code Code   `json:"code"`
	Text string `json:"text"`
}

func (e *Error) Error() string {
	if e.Text == "" {
		return "the other side refused: " + string(e.Code)
	}
	return e.Text
}

// Is makes errors.Is(err, &Error{Code: c}) compare codes alone.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Text == "" && t.Code == e.Code
}

// Errorf makes an Error.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Text: fmt.Sprintf(format, args...)}
}

// AsError is err as it can cross the wire: an Error as it is, anything else as internal.
func AsError(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Code: CodeInternal, Text: err.Error()}
}
