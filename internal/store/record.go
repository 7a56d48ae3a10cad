// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"

	"go.etcd.io/bbolt"
)

// table is a bucket, or none in a View of a store that does not exist.
type table struct {
	*bbolt.Bucket
	kind byte // its place in bucketNames
}

func tableOf(btx *bbolt.Tx, name string) table {
	return table{btx.Bucket([]byte(name)), kindOf(name)}
}

func kindOf(bucket string) byte { return byte(slices.Index(bucketNames, bucket)) }

// record is what the value of a key holds: JSON, and behind it the table's kind, the transaction that wrote
// it, and the FNV-1a-32 hash of the key and all that. bbolt has no checksums, and a flipped bit in an address would
// still be JSON. Kind and transaction are for who finds a record outside its table.
type record struct {
	kind byte
	tx   uint64
	json []byte
}

const (
	sumSize     = 4
	trailerSize = 1 + 8 + sumSize
)

func checksum(key, value []byte) uint32 {
	sum := fnv.New32a() // a CRC's tables would take each process 0.2 ms to make
	sum.Write(key)
	sum.Write(value)
	return sum.Sum32()
}

// value returns the record as it is stored under the key.
func (r record) value(key []byte) []byte {
	value := slices.Grow(slices.Clone(r.json), trailerSize)
	value = binary.BigEndian.AppendUint64(append(value, r.kind), r.tx)
	return binary.BigEndian.AppendUint32(value, checksum(key, value))
}

func parseRecord(key, value []byte) (record, error) {
	sum, end := len(value)-sumSize, len(value)-trailerSize
	if end < 0 || binary.BigEndian.Uint32(value[sum:]) != checksum(key, value[:sum]) {
		return record{}, damaged(errors.New("record with a wrong checksum"))
	}
	return record{kind: value[end], tx: binary.BigEndian.Uint64(value[end+1:]), json: value[:end]}, nil
}

// decode reads the record of a key. JSON that does not fit is no damage: another version wrote it.
func (t table) decode(key, value []byte, v any) error {
	r, err := parseRecord(key, value)
	if err != nil {
		return err
	}
	if r.kind != t.kind {
		return damaged(errors.New("record of another table"))
	}
	if err := json.Unmarshal(r.json, v); err != nil {
		return fmt.Errorf("decode record %q of the store: %w", key, err)
	}
	return nil
}

// get decodes the record of a key into v and returns whether there is one.
func (t table) get(key []byte, v any) (bool, error) {
	if t.Bucket == nil {
		return false, nil
	}
	value := t.Get(key)
	if value == nil {
		return false, nil
	}
	return true, t.decode(key, value, v)
}

func (t table) put(key []byte, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return t.Put(key, record{kind: t.kind, tx: uint64(t.Tx().ID()), json: text}.value(key))
}

// each decodes every record whose key has the prefix, from a key on, until fn returns false or an error.
func each[T any](t table, prefix, from []byte, fn func([]byte, T) (bool, error)) error {
	if t.Bucket == nil {
		return nil
	}
	cursor := t.Cursor()
	for key, value := cursor.Seek(from); bytes.HasPrefix(key, prefix) && key != nil; key, value = cursor.Next() {
		var v T
		if err := t.decode(key, value, &v); err != nil {
			return err
		}
		if more, err := fn(key, v); !more || err != nil {
			return err
		}
	}
	return nil
}
