// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/netip"
	"time"

	"go.etcd.io/bbolt"

	"flock.fritzlab.net/flock/plugins/cni"
)

// addressKey sorts by family, then by address: a prefix's addresses are neighbours.
func addressKey(a netip.Addr) []byte {
	return append([]byte{byte(a.BitLen())}, a.AsSlice()...)
}

// attachmentKey frames each name by its length: no name can reach into its neighbour.
func attachmentKey(a cni.Attachment) []byte {
	var key []byte
	for _, name := range []string{a.Network, a.ContainerID, a.IfName} {
		key = binary.AppendUvarint(key, uint64(len(name)))
		key = append(key, name...)
	}
	return key
}

func parseAttachmentKey(key []byte) (cni.Attachment, error) {
	var names [3]string
	for i := range names {
		n, size := binary.Uvarint(key)
		if size <= 0 || uint64(len(key)-size) < n {
			return cni.Attachment{}, damaged(fmt.Errorf("attachment key %q", key))
		}
		names[i], key = string(key[size:size+int(n)]), key[size+int(n):]
	}
	return cni.Attachment{Network: names[0], ContainerID: names[1], IfName: names[2]}, nil
}

func noteKey(stage string, a cni.Attachment) []byte {
	return append([]byte(stage+"\x00"), attachmentKey(a)...)
}

// releasedKey sorts by time.
func releasedKey(addr netip.Addr, at time.Duration) []byte {
	return append(binary.BigEndian.AppendUint64(nil, uint64(at)), addressKey(addr)...)
}

func parseReleasedKey(key []byte) (netip.Addr, time.Duration, error) {
	if len(key) < 9 {
		return netip.Addr{}, 0, damaged(fmt.Errorf("released key %x", key))
	}
	addr, ok := netip.AddrFromSlice(key[9:])
	if !ok {
		return netip.Addr{}, 0, damaged(fmt.Errorf("released key %x", key))
	}
	return addr, time.Duration(binary.BigEndian.Uint64(key)), nil
}

// get decodes the value of a key into v and returns whether there is one.
func get(bucket *bbolt.Bucket, key []byte, v any) (bool, error) {
	if bucket == nil {
		return false, nil
	}
	value := bucket.Get(key)
	if value == nil {
		return false, nil
	}
	if err := json.Unmarshal(value, v); err != nil {
		return false, damaged(err)
	}
	return true, nil
}

func put(bucket *bbolt.Bucket, key []byte, v any) error {
	value, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return bucket.Put(key, value)
}

// each decodes every value whose key has the prefix.
func each[T any](bucket *bbolt.Bucket, prefix []byte, fn func([]byte, T) error) error {
	if bucket == nil {
		return nil
	}
	cursor := bucket.Cursor()
	for key, value := cursor.Seek(prefix); key != nil && bytes.HasPrefix(key, prefix); key, value = cursor.Next() {
		var v T
		if err := json.Unmarshal(value, &v); err != nil {
			return damaged(err)
		}
		if err := fn(key, v); err != nil {
			return err
		}
	}
	return nil
}
