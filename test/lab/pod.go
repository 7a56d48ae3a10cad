// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/netip"
	"time"

	current "github.com/containernetworking/cni/pkg/types/100"

	"flock.fritzlab.net/flock/plugins/cni"
)

// Pod is a pod's sandbox: a network namespace that a [Runtime] attaches to a network.
type Pod struct {
	*Netns
	Pod         cni.Pod
	ContainerID string
	// Annotations reach the plugins through the runtime's capability; nil is a runtime without it.
	Annotations map[string]string
	// Result is what the last ADD returned, nil before the first.
	Result *current.Result
}

// newPod returns the pod default/name whose sandbox is the namespace, with a fresh container ID.
func newPod(sandbox *Netns, name string, annotations map[string]string) *Pod {
	if annotations == nil {
		annotations = map[string]string{}
	}
	return &Pod{
		Netns:       sandbox,
		Pod:         cni.Pod{Namespace: "default", Name: name, UID: randomHex(16)},
		ContainerID: randomHex(32),
		Annotations: annotations,
	}
}

func randomHex(bytes int) string {
	buf := make([]byte, bytes)
	rand.Read(buf)
	return hex.EncodeToString(buf)
}

// Addresses returns the addresses of the pod's result in its order.
func (p *Pod) Addresses() []netip.Addr {
	if p.Result == nil {
		return nil
	}
	unicast, anycast, err := cni.Addresses(p.Result)
	if err != nil {
		return nil
	}
	return append(unicast, anycast...)
}

// Address6 returns the pod's first IPv6 address, invalid where it has none.
func (p *Pod) Address6() netip.Addr { return p.first(netip.Addr.Is6) }

// Address4 returns the pod's first IPv4 address, invalid where it has none.
func (p *Pod) Address4() netip.Addr { return p.first(netip.Addr.Is4) }

func (p *Pod) first(is func(netip.Addr) bool) netip.Addr {
	for _, a := range p.Addresses() {
		if is(a) {
			return a
		}
	}
	return netip.Addr{}
}

// PingPod pings the pod at the first address of each family and returns the times that the answers took.
func (n *Netns) PingPod(ctx context.Context, to *Pod) (v6, v4 time.Duration, err error) {
	if v6, err = n.Ping(ctx, to.Address6(), PingOptions{}); err != nil {
		return 0, 0, fmt.Errorf("%w (pod %s)", err, to.Pod.Name)
	}
	if v4, err = n.Ping(ctx, to.Address4(), PingOptions{}); err != nil {
		return 0, 0, fmt.Errorf("%w (pod %s)", err, to.Pod.Name)
	}
	return v6, v4, nil
}
