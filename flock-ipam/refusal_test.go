// SPDX-License-Identifier: Apache-2.0

package main

import (
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/google/go-cmp/cmp"

	"flock.fritzlab.net/flock/flock-ipam/internal/config"
	"flock.fritzlab.net/flock/internal/report"
	"flock.fritzlab.net/flock/internal/store"
	"flock.fritzlab.net/flock/plugins/cni"
)

// TestRefusals: ipamd gets to know of each pod that gets no address, and all of them are counted.
func TestRefusals(t *testing.T) {
	n := newNode(t, object{"pools": []any{object{"cidr": "10.0.0.0/30", "reserved": []string{"10.0.0.1"}}}}) // 10.0.0.2 alone
	reports, err := report.Listen(n.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer reports.Close()
	n.annotate()
	n.ok("ADD", "a", podArgs)
	n.refused(cni.CodePoolExhausted, "exhausted", "ADD", "b", podArgs)
	n.refused(cni.CodePoolExhausted, "exhausted", "ADD", "b") // of no pod, and so not reported
	n.annotate("ipv4=perhaps")
	n.refused(cni.CodeBadAnnotation, "perhaps", "ADD", "b", podArgs)
	n.conf["runtimeConfig"] = object{capAnnotations: 7}
	n.refused(types.ErrDecodingFailure, capAnnotations, "ADD", "b", podArgs)
	for _, code := range []uint{cni.CodePoolExhausted, cni.CodeBadAnnotation, types.ErrDecodingFailure} {
		got, err := reports.Receive()
		if err != nil {
			t.Fatal(err)
		}
		if got.Pod != web || got.Code != code || got.Message == "" {
			t.Errorf("report %+v, want code %d of %v", got, code, web)
		}
	}
	n.counted(store.Counters{Allocated: 1, Refused: map[uint]uint64{
		cni.CodePoolExhausted: 2, cni.CodeBadAnnotation: 1, types.ErrDecodingFailure: 1,
	}})
	n.ok("DEL", "a")
	n.counted(store.Counters{Allocated: 1, Undone: 1, Refused: map[uint]uint64{
		cni.CodePoolExhausted: 2, cni.CodeBadAnnotation: 1, types.ErrDecodingFailure: 1,
	}})
}

// TestDelegatedIsTimed: nobody else would.
func TestDelegatedIsTimed(t *testing.T) {
	n := newNode(t, nil)
	n.delegated(object{"type": config.FlockVeth}, object{"pools": dual})
	n.ok("ADD", "a")
	counters := n.counters()
	if count, _ := counters.Durations.Cumulative(); count != 1 || counters.Durations.Sum <= 0 {
		t.Errorf("durations %+v, want one", counters.Durations)
	}
}

func (n *node) counters() (c store.Counters) {
	n.t.Helper()
	err := store.Store{Dir: n.dir}.View(func(tx *store.Tx) (err error) {
		c, err = tx.Counters()
		return err
	})
	if err != nil {
		n.t.Fatal(err)
	}
	return c
}

func (n *node) counted(want store.Counters) {
	n.t.Helper()
	if diff := cmp.Diff(want, n.counters()); diff != "" {
		n.t.Error("counters (-want +got):\n" + diff)
	}
}
