// SPDX-License-Identifier: Apache-2.0

package sticky

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"flock.fritzlab.net/flock/api/v1alpha1"
)

// crowd is an API server with more addresses than a real one is filled with in a test. Each is idle and belongs to the
// first pod of a StatefulSet of its own; the first of them was released last.
type crowd struct {
	n      int
	wanted func(i int) bool // whether there is the StatefulSet of the address

	lists   int      // that were begun
	asked   int      // StatefulSets
	removed []string // by name
	heap    []uint64 // what was in use at the last page of each list
}

func (c *crowd) addr(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
}

func (c *crowd) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := path.Base(r.URL.Path)
	w.Header().Set("Content-Type", "application/json")
	var answer any
	switch {
	case r.Method == http.MethodDelete:
		c.removed = append(c.removed, name)
		answer = metav1.Status{Status: metav1.StatusSuccess}
	case name == v1alpha1.StickyResource:
		answer = c.page(r)
	default: // a StatefulSet
		c.asked++
		if i, _ := strconv.Atoi(strings.TrimPrefix(name, "set")); c.wanted(i) {
			answer = appsv1.StatefulSet{TypeMeta: metav1.TypeMeta{APIVersion: "apps/v1", Kind: "StatefulSet"}}
			break
		}
		w.WriteHeader(http.StatusNotFound)
		answer = metav1.Status{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusFailure, Reason: metav1.StatusReasonNotFound, Code: http.StatusNotFound}
	}
	json.NewEncoder(w).Encode(answer)
}

// page returns a page of the list, whose token is the number of its first address.
func (c *crowd) page(r *http.Request) (list v1alpha1.StickyAddressList) {
	list.TypeMeta = metav1.TypeMeta{APIVersion: v1alpha1.APIVersion, Kind: "StickyAddressList"}
	limit, _ := strconv.Atoi(r.URL.Query().Get("limit"))
	first, _ := strconv.Atoi(r.URL.Query().Get("continue"))
	if first == 0 {
		c.lists++
	}
	end := min(c.n, first+limit)
	if end < c.n {
		list.Continue = strconv.Itoa(end)
	} else {
		c.heap = append(c.heap, inUse())
	}
	for i := first; i < end; i++ {
		o := v1alpha1.StickyAddress{Spec: v1alpha1.StickyAddressSpec{
			Address: c.addr(i).String(), Pool: "sticky", Owner: v1alpha1.StickyOwner{Namespace: "ns", StatefulSet: fmt.Sprint("set", i)},
			Released: &metav1.Time{Time: time.Unix(int64(2e9-i), 0)},
		}}
		o.Name, o.UID, o.ResourceVersion = v1alpha1.StickyAddressName(c.addr(i)), "uid", "7"
		o.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "allocator-sticky", FieldsV1: &metav1.FieldsV1{Raw: fmt.Appendf(nil, `{"f:spec": %q}`, strings.Repeat("x", 2000))}}}
		list.Items = append(list.Items, o)
	}
	return list
}

func inUse() uint64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

// search has an allocator search the prefix, and wants no list to keep more than a few of the objects.
func (c *crowd) search(t *testing.T, from claim) (netip.Addr, error) {
	t.Helper()
	server := httptest.NewServer(c)
	defer server.Close()
	access, err := newCluster(&rest.Config{Host: server.URL, QPS: -1})
	must(t, err)
	before := inUse()
	addr, err := (&Allocator{cluster: access}).search(t.Context(), from)
	for i, heap := range c.heap {
		if kept := int64(heap) - int64(before); kept > 6<<20 {
			t.Errorf("%d bytes are kept at the end of list %d, of %d objects", kept, i+1, c.n)
		}
	}
	return addr, err
}

// TestCrowdIdle: where an address is free, the idle ones are none of its business.
func TestCrowdIdle(t *testing.T) {
	c := &crowd{n: 10000}
	if addr, err := c.search(t, claimOf("10.0.0.0/16")); err != nil || c.lists != 1 || c.asked > 0 || addr.Less(c.addr(c.n)) {
		t.Errorf("got %s, %v, by %d lists and %d StatefulSets", addr, err, c.lists, c.asked)
	}
}

// TestCrowdToReclaim: the one that was released first is freed, and no StatefulSet read but its own. To free what is set
// aside would give nobody an address.
func TestCrowdToReclaim(t *testing.T) {
	c := &crowd{n: 8192, wanted: func(int) bool { return false }}
	_, err := c.search(t, claimOf("10.0.0.0/19", "10.0.31.254-10.0.31.255"))
	if want := []string{c.addr(c.n - 3).String()}; !errors.Is(err, errAgain) || !slices.Equal(c.removed, want) || c.asked != 1 {
		t.Errorf("removed %v, %v, want %v; asked for %d StatefulSets, want 1", c.removed, err, want, c.asked)
	}
}

// TestCrowdWanted: the one to be freed stands behind more than are remembered.
func TestCrowdWanted(t *testing.T) {
	c := &crowd{n: 2048, wanted: func(i int) bool { return i > 1000 }}
	_, err := c.search(t, claimOf("10.0.0.0/21"))
	if want := []string{c.addr(1000).String()}; !errors.Is(err, errAgain) || !slices.Equal(c.removed, want) {
		t.Errorf("removed %v, %v, want %v", c.removed, err, want)
	}
}
