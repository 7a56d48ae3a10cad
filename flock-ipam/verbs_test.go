// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"testing"

	"github.com/containernetworking/cni/pkg/types"

	"flock.fritzlab.net/flock/flock-ipam/internal/config"
	"flock.fritzlab.net/flock/internal/store"
	"flock.fritzlab.net/flock/plugins/cni"
)

func deleteNote(container string) func(*store.Tx) error {
	return func(tx *store.Tx) error { return tx.DeleteNote(config.Name, attachment(container)) }
}

// TestDel needs the attachment's name and nothing else.
func TestDel(t *testing.T) {
	n := newNode(t, object{"pools": []any{"10.0.0.0/24"}})
	n.ok("DEL", "a") // before any ADD
	n.ok("ADD", "a")
	n.ok("ADD", "b")
	n.ok("DEL", "a", "CNI_IFNAME=eth1")
	n.has("flock/a/eth0 pending [10.0.0.2]\nflock/b/eth0 pending [10.0.0.3]")
	n.conf["pools"] = []any{"10.0.0.1/24"} // broken since
	n.ok("DEL", "a", "CNI_NETNS=")
	n.ok("DEL", "a")
	n.has("flock/b/eth0 pending [10.0.0.3]")
	n.conf["pools"] = []any{"10.0.0.0/24"}
	n.add("c", "ip 10.0.0.4/32 gw 169.254.1.1\nroute 0.0.0.0/0 via 169.254.1.1")
}

func TestDelForgetsTheSubnets(t *testing.T) {
	n := newNode(t, nil)
	n.delegated(object{"type": "ptp"}, object{"pools": []any{"10.0.0.0/24"}})
	n.ok("ADD", "a")
	n.ok("DEL", "a")
	n.update(func(tx *store.Tx) error {
		return store.Notes(tx, config.Name, func(a cni.Attachment, s []subnet) error { return fmt.Errorf("%s has %v", a, s) })
	})
}

func TestCheck(t *testing.T) {
	n := newNode(t, object{"pools": dual})
	n.annotate("anycast=192.0.2.1")
	result := n.ok("ADD", "a")
	prev := func(edit func(ips []any) []any) {
		var r object
		if err := json.Unmarshal([]byte(result), &r); err != nil {
			t.Fatal(err)
		}
		r["ips"] = edit(r["ips"].([]any))
		n.conf["prevResult"] = r
	}
	n.refused(types.ErrInvalidNetworkConfig, "flock-ipam got no prevResult", "CHECK", "a")
	prev(func(ips []any) []any { return ips })
	n.ok("CHECK", "a")
	n.refused(cni.CodeCheckMismatch, "check attachment flock/b/eth0: the store has no allocation for it", "CHECK", "b")

	prev(func(ips []any) []any { return ips[1:] })
	n.refused(cni.CodeCheckMismatch, "check attachment flock/a/eth0: 2001:db8::2 is allocated and not in prevResult", "CHECK", "a")
	prev(func(ips []any) []any { return ips[:2] })
	n.refused(cni.CodeCheckMismatch, "anycast 192.0.2.1 is allocated and not on lo in prevResult", "CHECK", "a")
	prev(func(ips []any) []any { return append(ips, object{"address": "10.0.0.9/32"}) })
	n.refused(cni.CodeCheckMismatch, "10.0.0.9 is in prevResult and not allocated", "CHECK", "a")
	prev(func(ips []any) []any { return append(ips, object{"address": "192.0.2.9/32", "interface": 0}) })
	n.refused(cni.CodeCheckMismatch, "anycast 192.0.2.9 is in prevResult and not allocated", "CHECK", "a")
}

// TestCheckDelegated: the result is the main plugin's, and may hold more.
func TestCheckDelegated(t *testing.T) {
	n := newNode(t, nil)
	n.delegated(object{"type": "macvlan"}, object{"pools": []any{"10.0.0.0/24"}})
	n.ok("ADD", "a")
	n.conf["prevResult"] = object{"cniVersion": "1.1.0", "interfaces": []any{object{"name": "eth0", "sandbox": "/x"}},
		"ips": []any{object{"address": "10.0.0.2/24", "interface": 0}, object{"address": "10.9.0.2/24", "interface": 0}}}
	n.ok("CHECK", "a")
	n.update(func(tx *store.Tx) error { return tx.Release(attachment("a"), store.SinceBoot()) })
	n.refused(cni.CodeCheckMismatch, "the store has no allocation for it", "CHECK", "a")
}

func TestGC(t *testing.T) {
	n := newNode(t, nil)
	n.delegated(object{"type": "ptp"}, object{"pools": []any{"10.0.0.0/24"}})
	for _, container := range []string{"a", "b", "c"} {
		n.ok("ADD", container)
	}
	n.conf["name"] = "other"
	n.ok("ADD", "a")
	n.conf["name"] = "flock"
	n.refused(types.ErrInvalidNetworkConfig, "valid-attachments", "GC", "")
	n.conf["cni.dev/valid-attachments"] = []any{object{"containerID": "b", "ifname": "eth0"}, object{"containerID": "c", "ifname": "eth1"}}
	n.ok("GC", "")
	n.has("flock/b/eth0 committed [10.0.0.3]\nother/a/eth0 committed [10.0.0.5]")
	notes := 0
	n.update(func(tx *store.Tx) error {
		return store.Notes(tx, config.Name, func(cni.Attachment, []subnet) error { notes++; return nil })
	})
	if notes != 2 {
		t.Errorf("%d notes are left", notes)
	}
}

func TestStatus(t *testing.T) {
	n := newNode(t, object{"pools": []any{"10.0.0.0/30", "2001:db8::/64"}})
	n.ok("STATUS", "")
	n.has("")
	n.ok("ADD", "a")
	n.refused(types.ErrPluginNotAvailable, "allocate IPv4 from pool 10.0.0.0/30: exhausted", "STATUS", "")
	n.ok("DEL", "a")
	n.ok("STATUS", "") // cooling, which is better than nothing

	n.conf["pools"] = []any{"10.0.0.0/8", "10.1.0.0/16"}
	n.refused(types.ErrPluginNotAvailable, "overlaps", "STATUS", "")
	n.conf["pools"] = []any{object{"cidr": "10.0.0.0/24", "reserved": []string{"10.0.0.0/24"}}}
	n.refused(types.ErrPluginNotAvailable, "exhausted", "STATUS", "")
	delete(n.conf, "pools")
	n.conf["nodeFile"] = "/nowhere"
	n.refused(types.ErrPluginNotAvailable, "/nowhere", "STATUS", "")
}

func TestStatusWithoutAStore(t *testing.T) {
	n := newNode(t, object{"pools": []any{"10.0.0.0/24"}})
	if err := os.RemoveAll(n.dir); err != nil {
		t.Fatal(err)
	}
	write(t, n.dir, "no folder")
	n.refused(types.ErrPluginNotAvailable, n.dir, "STATUS", "")
	n.refused(cni.CodeStoreUnreadable, n.dir, "ADD", "a")
	n.refused(cni.CodeStoreUnreadable, n.dir, "DEL", "a")
}
