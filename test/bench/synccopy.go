package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// copied is what of the laptop's root other programs copy: what Lantage does, but for secrets and the like.
var copied = []string{"bin", "etc", "lib", "lib64", "sbin", "usr", "var/db", "var/lib/portage"}

// copySize counts the files, and their bytes, of the last copy that another program made.
func (s *syncBench) copySize() (files int, size int64, err error) {
	err = filepath.WalkDir(s.copy, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		fi, err := d.Info()
		if err == nil {
			files, size = files+1, size+fi.Size()
		}
		return err
	})
	return files, size, err
}

// tarCopy is tar | tar, with nothing between them but TCP.
func (s *syncBench) tarCopy(ctx context.Context) (time.Duration, error) {
	sender, err := start(ctx, s.laptop, append([]string{tool, "pipe-out", "tar", "-cf", "-", "-C", "/"}, copied...)...)
	if err != nil {
		return 0, err
	}
	if err := sender.await(ctx, "ready", 1); err != nil {
		return 0, err
	}
	took, err := timed(inNetwork(ctx, s.desk,
		s.desk.Path(tool), "pipe-in", s.laptop.IP(), "tar", "-xpf", "-", "-C", s.copy))
	return took, errors.Join(err, sender.wait())
}

// rsyncPort is where rsync's daemon listens. Both its ends are this machine's rsync, in the networks of the
// hosts: there is none on those.
const rsyncPort = "8730"

const rsyncConf = `use chroot = no
munge symlinks = no
reverse lookup = no
uid = 0
gid = 0
[copy]
path = %s
read only = no
`

// serveRsync runs rsync's daemon in desk's network.
func (s *syncBench) serveRsync(ctx context.Context) (stop func(), err error) {
	conf, err := os.CreateTemp("", "lantage-bench-rsyncd-")
	if err != nil {
		return nil, err
	}
	_, err = fmt.Fprintf(conf, rsyncConf, s.copy)
	if err := errors.Join(err, conf.Close()); err != nil {
		return nil, err
	}
	cmd := inNetwork(ctx, s.desk, "rsync", "--daemon", "--no-detach", "--port", rsyncPort, "--config", conf.Name())
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	stop = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = os.Remove(conf.Name())
	}
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		_, err := timed(inNetwork(ctx, s.laptop, "rsync", "--timeout=5", s.rsyncURL()))
		if err == nil {
			return stop, nil
		}
		if time.Since(began) > 5*time.Second {
			stop()
			return nil, fmt.Errorf("rsync's daemon does not answer: %w", err)
		}
	}
}

func (s *syncBench) rsyncURL() string {
	return fmt.Sprintf("rsync://%s:%s/copy/", s.desk.IP(), rsyncPort)
}

func (s *syncBench) rsyncCopy(ctx context.Context) (time.Duration, error) {
	args := []string{"rsync", "-aHAXR"}
	for _, path := range copied {
		args = append(args, s.laptop.Path("/")+"/./"+path) // of which -R takes what is behind the dot
	}
	return timed(inNetwork(ctx, s.laptop, append(args, s.rsyncURL())...))
}

// inNetwork is a command that sees this machine's files and the host's network.
func inNetwork(ctx context.Context, h *host, args ...string) *exec.Cmd {
	enter := []string{"--net", "--target", strconv.Itoa(h.PID()), "--"}
	return exec.CommandContext(ctx, "nsenter", append(enter, args...)...)
}

// timed runs a command to its end.
func timed(cmd *exec.Cmd) (time.Duration, error) {
	began := time.Now()
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s: %w; it said:\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	return time.Since(began), err
}
