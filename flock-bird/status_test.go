// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"flock.fritzlab.net/flock/internal/hosttest"
)

// serve answers as a BIRD does that has these lines to "show protocols".
func serve(t *testing.T, socket, protocols string) {
	t.Helper()
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			conn.Write([]byte("0001 BIRD 2.0.12 ready.\n"))
			if n, err := conn.Read(make([]byte, 100)); err == nil && n > 0 {
				conn.Write([]byte(protocols))
			}
			conn.Close()
		}
	}()
}

const (
	header      = "2002-Name       Proto      Table      State  Since         Info\n"
	kernel      = "1002-learn4     Kernel     announce4  up     12:00:00.000  \n"
	established = "1002-router4    BGP        ---        up     12:00:00.000  Established   \n"
	active      = "1002-router6    BGP        ---        start  12:00:00.000  Active        Socket: Connection refused\n"
	disabled    = "1002-router7    BGP        ---        down   12:00:00.000  \n"
)

func TestStatus(t *testing.T) {
	for _, tt := range []struct {
		name    string
		prepare func(t *testing.T, socket string)
		want    string
	}{
		{"no BIRD", func(*testing.T, string) {}, "ok"},
		{"no session configured", func(t *testing.T, s string) { serve(t, s, header+kernel+"0000 \n") }, "ok"},
		{"one of two established", func(t *testing.T, s string) { serve(t, s, header+kernel+active+established+"0000 \n") }, "ok"},
		{"none established", func(t *testing.T, s string) { serve(t, s, header+kernel+active+disabled+"0000 \n") },
			"51: look at BIRD's BGP sessions: none of 2 is established"},
		{"BIRD says what it is not", func(t *testing.T, s string) { serve(t, s, "9001 syntax error\n") }, "51: ask BIRD for its BGP sessions: "},
		{"BIRD ends in the middle", func(t *testing.T, s string) { serve(t, s, header+active) }, "51: ask BIRD for its BGP sessions: "},
		{"BIRD killed, its socket left", func(t *testing.T, s string) {
			listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: s, Net: "unix"})
			if err != nil {
				t.Fatal(err)
			}
			listener.SetUnlinkOnClose(false)
			listener.Close()
		}, "51: ask BIRD for its BGP sessions: connect to BIRD"},
		{"BIRD is not the speaker", func(t *testing.T, s string) {
			serve(t, s, header+active+"0000 \n")
			if err := os.WriteFile(filepath.Join(filepath.Dir(s), speakerNote), []byte("gobgp\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "ok"},
		{"no socket but a file", func(t *testing.T, s string) {
			if err := os.WriteFile(s, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}, "51: ask BIRD for its BGP sessions: connect to BIRD"},
		{"BIRD does not answer", func(t *testing.T, s string) {
			listener, err := net.Listen("unix", s)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { listener.Close() })
		}, "51: ask BIRD for its BGP sessions: connect to BIRD"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := newNode(t)
			tt.prepare(t, filepath.Join(n.stateDir, controlSocket))
			_, err := n.Call(hosttest.Call{Binary: n.binary, Verb: "STATUS", Conf: n.conf})
			if got := hosttest.Describe(err); !strings.HasPrefix(got, tt.want) {
				t.Errorf("STATUS: %s, want %s", got, tt.want)
			}
		})
	}
}
