// SPDX-License-Identifier: Apache-2.0

// Package flow sends datagrams at a steady rate to a service that sends them back, and counts what does not come back.
package flow

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Every is the pause between two datagrams.
const Every = 10 * time.Millisecond

// late is how long the answer to the last datagram may take: what is only late on a busy machine is not lost.
const late = 3 * time.Second

// Count is what became of a flow.
type Count struct {
	To         string
	Sent, Lost int
	// Gap is the longest time between two answers.
	Gap time.Duration
	// FirstLost is when the first datagram that is lost was sent.
	FirstLost time.Time
	// Refused is the last error of a send, which counts as a loss.
	Refused string
}

func (c Count) String() string {
	text := fmt.Sprintf("%d datagrams to %s, %d lost, longest gap %s", c.Sent, c.To, c.Lost, c.Gap.Round(time.Millisecond))
	if c.Lost > 0 {
		text += ", the first of " + c.FirstLost.Format("15:04:05.000")
	}
	if c.Refused != "" {
		text += ", " + c.Refused
	}
	return text
}

// Flow is one that runs.
type Flow struct {
	to   string
	conn net.Conn
	stop chan struct{}
	// sending and receiving end with the two goroutines.
	sending, receiving chan struct{}

	mu       sync.Mutex // of what follows
	sent     []time.Time
	answered map[uint64]bool
	last     time.Time // of the answers
	gap      time.Duration
	refused  error
}

// Start starts a flow to the address from the network namespace of the calling thread.
func Start(to string) (*Flow, error) {
	conn, err := net.Dial("udp", to)
	if err != nil {
		return nil, fmt.Errorf("start a flow: %w", err)
	}
	f := &Flow{
		to: to, conn: conn, stop: make(chan struct{}), sending: make(chan struct{}), receiving: make(chan struct{}),
		answered: map[uint64]bool{}, last: time.Now(),
	}
	go f.send()
	go f.receive()
	return f, nil
}

func (f *Flow) send() {
	defer close(f.sending)
	tick := time.NewTicker(Every)
	defer tick.Stop()
	for {
		select {
		case <-f.stop:
			return
		case <-tick.C:
			f.next()
		}
	}
}

func (f *Flow) next() {
	f.mu.Lock()
	number := uint64(len(f.sent))
	f.sent = append(f.sent, time.Now())
	f.mu.Unlock()
	_, err := f.conn.Write(binary.BigEndian.AppendUint64(nil, number))
	if errors.Is(err, unix.ECONNREFUSED) { // the answer to an earlier one
		_, err = f.conn.Write(binary.BigEndian.AppendUint64(nil, number))
	}
	if err != nil {
		f.mu.Lock()
		f.refused = err
		f.mu.Unlock()
	}
}

// receive notes the answers: the service's name, a newline, and the datagram.
func (f *Flow) receive() {
	defer close(f.receiving)
	buf := make([]byte, 1500)
	for {
		size, err := f.conn.Read(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if _, number, ok := bytes.Cut(buf[:size], []byte("\n")); err == nil && ok && len(number) == 8 {
			f.note(binary.BigEndian.Uint64(number))
		}
	}
}

func (f *Flow) note(number uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	f.gap = max(f.gap, now.Sub(f.last))
	f.last = now
	f.answered[number] = true
}

// Stop ends the flow, waits for what is on its way, and returns what became of it.
func (f *Flow) Stop() Count {
	close(f.stop)
	<-f.sending
	for limit := time.Now().Add(late); time.Now().Before(limit) && f.missing() > 0; {
		time.Sleep(Every)
	}
	f.conn.Close()
	<-f.receiving
	return f.count()
}

func (f *Flow) missing() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.sent) - len(f.answered)
}

func (f *Flow) count() Count {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := Count{To: f.to, Sent: len(f.sent), Gap: f.gap}
	for number, sent := range f.sent {
		if f.answered[uint64(number)] {
			continue
		}
		if c.Lost++; c.Lost == 1 {
			c.FirstLost = sent
		}
	}
	if f.refused != nil {
		c.Refused = f.refused.Error()
	}
	return c
}
