package client

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
)

// Exit statuses of Lantage's own. Every other one is emerge's, passed on.
const (
	ExitFailed      = 1   // a package failed, or something on this machine stood in the way
	ExitNoBuilder   = 3   // list-builders found none
	ExitNoFallback  = 4   // no builder, or it was lost, and building here was not wanted
	ExitInterrupted = 130 // Ctrl-C, or the answer No, as emerge has it
)

// ExitError ends a command with a status of its own.
type ExitError struct {
	Code int
	Err  error // for the user; nil where everything has been said already
}

func (e *ExitError) Error() string {
	if e.Err == nil {
		return ""
	}
	return e.Err.Error()
}

func (e *ExitError) Unwrap() error { return e.Err }

// ExitCode is the exit status that the process should end with.
func (e *ExitError) ExitCode() int { return e.Code }

// exit is an ExitError without words, or nil for status 0.
func exit(code int) error {
	if code == 0 {
		return nil
	}
	return &ExitError{Code: code}
}

// exitf is an ExitError with words.
func exitf(code int, format string, args ...any) error {
	return &ExitError{Code: code, Err: fmt.Errorf(format, args...)}
}

// passOn turns how a program of Portage's ended into our own exit status: its code, or 128 + signal as a
// shell has it. Any other error stays what it is.
func passOn(err error) error {
	ended, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		return err
	}
	return exit(statusOf(ended))
}

// interrupted gives the end of a context the status that Ctrl-C has.
func interrupted(err error) error {
	if errors.Is(err, context.Canceled) {
		return exitf(ExitInterrupted, "interrupted")
	}
	return err
}
