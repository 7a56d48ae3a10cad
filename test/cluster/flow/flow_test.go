// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"net"
	"sync"
	"testing"
	"time"
)

// TestCount loses every third datagram.
func TestCount(t *testing.T) {
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	f, err := Start(server.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	answered := 0
	for n := range 30 {
		size, from, err := server.ReadFrom(buf)
		if err != nil {
			t.Fatal(err)
		}
		if n%3 == 0 {
			continue
		}
		answered++
		if _, err := server.WriteTo(append([]byte("me\n"), buf[:size]...), from); err != nil {
			t.Fatal(err)
		}
	}
	c := f.Stop()
	if c.Sent < 30 || c.Sent-c.Lost != answered {
		t.Errorf("%d answered of %d: %s", answered, c.Sent, c)
	}
	if c.Gap < Every || c.FirstLost.IsZero() {
		t.Errorf("gap %s, first lost at %s", c.Gap, c.FirstLost)
	}
}

// TestStopAtTick stops many flows at the moment at which they send: what is sent then is waited for like the rest.
func TestStopAtTick(t *testing.T) {
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	go func() {
		buf := make([]byte, 100)
		for {
			size, from, err := server.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = server.WriteTo(append([]byte("me\n"), buf[:size]...), from)
		}
	}()
	for range 20 {
		var flows sync.WaitGroup
		for range 100 { // no more at once, or the server's socket drops some
			flows.Go(func() {
				f, err := Start(server.LocalAddr().String())
				if err != nil {
					t.Error(err)
					return
				}
				time.Sleep(Every)
				if c := f.Stop(); c.Lost > 0 {
					t.Error(c)
				}
			})
		}
		flows.Wait()
	}
}
