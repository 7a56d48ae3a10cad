// SPDX-License-Identifier: Apache-2.0

// Package claim keeps what a stage leads to an attachment: which addresses, over which link of the host.
// Claims live in the node's store, so that a stage undoes what it did without being told what that was,
// and so that nobody undoes what has become another attachment's.
package claim

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"flock.fritzlab.net/flock/internal/store"
	"flock.fritzlab.net/flock/plugins/cni"
)

// Claim is what one stage noted of one attachment.
type Claim struct {
	Pod   cni.Pod `json:"pod,omitzero"`
	Netns string  `json:"netns,omitempty"`
	// Link is the name and LinkIndex the index of the host-side link. Index 0 stands for any link.
	Link      string `json:"link"`
	LinkIndex int    `json:"linkIndex"`
	// Table is the routing table that the stage writes to.
	Table uint32 `json:"table"`
	// Unicast addresses are this attachment's alone, Anycast ones it may share.
	Unicast []netip.Addr `json:"unicast,omitempty"`
	Anycast []netip.Addr `json:"anycast,omitempty"`
	// Immediate tells that flock-bird announces the anycast addresses itself, from ADD to DEL: they do not
	// wait for the pod to be ready, and nobody withdraws them before.
	Immediate bool `json:"immediate,omitempty"`
}

// Addresses returns all addresses of the claim, unicast first.
func (c Claim) Addresses() []netip.Addr { return slices.Concat(c.Unicast, c.Anycast) }

// Without returns what of the claim is not in the other one: what to undo when it is replaced.
func (c Claim) Without(other Claim) Claim {
	if c.LinkIndex != other.LinkIndex || c.Table != other.Table {
		return c
	}
	c.Unicast = subtract(c.Unicast, other.Unicast)
	c.Anycast = subtract(c.Anycast, other.Anycast)
	return c
}

// Differs returns an error that names the first difference from what is wanted, nil if there is none.
func (c Claim) Differs(wanted Claim) error {
	switch {
	case c.LinkIndex != wanted.LinkIndex:
		return fmt.Errorf("the attachment's link is %s (#%d) in the store, not %s (#%d)", c.Link, c.LinkIndex, wanted.Link, wanted.LinkIndex)
	case !slices.Equal(c.Addresses(), wanted.Addresses()):
		return fmt.Errorf("the attachment's addresses are %s in the store, not %s", c.Addresses(), wanted.Addresses())
	case c.Table != wanted.Table:
		return fmt.Errorf("the attachment's table is %d in the store, not %d", c.Table, wanted.Table)
	}
	return nil
}

func subtract(from, what []netip.Addr) []netip.Addr {
	return slices.DeleteFunc(slices.Clone(from), func(a netip.Addr) bool { return slices.Contains(what, a) })
}

// holding is the record that finds an address's claims: it says how the address is claimed.
type holding struct {
	LinkIndex int  `json:"linkIndex"`
	Anycast   bool `json:"anycast,omitempty"`
}

// Book is one stage's claims inside one transaction.
type Book struct {
	Tx    *store.Tx
	Stage string
}

// index names the notes that find an address's claims.
func (b Book) index(addr netip.Addr) string { return b.Stage + "/" + addr.String() }

// Get returns the attachment's claim and whether there is one.
func (b Book) Get(a cni.Attachment) (Claim, bool, error) {
	var c Claim
	found, err := b.Tx.Note(b.Stage, a, &c)
	return c, found, err
}

// All calls fn with every claim until it returns an error. fn must not change the store.
func (b Book) All(fn func(cni.Attachment, Claim) error) error {
	return store.Notes(b.Tx, b.Stage, fn)
}

// Put notes the attachment's claim in the place of the one before, and takes its addresses: an address
// of the dead is taken over, one that somebody living has is a [*store.TakenError].
func (b Book) Put(a cni.Attachment, c Claim) error {
	if err := b.Delete(a); err != nil {
		return err
	}
	for _, addr := range c.Unicast {
		if err := b.take(a, addr, holding{LinkIndex: c.LinkIndex}); err != nil {
			return err
		}
	}
	for _, addr := range c.Anycast {
		if err := b.take(a, addr, holding{LinkIndex: c.LinkIndex, Anycast: true}); err != nil {
			return err
		}
	}
	return b.Tx.SetNote(b.Stage, a, c)
}

func (b Book) take(a cni.Attachment, addr netip.Addr, want holding) error {
	holder, _, err := b.Tx.Holder(addr)
	if err != nil {
		return err
	}
	if !holder.Free() && holder.Owner != a {
		return &store.TakenError{Address: addr, Owner: holder.Owner}
	}
	holders, err := b.holders(addr)
	if err != nil {
		return err
	}
	for other, has := range holders {
		if has.Anycast && want.Anycast {
			continue
		}
		if err := b.displace(other, addr); err != nil {
			return err
		}
	}
	return b.Tx.SetNote(b.index(addr), a, want)
}

// displace takes an address from an attachment whose network namespace is gone.
func (b Book) displace(other cni.Attachment, addr netip.Addr) error {
	c, _, err := b.Get(other)
	if err != nil {
		return err
	}
	alive, err := store.Allocation{Netns: c.Netns}.NetnsAlive()
	if err != nil {
		return err
	}
	if alive {
		return &store.TakenError{Address: addr, Owner: other}
	}
	return b.Tx.DeleteNote(b.index(addr), other)
}

func (b Book) holders(addr netip.Addr) (map[cni.Attachment]holding, error) {
	holders := map[cni.Attachment]holding{}
	err := store.Notes(b.Tx, b.index(addr), func(a cni.Attachment, h holding) error {
		holders[a] = h
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look up who has address %s: %w", addr, err)
	}
	return holders, nil
}

// Delete forgets the attachment's claim; none is not an error.
func (b Book) Delete(a cni.Attachment) error {
	c, found, err := b.Get(a)
	if err != nil || !found {
		return err
	}
	for _, addr := range c.Addresses() {
		if err := b.Tx.DeleteNote(b.index(addr), a); err != nil {
			return err
		}
	}
	return b.Tx.DeleteNote(b.Stage, a)
}

// Undoable returns what of the attachment's claim nobody else claims. Not among it are the addresses that
// have become another's, and those that another has over the same link: a bridge, for example.
func (b Book) Undoable(a cni.Attachment, c Claim) (Claim, error) {
	var failed error
	theirs := func(addr netip.Addr) bool {
		is, err := b.theirs(a, addr, c.LinkIndex)
		failed = errors.Join(failed, err)
		return is
	}
	c.Unicast = slices.DeleteFunc(slices.Clone(c.Unicast), theirs)
	c.Anycast = slices.DeleteFunc(slices.Clone(c.Anycast), theirs)
	return c, failed
}

func (b Book) theirs(a cni.Attachment, addr netip.Addr, link int) (bool, error) {
	holders, err := b.holders(addr)
	if err != nil {
		return false, err
	}
	_, mine := holders[a]
	for other, has := range holders {
		if other != a && (!mine || has.LinkIndex == link) {
			return true, nil
		}
	}
	holder, _, err := b.Tx.Holder(addr)
	return !mine && !holder.Free() && holder.Owner != a, err
}
