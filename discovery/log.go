package discovery

import (
	"log"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// libraryLog returns a logger for the library that writes to l's debug level. The library logs each bad
// packet of anyone, whole, so there is a limit to the number of lines and to their length.
func libraryLog(l *slog.Logger) *log.Logger {
	return log.New(&debugWriter{log: l, bucket: bucket{rate: 1, burst: 10}}, "", 0)
}

type debugWriter struct {
	log *slog.Logger

	mu     sync.Mutex
	bucket bucket
}

func (w *debugWriter) Write(line []byte) (int, error) {
	w.mu.Lock()
	ok := w.bucket.take(time.Now())
	w.mu.Unlock()
	if ok {
		text := strings.TrimSpace(string(line[:min(len(line), 200)]))
		w.log.Debug("mDNS library", "text", text)
	}
	return len(line), nil
}

func logger(l *slog.Logger) *slog.Logger {
	if l == nil {
		return slog.Default()
	}
	return l
}
