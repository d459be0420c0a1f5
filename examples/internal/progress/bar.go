// Package progress shows the progress of an example program.
package progress

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// Bar is a progress bar on one line of a terminal; elsewhere it prints a line per quarter, so that a log
// stays short.
type Bar struct {
	w       io.Writer
	tty     bool
	what    string
	total   int
	started time.Time
	last    time.Time
	quarter int
	ended   bool
}

// New starts a bar for a piece of work of total steps.
func New(w io.Writer, what string, total int) *Bar {
	return &Bar{w: w, tty: IsTerminal(w), what: what, total: max(total, 1), started: time.Now()}
}

// Set shows that done of total are finished.
func (b *Bar) Set(done int) {
	if b.ended {
		return
	}
	done = min(done, b.total)
	if !b.tty {
		if q := 4 * done / b.total; q > b.quarter {
			b.quarter = q
			fmt.Fprintf(b.w, "%s %d%% (%.0f s)\n", b.what, 100*done/b.total, time.Since(b.started).Seconds())
		}
		return
	}
	if now := time.Now(); now.Sub(b.last) > 100*time.Millisecond || done == b.total {
		const width = 30
		full := width * done / b.total
		left := ""
		if done > 0 && done < b.total {
			rest := time.Duration(float64(now.Sub(b.started)) / float64(done) * float64(b.total-done))
			left = fmt.Sprintf(", %.0f s left", rest.Seconds())
		}
		fmt.Fprintf(b.w, "\r%s [%s%s] %d/%d%s\x1b[K", b.what, strings.Repeat("=", full), strings.Repeat(" ", width-full), done, b.total, left)
		b.last = now
	}
}

// End leaves the line with the time that it took; what Set says afterwards is not shown.
func (b *Bar) End() {
	b.ended = true
	start := ""
	if b.tty {
		start = "\r\x1b[K"
	}
	fmt.Fprintf(b.w, "%s%s: %.1f s\n", start, b.what, time.Since(b.started).Seconds())
}

// IsTerminal says whether w is a terminal, as far as that can be told without a dependency.
func IsTerminal(w any) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	st, err := f.Stat()
	return err == nil && st.Mode()&os.ModeCharDevice != 0
}
