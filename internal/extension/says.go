// SPDX-License-Identifier: Apache-2.0

package extension

import (
	"log/slog"
	"strings"
	"sync"
	"time"
)

// An extension's lines are logged as they come, a burst of them at once, and beyond that so many each second.
const (
	burst     = 200
	perSecond = 20
	maxLine   = 1024
)

// says logs the lines that an extension writes. However much it writes, it is read.
type says struct {
	log *slog.Logger

	mu      sync.Mutex
	line    []byte // the beginning of the line that is being written
	room    float64
	at      time.Time // when there was so much room
	dropped int
	last    string // the last line, or that of its panic
}

func newSays(log *slog.Logger) *says { return &says{log: log, room: burst, at: time.Now()} }

// Write logs the lines that end in it. There is no error.
func (s *says) Write(text []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range text {
		switch {
		case c == '\n':
			s.end()
		case len(s.line) < maxLine:
			s.line = append(s.line, c)
		}
	}
	return len(text), nil
}

// end logs a line, if there is room for it.
func (s *says) end() {
	line := strings.TrimSpace(strings.ToValidUTF8(string(s.line), "?"))
	s.line = s.line[:0]
	if line == "" {
		return
	}
	if !strings.HasPrefix(s.last, "panic: ") && !strings.HasPrefix(s.last, "fatal error: ") {
		s.last = line
	}
	now := time.Now()
	s.room = min(burst, s.room+perSecond*now.Sub(s.at).Seconds())
	s.at = now
	if s.room < 1 {
		s.dropped++
		return
	}
	s.room--
	if s.dropped > 0 {
		s.log.Warn("extension says too much", "dropped", s.dropped)
		s.dropped = 0
	}
	s.log.Info("extension says", "line", line)
}

// words returns the last line, or that of a panic, and the empty text where there was none.
func (s *says) words() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end()
	return s.last
}
