// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"flock.fritzlab.net/flock/plugins/cni"
)

// TestAttachmentKeysAreFramed: names that join to the same text have different keys.
func TestAttachmentKeysAreFramed(t *testing.T) {
	names := []string{"", "a", "b", "ab", "\x01a", "a\x01", "\x00", strings.Repeat("x", 300)}
	seen := map[string]cni.Attachment{}
	for _, network := range names {
		for _, id := range names {
			for _, ifName := range names {
				a := cni.Attachment{Network: network, ContainerID: id, IfName: ifName}
				key := attachmentKey(a)
				if other, twice := seen[string(key)]; twice {
					t.Fatalf("%q and %q have the key %q", a, other, key)
				}
				seen[string(key)] = a
				if got, err := parseAttachmentKey(key); err != nil || got != a {
					t.Fatalf("parse the key of %q: %q, %v", a, got, err)
				}
			}
		}
	}
}

func TestAddressKeysSort(t *testing.T) {
	want := []string{"0.0.0.0", "9.255.255.255", "10.0.0.1", "10.0.0.10", "255.255.255.255", "::", "::1", "fd00::1", "fd00::10", "ffff::"}
	got := slices.Clone(want)
	slices.Reverse(got)
	slices.SortFunc(got, func(a, b string) int {
		return bytes.Compare(addressKey(netip.MustParseAddr(a)), addressKey(netip.MustParseAddr(b)))
	})
	if !slices.Equal(got, want) {
		t.Errorf("sorted %v, want %v", got, want)
	}
}

func TestReleasedKey(t *testing.T) {
	addr, at := netip.MustParseAddr("fd00::1"), 90*time.Hour
	gotAddr, gotAt, err := parseReleasedKey(releasedKey(addr, at))
	if err != nil || gotAddr != addr || gotAt != at {
		t.Errorf("parse the key of %v at %v: %v, %v, %v", addr, at, gotAddr, gotAt, err)
	}
}

func FuzzKeys(f *testing.F) {
	f.Add(attachmentKey(attachment("a")))
	f.Add(releasedKey(netip.MustParseAddr("fd00::1"), 1))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	f.Fuzz(func(t *testing.T, key []byte) {
		if a, err := parseAttachmentKey(key); err == nil {
			if again, err := parseAttachmentKey(attachmentKey(a)); err != nil || again != a {
				t.Errorf("%q: parsed to %q and that to %q, %v", key, a, again, err)
			}
		}
		if addr, at, err := parseReleasedKey(key); err == nil && !bytes.Equal(releasedKey(addr, at), key) {
			t.Errorf("%x: is not the key of %v at %v", key, addr, at)
		}
	})
}
