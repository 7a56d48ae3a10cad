// SPDX-License-Identifier: Apache-2.0

package allocate

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"flock.fritzlab.net/flock/api/v1alpha1/annotation"
	"flock.fritzlab.net/flock/internal/nodefile"
	"flock.fritzlab.net/flock/internal/pool"
	"flock.fritzlab.net/flock/internal/store"
	"flock.fritzlab.net/flock/plugins/cni"
)

// bench is a store with a clock and a source of randomness that the test moves.
type bench struct {
	t     *testing.T
	store store.Store
	node  nodefile.Node
	now   time.Duration
	draws []uint64 // what Random returns, the last one for ever
}

func newBench(t *testing.T, pools string) *bench {
	t.Helper()
	b := &bench{t: t, store: store.Store{Dir: t.TempDir()}, now: time.Hour, draws: []uint64{0}}
	b.node.CoolDown = 2 * time.Minute
	b.node.Pools = parsePools(t, pools)
	return b
}

func parsePools(t testing.TB, in string) []pool.Pool {
	t.Helper()
	var specs []pool.Spec
	if err := json.Unmarshal([]byte(in), &specs); err != nil {
		t.Fatal(err)
	}
	pools, err := pool.Parse(specs)
	if err != nil {
		t.Fatal(err)
	}
	return pools
}

func (b *bench) allocator() Allocator {
	return Allocator{CoolDown: b.node.CoolDown, SinceBoot: func() time.Duration { return b.now }, Random: b.random}
}

func (b *bench) random() uint64 {
	drawn := b.draws[0]
	if len(b.draws) > 1 {
		b.draws = b.draws[1:]
	}
	return drawn
}

func attachment(container string) cni.Attachment {
	return cni.Attachment{Network: "flock", ContainerID: container, IfName: "eth0"}
}

// add allocates for a container, with annotations as "key=value" texts, and returns its addresses.
func (b *bench) add(container string, annotations ...string) ([]netip.Addr, error) {
	b.t.Helper()
	pod := cni.Pod{Namespace: "default", Name: container}
	wish := Wish{Attachment: attachment(container), Pod: pod, Node: b.node, Annotations: annotationsOf(annotations)}
	plan, err := NewPlan(wish)
	if err != nil {
		return nil, err
	}
	var alloc store.Allocation
	err = b.store.Update(func(tx *store.Tx) (err error) {
		alloc, err = b.allocator().Allocate(tx, plan, store.Allocation{
			Attachment: wish.Attachment, Pod: pod,
		})
		return err
	})
	return alloc.Addresses, err
}

func annotationsOf(texts []string) map[string]string {
	all := map[string]string{}
	for _, text := range texts {
		key, value, _ := strings.Cut(text, "=")
		all[annotation.Prefix+key] = value
	}
	return all
}

// get is an add that must give these addresses, or fail with this text.
func (b *bench) get(want, container string, annotations ...string) {
	b.t.Helper()
	addrs, err := b.add(container, annotations...)
	got := strings.Trim(fmt.Sprint(addrs), "[]")
	if err != nil {
		got = err.Error()
	}
	if diff := cmp.Diff(want, got); diff != "" {
		b.t.Errorf("add %s %s (-want +got):\n%s", container, annotations, diff)
	}
}

func (b *bench) del(container string) {
	b.t.Helper()
	err := b.store.Update(func(tx *store.Tx) error { return tx.Release(attachment(container), b.now) })
	if err != nil {
		b.t.Fatal(err)
	}
}
