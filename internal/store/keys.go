// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"time"

	"flock.fritzlab.net/flock/plugins/cni"
)

var errKey = errors.New("malformed key")

// addressKey sorts by family, then by address: a prefix's addresses are neighbours.
func addressKey(a netip.Addr) []byte {
	return append(familyKey(a), a.AsSlice()...)
}

// isKey tells whether the address comes out of its key as it went in.
func isKey(a netip.Addr) bool { return a.IsValid() && a.Zone() == "" }

// familyKey is what the keys of all addresses of a's family begin with.
func familyKey(a netip.Addr) []byte { return []byte{byte(a.BitLen())} }

func parseAddressKey(key []byte) (netip.Addr, error) {
	if len(key) == 0 {
		return netip.Addr{}, damaged(errKey)
	}
	addr, ok := netip.AddrFromSlice(key[1:])
	if !ok || addr.BitLen() != int(key[0]) {
		return netip.Addr{}, damaged(errKey)
	}
	return addr, nil
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
			return cni.Attachment{}, damaged(errKey)
		}
		names[i], key = string(key[size:size+int(n)]), key[size+int(n):]
	}
	if len(key) > 0 {
		return cni.Attachment{}, damaged(errKey)
	}
	return cni.Attachment{Network: names[0], ContainerID: names[1], IfName: names[2]}, nil
}

// stageKey is what the keys of a stage's notes begin with.
func stageKey(stage string) []byte { return []byte(stage + "\x00") }

func noteKey(stage string, a cni.Attachment) []byte {
	return append(stageKey(stage), attachmentKey(a)...)
}

func parseNoteKey(key []byte) (stage string, a cni.Attachment, err error) {
	name, rest, found := bytes.Cut(key, []byte{0})
	if !found {
		return "", cni.Attachment{}, damaged(errKey)
	}
	a, err = parseAttachmentKey(rest)
	return string(name), a, err
}

// releasedKey sorts by time.
func releasedKey(addr netip.Addr, at time.Duration) []byte {
	return append(binary.BigEndian.AppendUint64(nil, uint64(at)), addressKey(addr)...)
}

func parseReleasedKey(key []byte) (netip.Addr, time.Duration, error) {
	if len(key) < 8 {
		return netip.Addr{}, 0, damaged(errKey)
	}
	addr, err := parseAddressKey(key[8:])
	return addr, time.Duration(binary.BigEndian.Uint64(key)), err
}
