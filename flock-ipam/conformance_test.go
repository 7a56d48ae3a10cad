// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"testing"

	"github.com/containernetworking/cni/pkg/types"

	"flock.fritzlab.net/flock/internal/store"
	"flock.fritzlab.net/flock/plugins/cni"
	"flock.fritzlab.net/flock/plugins/cni/cnitest"
)

// TestConformance runs the suite in both of the plugin's places, and delegated in both profiles.
func TestConformance(t *testing.T) {
	t.Parallel()
	t.Run("originating", func(t *testing.T) { cnitest.Run(t, conforming("")) })
	t.Run("onlink", func(t *testing.T) { cnitest.Run(t, conforming("macvlan")) })
	t.Run("subnet", func(t *testing.T) { cnitest.Run(t, conforming("ptp")) })
}

// conforming is the plugin, called by a main plugin of that type or, with none, first in the chain.
func conforming(mainType string) cnitest.Plugin {
	p := cnitest.Plugin{
		Binary: binary, MainType: mainType, Versions: []string{"0.3.1", "0.4.0", "1.0.0", "1.1.0"}, Observe: observe,
		Conf: func(dir string) map[string]any {
			return map[string]any{"stateDir": dir, "pools": []any{"2001:db8::/64", "10.77.0.0/16"}, "coolDown": "1s", "ipAlgo": []string{"pod"}}
		},
		Break: []cnitest.Difference{
			{Name: "the allocation is gone", Want: "the store has no allocation for it", Do: forget},
			{Name: "the allocation is of other addresses", Want: "is allocated and not in prevResult", Do: reallocate},
		},
		Unready: []cnitest.Unready{
			{Name: "there is no pool", Code: types.ErrPluginNotAvailable, Conf: func(conf map[string]any) {
				delete(conf, "pools")
				conf["nodeFile"] = "/nowhere/node.json"
			}},
			{Name: "a pool is exhausted", Code: types.ErrPluginNotAvailable, Conf: func(conf map[string]any) {
				conf["pools"] = []any{map[string]any{"cidr": "10.77.0.0/16", "reserved": []string{"10.77.0.0/16"}}}
			}},
			{Name: "the store is unreadable", Code: types.ErrPluginNotAvailable, Conf: func(conf map[string]any) {
				conf["stateDir"] = "/dev/null"
			}},
		},
	}
	if mainType != "" {
		p.Stands = cnitest.Delegated
	}
	return p
}

// observe lists who has what. Addresses that are cooling are nobody's.
func observe(h cnitest.Host) (lines []string, err error) {
	if _, err := os.Stat(h.Dir); err != nil {
		return nil, err
	}
	err = store.Store{Dir: h.Dir}.View(func(tx *store.Tx) error {
		return tx.All(func(a store.Allocation) error {
			lines = append(lines, fmt.Sprintf("%s %s %s", a.Attachment, a.State, slices.Concat(a.Addresses, a.Anycast)))
			return nil
		})
	})
	return lines, err
}

func forget(h cnitest.Host, a cnitest.Attachment) error {
	return store.Store{Dir: h.Dir}.Update(func(tx *store.Tx) error { return tx.Release(owner(a), store.SinceBoot()) })
}

func reallocate(h cnitest.Host, a cnitest.Attachment) error {
	return store.Store{Dir: h.Dir}.Update(func(tx *store.Tx) error {
		if err := tx.Release(owner(a), store.SinceBoot()); err != nil {
			return err
		}
		return tx.Put(store.Allocation{Attachment: owner(a), Addresses: []netip.Addr{netip.MustParseAddr("10.77.9.9")}})
	})
}

func owner(a cnitest.Attachment) cni.Attachment {
	return cni.Attachment{Network: a.Network, ContainerID: a.ContainerID, IfName: a.IfName}
}
