// SPDX-License-Identifier: Apache-2.0

package reconcile

import (
	"errors"
	"fmt"

	"flock.fritzlab.net/flock/flock-ipam/internal/config"
	"flock.fritzlab.net/flock/internal/claim"
	"flock.fritzlab.net/flock/internal/store"
	"flock.fritzlab.net/flock/plugins/cni"
)

// orphan is a note of a stage whose attachment is gone.
type orphan struct {
	stage      string
	attachment cni.Attachment
}

// forget removes the stages' notes of attachments that are gone. A claim whose routes are still there is
// kept, because it is what tells a DEL or GC to remove them.
func (r *Reconciler) forget(b books, seen sightings, routes Routes) error {
	orphans, problems := r.orphans(b, seen, routes)
	if len(orphans) == 0 {
		return problems
	}
	var removed []orphan
	err := r.Store.Update(func(tx *store.Tx) error {
		removed = nil // a second run begins again
		for _, o := range orphans {
			done, err := o.remove(tx, routes)
			if err != nil {
				return err
			}
			if done {
				removed = append(removed, o)
			}
		}
		return nil
	})
	if err != nil {
		return errors.Join(problems, fmt.Errorf("remove the notes of the dead: %w", err))
	}
	for _, o := range removed {
		r.Log.Info("removed a note", "stage", o.stage, "attachment", o.attachment.String())
	}
	return problems
}

// orphans returns the notes that two rounds in a row have found without anybody alive.
func (r *Reconciler) orphans(b books, seen sightings, routes Routes) (orphans []orphan, problems error) {
	for _, a := range b.subnets {
		if _, allocated := b.allocations[a]; !allocated && r.memory.again(orphan{config.Name, a}) {
			orphans = append(orphans, orphan{config.Name, a})
		}
	}
	for _, o := range b.claims {
		if _, allocated := b.allocations[o.attachment]; allocated {
			continue
		}
		alloc := store.Allocation{Attachment: o.attachment, Netns: o.claim.Netns, Pod: o.claim.Pod, Addresses: o.claim.Unicast}
		dead, err := r.dead(alloc, b, seen, routes)
		problems = errors.Join(problems, err)
		if dead && r.memory.again(orphan{o.stage, o.attachment}) {
			orphans = append(orphans, orphan{o.stage, o.attachment})
		}
	}
	return orphans, problems
}

// remove removes the note, and tells whether it did.
func (o orphan) remove(tx *store.Tx, routes Routes) (bool, error) {
	if _, allocated, err := tx.Get(o.attachment); allocated || err != nil {
		return false, err
	}
	if o.stage == config.Name {
		return true, tx.DeleteNote(o.stage, o.attachment)
	}
	book := claim.Book{Tx: tx, Stage: o.stage}
	c, found, err := book.Get(o.attachment)
	if err != nil || !found {
		return false, err
	}
	alone, err := book.Undoable(o.attachment, c)
	if err != nil || routes.lead(alone) {
		return false, err
	}
	return true, book.Delete(o.attachment)
}
