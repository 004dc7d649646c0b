package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"

	"lantage/trust"
)

// controlName is the socket, in the state directory, by which the owner's other commands reach a daemon that runs: HTTP, with JSON
// in its bodies. Only root can get to it.
const controlName = "control"

// ErrNoDaemon means that no daemon runs with this state directory.
var ErrNoDaemon = errors.New("lantage serve does not run here")

// control serves the socket until ctx ends.
func (s *Server) control(ctx context.Context) error {
	file, done, err := controlPath(s.StateDir)
	if err != nil {
		return err
	}
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) { // of a daemon that was killed: this one has the lock
		done()
		return err
	}
	ln, err := net.Listen("unix", file)
	if err != nil {
		done()
		return fmt.Errorf("the socket for this machine's other commands: %w", err)
	}
	if err := os.Chmod(file, 0o600); err != nil {
		ln.Close()
		done()
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /reconsider", func(w http.ResponseWriter, _ *http.Request) { answerJSON(w, struct{}{}, s.reconsider()) })
	mux.HandleFunc("POST /pair", s.controlPair)
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) { answerJSON(w, s.status(), nil) })
	web := &http.Server{
		Handler: mux, ReadHeaderTimeout: time.Second,
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	go func() { _ = web.Serve(ln) }()
	context.AfterFunc(ctx, func() { web.Close(); done() })
	return nil
}

// controlPath is the socket's path by way of an open directory: of a path as such there is room for 107 bytes (unix(7)). It holds until
// done is called.
func controlPath(stateDir string) (path string, done func(), err error) {
	dir, err := os.Open(stateDir)
	if err != nil {
		return "", nil, err
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), controlName), func() { dir.Close() }, nil
}

func answerJSON(w http.ResponseWriter, v any, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusConflict)
		return
	}
	_ = json.NewEncoder(w).Encode(v)
}

// Status is what a daemon says of itself to its owner.
type Status struct {
	Name     string `json:"name"`
	Version  string `json:"version"`
	Plain    bool   `json:"plain"`
	Paired   bool   `json:"pairedOnly"`
	Key      string `json:"key,omitempty"`
	Jobs     int    `json:"jobs"`
	Waiting  int    `json:"waiting"`
	Sessions int    `json:"sessions"`
	PID      int    `json:"pid"`
}

func (s *Server) status() Status {
	h := s.hello()
	s.mu.Lock()
	defer s.mu.Unlock()
	st := Status{
		Name: h.Name, Version: h.Software, Plain: s.Identity == nil, Paired: s.PairedOnly, Jobs: h.Jobs, Waiting: h.Waiting,
		Sessions: len(s.live), PID: os.Getpid(),
	}
	if s.Identity != nil {
		st.Key = s.Identity.Key.String()
	}
	return st
}

// begun is the first line of the answer to pair.
type begun struct {
	Code string `json:"code"`
	Name string `json:"name"` // the builder's
	Key  string `json:"key"`
}

// controlPair waits for a client to be paired: its answer is the code at once, and how it ended when it has.
func (s *Server) controlPair(w http.ResponseWriter, r *http.Request) {
	p, err := s.beginPairing()
	if err != nil {
		answerJSON(w, nil, err)
		return
	}
	tooLate := time.AfterFunc(trust.PairTime, func() {
		s.endPairing(p, paired{Why: fmt.Sprintf("nobody typed the code within %v", trust.PairTime)})
	})
	defer tooLate.Stop()
	defer context.AfterFunc(r.Context(), func() { s.endPairing(p, paired{Why: "given up"}) })()
	answerJSON(w, begun{p.code, s.Hello.Name, s.Identity.Key.String()}, nil)
	_ = http.NewResponseController(w).Flush()
	answerJSON(w, <-p.ended, nil)
}

// ask asks the daemon with this state directory. The error is ErrNoDaemon if none runs.
func ask(ctx context.Context, stateDir, method, path string) (io.ReadCloser, error) {
	client := http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			path, done, err := controlPath(stateDir)
			if err != nil {
				return nil, err
			}
			defer done()
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
		DisableKeepAlives: true,
	}}
	r, err := http.NewRequestWithContext(ctx, method, "http://lantage"+path, http.NoBody)
	if err != nil {
		return nil, err
	}
	answer, err := client.Do(r)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, ErrNoDaemon
	case errors.Is(err, fs.ErrPermission):
		return nil, errors.New("only root may speak with lantage serve here (sudo lantage …)")
	case err != nil:
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		defer answer.Body.Close()
		text, _ := io.ReadAll(io.LimitReader(answer.Body, 4096))
		return nil, errors.New(string(bytes.TrimSpace(text)))
	}
	return answer.Body, nil
}

// QueryStatus asks the daemon with this state directory for its status.
func QueryStatus(ctx context.Context, stateDir string) (st Status, err error) {
	body, err := ask(ctx, stateDir, http.MethodGet, "/status")
	if err != nil {
		return st, err
	}
	defer body.Close()
	return st, json.NewDecoder(body).Decode(&st)
}

// Pair is `lantage pair` on a builder: it shows a code and waits until it was typed on a client.
type Pair struct {
	StateDir string
	Stdout   io.Writer
}

// Run shows the code. The error is ErrNoDaemon if no daemon runs here.
func (p *Pair) Run(ctx context.Context) error {
	body, err := ask(ctx, p.StateDir, http.MethodPost, "/pair")
	if err != nil {
		return err
	}
	defer body.Close()
	lines := json.NewDecoder(body)
	var first begun
	if err := lines.Decode(&first); err != nil {
		return err
	}
	fmt.Fprintf(p.Stdout, "On the client, within two minutes: lantage pair %s\n%s has the key %s.\n", first.Code, first.Name, first.Key)
	var end paired
	if err := lines.Decode(&end); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("lantage serve has ended meanwhile; nothing is paired")
	}
	if end.Why != "" {
		return fmt.Errorf("nothing is paired: %s", end.Why)
	}
	fmt.Fprintf(p.Stdout, "Paired with %s (%s): its jobs are taken.\n", end.Name, end.Fingerprint)
	return nil
}
