// SPDX-License-Identifier: Apache-2.0

// Package allocate decides which addresses an attachment gets: [NewPlan] settles, without the store,
// what is asked for and from where it may come, and [Allocator.Allocate] picks inside one transaction.
package allocate

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"flock.fritzlab.net/flock/api/v1alpha1/annotation"
	"flock.fritzlab.net/flock/flock-ipam/internal/ipalgo"
	"flock.fritzlab.net/flock/internal/nodefile"
	"flock.fritzlab.net/flock/internal/pool"
	"flock.fritzlab.net/flock/plugins/cni"
)

var (
	// ErrNoPool tells that a family is wanted which no pool serves.
	ErrNoPool = errors.New("no pool")
	// ErrExhausted tells that no eligible pool has a free address.
	ErrExhausted = errors.New("exhausted")
)

// Wish is what is asked for one attachment, and by whom.
type Wish struct {
	Attachment cni.Attachment
	Pod        cni.Pod
	Node       nodefile.Node
	// Annotations are the pod's.
	Annotations map[string]string
	// Fixed are addresses that the runtime asks for.
	Fixed []string
	// Image is the digest of the pod's image, and the container ID where that is unknown.
	Image string
	// Delegated: there is no place for anycast addresses.
	Delegated bool
	// Gateway: an address is of use only together with its pool's gateway.
	Gateway bool
}

// Plan is a wish that can be granted as far as can be told without the store.
type Plan struct {
	families []family
	anycast  []netip.Addr
	asked    map[string]string // the annotations, for error texts
	answers  map[netip.Prefix]answer
}

// family is what the plan has for one address family: fixed addresses, or else where to pick one.
type family struct {
	pool.Family
	fixed   []netip.Addr
	sources []source
}

// source is the part of a pool in which any address will do.
type source struct {
	pool.Pool
	part netip.Prefix
	// cursor is what the store remembers the last address under; zero for not at all.
	cursor netip.Prefix
}

func (s source) String() string {
	text := "pool " + s.Name
	if s.part != s.Prefix {
		text = fmt.Sprintf("%s of pool %s", s.part, s.Name)
	}
	if s.External() {
		text += fmt.Sprintf(" (allocator %s)", s.Allocator)
	}
	return text
}

// planner holds what every step of planning looks at.
type planner struct {
	Wish
	pod  annotation.Request // as the pod asks
	want annotation.Request // with the node's defaults
}

// families in the order of the result.
var order = []pool.Family{pool.IPv6, pool.IPv4}

// NewPlan settles a wish. Its error is an [*annotation.Error], or wraps [ErrNoPool].
func NewPlan(w Wish) (Plan, error) {
	p, err := newPlanner(w)
	if err != nil {
		return Plan{}, err
	}
	plan := Plan{anycast: p.want.Anycast, asked: p.Annotations}
	for _, f := range order {
		part, err := p.family(f)
		if err != nil {
			return Plan{}, err
		}
		if part.fixed != nil || part.sources != nil {
			plan.families = append(plan.families, part)
		}
	}
	if len(plan.families) == 0 {
		return Plan{}, p.nothing()
	}
	return plan, p.checkAnycast(plan)
}

func newPlanner(w Wish) (planner, error) {
	pod, err := annotation.Parse(w.Annotations)
	if err != nil {
		return planner{}, err
	}
	if len(w.Fixed) > 0 {
		if pod, err = pod.Fix(w.Fixed); err != nil {
			return planner{}, fmt.Errorf("honour the capability ips: %w", err)
		}
		w.Annotations = maps.Clone(w.Annotations)
		if w.Annotations == nil {
			w.Annotations = map[string]string{}
		}
		w.Annotations[annotation.Addresses] = strings.Join(w.Fixed, ",") // what later errors quote
	}
	return planner{Wish: w, pod: pod, want: pod.Merge(w.Node.Defaults)}, nil
}

// NeedsImage tells whether the wish cannot be settled well without the image's digest.
func NeedsImage(w Wish) bool {
	p, err := newPlanner(w)
	return err == nil && slices.Contains(p.want.IPAlgo, annotation.Image)
}

func (p planner) family(f pool.Family) (family, error) {
	if fixed := p.want.Fixed(f); len(fixed) > 0 {
		return family{Family: f, fixed: fixed}, p.checkFixed(fixed)
	}
	said := p.want.Wants(f)
	if said != nil && !*said {
		return family{}, nil
	}
	pools := p.poolsOf(f)
	if len(pools) == 0 {
		if said == nil {
			return family{}, nil
		}
		return family{}, p.noPool(f)
	}
	sources, err := p.sources(f, pools)
	return family{Family: f, sources: sources}, err
}

func (p planner) poolsOf(f pool.Family) []pool.Pool {
	return slices.DeleteFunc(slices.Clone(p.Node.Pools), func(candidate pool.Pool) bool { return candidate.Family() != f })
}

// sources returns where an address of the family may come from, in the order of the pools.
func (p planner) sources(f pool.Family, pools []pool.Pool) ([]source, error) {
	if cidr := p.want.CIDR(f); cidr.IsValid() {
		home, ok := pool.Find(pools, cidr.Addr())
		if !ok || home.Prefix.Bits() > cidr.Bits() {
			return nil, p.bad(annotation.CIDRKey(f), fmt.Errorf("lies in none of the node's pools: %s", names(pools)))
		}
		return []source{p.narrowed(home, cidr)}, p.checkSource(home)
	}
	var sources []source
	for _, candidate := range pools {
		if err := p.checkSource(candidate); err != nil {
			return nil, err
		}
		sources = append(sources, p.narrowed(candidate, candidate.Prefix))
	}
	return sources, nil
}

// narrowed applies ip-algo to a part of a pool, unless an extension has its own way of picking there.
func (p planner) narrowed(from pool.Pool, part netip.Prefix) source {
	s := source{Pool: from, part: part, cursor: part}
	if from.Family() == pool.IPv6 && !from.External() {
		if s.part = ipalgo.Narrow(part, p.identity()); s.part != part {
			s.cursor = netip.Prefix{} // there are as many parts as identities, too many to remember
		}
	}
	return s
}

// identity returns the values of the fields that ip-algo lists, without those that are unknown.
func (p planner) identity() []string {
	var values []string
	for _, field := range p.want.IPAlgo {
		value := map[annotation.Field]string{
			annotation.Namespace: p.Pod.Namespace, annotation.Pod: p.Pod.Name, annotation.Image: p.Image,
		}[field]
		if value != "" {
			values = append(values, value)
		}
	}
	return values
}

func (p planner) checkGateway(from pool.Pool) error {
	if p.Gateway && !from.Gateway.IsValid() {
		return fmt.Errorf("use pool %s: it has no gateway, which profile subnet needs: %w with one", from.Name, ErrNoPool)
	}
	return nil
}

func (p planner) checkSource(from pool.Pool) error {
	if err := p.checkGateway(from); err != nil {
		return err
	}
	return p.checkIPAlgo(from)
}

// checkIPAlgo refuses what the pod asks for and an extension would not heed. The node's default is no such wish.
func (p planner) checkIPAlgo(from pool.Pool) error {
	if from.External() && from.Family() == pool.IPv6 && p.pod.IPAlgo != nil {
		return p.bad(annotation.IPAlgo, fmt.Errorf("is not for pool %s, whose addresses allocator %s picks: ask for another pool with %s",
			from.Name, from.Allocator, annotation.CIDRKey(pool.IPv6)))
	}
	return nil
}

func (p planner) checkFixed(fixed []netip.Addr) error {
	for _, addr := range fixed {
		home, inside := pool.Find(p.Node.Pools, addr)
		switch {
		case inside && home.External() && !home.SetAside(addr):
			return p.bad(annotation.Addresses, fmt.Errorf("%s lies in pool %s, where allocator %s may give it to another pod: reserve it there", addr, home.Name, home.Allocator))
		case inside && !home.External() && home.SetAside(addr):
			return p.bad(annotation.Addresses, fmt.Errorf("%s is reserved in pool %s", addr, home.Name))
		case p.Gateway && !inside:
			return p.bad(annotation.Addresses, fmt.Errorf("%s lies in no pool, and so has no gateway, which profile subnet needs", addr))
		}
		if err := p.checkGateway(home); inside && err != nil {
			return err
		}
	}
	return nil
}

func (p planner) checkAnycast(plan Plan) error {
	for _, addr := range p.want.Anycast {
		f := pool.FamilyOf(addr)
		home, inside := pool.Find(p.Node.Pools, addr)
		switch {
		case p.Delegated:
			return p.bad(annotation.Anycast, errors.New("anycast needs flock-ipam first in the chain; under another plugin's ipam there is no place for it"))
		case !slices.ContainsFunc(plan.families, func(g family) bool { return g.Family == f }):
			return p.bad(annotation.Anycast, fmt.Errorf("%s needs a unicast %s address beside it, and the pod gets none", addr, f))
		case inside && !home.SetAside(addr):
			return p.bad(annotation.Anycast, fmt.Errorf("%s lies in pool %s, where another pod may get it: reserve it there", addr, home.Name))
		}
	}
	return nil
}

// bad returns an error that quotes an annotation.
func (p planner) bad(key string, err error) error {
	return bad(p.Annotations, key, err)
}

func bad(annotations map[string]string, key string, err error) error {
	return &annotation.Error{Key: key, Value: annotations[key], Err: err}
}

// noPool blames who asks for a family that no pool serves.
func (p planner) noPool(f pool.Family) error {
	err := fmt.Errorf("%w of the node has %s", ErrNoPool, f)
	switch {
	case p.pod.CIDR(f).IsValid():
		return p.bad(annotation.CIDRKey(f), err)
	case p.pod.Wants(f) != nil:
		return p.bad(annotation.FamilyKey(f), err)
	}
	return fmt.Errorf("allocate %s, which the node's defaults ask for: %w", f, err)
}

// nothing blames who is the reason that the pod would get no address at all.
func (p planner) nothing() error {
	for _, f := range order {
		if said := p.pod.Wants(f); said != nil {
			return p.bad(annotation.FamilyKey(f), fmt.Errorf("leaves the pod without an address: the node gives %s", p.given()))
		}
	}
	return fmt.Errorf("allocate an address: %w is left: the node has %s", ErrNoPool, names(p.Node.Pools))
}

// given lists the families that the node gives of itself.
func (p planner) given() string {
	var given []string
	for _, f := range order {
		said := annotation.Request{}.Merge(p.Node.Defaults).Wants(f)
		if len(p.poolsOf(f)) > 0 && (said == nil || *said) {
			given = append(given, f.String())
		}
	}
	if given == nil {
		return "none"
	}
	return strings.Join(given, " and ") + " alone"
}

func names(pools []pool.Pool) string {
	if len(pools) == 0 {
		return "none"
	}
	var all []string
	for _, p := range pools {
		all = append(all, fmt.Sprintf("%s (%s)", p.Name, p.Prefix))
	}
	return strings.Join(all, ", ")
}
