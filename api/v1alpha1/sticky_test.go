// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"flock.fritzlab.net/flock/test/apiserver"
)

// The name in the code and the rule of the CRD are two; this holds them together.
func TestServerRefusesStickyAddresses(t *testing.T) {
	s := apiserver.Start(t)
	s.Kubectl(t, "apply", "-f", "../../deploy/components/sticky/stickyaddresses.flock.fritzlab.net.yaml")
	s.Kubectl(t, "wait", "--for=condition=Established", "--timeout=60s", "crd", "stickyaddresses.flock.fritzlab.net")
	create := func(name, address string) error {
		_, err := s.TryKubectl(t.Context(), s.Kubeconfig(t), fmt.Sprintf(`{"apiVersion": "flock.fritzlab.net/v1alpha1", "kind": "StickyAddress",
			"metadata": {"name": %q}, "spec": {"address": %q, "pool": "sticky", "owner": {"namespace": "default", "statefulSet": "db", "ordinal": 0}}}`,
			name, address), "create", "--dry-run=server", "-f", "-")
		return err
	}
	for address, name := range map[string]string{
		"2001:db8::7": "2001-db8--7", "2001:db8::": "2001-db8--0", "2001:db8:0:1:2:3:4:5": "2001-db8-0-1-2-3-4-5", "192.0.2.7": "192.0.2.7",
	} {
		if got := StickyAddressName(netip.MustParseAddr(address)); got != name {
			t.Errorf("%s is named %s, want %s", address, got, name)
		}
		if err := create(name, address); err != nil {
			t.Error(err)
		}
	}
	for _, wrong := range [][3]string{
		{"db-0", "192.0.2.7", "name it after its address"}, {"2001-db8--8", "2001:db8::7", "name it after its address"},
		{"2001-db8-0--7", "2001:db8:0::7", "in its shortest form"}, {"2001-db8--a", "2001:DB8::A", "in its shortest form"},
		{"192.0.2.0", "192.0.2.0/24", "in its shortest form"},
	} {
		if err := create(wrong[0], wrong[1]); err == nil || !strings.Contains(err.Error(), wrong[2]) {
			t.Errorf("%s as %s: %v, want %q", wrong[1], wrong[0], err, wrong[2])
		}
	}
}
