// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
)

// bbolt trusts its file: a page that points at its own parent makes it recurse until the process dies,
// and when the newer of two meta pages is spoilt it takes the older one, which forgets a transaction.
// So the pages are read here without it, each byte distrusted.

const (
	pageHeader   = 16
	elementSize  = 16
	metaSize     = 64
	bucketHeader = 16

	metaMagic   = 0xED0CDAED
	metaVersion = 2

	branchPage   = 0x01
	leafPage     = 0x02
	freelistPage = 0x10

	bucketElement = 0x01
)

// native is bbolt's byte order: it maps its structures as they lie in memory.
var native = binary.NativeEndian

// pages is the content of a bbolt file.
type pages struct {
	content []byte
	meta
}

// openPages reads both meta pages. bbolt writes each within one page, so that one that is not valid was
// spoilt, not interrupted.
func openPages(content []byte) (*pages, error) {
	first, err := readMeta(content, 0)
	if err != nil {
		return nil, err
	}
	second, err := readMeta(content, first.pageSize)
	if err != nil {
		return nil, err
	}
	last, before := first, second
	if second.txid > first.txid {
		last, before = second, first
	}
	if last.txid != before.txid+1 || last.pageSize != before.pageSize {
		return nil, fmt.Errorf("meta pages of transactions %d and %d", before.txid, last.txid)
	}
	if last.end > uint64(len(content))/last.pageSize {
		return nil, fmt.Errorf("truncated to %d bytes, %d pages of %d are in use", len(content), last.end, last.pageSize)
	}
	return &pages{content, last}, nil
}

// meta says where everything begins.
type meta struct {
	pageSize uint64
	root     uint64 // of the bucket of buckets
	freelist uint64
	end      uint64 // first page that was never used
	txid     uint64
}

func readMeta(content []byte, at uint64) (meta, error) {
	if uint64(len(content)) < at+pageHeader+metaSize {
		return meta{}, fmt.Errorf("truncated to %d bytes", len(content))
	}
	body := content[at+pageHeader:][:metaSize]
	sum := fnv.New64a()
	sum.Write(body[:metaSize-8])
	if native.Uint32(body) != metaMagic || native.Uint32(body[4:]) != metaVersion || native.Uint64(body[metaSize-8:]) != sum.Sum64() {
		return meta{}, errors.New("meta page: wrong checksum")
	}
	m := meta{
		pageSize: uint64(native.Uint32(body[8:])),
		root:     native.Uint64(body[16:]),
		freelist: native.Uint64(body[32:]),
		end:      native.Uint64(body[40:]),
		txid:     native.Uint64(body[48:]),
	}
	if m.pageSize < 1<<10 || m.pageSize > 1<<20 {
		return meta{}, fmt.Errorf("meta page: page size %d", m.pageSize)
	}
	return m, nil
}

// page is one page with the overflow pages that continue it.
type page struct {
	id       uint64
	flags    uint16
	count    int
	overflow uint64
	data     []byte
}

func (f *pages) read(id uint64) (page, error) {
	if id >= f.end {
		return page{}, fmt.Errorf("page %d of %d", id, f.end)
	}
	p := parsePage(f.content[id*f.pageSize:])
	if p.id != id || p.overflow >= f.end-id {
		return page{}, fmt.Errorf("page %d says it is page %d with %d more of %d", id, p.id, p.overflow, f.end)
	}
	p.data = p.data[:(p.overflow+1)*f.pageSize]
	return p, nil
}

func parsePage(data []byte) page {
	return page{
		id:       native.Uint64(data),
		flags:    native.Uint16(data[8:]),
		count:    int(native.Uint16(data[10:])),
		overflow: uint64(native.Uint32(data[12:])),
		data:     data,
	}
}

// element is one entry of a leaf (value) or of a branch (child).
type element struct {
	flags      uint32
	key, value []byte
	child      uint64
}

// elements returns the page's entries, checked to lie inside the page and to be in order.
func (p page) elements() ([]element, error) {
	list := make([]element, p.count)
	for i := range list {
		var err error
		if list[i], err = p.element(i); err != nil {
			return nil, err
		}
		if i > 0 && bytes.Compare(list[i-1].key, list[i].key) >= 0 {
			return nil, fmt.Errorf("page %d: entry %d out of order", p.id, i)
		}
	}
	return list, nil
}

func (p page) element(i int) (element, error) {
	at := pageHeader + i*elementSize
	if at+elementSize > len(p.data) {
		return element{}, fmt.Errorf("page %d: no room for entry %d", p.id, i)
	}
	raw := p.data[at:]
	var e element
	var pos, keySize, valueSize uint64
	if p.flags == branchPage {
		pos, keySize, e.child = uint64(native.Uint32(raw)), uint64(native.Uint32(raw[4:])), native.Uint64(raw[8:])
	} else {
		e.flags, pos = native.Uint32(raw), uint64(native.Uint32(raw[4:]))
		keySize, valueSize = uint64(native.Uint32(raw[8:])), uint64(native.Uint32(raw[12:]))
	}
	if keySize == 0 || pos+keySize+valueSize > uint64(len(raw)) {
		return element{}, fmt.Errorf("page %d: entry %d reaches outside", p.id, i)
	}
	e.key, e.value = raw[pos:pos+keySize], raw[pos+keySize:pos+keySize+valueSize]
	return e, nil
}

// inline returns the page inside the value of a small bucket.
func (e element) inline() (page, error) {
	if len(e.value) < bucketHeader+pageHeader {
		return page{}, fmt.Errorf("bucket %q: %d bytes", e.key, len(e.value))
	}
	p := parsePage(e.value[bucketHeader:])
	if root := native.Uint64(e.value); root != 0 || p.flags != leafPage {
		return page{}, fmt.Errorf("bucket %q: root %d, page type %#x", e.key, root, p.flags)
	}
	return p, nil
}

// free returns the pages that the freelist page lists.
func (p page) free() ([]uint64, error) {
	ids, count := p.data[pageHeader:], uint64(p.count)
	if p.count == 0xFFFF { // the count did not fit: it stands in front
		count, ids = native.Uint64(ids), ids[8:]
	}
	if p.flags != freelistPage || count > uint64(len(ids)/8) {
		return nil, fmt.Errorf("page %d: freelist of type %#x with %d pages", p.id, p.flags, count)
	}
	list := make([]uint64, count)
	for i := range list {
		list[i] = native.Uint64(ids[8*i:])
	}
	return list, nil
}
