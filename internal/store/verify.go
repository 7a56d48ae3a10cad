// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
)

// walk is one check of a file: every page is used once or free.
type walk struct {
	*pages
	claimed []bool
	// record is called with each record of each bucket.
	record func(bucket string, key, value []byte) error
}

// checkPages returns what is wrong with the pages of a file, or the first error of the function, which
// it calls with each record.
func checkPages(content []byte, record func(bucket string, key, value []byte) error) error {
	pages, err := openPages(content)
	if err != nil {
		return err
	}
	w := walk{pages: pages, claimed: make([]bool, pages.end), record: record}
	w.claimed[0], w.claimed[1] = true, true // the meta pages
	if err := w.buckets(); err != nil {
		return err
	}
	if err := w.free(); err != nil {
		return err
	}
	if lost := slices.Index(w.claimed, false); lost >= 0 {
		return fmt.Errorf("page %d is neither used nor free", lost)
	}
	return nil
}

// claim marks n pages as accounted for.
func (w *walk) claim(from, n uint64) error {
	if from > w.end || n > w.end-from {
		return fmt.Errorf("pages from %d on, %d of them, in a file of %d", from, n, w.end)
	}
	for id := from; id < from+n; id++ {
		if w.claimed[id] {
			return fmt.Errorf("page %d is in use twice", id)
		}
		w.claimed[id] = true
	}
	return nil
}

// buckets checks the tree of buckets and the tree of each bucket.
func (w *walk) buckets() error {
	var list []element
	err := w.tree(w.root, func(_ page, entries []element) error {
		list = append(list, entries...)
		return nil
	})
	if err != nil {
		return err
	}
	known := 0
	for _, e := range list {
		if e.flags != bucketElement || len(e.value) < bucketHeader {
			return fmt.Errorf("entry %q is no bucket", e.key)
		}
		if slices.Contains(bucketNames, string(e.key)) {
			known++
		}
		if err := w.bucket(e); err != nil {
			return fmt.Errorf("bucket %s: %w", e.key, err)
		}
	}
	if known < len(bucketNames) {
		return fmt.Errorf("%d of %d buckets", known, len(bucketNames))
	}
	return nil
}

func (w *walk) bucket(e element) error {
	records := func(p page, entries []element) error { return w.records(string(e.key), p, entries) }
	if root := native.Uint64(e.value); root != 0 {
		return w.tree(root, records)
	}
	inline, err := e.inline()
	if err != nil {
		return err
	}
	entries, err := inline.elements()
	if err != nil {
		return err
	}
	return records(inline, entries)
}

// span is a page and the keys in it: the first one, and one that is above all; nil for no matter which.
// bbolt finds a page's entry in its parent by the first key again.
type span struct {
	id          uint64
	first, high []byte
}

func (s span) fits(entries []element) bool {
	if s.first != nil && (len(entries) == 0 || !bytes.Equal(s.first, entries[0].key)) {
		return false
	}
	return s.high == nil || bytes.Compare(entries[len(entries)-1].key, s.high) < 0
}

// tree checks a tree level by level, for all its leaves are at one depth.
func (w *walk) tree(root uint64, leaf func(page, []element) error) error {
	if err := w.claim(root, 1); err != nil {
		return err
	}
	level := []span{{id: root}}
	for {
		first, err := w.read(level[0].id)
		if err != nil {
			return err
		}
		if first.flags == leafPage {
			return w.each(level, leafPage, func(_ span, p page, entries []element) error { return leaf(p, entries) })
		}
		if level, err = w.below(level); err != nil {
			return err
		}
	}
}

// below returns the next level of a level of branches.
func (w *walk) below(level []span) (next []span, err error) {
	err = w.each(level, branchPage, func(s span, p page, entries []element) error {
		for i, e := range entries {
			child := span{e.child, e.key, s.high}
			if i+1 < len(entries) {
				child.high = entries[i+1].key
			}
			if err := w.claim(e.child, 1); err != nil {
				return err
			}
			next = append(next, child)
		}
		return nil
	})
	if err == nil && len(next) == 0 {
		err = errors.New("branches without entries")
	}
	return next, err
}

// each reads the pages of a level, which must be of the type.
func (w *walk) each(level []span, flags uint16, fn func(span, page, []element) error) error {
	for _, s := range level {
		p, err := w.typed(s.id, flags)
		if err != nil {
			return err
		}
		entries, err := p.elements()
		if err != nil {
			return err
		}
		if !s.fits(entries) {
			return fmt.Errorf("page %d: keys of another page", p.id)
		}
		if err := fn(s, p, entries); err != nil {
			return err
		}
	}
	return nil
}

// typed reads a claimed page, which must be of the type, and claims those that continue it.
func (w *walk) typed(id uint64, flags uint16) (page, error) {
	p, err := w.read(id)
	if err != nil {
		return page{}, err
	}
	if p.flags != flags {
		return page{}, fmt.Errorf("page %d: type %#x, not %#x", id, p.flags, flags)
	}
	return p, w.claim(id+1, p.overflow)
}

func (w *walk) records(bucket string, p page, entries []element) error {
	for _, e := range entries {
		if e.flags != 0 {
			return fmt.Errorf("page %d: entry %q of type %#x", p.id, e.key, e.flags)
		}
		if !slices.Contains(bucketNames, bucket) {
			continue // of a later version
		}
		if err := w.record(bucket, e.key, e.value); err != nil {
			return err
		}
	}
	return nil
}

// free claims the freelist and the pages in it.
func (w *walk) free() error {
	if err := w.claim(w.freelist, 1); err != nil {
		return err
	}
	p, err := w.typed(w.freelist, freelistPage)
	if err != nil {
		return err
	}
	ids, err := p.free()
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := w.claim(id, 1); err != nil {
			return fmt.Errorf("freelist: %w", err)
		}
	}
	return nil
}
