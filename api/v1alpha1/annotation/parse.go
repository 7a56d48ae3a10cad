// SPDX-License-Identifier: Apache-2.0

package annotation

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"flock.fritzlab.net/flock/internal/pool"
)

// maxList bounds a list of addresses: one pod must not be able to take a node's worth of them.
const maxList = 64

// Parse reads a pod's annotations, those that are not flock's ignored. Its error is an [*Error].
func Parse(annotations map[string]string) (Request, error) {
	var r Request
	for _, key := range slices.Sorted(maps.Keys(annotations)) {
		if !strings.HasPrefix(key, Prefix) {
			continue
		}
		if err := r.set(key, annotations[key]); err != nil {
			return Request{}, &Error{Key: key, Value: annotations[key], Err: err}
		}
	}
	if key, err := r.contradiction(); err != nil {
		return Request{}, &Error{Key: key, Value: annotations[key], Err: err}
	}
	return r, nil
}

// Fix returns the request with fixed addresses that something other than the pod's annotation names,
// under the rules of [Addresses]. Its error is an [*Error] of that key.
func (r Request) Fix(addresses []string) (Request, error) {
	value := strings.Join(addresses, ",")
	fixed, err := parseAddresses(value)
	if err == nil && len(r.Addresses) > 0 {
		err = errors.New("the pod's annotation names addresses too: remove one of the two")
	}
	if err != nil {
		return Request{}, &Error{Key: Addresses, Value: value, Err: err}
	}
	r.Addresses = fixed
	if _, err := r.contradiction(); err != nil {
		return Request{}, &Error{Key: Addresses, Value: value, Err: err}
	}
	return r, nil
}

func (r *Request) set(key, value string) (err error) {
	switch key {
	case IPv6:
		r.IPv6, err = parseBool(value)
	case IPv4:
		r.IPv4, err = parseBool(value)
	case CIDR6:
		r.CIDR6, err = parseCIDR(value, pool.IPv6)
	case CIDR4:
		r.CIDR4, err = parseCIDR(value, pool.IPv4)
	case IPAlgo:
		r.IPAlgo, err = ParseFields(splitList(value))
	case Addresses:
		r.Addresses, err = parseAddresses(value)
	case Anycast:
		r.Anycast, err = parseAddresses(value)
	default:
		err = fmt.Errorf("unknown key: correct it to %s, or remove it", strings.Join(nearest(key), ", "))
	}
	return err
}

func parseBool(value string) (*bool, error) {
	switch value {
	case "true":
		return new(true), nil
	case "false":
		return new(false), nil
	}
	return nil, errors.New(`want "true" or "false"`)
}

func parseCIDR(value string, want pool.Family) (netip.Prefix, error) {
	prefix, err := pool.ParsePrefix(value)
	if err != nil {
		return netip.Prefix{}, err
	}
	if got := pool.FamilyOf(prefix.Addr()); got != want {
		return netip.Prefix{}, fmt.Errorf("want a CIDR of %s, not of %s", want, got)
	}
	return prefix, nil
}

// splitList reads a list whose items are separated by commas, which spaces may follow.
func splitList(value string) []string {
	items := strings.Split(value, ",")
	for i := range items {
		items[i] = strings.Trim(items[i], " ")
	}
	return items
}

// ParseFields reads the fields that ip-algo lists: at least one, none twice.
func ParseFields(items []string) ([]Field, error) {
	if len(items) == 0 {
		return nil, errors.New("want at least one of namespace, pod and image")
	}
	var fields []Field
	for _, item := range items {
		field := Field(item)
		if field != Namespace && field != Pod && field != Image {
			return nil, fmt.Errorf("%.100q is no field: want a list of namespace, pod and image, separated by commas", item)
		}
		if slices.Contains(fields, field) {
			return nil, fmt.Errorf("%q is listed twice", item)
		}
		fields = append(fields, field)
	}
	return fields, nil
}

func parseAddresses(value string) ([]netip.Addr, error) {
	items := splitList(value)
	if len(items) > maxList {
		return nil, fmt.Errorf("%d addresses, %d at most", len(items), maxList)
	}
	var addrs []netip.Addr
	for _, item := range items {
		addr, err := pool.ParseAddr(item)
		if err != nil {
			return nil, err
		}
		if err := pool.CheckUnicast(addr); err != nil {
			return nil, fmt.Errorf("%s %w, which no pod can have", addr, err)
		}
		if slices.Contains(addrs, addr) {
			return nil, fmt.Errorf("%s is listed twice", addr)
		}
		addrs = append(addrs, addr)
	}
	return addrs, nil
}

// contradiction returns the annotation that another one rules out, and why.
func (r Request) contradiction() (key string, err error) {
	for _, a := range r.Anycast {
		if slices.Contains(r.Addresses, a) {
			return Anycast, fmt.Errorf("%s is in %s too, and cannot be both shared and the pod's own", a, Addresses)
		}
	}
	for _, f := range []pool.Family{pool.IPv6, pool.IPv4} {
		if key, err := r.familyContradiction(f); err != nil {
			return key, err
		}
	}
	if no(r.IPv6) && no(r.IPv4) {
		return IPv4, fmt.Errorf("%s is false too, which leaves the pod without an address", IPv6)
	}
	return "", nil
}

func (r Request) familyContradiction(f pool.Family) (key string, err error) {
	off := fmt.Errorf("asks for %s, which %s switches off", f, FamilyKey(f))
	switch isOff := no(r.Wants(f)); {
	case isOff && r.CIDR(f).IsValid():
		return CIDRKey(f), off
	case isOff && len(r.Fixed(f)) > 0:
		return Addresses, off
	case isOff && len(ofFamily(r.Anycast, f)) > 0:
		return Anycast, fmt.Errorf("anycast in %s needs a unicast address of it, which %s switches off", f, FamilyKey(f))
	case r.CIDR(f).IsValid() && len(r.Fixed(f)) > 0:
		return CIDRKey(f), fmt.Errorf("%s names the pod's %s address, so nothing is allocated: remove one of the two", Addresses, f)
	}
	return "", nil
}

func no(choice *bool) bool { return choice != nil && !*choice }
