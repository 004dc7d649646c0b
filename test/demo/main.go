// Demo shows Lantage's main job: hosts in network namespaces, real Portage, and the real commands with
// their real output. It ends with status 1 if any of it fails, and leaves nothing behind, also after
// Ctrl-C.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"lantage/test/lab"
)

func main() {
	lab.Main()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal kills, and the lab ends with this process
	err := run(ctx, newStage(os.Stdout))
	switch {
	case ctx.Err() != nil:
		fmt.Println("\nInterrupted; the hosts are gone.")
		os.Exit(130)
	case err != nil:
		fmt.Fprintln(os.Stderr, "\nThe demo FAILED:", err)
		os.Exit(1)
	}
}

// run makes the hosts, tells the story, and takes them down.
func run(ctx context.Context, s *stage) (err error) {
	dir, err := os.MkdirTemp("", "lantage-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	binary := filepath.Join(dir, "lantage")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w -X main.version=demo",
		"-o", binary, "lantage")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("building lantage: %w", err)
	}
	h, err := newHosts(binary)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.lab.Close()) }()
	return story(ctx, s, h)
}

// story is the demo. Each step is checked as far as its exit status does not tell.
func story(ctx context.Context, s *stage, h *hosts) error {
	began := time.Now()
	s.tell("Three machines on one LAN: tower is strong, lappy and netbook are not.\n" +
		"Those two have real Portage; tower runs another distribution, without it. None\n" +
		"has any configuration of Lantage. They are namespaces of this machine; all that\n" +
		"follows is real.")

	s.title("tower becomes a builder")
	d, err := s.serve(h.tower)
	if err != nil {
		return err
	}
	defer d.stop()

	s.title("lappy has its own USE flags and CFLAGS, and sees who can help")
	conf, err := s.read(ctx, h.lappy, "cat", "/etc/portage/make.conf")
	if err != nil {
		return err
	}
	if err := s.show(ctx, h.lappy, "lantage", "list-builders"); err != nil {
		return err
	}

	s.title("emerge on lappy: planned here, compiled on tower in a copy of lappy's root, merged here")
	if err := s.show(ctx, h.lappy, "lantage", "emerge", "-v", "lab-apps/hello"); err != nil {
		return err
	}

	s.title("what it installed has lappy's USE=shout and lappy's CFLAGS")
	out, err := s.read(ctx, h.lappy, "hello")
	if err != nil {
		return err
	}
	if err := expect(out, "shout: on", "-DMARK=mine"); err != nil {
		return fmt.Errorf("hello was not built as make.conf says (%q): %w", conf, err)
	}

	s.title("netbook wants it too; what its root has in common with lappy's is on tower already")
	if err := s.show(ctx, h.netbook, "lantage", "emerge", "lab-apps/hello"); err != nil {
		return err
	}
	if out, err = s.read(ctx, h.netbook, "hello"); err != nil {
		return err
	}
	if err := expect(out, "shout: on", "-DMARK=mine"); err != nil {
		return fmt.Errorf("netbook's hello: %w", err)
	}
	if out, err = s.read(ctx, h.tower, "lantage", "gc", "--dry-run"); err != nil {
		return err
	}
	if err := storedOnce(out); err != nil {
		return err
	}
	s.tell(fmt.Sprintf("\nAll of it took %.0f seconds. Next: `make lab` leaves such machines for you to try.",
		time.Since(began).Seconds()))
	return nil
}

var (
	copyRE = regexp.MustCompile(`(?m)^(?:lappy|netbook) .* ([\d.]+) MiB `)
	diskRE = regexp.MustCompile(`The copies take ([\d.]+) MiB of disk`)
)

// storedOnce fails unless the copies of both clients' roots take little more of the disk than one of them has.
func storedOnce(text string) error {
	copies, disk := copyRE.FindAllStringSubmatch(text, -1), diskRE.FindStringSubmatch(text)
	if len(copies) != 2 || disk == nil {
		return errors.New("tower does not tell of two copies")
	}
	one, err := strconv.ParseFloat(copies[0][1], 64)
	taken, diskErr := strconv.ParseFloat(disk[1], 64)
	if err := errors.Join(err, diskErr); err != nil {
		return err
	}
	if taken > one*1.3 {
		return fmt.Errorf("two copies of %.0f MiB take %.0f MiB of tower's disk", one, taken)
	}
	return nil
}

// expect fails unless text has all of these words.
func expect(text string, words ...string) error {
	for _, w := range words {
		if !strings.Contains(text, w) {
			return fmt.Errorf("it does not say %q", w)
		}
	}
	return nil
}
