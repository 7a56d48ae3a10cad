// SPDX-License-Identifier: Apache-2.0

package usage

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"flock.fritzlab.net/flock/internal/nodefile"
	"flock.fritzlab.net/flock/internal/pool"
	"flock.fritzlab.net/flock/internal/store"
	"flock.fritzlab.net/flock/plugins/cni"
)

// String returns the counts, a line each.
func (u Usage) String() string {
	var lines []string
	for _, p := range u.Pools {
		lines = append(lines, fmt.Sprintf("%s: %d pending, %d committed, %d cooling, %d free", p.Name, p.Pending, p.Committed, p.Cooling, p.Free))
	}
	for _, s := range u.Outside {
		lines = append(lines, fmt.Sprintf("outside: %s of %s", s.Address, s.Pod.Name))
	}
	return strings.Join(append(lines, fmt.Sprint(u.Attachments)), "\n")
}

// fill puts allocations, written "pod state addresses", and releases those of the state "gone" at 100s.
func fill(t *testing.T, allocations ...string) store.Store {
	t.Helper()
	s := store.Store{Dir: t.TempDir()}
	err := s.Update(func(tx *store.Tx) error {
		for _, text := range allocations {
			words := strings.Fields(text)
			alloc := store.Allocation{
				Attachment: cni.Attachment{Network: "flock", ContainerID: words[0], IfName: "eth0"},
				Pod:        cni.Pod{Namespace: "default", Name: words[0]}, State: store.State(words[1]),
			}
			for _, word := range words[2:] {
				alloc.Addresses = append(alloc.Addresses, netip.MustParseAddr(word))
			}
			err := tx.Put(alloc)
			if alloc.State == "gone" {
				err = errors.Join(err, tx.Release(alloc.Attachment, 100*time.Second))
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestCount(t *testing.T) {
	for _, test := range []struct {
		name        string
		pools       []pool.Spec
		allocations []string
		now         time.Duration
		want        string
	}{
		{name: "nothing", want: "map[]"},
		{name: "unused", pools: []pool.Spec{{CIDR: "10.0.0.0/29"}}, want: "10.0.0.0/29: 0 pending, 0 committed, 0 cooling, 5 free\nmap[]"},
		{
			name: "states", pools: []pool.Spec{{Name: "v4", CIDR: "10.0.0.0/29"}, {Name: "v6", CIDR: "2001:db8::/125"}}, now: 101 * time.Second,
			allocations: []string{"a pending 10.0.0.2", "b committed 10.0.0.3 2001:db8::2", "c committed 10.0.0.4", "d gone 10.0.0.5 2001:db8::3"},
			want:        "v4: 1 pending, 2 committed, 1 cooling, 1 free\nv6: 0 pending, 1 committed, 1 cooling, 4 free\nmap[committed:2 pending:1]",
		},
		{
			name: "cold again", pools: []pool.Spec{{Name: "v4", CIDR: "10.0.0.0/29"}}, now: 220 * time.Second,
			allocations: []string{"a gone 10.0.0.2"}, want: "v4: 0 pending, 0 committed, 0 cooling, 5 free\nmap[]",
		},
		{
			name: "of an earlier boot", pools: []pool.Spec{{Name: "v4", CIDR: "10.0.0.0/29"}}, now: 50 * time.Second,
			allocations: []string{"a gone 10.0.0.2"}, want: "v4: 0 pending, 0 committed, 0 cooling, 5 free\nmap[]",
		},
		{
			name: "set aside later", pools: []pool.Spec{{Name: "v4", CIDR: "10.0.0.0/29", Reserved: []string{"10.0.0.2-10.0.0.4"}}},
			allocations: []string{"a committed 10.0.0.2", "b committed 10.0.0.5"}, want: "v4: 0 pending, 2 committed, 0 cooling, 1 free\nmap[committed:2]",
		},
		{
			name: "full", pools: []pool.Spec{{Name: "v4", CIDR: "10.0.0.0/31"}}, allocations: []string{"a committed 10.0.0.0", "b pending 10.0.0.1"},
			want: "v4: 1 pending, 1 committed, 0 cooling, 0 free\nmap[committed:1 pending:1]",
		},
		{
			name: "shrunk", pools: []pool.Spec{{Name: "v4", CIDR: "10.0.0.0/30"}}, now: 101 * time.Second,
			allocations: []string{"b committed 10.0.0.9 10.0.0.7", "a committed 10.0.0.2", "c gone 10.0.0.10"},
			want:        "v4: 0 pending, 1 committed, 0 cooling, 0 free\noutside: 10.0.0.7 of b\noutside: 10.0.0.9 of b\nmap[committed:2]",
		},
		{
			name: "huge", pools: []pool.Spec{{Name: "v6", CIDR: "2001:db8::/32"}}, allocations: []string{"a committed 2001:db8::7"},
			want: fmt.Sprintf("v6: 0 pending, 1 committed, 0 cooling, %d free\nmap[committed:1]", uint64(math.MaxUint64)),
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			node, err := nodefile.Spec{Pools: test.pools}.Parse()
			if err != nil {
				t.Fatal(err)
			}
			var got Usage
			err = fill(t, test.allocations...).View(func(tx *store.Tx) (err error) {
				got, err = Count(tx, node, test.now)
				return err
			})
			if diff := cmp.Diff(test.want, got.String()); diff != "" || err != nil {
				t.Errorf("(-want +got): %v\n%s", err, diff)
			}
		})
	}
}
