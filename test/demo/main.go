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
		"All have real Portage and no configuration of Lantage. They are namespaces of\n" +
		"this machine; all that follows is real.")

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

	s.title("emerge on lappy: planned here, compiled on tower, merged here")
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

	s.title("netbook, with the same settings, wants it too: nothing to compile")
	if err := s.show(ctx, h.netbook, "lantage", "emerge", "lab-apps/hello"); err != nil {
		return err
	}
	if out, err = s.read(ctx, h.netbook, "hello"); err != nil {
		return err
	}
	if err := expect(out, "shout: on", "-DMARK=mine"); err != nil {
		return fmt.Errorf("netbook's hello: %w", err)
	}
	if err := h.sameBuild("lab-apps/hello-1.1", "lab-libs/greet-2"); err != nil {
		return err
	}
	s.tell(fmt.Sprintf("\nAll of it took %.0f seconds. Next: `make lab` leaves such machines for you to try.",
		time.Since(began).Seconds()))
	return nil
}

// sameBuild fails unless both clients have merged the very same binary packages: so nothing was compiled
// twice.
func (h *hosts) sameBuild(cpvs ...string) error {
	for _, cpv := range cpvs {
		for _, name := range []string{"BUILD_TIME", "SIZE"} {
			file := filepath.Join("/var/db/pkg", cpv, name)
			a, errA := os.ReadFile(h.lappy.Path(file))
			b, errB := os.ReadFile(h.netbook.Path(file))
			if err := errors.Join(errA, errB); err != nil {
				return err
			}
			if string(a) != string(b) {
				return fmt.Errorf("%s was compiled again for netbook: its %s is not that of lappy", cpv, name)
			}
		}
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
