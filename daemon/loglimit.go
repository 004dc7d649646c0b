package daemon

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// How many lines of one text the owner's log takes in how long a time. What peers do makes lines, and who can reach the port
// can do it as often as he likes.
const (
	logLines  = 20
	logPeriod = time.Minute
)

// limitedLog is a log that takes so many lines of one text: of those that are too many it keeps the last one, which follows at
// the end of the period with the number of all of them.
type limitedLog struct {
	slog.Handler
	lines *logCounts // of all logs that With and WithGroup made of the first
}

type logCounts struct {
	mu     sync.Mutex
	counts map[string]*logCount // by text, of which the program has a fixed number
}

// logCount is of one text in one period.
type logCount struct {
	lines int
	last  func(leftOut int) // writes the last line that was left out
}

// limitLog makes a logger that passes a limited number of lines to another.
func limitLog(logger *slog.Logger) *slog.Logger {
	return slog.New(limitedLog{logger.Handler(), &logCounts{counts: map[string]*logCount{}}})
}

// WithAttrs implements slog.Handler.
func (l limitedLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	return limitedLog{l.Handler.WithAttrs(attrs), l.lines}
}

// WithGroup implements slog.Handler.
func (l limitedLog) WithGroup(name string) slog.Handler {
	return limitedLog{l.Handler.WithGroup(name), l.lines}
}

// Handle implements slog.Handler.
func (l limitedLog) Handle(ctx context.Context, r slog.Record) error {
	write := func(leftOut int) {
		last := r.Clone()
		last.AddAttrs(slog.Int("like_this", leftOut))
		_ = l.Handler.Handle(context.WithoutCancel(ctx), last)
	}
	if !l.lines.room(r.Message, write) {
		return nil
	}
	return l.Handler.Handle(ctx, r)
}

// room counts a line and reports whether there is room for it. If not, it is kept until others of its text follow, or its
// period ends.
func (c *logCounts) room(text string, line func(leftOut int)) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.counts[text]
	if n == nil {
		n = new(logCount)
		c.counts[text] = n
		time.AfterFunc(logPeriod, func() { c.endPeriod(text) })
	}
	n.lines++
	if n.lines > logLines {
		n.last = line
	}
	return n.last == nil
}

// endPeriod writes the last line of those that were left out.
func (c *logCounts) endPeriod(text string) {
	c.mu.Lock()
	n := c.counts[text]
	delete(c.counts, text)
	c.mu.Unlock()
	if n.last != nil {
		n.last(n.lines - logLines)
	}
}
