// SPDX-License-Identifier: Apache-2.0

package store

import (
	"os"
	"slices"
)

// found is a record with its key.
type found struct {
	key []byte
	record
}

// salvage returns every record that is whole, wherever it lies in the file: of each key the version that
// was written last, because a file also holds pages out of use. What was written last comes first.
func salvage(content []byte) []found {
	latest := map[string]found{}
	size := os.Getpagesize()
	for id := 0; len(content) >= (id+1)*size; id++ {
		p := parsePage(content[id*size:])
		if p.id != uint64(id) || p.flags != leafPage {
			continue
		}
		p.data = p.data[:min(uint64(len(p.data)), (p.overflow+1)*uint64(size))]
		for _, f := range p.records() {
			name := string(f.kind) + string(f.key)
			if before, known := latest[name]; !known || before.tx < f.tx {
				latest[name] = f
			}
		}
	}
	list := make([]found, 0, len(latest))
	for _, f := range latest {
		list = append(list, f)
	}
	slices.SortFunc(list, func(a, b found) int { return int(b.tx) - int(a.tx) })
	return list
}

// records returns those that lie in a leaf, or in the small buckets that lie in it.
func (p page) records() (list []found) {
	for i := range p.count {
		e, err := p.element(i)
		if err != nil {
			continue
		}
		if inline, err := e.inline(); err == nil && e.flags == bucketElement {
			list = append(list, inline.records()...)
		} else if r, err := parseRecord(e.key, e.value); err == nil {
			list = append(list, found{e.key, r})
		}
	}
	return list
}
