package client

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// asker asks the questions of --ask as emerge does.
type asker struct {
	in           io.Reader
	out          io.Writer
	enterInvalid bool // --ask-enter-invalid: Enter alone is no answer
}

// errInterrupted is the end of a question by Ctrl-C or the end of input, with emerge's status for it.
var errInterrupted = &ExitError{Code: ExitInterrupted}

// yes asks until it gets an answer: any beginning of Yes or No, in any case; Enter alone is Yes. The end of
// the input, or of ctx, is errInterrupted.
func (a *asker) yes(ctx context.Context, question string) (bool, error) {
	fmt.Fprintf(a.out, "\n%s [Yes/No] ", question)
	for {
		answer, err := a.line(ctx)
		if err != nil {
			fmt.Fprintln(a.out, "Interrupted.")
			return false, errInterrupted
		}
		switch upper := strings.ToUpper(answer); {
		case answer == "" && a.enterInvalid:
		case strings.HasPrefix("YES", upper):
			return true, nil
		case strings.HasPrefix("NO", upper):
			return false, nil
		}
		fmt.Fprintf(a.out, "Sorry, response '%s' not understood. [Yes/No] ", answer)
	}
}

// line reads one line and not a byte more: what follows is for emerge. Input that ends without a newline
// counts as no line.
func (a *asker) line(ctx context.Context) (string, error) {
	type read struct {
		line string
		err  error
	}
	done := make(chan read, 1)
	go func() { // a read of a terminal cannot be stopped; the process ends soon
		var b [1]byte
		var line []byte
		for {
			n, err := a.in.Read(b[:])
			switch {
			case n == 1 && b[0] == '\n':
				done <- read{line: string(line)}
				return
			case n == 1 && len(line) < 1000:
				line = append(line, b[0])
			case err != nil:
				done <- read{err: err}
				return
			}
		}
	}()
	select {
	case r := <-done:
		return strings.TrimRight(r.line, "\r"), r.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// isTerminal reports whether a stream is a terminal.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
