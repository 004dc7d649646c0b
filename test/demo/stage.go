package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/term"
)

// patience is how long a command may take, and lastWords how long after Ctrl-C.
const (
	patience  = 5 * time.Minute
	lastWords = 4 * time.Second
)

// stage is where the demo is shown: a terminal, with colours and the client's status line, or plain text.
type stage struct {
	out *os.File
	tty bool
	n   int // steps so far
}

func newStage(out *os.File) *stage {
	return &stage{out: out, tty: term.IsTerminal(int(out.Fd())) && os.Getenv("TERM") != "dumb"}
}

// width is the terminal's, in columns; 0 without one.
func (s *stage) width() int {
	if !s.tty {
		return 0
	}
	w, _, _ := term.GetSize(int(s.out.Fd()))
	return w
}

// styled is text in a style of the terminal's (ECMA-48 SGR).
func (s *stage) styled(sgr, text string) string {
	if !s.tty || os.Getenv("NO_COLOR") != "" {
		return text
	}
	return "\x1b[" + sgr + "m" + text + "\x1b[0m"
}

func (s *stage) tell(text string) { fmt.Fprintln(s.out, text) }

// title begins a step.
func (s *stage) title(text string) {
	s.n++
	fmt.Fprintf(s.out, "\n%s\n", s.styled("1;36", fmt.Sprintf("%d. %s", s.n, text)))
}

// prompt shows a command as if somebody had typed it on the host.
func (s *stage) prompt(host string, args []string) {
	fmt.Fprintln(s.out, s.styled("1;32", host+" #")+" "+s.styled("1", strings.Join(args, " ")))
}

// show runs a command with its output as it is, on the terminal if there is one.
func (s *stage) show(ctx context.Context, h *host, args ...string) error {
	s.prompt(h.Name, args)
	return s.run(ctx, h, s.out, args)
}

// read shows a short command, and returns what it printed.
func (s *stage) read(ctx context.Context, h *host, args ...string) (string, error) {
	s.prompt(h.Name, args)
	var out bytes.Buffer
	err := s.run(ctx, h, io.MultiWriter(s.out, &out), args)
	return out.String(), err
}

func (s *stage) run(ctx context.Context, h *host, out io.Writer, args []string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	cmd := command(ctx, h, append(s.environment(), args...)...)
	cmd.Stdout, cmd.Stderr = out, out
	// Ctrl-C has reached it without us: it is left to say goodbye.
	cmd.Cancel = func() error { return nil }
	cmd.WaitDelay = lastWords
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s on %s: %w", strings.Join(args, " "), h.Name, err)
	}
	return nil
}

// environment is a command that gives another one what it should know of the terminal.
func (s *stage) environment() []string {
	env := []string{"env"}
	if s.tty {
		env = append(env, "TERM="+os.Getenv("TERM"))
	}
	if v, ok := os.LookupEnv("NO_COLOR"); ok {
		env = append(env, "NO_COLOR="+v)
	}
	return env
}

// daemon is `lantage serve`, whose log goes to the stage, marked.
type daemon struct {
	cmd  *exec.Cmd
	log  *marked
	done chan struct{}
}

// serve starts a builder and returns when it is ready.
func (s *stage) serve(h *host) (*daemon, error) {
	args := []string{"lantage", "serve"}
	s.prompt(h.Name, append(args, "&"))
	mark := s.styled("2", h.Name+" |")
	if s.tty {
		mark = "\r\x1b[K" + mark // in place of the client's status line, which it draws again
	}
	d := &daemon{
		cmd: command(context.Background(), h, args...), done: make(chan struct{}),
		log: &marked{
			out: s.out, mark: mark, room: s.width() - len(h.Name+" | "),
			await: "advertising on the LAN", seen: make(chan struct{}),
		},
	}
	d.cmd.Stdout, d.cmd.Stderr = d.log, d.log
	// Not reached by Ctrl-C, so that the client, which is, can cancel its job.
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := d.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { _ = d.cmd.Wait(); close(d.done) }()
	select {
	case <-d.log.seen:
		return d, nil
	case <-d.done:
		return nil, errors.New("`lantage serve` has ended, see above")
	case <-time.After(time.Minute):
		d.stop()
		return nil, errors.New("`lantage serve` does not get ready")
	}
}

// stop ends the builder as a service manager does, without a word.
func (d *daemon) stop() {
	d.log.mute()
	_ = signalTo(d.cmd, syscall.SIGTERM)
	select {
	case <-d.done:
	case <-time.After(lastWords):
		_ = signalTo(d.cmd, syscall.SIGKILL)
	}
}

// marked writes lines with a mark before each, and tells when a certain text has come.
type marked struct {
	mu    sync.Mutex
	out   io.Writer
	mark  string
	room  int // columns beside the mark; 0 and less: as many as it takes
	rest  []byte
	await string
	seen  chan struct{}
	found bool
}

func (m *marked) Write(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rest = append(m.rest, p...)
	for {
		line, rest, ok := bytes.Cut(m.rest, []byte("\n"))
		if !ok {
			return len(p), nil
		}
		fmt.Fprintf(m.out, "%s %s\n", m.mark, m.cut(shortLog(string(line))))
		m.rest = rest
		if !m.found && bytes.Contains(line, []byte(m.await)) {
			m.found = true
			close(m.seen)
		}
	}
}

// cut shortens a line to the room that there is.
func (m *marked) cut(line string) string {
	if r := []rune(line); m.room > 0 && len(r) > m.room {
		return string(r[:m.room-1]) + "…"
	}
	return line
}

// shortLog is a line of slog's text handler without its time and level, so that it fits beside other output.
func shortLog(line string) string {
	_, rest, ok := strings.Cut(line, " level=INFO msg=")
	if !ok {
		return line
	}
	msg, attrs := rest, ""
	if quoted, err := strconv.QuotedPrefix(rest); err == nil {
		msg, _ = strconv.Unquote(quoted)
		attrs = rest[len(quoted):]
	}
	return msg + attrs
}

func (m *marked) mute() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.out = io.Discard
}
