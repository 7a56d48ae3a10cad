// SPDX-License-Identifier: Apache-2.0

package birdctl_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"flock.fritzlab.net/flock/internal/birdctl"
	"flock.fritzlab.net/flock/test/lab"
)

// config is a node that gives its one static route to the peer; 1 and 2 are the ends of the link.
const config = `router id 10.0.0.%[1]d;
timeformat protocol iso long;
protocol device {}
protocol static { ipv6; route 2001:db8:%[1]d::/64 blackhole; }
protocol bgp peer_a {
	local fd00::%[1]d as 6500%[1]d;
	neighbor fd00::%[2]d as 6500%[2]d;
	connect delay time 1;
	connect retry time 1;
	error wait time 1, 2;
	ipv6 { import all; export all; };
}
`

// pair is two BIRDs with a session between them.
type pair struct {
	a, b *lab.Bird
	// conf is a's configuration file.
	conf string
}

func newPair(t *testing.T) *pair {
	t.Helper()
	var ends [2]*lab.Netns
	for i := range ends {
		n, err := lab.NewNetns(lab.UniqueName("flt-birdctl"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { n.Delete() })
		ends[i] = n
	}
	cable := lab.Cable{MTU: 1500,
		A: lab.End{Netns: ends[0], Name: "a", Addresses: []netip.Prefix{netip.MustParsePrefix("fd00::1/64")}},
		B: lab.End{Netns: ends[1], Name: "b", Addresses: []netip.Prefix{netip.MustParsePrefix("fd00::2/64")}},
	}
	if err := cable.Lay(); err != nil {
		t.Fatal(err)
	}
	p := &pair{}
	p.a, p.conf = start(t, ends[0], 1, 2)
	p.b, _ = start(t, ends[1], 2, 1)
	if err := p.a.AwaitEstablished(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	return p
}

func start(t *testing.T, n *lab.Netns, own, other int) (*lab.Bird, string) {
	t.Helper()
	dir := t.TempDir()
	conf := filepath.Join(dir, "bird.conf")
	write(t, conf, fmt.Sprintf(config, own, other))
	b, err := n.StartBird(t.Context(), conf, filepath.Join(dir, "bird.ctl"))
	if err != nil {
		t.Fatal(err)
	}
	return b, conf
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func dial(t *testing.T, b *lab.Bird) *birdctl.Conn {
	t.Helper()
	c, err := birdctl.Dial(t.Context(), b.Socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func session(t *testing.T, c *birdctl.Conn) birdctl.Protocol {
	t.Helper()
	all, err := c.ShowProtocolsAll(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		if p.Name == "peer_a" {
			return p
		}
	}
	t.Fatalf("no peer_a in %+v", all)
	return birdctl.Protocol{}
}

func TestShow(t *testing.T) {
	p := newPair(t)
	c := dial(t, p.a)
	status, err := c.Status(t.Context())
	if err != nil || !strings.HasPrefix(status.Version, "BIRD 2.") || status.RouterID != "10.0.0.1" || status.Message == "" {
		t.Errorf("Status() = %+v, %v", status, err)
	}
	err = lab.Within(t.Context(), 5*time.Second, "a route has come and one gone", func() error {
		if s := session(t, c); s.Imported() != 1 || s.Exported() != 1 {
			return fmt.Errorf("imported %d, exported %d", s.Imported(), s.Exported())
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	s := session(t, c)
	if !s.Established() || s.Neighbor != netip.MustParseAddr("fd00::2") || s.NeighborASN != 65002 || s.LastError != "" {
		t.Errorf("session %+v", s)
	}
	if at, ok := s.SinceTime(); !ok || time.Since(at).Abs() > time.Minute {
		t.Errorf("since %q, %v, %v", s.Since, at, ok)
	}
	brief, err := c.ShowProtocols(t.Context())
	if err != nil || len(brief) != 3 {
		t.Errorf("ShowProtocols() = %+v, %v", brief, err)
	}
	for prefix, want := range map[string]bool{"2001:db8:1::/64": true, "2001:db8:2::/64": false, "::/0": false} {
		if got, err := c.Exported(t.Context(), netip.MustParsePrefix(prefix), "peer_a"); err != nil || got != want {
			t.Errorf("Exported(%s) = %v, %v, want %v", prefix, got, err, want)
		}
	}
}

func TestLastError(t *testing.T) {
	p := newPair(t)
	if err := p.b.End(t.Context(), os.Kill); err != nil {
		t.Fatal(err)
	}
	c := dial(t, p.a)
	err := lab.Within(t.Context(), 10*time.Second, "the session is down and says why", func() error {
		if s := session(t, c); s.Established() || s.LastError == "" {
			return fmt.Errorf("session %+v", s)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestConfigure(t *testing.T) {
	p := newPair(t)
	c := dial(t, p.a)
	good := fmt.Sprintf(config, 1, 2)
	next := filepath.Join(t.TempDir(), "next.conf")

	write(t, next, good+"protocol nonsense {}\n")
	refused := (*birdctl.Error)(nil)
	if err := c.Check(t.Context(), next); !errors.As(err, &refused) || refused.Code != 8002 || !strings.Contains(refused.Text, "syntax error") {
		t.Errorf("Check of a bad file: %v", err)
	}
	if err := c.Configure(t.Context(), next, 0); !errors.As(err, &refused) {
		t.Errorf("Configure with a bad file: %v", err)
	}
	write(t, next, strings.Replace(good, "peer_a", "peer_b", 1))
	if err := c.Check(t.Context(), next); err != nil {
		t.Errorf("Check of a good file: %v", err)
	}
	session(t, c) // still there: nothing above was loaded

	for _, step := range []struct {
		name  string
		do    func() error
		peers string
	}{
		{"load", func() error { return c.Configure(t.Context(), next, time.Second) }, "peer_b"},
		{"BIRD's own undo", func() error { return nil }, "peer_a"},
		{"load and confirm", func() error { return errors.Join(c.Configure(t.Context(), next, time.Minute), c.Confirm(t.Context())) }, "peer_b"},
		{"confirm nothing", func() error { return c.Confirm(t.Context()) }, "peer_b"},
	} {
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if err := lab.Within(t.Context(), 5*time.Second, step.name, func() error { return onlyPeer(t.Context(), c, step.peers) }); err != nil {
			t.Fatal(err)
		}
	}
}

func onlyPeer(ctx context.Context, c *birdctl.Conn, want string) error {
	all, err := c.ShowProtocols(ctx)
	if err != nil {
		return err
	}
	for _, p := range all {
		if p.Type == "BGP" && p.Name != want {
			return fmt.Errorf("there is %s", p.Name)
		}
		if p.Name == want {
			return nil
		}
	}
	return fmt.Errorf("there is no %s", want)
}

func TestRefusals(t *testing.T) {
	p := newPair(t)
	c := dial(t, p.a)
	refused := (*birdctl.Error)(nil)
	if _, err := c.Do(t.Context(), "show nonsense"); !errors.As(err, &refused) || refused.Code != 9001 {
		t.Errorf("a command that BIRD cannot parse: %v", err)
	}
	if _, err := c.Do(t.Context(), "show status\nconfigure"); err == nil || errors.As(err, &refused) {
		t.Errorf("two commands in one: %v", err)
	}
	if err := c.Check(t.Context(), `a" undo "b`); err == nil || errors.As(err, &refused) {
		t.Errorf("a file with quotes in its name: %v", err)
	}
	if _, err := c.Status(t.Context()); err != nil {
		t.Errorf("after refusals: %v", err)
	}
}

func TestReloadIn(t *testing.T) {
	p := newPair(t)
	c := dial(t, p.a)
	if err := c.ReloadIn(t.Context(), "static1"); err != nil {
		t.Error(err)
	}
	if err, refused := c.ReloadIn(t.Context(), "nobody"), (*birdctl.Error)(nil); !errors.As(err, &refused) {
		t.Errorf("reload of what there is not: %v", err)
	}
	if _, err := c.Do(t.Context(), "disable static1"); err != nil {
		t.Fatal(err)
	}
	if err, refused := c.ReloadIn(t.Context(), "static1"), (*birdctl.Error)(nil); err == nil || errors.As(err, &refused) {
		t.Errorf("reload of what is down: %v", err)
	}
}

func TestContextEndsWaiting(t *testing.T) {
	if _, err := birdctl.Dial(t.Context(), filepath.Join(t.TempDir(), "bird.ctl")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Dial without a socket: %v", err)
	}
	p := newPair(t)
	c := dial(t, p.a)
	if err := unix.Kill(p.a.PID(), unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := c.Status(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a BIRD that hangs: %v", err)
	}
}
