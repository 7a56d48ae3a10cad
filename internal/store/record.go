// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"

	"go.etcd.io/bbolt"
)

// A record's value is JSON and then the CRC-32C of its key and the JSON: bbolt has no checksums, and a
// flipped bit in an address would still be JSON.

const sumSize = 4

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(key, value []byte) uint32 {
	return crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, value)
}

// unseal returns the JSON of a record's value.
func unseal(key, sealed []byte) ([]byte, error) {
	n := len(sealed) - sumSize
	if n < 0 || binary.BigEndian.Uint32(sealed[n:]) != checksum(key, sealed[:n]) {
		return nil, damaged(errors.New("record with a wrong checksum"))
	}
	return sealed[:n], nil
}

// decode reads a record. JSON that does not fit is no damage: another version wrote it.
func decode(key, sealed []byte, v any) error {
	value, err := unseal(key, sealed)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(value, v); err != nil {
		return fmt.Errorf("decode record %q of the store: %w", key, err)
	}
	return nil
}

// get decodes the record of a key into v and returns whether there is one.
func get(bucket *bbolt.Bucket, key []byte, v any) (bool, error) {
	if bucket == nil {
		return false, nil
	}
	sealed := bucket.Get(key)
	if sealed == nil {
		return false, nil
	}
	return true, decode(key, sealed, v)
}

func put(bucket *bbolt.Bucket, key []byte, v any) error {
	value, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return bucket.Put(key, binary.BigEndian.AppendUint32(value, checksum(key, value)))
}

// each decodes every record whose key has the prefix, from a key on, until fn returns false or an error.
func each[T any](bucket *bbolt.Bucket, prefix, from []byte, fn func([]byte, T) (bool, error)) error {
	if bucket == nil {
		return nil
	}
	cursor := bucket.Cursor()
	for key, sealed := cursor.Seek(from); bytes.HasPrefix(key, prefix) && key != nil; key, sealed = cursor.Next() {
		var v T
		if err := decode(key, sealed, &v); err != nil {
			return err
		}
		if more, err := fn(key, v); !more || err != nil {
			return err
		}
	}
	return nil
}
