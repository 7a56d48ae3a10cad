// SPDX-License-Identifier: Apache-2.0

package store

import (
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

func (l *ledger) record(bucket string, key, sealed []byte) error {
	if _, err := unseal(key, sealed); err != nil {
		return fmt.Errorf("bucket %s: %w", bucket, err)
	}
	var err error
	switch bucket {
	case bucketAllocations:
		err = l.allocation(key, sealed)
	case bucketAddresses:
		err = l.address(key, sealed)
	}
	if err != nil && !isDamage(err) {
		l.foreign, err = true, nil
	}
	return err
}

func (l *ledger) allocation(key, sealed []byte) error {
	var alloc Allocation
	if err := decode(key, sealed, &alloc); err != nil {
		return err
	}
	for _, addr := range alloc.Addresses {
		l.allocated[addr] = alloc.Attachment
	}
	return nil
}

func (l *ledger) address(key, sealed []byte) error {
	var h Holder
	if err := decode(key, sealed, &h); err != nil {
		return err
	}
	addr, err := parseAddressKey(key)
	if err == nil && !h.Free() {
		l.held[addr] = h.Owner
	}
	return err
}
