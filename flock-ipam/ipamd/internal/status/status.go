// SPDX-License-Identifier: Apache-2.0

// Package status says in a NodeConfig's status how the node's pools are.
package status

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"flock.fritzlab.net/flock/api/v1alpha1"
	"flock.fritzlab.net/flock/api/v1alpha1/annotation"
	"flock.fritzlab.net/flock/flock-ipam/ipamd/internal/nodejson"
	"flock.fritzlab.net/flock/flock-ipam/ipamd/internal/usage"
	"flock.fritzlab.net/flock/internal/pool"
	"flock.fritzlab.net/flock/plugins/cni"
)

// View is what ipamd sees.
type View struct {
	Config *v1alpha1.NodeConfig
	// ConfigErr is what is wrong with the NodeConfig or with node.json, StoreErr with the store.
	ConfigErr, StoreErr error
	// Usage is of the pools of node.json: of those that are in force.
	Usage usage.Usage
	// Draining are addresses whose pool is gone.
	Draining []usage.Stray
	// AllocatorsDown are the allocators that cannot be asked, by name, and why.
	AllocatorsDown map[string]error
}

// Of returns the fields of a status that are ipamd's: Ready among them only where nobody announces.
func Of(v View) v1alpha1.NodeConfigStatus {
	s := v1alpha1.NodeConfigStatus{Conditions: []metav1.Condition{v.poolsReady()}}
	for _, p := range v.Usage.Pools {
		s.Pools = append(s.Pools, v1alpha1.PoolStatus{
			Name: p.Name, CIDR: p.Prefix.String(), Allocated: int64(p.Pending + p.Committed), Cooling: int64(p.Cooling),
			Free: int64(min(p.Free, maxFree)),
		})
	}
	s.IPv6, s.IPv4 = v1alpha1.Usage(s.Pools)
	if v.Config.Spec.BGP == nil {
		s.Conditions = append(s.Conditions, v1alpha1.Ready(s.Conditions...))
	}
	return s
}

// maxFree is what a status says of a pool that has more.
const maxFree = 1 << 62

func (v View) poolsReady() metav1.Condition {
	c := metav1.Condition{Type: v1alpha1.ConditionPoolsReady, Status: metav1.ConditionFalse}
	var invalid *nodejson.InvalidError
	full, down := v.full(), v.down()
	switch {
	case errors.As(v.ConfigErr, &invalid):
		c.Reason, c.Message = v1alpha1.ReasonInvalidNodeConfig, fmt.Sprintf("the pools stay as they were: %v", invalid.Err)
	case v.ConfigErr != nil:
		c.Reason, c.Message = v1alpha1.ReasonNodeFileNotWritten, v.ConfigErr.Error()
	case v.StoreErr != nil:
		c.Reason, c.Message = v1alpha1.ReasonStoreUnreadable, v.StoreErr.Error()
	case len(v.Usage.Pools) == 0:
		c.Reason, c.Message = v1alpha1.ReasonNoPools, "spec.pools is empty: add a pool"
	case down != "":
		c.Reason, c.Message = v1alpha1.ReasonAllocatorUnavailable, down
	case full != "":
		c.Reason, c.Message = v1alpha1.ReasonPoolsExhausted, full
	case len(v.Draining) > 0:
		c.Status, c.Reason, c.Message = metav1.ConditionTrue, v1alpha1.ReasonPoolsDraining, v.draining()
	default:
		c.Status, c.Reason, c.Message = metav1.ConditionTrue, v1alpha1.ReasonPoolsServing, count(len(v.Usage.Pools), "pool")+" in service"
	}
	return c
}

// down names the pools whose allocator cannot be asked, and says why.
func (v View) down() string {
	var pools []string
	for _, p := range v.Usage.Pools {
		if err := v.AllocatorsDown[p.Allocator]; p.External() && err != nil {
			pools = append(pools, fmt.Sprintf("pool %s: allocator %s: %v", p.Name, p.Allocator, err))
		}
	}
	return strings.Join(pools, "; ")
}

// full names the families that have pools and nothing to give. A pool of an extension that stands behind an ordinary one
// does not count: the extension need not serve every pod that comes to it for want of anything else.
func (v View) full() string {
	var families []string
	for _, family := range []pool.Family{pool.IPv6, pool.IPv4} {
		var names []string
		room, ordinary := false, false
		for _, p := range v.Usage.Pools {
			if p.Family() != family || p.External() && ordinary {
				continue
			}
			ordinary = ordinary || !p.External()
			names = append(names, p.Name)
			room = room || !p.Full()
		}
		if len(names) > 0 && !room {
			families = append(families, fmt.Sprintf("no %s address is left in %s", family, strings.Join(names, ", ")))
		}
	}
	if families == nil {
		return ""
	}
	return strings.Join(families, "; ") + ": add a pool, enlarge one, or remove pods from the node"
}

// examples is how many addresses a message names.
const examples = 3

func (v View) draining() string {
	pods := map[cni.Pod]bool{}
	var some []string
	for _, s := range v.Draining {
		pods[s.Pod] = true
		if len(some) < examples {
			some = append(some, fmt.Sprintf("%s (%s)", s.Address, s.Pod))
		}
	}
	if more := len(v.Draining) - examples; more > 0 {
		some = append(some, fmt.Sprintf("and %d more", more))
	}
	return fmt.Sprintf("%s of %s in no pool any more and kept until the pods are gone: %s",
		count(len(v.Draining), "address"), count(len(pods), "pod"), strings.Join(some, ", "))
}

func count(n int, what string) string {
	switch {
	case n == 1:
		return "1 " + what
	case strings.HasSuffix(what, "s"):
		return fmt.Sprintf("%d %ses", n, what)
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// Draining returns those of the addresses outside every pool whose pods do not ask for them by annotation. Of a pod
// that is not known that cannot be told, and so it is left out.
func Draining(outside []usage.Stray, annotations func(cni.Pod) (map[string]string, bool)) []usage.Stray {
	var draining []usage.Stray
	for _, s := range outside {
		asked, known := annotations(s.Pod)
		// One that does not parse was changed after the pod got its address, and tells nothing.
		request, _ := annotation.Parse(asked)
		if known && !slices.Contains(request.Addresses, s.Address) {
			draining = append(draining, s)
		}
	}
	return draining
}
