// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"flock.fritzlab.net/flock/internal/store"
	"flock.fritzlab.net/flock/plugins/cni"
	"flock.fritzlab.net/flock/test/apiserver"
)

// TestMemory: at most 40 MB resident with 500 pods on the node, each with an address.
func TestMemory(t *testing.T) {
	const pods, limit = 500, 40 << 20
	m := newMember(t, apiserver.Start(t))
	m.configure(`{"pools": [{"name": "p", "cidr": "10.0.0.0/16"}]}`)
	annotations := map[string]string{"flock.fritzlab.net/cidr4": "10.0.0.0/17", "other.example/long": strings.Repeat("x", 1000)}
	for i := range pods {
		m.api.MakePod(t, m.namespace, fmt.Sprint("web-", i), m.name, annotations)
	}
	err := m.store().Update(func(tx *store.Tx) (err error) {
		for i := range pods {
			err = errors.Join(err, tx.Put(store.Allocation{
				Attachment: cni.Attachment{Network: "flock", ContainerID: fmt.Sprintf("%064d", i), IfName: "eth0"}, State: store.Committed,
				Netns: m.Pods["x1"].Path(), Addresses: []netip.Addr{netip.AddrFrom4([4]byte{10, 0, byte(1 + i/250), byte(i % 250)})},
			}))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	m.binary = filepath.Join(filepath.Dir(m.ipam), "ipamd") // without the tests
	m.join()
	m.counts(fmt.Sprint("flock_ipamd_pods ", pods), fmt.Sprintf("flock_ipamd_pool_allocated_addresses{pool=%q,state=%q} %d", "p", "committed", pods))
	m.says(fmt.Sprintf("%d allocated", pods))
	m.roundsPass(6)
	if got := m.resident(); got > limit {
		t.Errorf("%d bytes are resident, %d at most", got, limit)
	} else {
		t.Logf("%d bytes are resident", got)
	}
}

// resident returns the daemon's resident memory in bytes.
func (m *member) resident() (bytes int) {
	m.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", m.daemon.PID()))
	if err != nil {
		m.t.Fatal(err)
	}
	var total, pages int
	if _, err := fmt.Sscan(string(text), &total, &pages); err != nil {
		m.t.Fatal(err)
	}
	return pages * os.Getpagesize()
}

// confined runs a program as its container does: with no capability, and a root file system that it cannot write but
// for the folders of the store and of node.json.
const confined = `#!/bin/sh
exec unshare --mount sh -ec '
	mount --make-rprivate /
	for folder in %s %s; do mount --bind $folder $folder; done
	mount -o remount,bind,ro /
	exec setpriv --bounding-set=-all --inh-caps=-all --no-new-privs %s "$@"' confined "$@"
`

// TestConfined: the daemon does all its work as a root that may do next to nothing, and ends in time.
func TestConfined(t *testing.T) {
	m := newMember(t, apiserver.Start(t))
	m.configure(onePool)
	wrapper, lib := filepath.Join(t.TempDir(), "confined"), filepath.Dir(m.nodeFile)
	err := errors.Join(os.MkdirAll(m.db, 0o755), os.MkdirAll(lib, 0o755),
		os.WriteFile(wrapper, fmt.Appendf(nil, confined, m.db, lib, m.binary), 0o755))
	if err != nil {
		t.Fatal(err)
	}
	m.binary = wrapper
	m.put("dead", "/run/netns/flt-never-was", "10.0.0.4")
	m.join()
	m.pools("10.0.0.0/24")
	m.answers("/readyz", "200")
	m.eventuallyHas()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", m.daemon.PID()))
	if err != nil || !strings.Contains(string(text), "CapEff:\t0000000000000000") {
		t.Errorf("it has capabilities: %v\n%s", err, text)
	}
	mounts, err := os.ReadFile(fmt.Sprintf("/proc/%d/mounts", m.daemon.PID()))
	if err != nil || !regexp.MustCompile(`(?m)^\S+ / \S+ ro[, ]`).Match(mounts) {
		t.Errorf("it can write the root file system: %v\n%s", err, mounts)
	}
	pod := m.api.MakePod(t, m.namespace, "web", m.name, map[string]string{"flock.fritzlab.net/addresses": "10.0.0.9"})
	m.gives(pod, "a", "10.0.0.9/32")
	m.says("1 allocated")
	m.configure(`{"pools": [{"name": "p", "cidr": "10.1.0.0/24"}]}`)
	m.pools("10.1.0.0/24")
	m.end(syscall.SIGTERM)
}
