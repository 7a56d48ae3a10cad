// SPDX-License-Identifier: Apache-2.0

package cnitest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"syscall"

	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

func addRules(p Plugin) []rule {
	rules := []rule{
		{"add-result", "ADD returns a result of the request's version that is true of the container", specResult, addResult},
		{"add-every-version", "ADD, CHECK and DEL work in every version that VERSION lists", specVersion, addEveryVersion},
		{"add-unknown-version", "a configuration of a version that VERSION does not list is refused with code 1", specErrors, addUnknownVersion},
		{"add-twice", "ADD repeated for the same attachment returns the same bytes and changes nothing", specFlock, addTwice},
		{"add-existing-ifname", "an interface of the requested name that exists already is an error", specAdd, addExistingIfName},
	}
	switch p.Stands {
	case Chained:
		rules = append(rules,
			rule{"add-keeps-prevresult", "a plugin that gets a prevResult passes it on with its own changes", specResult, addKeepsPrevResult},
			rule{"add-without-prevresult", "a chained plugin without prevResult refuses", specFlock, addWithoutPrevResult})
	case Delegated:
		rules = append(rules,
			rule{"add-abbreviated", "a delegated plugin returns ips, without interfaces and without ips[].interface", specIPAM, addAbbreviated})
	}
	if p.Stands != Delegated {
		rules = append(rules, rule{"add-bad-netns", "a CNI_NETNS that is no network namespace is refused, and nothing made", specParams, addBadNetns})
	}
	return rules
}

func addResult(w *world) {
	p := w.newPod()
	added := w.add(p)
	w.truthful(p, added, w.newest())
}

// truthful holds a result to the specification and to the container.
func (w *world) truthful(p *pod, r result, version string) *current.Result {
	w.Helper()
	var said struct{ CNIVersion string }
	if err := json.Unmarshal(r, &said); err != nil || said.CNIVersion != version {
		w.broken("the result's cniVersion is %q, the request's %q\n%s", said.CNIVersion, version, r)
	}
	decoded := w.read(r, version)
	for i, ip := range decoded.IPs {
		if n := ip.Interface; n != nil && (*n < 0 || *n >= len(decoded.Interfaces)) {
			w.broken("ips[%d].interface is %d, with %d interfaces\n%s", i, *n, len(decoded.Interfaces), r)
		}
	}
	if link := w.link(p); link != nil && p.prevLink() == nil {
		w.named(p, decoded, link)
	}
	return decoded
}

// prevLink returns the container's interface in the prevResult: then it is not the plugin's own.
func (p *pod) prevLink() *current.Interface {
	if p.prev == nil {
		return nil
	}
	return find(p.prev, p)
}

// find returns the result's interface of the attachment, nil if it names none.
func find(r *current.Result, p *pod) *current.Interface {
	for _, i := range r.Interfaces {
		if i.Name == p.IfName && i.Sandbox == p.Netns {
			return i
		}
	}
	return nil
}

// named fails the rule unless the result tells of the interface that the plugin made.
func (w *world) named(p *pod, r *current.Result, link netlink.Link) {
	w.Helper()
	named := find(r, p)
	if named == nil {
		w.broken("the container has an interface %s, and the result names none in sandbox %s: %+v", p.IfName, p.Netns, r.Interfaces)
	}
	if mac := link.Attrs().HardwareAddr.String(); named.Mac != "" && named.Mac != mac {
		w.broken("the result says that %s has the address %s; it has %s", p.IfName, named.Mac, mac)
	}
}

// link returns the container's interface, nil if it has none of that name.
func (w *world) link(p *pod) netlink.Link { return linkIn(w, p.Netns, p.IfName) }

func linkIn(w *world, path, name string) netlink.Link {
	w.Helper()
	ns, err := netns.GetFromPath(path)
	if err != nil {
		w.Fatalf("open namespace %s: %v", path, err)
	}
	defer ns.Close()
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		w.Fatalf("open netlink in %s: %v", path, err)
	}
	defer h.Close()
	link, err := h.LinkByName(name)
	if err != nil {
		return nil
	}
	return link
}

func addEveryVersion(w *world) {
	for _, version := range w.versions {
		p := w.newPod()
		before := w.state()
		c := w.adding(p)
		c.version = version
		if p.prev != nil {
			c.prev = w.prev(p, version)
		}
		added := result(w.ok("ADD of version "+version, c).stdout)
		w.truthful(p, added, version)
		del := call{command: "DEL", pod: p, version: version}
		if hasCheck(version) {
			w.ok("CHECK of version "+version, call{command: "CHECK", pod: p, version: version, prev: added})
			del.prev = added
		}
		w.ok("DEL of version "+version, del)
		w.same(before, "after ADD and DEL of version "+version)
	}
}

func addUnknownVersion(w *world) {
	p := w.newPod()
	for _, version := range []string{"9.9.9", "1.1.0-rc1", "nonsense"} {
		c := w.adding(p)
		c.edit = func(conf config) { conf["cniVersion"] = version }
		w.refused("cniVersion "+version, c, 1, 6)
	}
}

func addTwice(w *world) {
	p := w.newPod()
	first := w.add(p)
	before := w.state()
	second := w.add(p)
	if !bytes.Equal(first, second) {
		w.broken("the second ADD returned something else\nfirst:  %s\nsecond: %s", first, second)
	}
	w.same(before, "after the second ADD")
	w.del(p, second)
}

func addExistingIfName(w *world) {
	probe := w.newPod()
	if probe.prevLink() != nil {
		return // the interface is another plugin's to make
	}
	added := w.add(probe)
	made := w.link(probe) != nil
	w.del(probe, added)
	if !made {
		return // an address manager makes none
	}
	p := w.newPod()
	err := In(p.ns.path, func() error { return addLink(p.IfName) })
	if err != nil {
		w.Fatalf("make an interface that is in the way: %v", err)
	}
	before := w.state()
	w.refused("ADD of an interface that exists", w.adding(p))
	w.same(before, "after the refused ADD")
}

// addLink makes an interface in the calling thread's namespace: one end of a pair, because that kind
// every kernel with containers has.
func addLink(name string) error {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer h.Close()
	return h.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: "cnitest-peer"})
}

func addKeepsPrevResult(w *world) {
	p := w.newPod()
	got := w.read(w.add(p), w.newest())
	if !reflect.DeepEqual(got.DNS, p.prev.DNS) {
		w.broken("dns of prevResult %+v became %+v", p.prev.DNS, got.DNS)
	}
	for i, want := range p.prev.Interfaces {
		if !slices.ContainsFunc(got.Interfaces, func(i *current.Interface) bool { return i.Name == want.Name && i.Sandbox == want.Sandbox }) {
			w.broken("interfaces[%d] of prevResult is lost: %+v", i, want)
		}
	}
	for i, want := range p.prev.IPs {
		if !slices.ContainsFunc(got.IPs, func(ip *current.IPConfig) bool { return ip.Address.String() == want.Address.String() }) {
			w.broken("ips[%d] of prevResult is lost: %v", i, want)
		}
	}
	for i, want := range p.prev.Routes {
		if !slices.ContainsFunc(got.Routes, func(r *types.Route) bool { return r.Dst.String() == want.Dst.String() && r.GW.Equal(want.GW) }) {
			w.broken("routes[%d] of prevResult is lost: %v", i, want)
		}
	}
}

func addWithoutPrevResult(w *world) {
	p := w.newPod()
	before := w.state()
	w.refused("ADD without prevResult", call{command: "ADD", pod: p}, 7)
	w.same(before, "after the refused ADD")
}

func addAbbreviated(w *world) {
	r := w.read(w.add(w.newPod()), w.newest())
	if len(r.IPs) == 0 || len(r.Interfaces) > 0 {
		w.broken("it has %d ips and %d interfaces", len(r.IPs), len(r.Interfaces))
	}
	for i, ip := range r.IPs {
		if ip.Interface != nil {
			w.broken("ips[%d] has an interface", i)
		}
	}
}

func addBadNetns(w *world) {
	p := w.newPod()
	file, fifo := filepath.Join(w.tmp, "file"), filepath.Join(w.tmp, "fifo")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		w.Fatalf("%v", err)
	}
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		w.Fatalf("%v", err)
	}
	before := w.state()
	for what, path := range map[string]string{
		"a regular file": file, "a FIFO": fifo, "a directory": w.tmp, "no file at all": file + "-absent",
		"another kind of namespace": "/proc/self/ns/uts", "the plugin's own namespace": "/proc/self/ns/net",
	} {
		c := w.adding(p)
		c.netns = &path
		e := w.refused(fmt.Sprintf("ADD where CNI_NETNS is %s", what), c)
		w.same(before, fmt.Sprintf("after an ADD refused with %q", e.Msg))
	}
}
