// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"flock.fritzlab.net/flock/conflist"
	"flock.fritzlab.net/flock/internal/rtnl"
	"flock.fritzlab.net/flock/internal/store"
	"flock.fritzlab.net/flock/plugins/cni"
	"flock.fritzlab.net/flock/test/lab"
)

// existing is an attachment that is there before anything is measured, as far as the host shows it: its
// record in the network's own store, its veth and its host routes. Only its pod is a make-believe: the
// far ends of all of them are in one namespace.
type existing struct {
	cni.Attachment
	addresses []netip.Addr
}

// populate gives the contender's host more existing attachments.
func (b *bench) populate(c *contender, dir string, count int) error {
	if count <= 0 {
		return nil
	}
	b.say("%d existing attachments for %s", count, c.name)
	attachments := make([]existing, count)
	for i := range attachments {
		attachments[i] = existing{
			Attachment: cni.Attachment{Network: conflist.Name, ContainerID: fmt.Sprintf("%064x", i+1), IfName: "eth0"},
			addresses:  c.addresses(i),
		}
	}
	if err := c.remember(dir, attachments); err != nil {
		return err
	}
	far, err := lab.NewNetns(c.host.Name + "-far")
	if err != nil {
		return err
	}
	b.netns = append(b.netns, far)
	return b.link(c, far, attachments)
}

// link makes the attachments' links and routes. Link-local addresses are off meanwhile: 5,000 links at
// once would be detecting duplicates during the first rounds.
func (b *bench) link(c *contender, far *lab.Netns, attachments []existing) error {
	const key = "ipv6/conf/default/addr_gen_mode"
	if err := errors.Join(c.host.Sysctl(key, "1"), far.Sysctl(key, "1")); err != nil {
		return err
	}
	ns, err := netns.GetFromName(far.Name)
	if err != nil {
		return err
	}
	defer ns.Close()
	if err := c.host.Netlink(func(h *netlink.Handle) error {
		for _, a := range attachments {
			if err := a.link(h, ns, c.isFlock()); err != nil {
				return fmt.Errorf("make the link of %s: %w", a.Attachment, err)
			}
		}
		return nil
	}); err != nil {
		return err
	}
	return c.host.Sysctl(key, "0")
}

func (a existing) link(h *netlink.Handle, far netns.NsHandle, flock bool) error {
	name := rtnl.HostName(a.ContainerID, a.IfName)
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name, MTU: 1500}, PeerName: name, PeerNamespace: netlink.NsFd(far)}
	route := netlink.Route{}
	if flock {
		veth.Group = rtnl.LinkGroup
		route.Protocol, route.Priority = rtnl.Proto, rtnl.Metric
	}
	if err := errors.Join(h.LinkAdd(veth), h.LinkSetUp(veth)); err != nil {
		return err
	}
	if flock {
		alias, err := rtnl.Alias(a.Attachment)
		if err := errors.Join(err, h.LinkSetAlias(veth, alias)); err != nil {
			return err
		}
	}
	for _, addr := range a.addresses {
		r := route
		r.LinkIndex, r.Dst, r.Scope = veth.Index, ipNet(cni.HostPrefix(addr)), netlink.SCOPE_LINK
		if err := h.RouteAdd(&r); err != nil {
			return fmt.Errorf("add route to %s: %w", addr, err)
		}
	}
	return nil
}

// rememberFlock enters the attachments in flock's store.
func rememberFlock(dir string, attachments []existing) error {
	return store.Store{Dir: dir}.Update(func(tx *store.Tx) error {
		for _, a := range attachments {
			now := time.Now()
			alloc := store.Allocation{
				Attachment: a.Attachment, State: store.Committed, Addresses: a.addresses, Allocated: now, CommittedAt: now,
				Pod:   cni.Pod{Namespace: "default", Name: "existing-" + a.ContainerID[56:], UID: a.ContainerID[32:]},
				Netns: "/run/netns/" + a.ContainerID[32:],
			}
			if err := tx.Put(alloc); err != nil {
				return err
			}
		}
		return nil
	})
}

// rememberHostLocal writes the files that host-local keeps, one an address.
func rememberHostLocal(dir string, attachments []existing) error {
	dir = filepath.Join(dir, hostLocalNetwork)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, a := range attachments {
		for _, addr := range a.addresses {
			if err := os.WriteFile(filepath.Join(dir, addr.String()), []byte(a.ContainerID+"\r\n"+a.IfName), 0o600); err != nil {
				return err
			}
		}
	}
	return nil
}
