package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Bounds of the cache.
const (
	cacheMost      = 32
	cacheAddresses = 16
	cacheFor       = 30 * 24 * time.Hour
	cacheBytes     = 64 << 10
)

// cache is the builders that answered before. It only saves time: all of it is dialled again, and what
// answers is judged as if it were new. So a file that cannot be used is left aside, and one that cannot be
// written is no error.
type cache struct {
	file    string
	entries []cached // the last seen first
}

// cached is one builder of the cache.
type cached struct {
	ID    string           `json:"id"`
	Name  string           `json:"name"`
	Addrs []netip.AddrPort `json:"addresses"` // the one that answered first
	Found string           `json:"found"`     // how, the first time
	Seen  time.Time        `json:"seen"`
}

// openCache reads the cache.
func openCache(file string, now time.Time) *cache {
	c := &cache{file: file}
	entries, err := readCache(file)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			slog.Debug("the cache of builders is not used", "error", err)
		}
		return c
	}
	for _, e := range entries {
		age := now.Sub(e.Seen)
		if age < cacheFor && age > -time.Hour && len(c.entries) < cacheMost {
			c.entries = append(c.entries, e)
		}
	}
	return c
}

func readCache(file string) ([]cached, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, cacheBytes+1))
	if err != nil {
		return nil, err
	}
	return parseCache(b)
}

// parseCache judges the content of the file as a whole: one that is wrong anywhere was not written by us.
func parseCache(b []byte) ([]cached, error) {
	if len(b) > cacheBytes {
		return nil, fmt.Errorf("more than %d bytes", cacheBytes)
	}
	var entries []cached
	if err := json.Unmarshal(b, &entries); err != nil {
		return nil, err
	}
	for _, e := range entries {
		if !isID(e.ID) || oneLine(e.Name, 64) != e.Name || len(e.Addrs) == 0 || len(e.Addrs) > cacheAddresses ||
			!slices.Contains([]string{byMDNS, byDNS}, e.Found) {
			return nil, fmt.Errorf("entry %.40q is wrong", e.ID)
		}
		for _, a := range e.Addrs {
			if ip := a.Addr(); !a.IsValid() || a.Port() == 0 || ip.IsMulticast() || ip.IsUnspecified() {
				return nil, fmt.Errorf("entry %.40q has address %v", e.ID, a)
			}
		}
	}
	return entries, nil
}

// isID reports whether s could be a builder's ID.
func isID(s string) bool {
	return len(s) >= 6 && len(s) <= 64 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789") == ""
}

// candidates are all of the cache.
func (c *cache) candidates() []candidate {
	var list []candidate
	for _, e := range c.entries {
		list = append(list, candidate{how: byCache, label: e.Name, addrs: e.Addrs, guess: true})
	}
	return list
}

// only reports whether this builder is in the cache and no other one is.
func (c *cache) only(id string) bool { return len(c.entries) == 1 && c.entries[0].ID == id }

// note writes down what a search has found: builders of mDNS and DNS, and those of the cache that answered
// again. An address where another builder answers now is not the old one's any more.
func (c *cache) note(answered []sighting, now time.Time) {
	changed := false
	for _, s := range answered {
		id := s.hello.ID
		if !isID(id) {
			continue
		}
		for i := range c.entries {
			if e := &c.entries[i]; e.ID != id {
				n := len(e.Addrs)
				e.Addrs = slices.DeleteFunc(slices.Clone(e.Addrs), func(a netip.AddrPort) bool { return a == s.at })
				changed = changed || len(e.Addrs) < n
			}
		}
		old := slices.IndexFunc(c.entries, func(e cached) bool { return e.ID == id })
		e := cached{ID: id, Name: s.hello.Name, Seen: now.UTC().Truncate(time.Second)}
		switch {
		case slices.Contains(s.ways, byMDNS):
			e.Found = byMDNS
		case slices.Contains(s.ways, byDNS):
			e.Found = byDNS
		case old >= 0:
			e.Found = c.entries[old].Found
		default:
			continue // the user said where it is, or it is this machine
		}
		e.Addrs = slices.Clone(s.builder.addrs) // those where it answered come first
		e.Addrs = e.Addrs[:min(len(e.Addrs), cacheAddresses)]
		if old >= 0 {
			c.entries = slices.Delete(c.entries, old, old+1)
		}
		c.entries = slices.Insert(c.entries, 0, e)
		changed = true
	}
	c.entries = slices.DeleteFunc(c.entries, func(e cached) bool { return len(e.Addrs) == 0 })
	c.entries = c.entries[:min(len(c.entries), cacheMost)]
	if changed {
		if err := c.write(); err != nil {
			slog.Debug("the cache of builders is not written", "error", err)
		}
	}
}

// write writes the file.
func (c *cache) write() error {
	b, err := json.MarshalIndent(c.entries, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(c.file), 0o755); err != nil {
		return err
	}
	return replaceFile(c.file, append(b, '\n'))
}
