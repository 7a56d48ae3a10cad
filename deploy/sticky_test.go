// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"flock.fritzlab.net/flock/test/lab"
)

// sticky is the manifest of a StickyAddress, held on a node unless that is empty.
func sticky(last int, node string) string {
	holder := ""
	if node != "" {
		holder = fmt.Sprintf(`, "holder": {"node": %q, "bootID": "b", "containerID": "c", "ifName": "eth0", "since": "2026-01-01T00:00:00Z"}`, node)
	}
	return fmt.Sprintf(`{"apiVersion": "flock.fritzlab.net/v1alpha1", "kind": "StickyAddress", "metadata": {"name": "2001-db8-5--%[1]x"}, "spec": {
		"address": "2001:db8:5::%[1]x", "pool": "sticky6", "owner": {"namespace": "default", "statefulSet": "db", "ordinal": %[1]d}%[2]s}}`, last, holder)
}

// TestSticky: a node's allocator gives addresses on its own node, and nobody deletes what is held.
func TestSticky(t *testing.T) {
	c := newCluster(t)
	overlay := withComponent(t, "sticky")
	c.Kubectl(t, "apply", "-k", overlay)
	c.Kubectl(t, "wait", "--for=condition=Established", "--timeout=60s", "crd", "stickyaddresses.flock.fritzlab.net")
	own, unbound, admin := c.pod("sticky"), c.ServiceAccount(t, "flock-system", "flock"), c.Kubeconfig(t)
	with := func(kubeconfig, manifest string, args ...string) error {
		_, err := c.TryKubectl(t.Context(), kubeconfig, manifest, args...)
		return err
	}
	must(t, lab.Within(t.Context(), 20*time.Second, "roles and policies are in force", func() error {
		if err := with(own, sticky(2, ""), "create", "--dry-run=server", "-f", "-"); err != nil {
			return err
		}
		if with(unbound, sticky(2, "sticky"), "create", "--dry-run=server", "-f", "-") == nil {
			return errors.New("an unbound token holds an address")
		}
		return nil
	}))
	remove := []string{"delete", "stickyaddress", "2001-db8-5--1"}
	const (
		foreign = " gives addresses on no node but its own"
		held    = "a pod on node sticky has the address 2001:db8:5::1: delete the pod"
	)
	for i, test := range []struct {
		kubeconfig, manifest string
		args                 []string
		refused              string
	}{
		{own, sticky(1, "other"), []string{"create", "-f", "-"}, "flock of node sticky" + foreign},
		{unbound, sticky(1, "sticky"), []string{"create", "-f", "-"}, "flock of node (none)" + foreign},
		{unbound, sticky(1, ""), []string{"create", "-f", "-"}, ""},
		{own, sticky(1, "other"), []string{"replace", "-f", "-"}, "flock of node sticky" + foreign},
		{own, sticky(1, "sticky"), []string{"replace", "-f", "-"}, ""},
		{own, "", remove, held},
		{admin, "", remove, held},
		{unbound, sticky(1, "sticky"), []string{"replace", "-f", "-"}, ""}, // of what another node holds, it leaves that as it is
		{unbound, strings.Replace(sticky(1, "sticky"), `"b"`, `"another"`, 1), []string{"replace", "-f", "-"}, "flock of node (none)" + foreign},
		{unbound, sticky(1, ""), []string{"replace", "-f", "-"}, ""},
		{own, "", remove, ""},
	} {
		err := with(test.kubeconfig, test.manifest, test.args...)
		switch {
		case test.refused == "" && err != nil:
			t.Errorf("%d: %q: %v", i, test.args, err)
		case test.refused != "" && (err == nil || !strings.Contains(err.Error(), test.refused)):
			t.Errorf("%d: %q: %v, want refused: %s", i, test.args, err, test.refused)
		}
	}
	for request, want := range map[string]bool{
		"get statefulsets.apps in elsewhere": true, "list statefulsets.apps": false, "patch statefulsets.apps in elsewhere": false,
		"get nodes": true, "patch nodes": false, "deletecollection stickyaddresses.flock.fritzlab.net": false,
	} {
		if may(t, own, request) != want {
			t.Errorf("flock may %s: %t, want %t", request, !want, want)
		}
	}
}

// TestStickyTwice applies the component again.
func TestStickyTwice(t *testing.T) {
	c := newCluster(t)
	overlay := withComponent(t, "sticky")
	c.Kubectl(t, "apply", "-k", overlay)
	for line := range strings.Lines(c.Kubectl(t, "apply", "-k", overlay)) {
		if !strings.HasSuffix(strings.TrimSpace(line), " unchanged") {
			t.Errorf("apply says %q, want unchanged", line)
		}
	}
}
