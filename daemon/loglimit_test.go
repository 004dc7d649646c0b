package daemon

import (
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestLimitedLog: a flood of lines of one text becomes so many for each period, the last of which says how many there were;
// other texts have their own room, whoever the log was made for.
func TestLimitedLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &syncBuffer{written: make(chan struct{})}
		logger := limitLog(slog.New(slog.NewTextHandler(out, nil)))
		lines := func(text string) int { return strings.Count(out.String(), `msg="`+text+`"`) }

		const periods, flood = 3, 10_000
		for range periods {
			for i := range flood {
				logger.With("from", i).Info("a flood", "n", i)
				time.Sleep(logPeriod / flood)
			}
			logger.Info("something else")
		}
		time.Sleep(logPeriod)
		synctest.Wait()
		if n, most := lines("a flood"), (periods+1)*(logLines+1); n > most || n < periods*logLines {
			t.Errorf("%d lines of a flood in %d periods, want %d at most", n, periods, most)
		}
		if n := lines("something else"); n != periods {
			t.Errorf("%d lines of another text, want %d", n, periods)
		}
		if !strings.Contains(out.String(), `msg="a flood" from=9999 n=9999 like_this=`) {
			t.Errorf("the last line does not say how many there were:\n%s", out)
		}

		before := len(out.String())
		for range logLines {
			logger.Info("a few")
		}
		time.Sleep(2 * logPeriod)
		synctest.Wait()
		if said := out.String()[before:]; strings.Count(said, "a few") != logLines || strings.Contains(said, "like_this") {
			t.Errorf("of %d lines there are:\n%s", logLines, said)
		}
	})
}
