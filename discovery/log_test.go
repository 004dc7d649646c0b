package discovery

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
)

// The library's log of bad packets is short, whatever is sent.
func TestLibraryLogIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		l := libraryLog(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})))
		for range 1000 {
			l.Print(strings.Repeat("x", 9000))
		}
		if lines := strings.Count(out.String(), "\n"); lines != 10 || out.Len() > 4000 {
			t.Errorf("%d lines, %d bytes", lines, out.Len())
		}
	})
}
