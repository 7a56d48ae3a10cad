// SPDX-License-Identifier: Apache-2.0

package extension

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestRetry has something fail 8 times, the 4th time after a minute, and looks at the seconds when it is tried again.
func TestRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		s := NewSupervisor(Options{Kind: echoKind, Name: "x", Log: slog.New(slog.NewTextHandler(&log, nil))})
		began := time.Now()
		var tries []int
		s.retry(t.Context(), func() error {
			tries = append(tries, int(time.Since(began).Seconds()))
			switch len(tries) {
			case 4:
				time.Sleep(time.Minute)
			case 12:
				return nil
			}
			return errors.New("out of luck")
		})
		if want := []int{0, 1, 3, 7, 68, 70, 74, 82, 98, 130, 190, 250}; !slices.Equal(tries, want) {
			t.Errorf("tried at %v, want %v", tries, want)
		}
		if n := strings.Count(log.String(), "out of luck"); n != 1 {
			t.Errorf("the same was logged %d times", n)
		}
	})
}

func TestRetryEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSupervisor(Options{Kind: echoKind, Name: "x", Log: slog.New(slog.DiscardHandler)})
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		tries := 0
		s.retry(ctx, func() error { tries++; return errors.New("out of luck") })
		if tries != 1 {
			t.Errorf("tried %d times", tries)
		}
	})
}

// TestSays writes what must not harm the log.
func TestSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		s := newSays(slog.New(slog.NewTextHandler(&out, nil)))
		fmt.Fprint(s, "one\ntw")
		fmt.Fprint(s, "o\n\n  \n\xff\xfe\nthree")
		lines := func() (lines []string) {
			for line := range strings.Lines(out.String()) {
				_, what, _ := strings.Cut(line, "level=")
				lines = append(lines, strings.TrimSpace(what))
			}
			out.Reset()
			return lines
		}
		want := []string{`INFO msg="extension says" line=one`, `INFO msg="extension says" line=two`, `INFO msg="extension says" line=?`}
		if got := lines(); !slices.Equal(got, want) {
			t.Errorf("logged %q", got)
		}
		if words := s.words(); words != "three" {
			t.Errorf("words() = %q", words)
		}
		fmt.Fprint(s, strings.Repeat("x", 5000), "\n")
		if words := s.words(); words != strings.Repeat("x", maxLine) {
			t.Errorf("words() = %d bytes", len(words))
		}
		fmt.Fprint(s, strings.Repeat("blah\n", 1000))
		if got := len(lines()); got != burst-3 {
			t.Errorf("%d lines of 1000 were logged", got)
		}
		time.Sleep(time.Second)
		fmt.Fprint(s, strings.Repeat("blah\n", 1000))
		got := lines()
		if dropped := fmt.Sprintf(`WARN msg="extension says too much" dropped=%d`, 1000-(burst-5)); len(got) != perSecond+1 || got[0] != dropped {
			t.Errorf("%d lines of 1000 were logged after a second, the first %s, want %s", len(got), got[0], dropped)
		}
	})
}

func TestWordsAreThePanics(t *testing.T) {
	s := newSays(slog.New(slog.DiscardHandler))
	fmt.Fprint(s, "hello\npanic: out of luck\n\ngoroutine 1 [running]:\nmain.main()\n")
	if words := s.words(); words != "panic: out of luck" {
		t.Errorf("words() = %q", words)
	}
}
