package daemon

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"lantage/build"
	"lantage/rootfs"
	"lantage/trust"
)

// Clients is the side of `lantage trust` that is a builder's: whose jobs are run, and whose roots are copied.
type Clients struct {
	StateDir string
	Stdin    io.Reader
	Stdout   io.Writer
	Ask      bool // Stdin is somebody who can answer
	Logger   *slog.Logger
}

// Side is it.
func (c *Clients) Side() trust.Side {
	copies := sync.OnceValue(c.copies) // a list may have thousands of clients
	return trust.Side{
		Book: clientsOf(c.StateDir), Kind: trust.KindClient, Changed: c.changed,
		About: func(key trust.Key) string {
			if bytes, there := copies()[key.ID()]; there {
				return "copy of its root, " + rootfs.HumanBytes(bytes)
			}
			return ""
		},
	}
}

// copies are the sizes of the copies that are here, by their clients' IDs.
func (c *Clients) copies() map[string]int64 {
	sizes := map[string]int64{}
	if _, err := os.Stat(filepath.Join(c.StateDir, rootsDir)); err != nil {
		return sizes // opening the store would make it
	}
	_ = c.with(func(store *rootfs.Store) error {
		copies, err := store.Clients()
		for _, one := range copies {
			sizes[one.ID] = one.Bytes
		}
		return err
	})
	return sizes
}

// changed has the daemon, if one runs, end what is of a client that was revoked, and offers to remove what there is of it.
func (c *Clients) changed(ctx context.Context, p trust.Peer, forgotten bool) error {
	body, err := ask(ctx, c.StateDir, http.MethodPost, "/reconsider")
	if err == nil {
		body.Close()
	} else if !errors.Is(err, ErrNoDaemon) {
		return fmt.Errorf("it is written down, but lantage serve could not be told, and goes on with the jobs that run: %w", err)
	}
	if _, copied := c.copies()[p.Key.ID()]; !copied || p.State == trust.Trusted && !forgotten {
		return nil
	}
	return c.offerRemoval(p)
}

// offerRemoval asks whether a client's copy is to go, where there is somebody to ask.
func (c *Clients) offerRemoval(p trust.Peer) error {
	if !c.Ask {
		fmt.Fprintf(c.Stdout, "The copy of its root is still here. To remove it: lantage gc --forget=%.8s\n", p.Key.ID())
		return nil
	}
	fmt.Fprint(c.Stdout, "Remove the copy of its root and what was built on it? [Yes/No] ")
	answer, _ := bufio.NewReader(c.Stdin).ReadString('\n')
	if !strings.HasPrefix(strings.ToLower(strings.TrimSpace(answer)), "y") {
		fmt.Fprintf(c.Stdout, "It stays. To remove it later: lantage gc --forget=%.8s\n", p.Key.ID())
		return nil
	}
	err := c.with(func(store *rootfs.Store) error {
		return errors.Join(store.Forget(p.Key.ID()), build.ForgetClient(c.StateDir, p.Key.ID()))
	})
	if err != nil {
		return err
	}
	fmt.Fprintln(c.Stdout, "Removed.")
	return nil
}

func (c *Clients) with(do func(*rootfs.Store) error) error {
	store, err := rootfs.OpenStore(filepath.Join(c.StateDir, rootsDir), c.Logger)
	if err != nil {
		return fmt.Errorf("the copies of clients' roots: %w", err)
	}
	defer store.Close()
	return do(store)
}

// pickCopy finds a client with a copy by its name, its ID, or the beginning of that.
func pickCopy(store *rootfs.Store, word string) (rootfs.ClientCopy, error) {
	copies, err := store.Clients()
	if err != nil {
		return rootfs.ClientCopy{}, err
	}
	var fits []rootfs.ClientCopy
	for _, c := range copies {
		if c.Name == word || len(word) >= 4 && strings.HasPrefix(c.ID, word) {
			fits = append(fits, c)
		}
	}
	if len(fits) != 1 {
		return rootfs.ClientCopy{}, fmt.Errorf("%d clients with a copy here are called %q; lantage gc --dry-run has names and IDs", len(fits), word)
	}
	return fits[0], nil
}
