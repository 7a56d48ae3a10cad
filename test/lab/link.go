// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"flock.fritzlab.net/flock/plugins/cni"
)

// Cable is one veth pair: a link with its addresses in each of two namespaces.
type Cable struct {
	A, B End
	MTU  int
}

// End is one end of a cable.
type End struct {
	Netns     *Netns
	Name      string
	Addresses []netip.Prefix
}

// Lay makes the veth pair, each end where it belongs, with its addresses and up. The IPv6 ones are
// usable at once: duplicate-address detection is off on both ends.
func (c Cable) Lay() error {
	peer, err := netns.GetFromName(c.B.Netns.Name)
	if err != nil {
		return fmt.Errorf("open network namespace %s: %w", c.B.Netns.Name, err)
	}
	defer peer.Close()
	veth := &netlink.Veth{
		LinkAttrs:     netlink.LinkAttrs{Name: c.A.Name, MTU: c.MTU},
		PeerName:      c.B.Name,
		PeerMTU:       uint32(c.MTU),
		PeerNamespace: netlink.NsFd(peer),
	}
	if err := c.A.Netns.Netlink(func(h *netlink.Handle) error { return h.LinkAdd(veth) }); err != nil {
		return fmt.Errorf("lay cable from %s to %s: %w", c.A.Netns.Name, c.B.Netns.Name, err)
	}
	for _, end := range []End{c.A, c.B} {
		if err := end.setUp(); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return errors.Join(c.A.awaitCarrier(ctx), c.B.awaitCarrier(ctx))
}

// awaitCarrier waits until the kernel has noticed that both ends are up: what is sent before is lost.
func (e End) awaitCarrier(ctx context.Context) error {
	return Eventually(ctx, e.Name+" in "+e.Netns.Name+" has a carrier", func() error {
		return e.Netns.Netlink(func(h *netlink.Handle) error {
			l, err := h.LinkByName(e.Name)
			if err == nil && l.Attrs().OperState != netlink.OperUp {
				err = fmt.Errorf("it is %s", l.Attrs().OperState)
			}
			return err
		})
	})
}

func (e End) setUp() error {
	if err := e.Netns.Sysctl("ipv6/conf/"+e.Name+"/accept_dad", "0"); err != nil {
		return err
	}
	return e.Netns.Netlink(func(h *netlink.Handle) error {
		for _, p := range e.Addresses {
			if err := addAddress(h, e.Name, p); err != nil {
				return err
			}
		}
		return linkUp(h, e.Name)
	})
}

func addAddress(h *netlink.Handle, link string, p netip.Prefix) error {
	l, err := h.LinkByName(link)
	if err != nil {
		return fmt.Errorf("add address %s: find link %s: %w", p, link, err)
	}
	ipnet := cni.IPNet(p)
	addr := &netlink.Addr{IPNet: &ipnet}
	if p.Addr().Is6() {
		addr.Flags = unix.IFA_F_NODAD
	}
	if err := h.AddrAdd(l, addr); err != nil {
		return fmt.Errorf("add address %s to %s: %w", p, link, err)
	}
	return nil
}

func linkUp(h *netlink.Handle, name string) error {
	l, err := h.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find link %s: %w", name, err)
	}
	if err := h.LinkSetUp(l); err != nil {
		return fmt.Errorf("set link %s up: %w", name, err)
	}
	return nil
}
