// SPDX-License-Identifier: Apache-2.0

package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"

	"flock.fritzlab.net/flock/plugins/cni"
)

// verify returns a damageError that names the first thing wrong in a file: in its pages, in its records,
// or between its allocations and its addresses.
func verify(content []byte) error {
	l := ledger{allocated: map[netip.Addr]cni.Attachment{}, held: map[netip.Addr]cni.Attachment{}}
	if err := checkPages(content, l.record); err != nil {
		return damaged(err)
	}
	if !l.foreign && !maps.Equal(l.allocated, l.held) {
		return damaged(errors.New("allocations and addresses contradict each other"))
	}
	return nil
}

// ledger is the file's bookkeeping, entered from both sides.
type ledger struct {
	allocated, held map[netip.Addr]cni.Attachment
	foreign         bool // another version's records are in it
}

func (l *ledger) record(bucket string, key, value []byte) error {
	t := table{kind: kindOf(bucket)}
	var err error
	switch bucket {
	case bucketAllocations:
		err = l.allocation(t, key, value)
	case bucketAddresses:
		err = l.address(t, key, value)
	default:
		var any json.RawMessage
		err = t.decode(key, value, &any)
	}
	if err != nil && !isDamage(err) {
		l.foreign, err = true, nil
	}
	if err != nil {
		return fmt.Errorf("bucket %s: %w", bucket, err)
	}
	return nil
}

func (l *ledger) allocation(t table, key, value []byte) error {
	var alloc Allocation
	if err := t.decode(key, value, &alloc); err != nil {
		return err
	}
	for _, addr := range alloc.Addresses {
		l.allocated[addr] = alloc.Attachment
	}
	return nil
}

func (l *ledger) address(t table, key, value []byte) error {
	var h Holder
	if err := t.decode(key, value, &h); err != nil {
		return err
	}
	addr, err := parseAddressKey(key)
	if err == nil && !h.Free() {
		l.held[addr] = h.Owner
	}
	return err
}
