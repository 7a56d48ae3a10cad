// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"hash/fnv"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"flock.fritzlab.net/flock/plugins/cni"
)

func hostName(a cni.Attachment) string {
	hash := fnv.New32a()
	hash.Write([]byte(a.String()))
	return fmt.Sprintf("wrong%08x", hash.Sum32())
}

// handle opens netlink in the namespace at path, "" for the plugin's own.
func handle(path string) (*netlink.Handle, error) {
	if path == "" {
		return netlink.NewHandle(unix.NETLINK_ROUTE)
	}
	ns, err := netns.GetFromPath(path)
	if err != nil {
		return nil, err
	}
	defer ns.Close()
	return netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
}

// makeLink makes a pair of links, finding one that an ADD was killed after.
func makeLink(r *cni.Request[config], rec *record) error {
	ns, err := netns.GetFromPath(r.Netns)
	if err != nil {
		return err
	}
	defer ns.Close()
	h, err := handle("")
	if err != nil {
		return err
	}
	defer h.Close()
	pair := &netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: hostName(r.Attachment)},
		PeerName:  r.Attachment.IfName, PeerNamespace: netlink.NsFd(ns),
	}
	if is("takes-over") {
		deleteIn(r.Netns, r.Attachment.IfName)
	}
	err = h.LinkAdd(pair)
	if err != nil && !(errors.Is(err, unix.EEXIST) && is("another-address")) {
		return fmt.Errorf("make link %s: %w", r.Attachment.IfName, err)
	}
	inside, err := handle(r.Netns)
	if err != nil {
		return err
	}
	defer inside.Close()
	link, err := inside.LinkByName(r.Attachment.IfName)
	if err != nil {
		return err
	}
	rec.MAC, rec.Version = link.Attrs().HardwareAddr.String(), r.CNIVersion
	return nil
}

func checkLink(r *cni.Request[config]) error {
	h, err := handle(r.Netns)
	if err != nil {
		return err
	}
	defer h.Close()
	if _, err := h.LinkByName(r.Attachment.IfName); err != nil {
		return cni.Wrap(cni.CodeCheckMismatch, fmt.Errorf("find link %s: %w", r.Attachment.IfName, err))
	}
	return nil
}

// deleteIn deletes a link by its name. Deleting one that is absent is not an error.
func deleteIn(path, name string) error {
	h, err := handle(path)
	if err != nil {
		return err
	}
	defer h.Close()
	link, err := h.LinkByName(name)
	if err != nil {
		return nil
	}
	return h.LinkDel(link)
}
