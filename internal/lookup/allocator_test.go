// SPDX-License-Identifier: Apache-2.0

package lookup

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"flock.fritzlab.net/flock/plugins/cni"
)

// shop answers every question with one error, nil for success, and notes what was asked.
type shop struct {
	err   error
	asked []string
}

var given = netip.MustParseAddr("fd00::7")

func (s *shop) Allocate(_ context.Context, w Want) (netip.Addr, error) {
	s.asked = append(s.asked, fmt.Sprintf("allocate %s of %s for %s (%s) of %s in %s", w.Attachment, w.StateDir, w.Pod, w.Pod.UID, w.Pool, w.Within))
	if s.err != nil {
		return netip.Addr{}, s.err
	}
	return given, nil
}

func (s *shop) Abandon(_ context.Context, a cni.Attachment) error {
	s.asked = append(s.asked, "abandon "+a.String())
	return s.err
}

func (s *shop) Up(name string) error {
	s.asked = append(s.asked, "up "+name)
	return s.err
}

var want = Want{
	Attachment: cni.Attachment{Network: "flock", ContainerID: "c1", IfName: "eth0"}, Pod: web, StateDir: "/run/flock",
	Pool: "shared6", Within: netip.MustParsePrefix("fd00::/64"),
}

func TestAllocatorsAreAsked(t *testing.T) {
	socket, s := filepath.Join(t.TempDir(), "s"), &shop{}
	defer serve(t, socket, Server{Allocators: s, Limit: 4})()
	nobody := want
	nobody.Pod = cni.Pod{}
	for _, w := range []Want{want, nobody} {
		if got, err := Allocate(within(t, 10*time.Second), socket, w); err != nil || got != given {
			t.Errorf("Allocate() = %s, %v", got, err)
		}
	}
	if err := Abandon(within(t, 10*time.Second), socket, want.Attachment); err != nil {
		t.Error(err)
	}
	if err := Up(within(t, 10*time.Second), socket, "sticky"); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{
		"allocate flock/c1/eth0 of /run/flock for default/web-0 (9f1c) of shared6 in fd00::/64",
		"allocate flock/c1/eth0 of /run/flock for  () of shared6 in fd00::/64",
		"abandon flock/c1/eth0", "up sticky",
	}, s.asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
}

func TestAllocatorsErrors(t *testing.T) {
	known := []error{ErrExhausted, ErrRefused, ErrWrong, ErrOtherStore}
	for _, sent := range append([]error{errors.New("allocator sticky: it is not up")}, known...) {
		t.Run(sent.Error(), func(t *testing.T) {
			sent := fmt.Errorf("allocator sticky says: %w", sent)
			socket := filepath.Join(t.TempDir(), "s")
			defer serve(t, socket, Server{Allocators: &shop{err: sent}, Limit: 4})()
			_, err := Allocate(within(t, 10*time.Second), socket, want)
			for _, got := range []error{err, Abandon(within(t, 10*time.Second), socket, want.Attachment), Up(within(t, 10*time.Second), socket, "sticky")} {
				if got == nil || !strings.Contains(got.Error(), sent.Error()) {
					t.Errorf("got %v, want what holds %q", got, sent)
				}
				for _, k := range known {
					if errors.Is(got, k) != errors.Is(sent, k) {
						t.Errorf("%v is %q: %t", got, k, errors.Is(got, k))
					}
				}
			}
		})
	}
}

// TestAllocateFromNobody does not wait longer than it may, and asks a daemon that comes meanwhile.
func TestAllocateFromNobody(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	if _, err := Allocate(within(t, 50*time.Millisecond), socket, want); err == nil || !strings.Contains(err.Error(), "ask ipamd at "+socket) {
		t.Errorf("got %v", err)
	}
	answered := make(chan error)
	ctx := within(t, 10*time.Second)
	go func() {
		_, err := Allocate(ctx, socket, want)
		answered <- err
	}()
	defer serve(t, socket, Server{Allocators: &shop{}, Limit: 4})()
	if err := <-answered; err != nil {
		t.Error(err)
	}
}

func TestAllocatorsWire(t *testing.T) {
	const bad = `{"error":{"code":"bad-request","message":"cannot answer \"%s\": want allocate with stateDir, attachment, pool and within, abandon with attachment, or allocator"}}`
	const who = `"attachment":{"network":"flock","containerID":"c1","ifName":"eth0"}`
	tests := []struct{ name, send, want string }{
		{"allocate", `{"ask":"allocate","stateDir":"/d","pool":"p","within":"fd00::/64",` + who + `}`, `{"address":"fd00::7"}`},
		{"abandon", `{"ask":"abandon",` + who + `}`, `{}`},
		{"allocator", `{"ask":"allocator","allocator":"sticky"}`, `{}`},
		{"no store", `{"ask":"allocate","pool":"p","within":"fd00::/64",` + who + `}`, fmt.Sprintf(bad, "allocate")},
		{"no pool", `{"ask":"allocate","stateDir":"/d","within":"fd00::/64",` + who + `}`, fmt.Sprintf(bad, "allocate")},
		{"no within", `{"ask":"allocate","stateDir":"/d","pool":"p",` + who + `}`, fmt.Sprintf(bad, "allocate")},
		{"no attachment", `{"ask":"abandon"}`, fmt.Sprintf(bad, "abandon")},
		{"no interface", `{"ask":"abandon","attachment":{"containerID":"c1"}}`, fmt.Sprintf(bad, "abandon")},
		{"no allocator", `{"ask":"allocator"}`, fmt.Sprintf(bad, "allocator")},
		{"of the future", `{"ask":"weather"}`, fmt.Sprintf(bad, "weather")},
		{"within what", `{"ask":"allocate","pool":"p","within":"there",` + who + `}`,
			`{"error":{"code":"bad-request","message":"netip.ParsePrefix(\"there\"): no '/'"}}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, exchange(t, Server{Allocators: &shop{}}, tt.send)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	if got := exchange(t, Server{}, `{"ask":"allocator","allocator":"sticky"}`); !strings.Contains(got, "is not answered here") {
		t.Errorf("without allocators: %s", got)
	}
}

// exchange sends a line to the server and returns the one that it answers.
func exchange(t *testing.T, s Server, send string) string {
	t.Helper()
	client, server := net.Pipe()
	done := make(chan error)
	go func() { done <- s.Serve(context.Background(), server) }()
	go fmt.Fprintln(client, send)
	got, err := bufio.NewReader(client).ReadString('\n')
	if err != nil {
		t.Error(err)
	}
	<-done
	return strings.TrimSuffix(got, "\n")
}
