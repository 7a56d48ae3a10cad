// SPDX-License-Identifier: Apache-2.0

// Package tor has top-of-rack routers for tests of one node's BGP speaker. Each runs BIRD as AS 64500 in a namespace of
// its own, on a link of its own to the node, which is AS 64512: router n, counted from 1, has fd00:n::1 and 10.0.n.1 on
// its link "node", the node fd00:n::2 and 10.0.n.2 on "up<n>".
package tor

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"flock.fritzlab.net/flock/test/lab"
)

// IPv6 has one IPv6 session and gives the node a default route, DualStack has a session for each family. In a router's
// configuration N stands for its number, and SESSION for what every session of it has.
const (
	IPv6 = `
protocol static default6 { ipv6; route ::/0 unreachable; }
protocol bgp node6 { SESSION neighbor fd00:N::2 as 64512; ipv6 { import all; export all; }; }
`
	DualStack = IPv6 + `
protocol static default4 { ipv4; route 0.0.0.0/0 unreachable; }
protocol bgp node4 { SESSION neighbor 10.0.N.2 as 64512; ipv4 { import all; export all; }; }
`
)

// What every router has, and every session of one.
const (
	base = `
router id 10.255.0.N;
protocol device {}
protocol kernel kernel6 { ipv6 { export where source = RTS_BGP; }; merge paths on; }
protocol kernel kernel4 { ipv4 { export where source = RTS_BGP; }; merge paths on; }
`
	session = `connect delay time 1; connect retry time 1; error wait time 1, 2; graceful restart on; local as 64500;`
)

// Router is one router.
type Router struct {
	*lab.Netns
	// Bird is there once the router was started.
	Bird   *lab.Bird
	number int
	conf   string
}

// Site is a node, which has a link "pod", and its routers.
type Site struct {
	Node    *lab.Netns
	Routers []*Router
}

// NewSite returns a site; what its routers write goes into folders of dir.
func NewSite(ctx context.Context, dir string, routers int) (_ *Site, err error) {
	s := &Site{}
	defer func() {
		if err != nil {
			s.Delete()
		}
	}()
	if s.Node, err = newNetns(); err != nil {
		return nil, err
	}
	for _, args := range []string{"link add pod up type veth peer name pod1", "link set pod1 up"} {
		if _, err := s.Node.Run(ctx, "ip", strings.Fields(args)...); err != nil {
			return nil, err
		}
	}
	for n := 1; n <= routers; n++ {
		netns, err := newNetns()
		if err != nil {
			return nil, err
		}
		r := &Router{Netns: netns, number: n, conf: filepath.Join(dir, fmt.Sprintf("router%d", n), "bird.conf")}
		s.Routers = append(s.Routers, r)
		cable := lab.Cable{MTU: 1500,
			A: lab.End{Netns: s.Node, Name: fmt.Sprintf("up%d", n), Addresses: Ends(n, 2)},
			B: lab.End{Netns: netns, Name: "node", Addresses: Ends(n, 1)},
		}
		if err := errors.Join(os.MkdirAll(filepath.Dir(r.conf), 0o755), cable.Lay()); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Delete deletes the namespaces, and ends what runs in them.
func (s *Site) Delete() error {
	var errs []error
	for _, r := range s.Routers {
		errs = append(errs, r.Delete())
	}
	if s.Node != nil {
		errs = append(errs, s.Node.Delete())
	}
	return errors.Join(errs...)
}

// newNetns returns a namespace that forwards.
func newNetns() (*lab.Netns, error) {
	n, err := lab.NewNetns(lab.UniqueName("flt-tor"))
	if err != nil {
		return nil, err
	}
	for _, key := range []string{"ipv6/conf/all/forwarding", "ipv4/ip_forward"} {
		if err := n.Sysctl(key, "1"); err != nil {
			n.Delete()
			return nil, err
		}
	}
	return n, nil
}

// Ends returns the addresses of the router, host 1, or of the node, host 2, on router n's link.
func Ends(n, host int) []netip.Prefix {
	return []netip.Prefix{
		netip.MustParsePrefix(fmt.Sprintf("fd00:%d::%d/64", n, host)),
		netip.MustParsePrefix(fmt.Sprintf("10.0.%d.%d/24", n, host)),
	}
}

// Start starts the router's BIRD, with an ordinary configuration around the text, and flags.
func (r *Router) Start(ctx context.Context, text string, flags ...string) error {
	if err := r.write(text); err != nil {
		return err
	}
	var err error
	r.Bird, err = r.StartBird(ctx, r.conf, filepath.Join(filepath.Dir(r.conf), "bird.ctl"), flags...)
	return err
}

// Reload has BIRD go by another text.
func (r *Router) Reload(ctx context.Context, text string) error {
	if err := r.write(text); err != nil {
		return err
	}
	_, err := r.Bird.Ask(ctx, "configure")
	return err
}

func (r *Router) write(text string) error {
	text = strings.NewReplacer("SESSION", session, "N", fmt.Sprint(r.number)).Replace(base + text)
	return os.WriteFile(r.conf, []byte(text), 0o600)
}
