package daemon

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"lantage/build"
	"lantage/gentoo"
	"lantage/rootfs"
	"lantage/wire"
)

// revokedName is the file of the state directory with the clients of whom nothing is taken any more: an ID in each line,
// and for people the name.
const revokedName = "revoked"

// revoked reads the clients that were revoked, by ID.
func revoked(stateDir string) (map[string]string, error) {
	text, err := os.ReadFile(filepath.Join(stateDir, revokedName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	list := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if id, name, _ := strings.Cut(strings.TrimSpace(line), " "); id != "" {
			list[id] = name
		}
	}
	return list, nil
}

// setRevoked writes them.
func setRevoked(stateDir string, list map[string]string) error {
	var text strings.Builder
	for id, name := range list {
		fmt.Fprintf(&text, "%s %s\n", id, name)
	}
	file := filepath.Join(stateDir, revokedName)
	if err := os.WriteFile(file+".new", []byte(text.String()), 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

// admit refuses a client that was revoked.
func (s *Server) admit(client string) error {
	list, err := revoked(s.StateDir)
	if err != nil {
		return err
	}
	if _, gone := list[client]; gone {
		return wire.Errorf(wire.CodeDeclined, "%s takes no roots of this machine any more: its owner has revoked it",
			s.Hello.Name)
	}
	return nil
}

// Trust is `lantage trust` on a builder: whose roots are copied and built on. A client is known by the secret name that it
// sends with them; that it is the same machine as before is all that is known of it.
type Trust struct {
	StateDir string
	Stdin    io.Reader
	Stdout   io.Writer
	Ask      bool // Stdin is somebody who can answer
	Logger   *slog.Logger
}

// known is a client with a copy, or one that was revoked.
type known struct{ id, name, state string }

// clients lists those with a copy and those that were revoked.
func (t *Trust) clients(store *rootfs.Store) ([]known, error) {
	copies, err := store.Clients()
	if err != nil {
		return nil, err
	}
	gone, err := revoked(t.StateDir)
	if err != nil {
		return nil, err
	}
	var list []known
	for _, c := range copies {
		k := known{c.ID, gentoo.Printable(c.Name), "allowed, " + rootfs.HumanBytes(c.Bytes)}
		if _, is := gone[c.ID]; is {
			k.state = "revoked, its copy is still there"
			delete(gone, c.ID)
		}
		list = append(list, k)
	}
	for id, name := range gone {
		list = append(list, known{id, gentoo.Printable(name), "revoked"})
	}
	slices.SortFunc(list, func(a, b known) int { return strings.Compare(a.name+a.id, b.name+b.id) })
	return list, nil
}

// pick finds a client by its name, ID, or the beginning of that.
func (t *Trust) pick(store *rootfs.Store, word string) (known, error) {
	list, err := t.clients(store)
	if err != nil {
		return known{}, err
	}
	fits := slices.DeleteFunc(list, func(k known) bool {
		return k.name != word && (len(word) < 4 || !strings.HasPrefix(k.id, word))
	})
	if len(fits) != 1 {
		return known{}, fmt.Errorf("%d clients are called %q; lantage trust list has names and IDs", len(fits), word)
	}
	return fits[0], nil
}

// List shows the clients.
func (t *Trust) List(context.Context) error {
	return t.with(func(store *rootfs.Store) error {
		list, err := t.clients(store)
		if err != nil {
			return err
		}
		if len(list) == 0 {
			fmt.Fprintln(t.Stdout, "No client has a copy of its root here.")
		}
		for _, k := range list {
			fmt.Fprintf(t.Stdout, "%-20s %.8s  %s\n", k.name, k.id, k.state)
		}
		return nil
	})
}

// Revoke takes nothing of a client any more, and offers to remove what there is of it.
func (t *Trust) Revoke(_ context.Context, word string) error {
	return t.with(func(store *rootfs.Store) error {
		k, err := t.change(store, word, func(list map[string]string, k known) { list[k.id] = k.name })
		if err != nil {
			return err
		}
		fmt.Fprintf(t.Stdout, "Nothing of %s (%.8s) is taken any more.\n", k.name, k.id)
		if k.state == "revoked" {
			return nil
		}
		return t.offerRemoval(store, k)
	})
}

// Allow takes a revocation back.
func (t *Trust) Allow(_ context.Context, word string) error {
	return t.with(func(store *rootfs.Store) error {
		k, err := t.change(store, word, func(list map[string]string, k known) { delete(list, k.id) })
		if err == nil {
			fmt.Fprintf(t.Stdout, "The root of %s (%.8s) is taken and built on.\n", k.name, k.id)
		}
		return err
	})
}

// change changes the list of those who are revoked by one client.
func (t *Trust) change(store *rootfs.Store, word string, how func(map[string]string, known)) (known, error) {
	k, err := t.pick(store, word)
	if err != nil {
		return k, err
	}
	list, err := revoked(t.StateDir)
	if err != nil {
		return k, err
	}
	how(list, k)
	return k, setRevoked(t.StateDir, list)
}

// offerRemoval asks whether a client's copy is to go, where there is somebody to ask.
func (t *Trust) offerRemoval(store *rootfs.Store, k known) error {
	if !t.Ask {
		fmt.Fprintf(t.Stdout, "The copy of its root is still here. To remove it: lantage gc --forget=%.8s\n", k.id)
		return nil
	}
	fmt.Fprint(t.Stdout, "Remove the copy of its root and what was built on it? [Yes/No] ")
	answer, _ := bufio.NewReader(t.Stdin).ReadString('\n')
	if !strings.HasPrefix(strings.ToLower(strings.TrimSpace(answer)), "y") {
		fmt.Fprintf(t.Stdout, "It stays. To remove it later: lantage gc --forget=%.8s\n", k.id)
		return nil
	}
	if err := errors.Join(store.Forget(k.id), build.ForgetClient(t.StateDir, k.id)); err != nil {
		return err
	}
	fmt.Fprintln(t.Stdout, "Removed.")
	return nil
}

func (t *Trust) with(do func(*rootfs.Store) error) error {
	store, err := rootfs.OpenStore(filepath.Join(t.StateDir, rootsDir), t.Logger)
	if err != nil {
		return fmt.Errorf("the copies of clients' roots: %w", err)
	}
	defer store.Close()
	return do(store)
}
