// SPDX-License-Identifier: Apache-2.0

package ipalgo

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestHash holds the hash to the reference values of FNV-1a-64.
func TestHash(t *testing.T) {
	for value, want := range map[string]uint64{
		"": 0xcbf29ce484222325, "a": 0xaf63dc4c8601ec8c, "foobar": 0x85944171f73967e8,
	} {
		if got := Hash(value); got != want {
			t.Errorf("Hash(%q) = %x, want %x", value, got, want)
		}
	}
}

// TestNarrow holds the layout to golden values: addresses in the field show it, and operators read it.
// The hashes are 85944171f73967e8 of "foobar", af63dc4c8601ec8c of "a" and af63df4c8601f1a5 of "b".
func TestNarrow(t *testing.T) {
	tests := []struct{ prefix, values, want string }{
		{"2001:db8::/64", "", "2001:db8::/64"},
		{"2001:db8::/64", "foobar", "2001:db8::8594:4171:f739:0/112"},
		{"2001:db8::/64", "foobar a", "2001:db8::8594:41af:63dc:0/112"},
		{"2001:db8::/64", "a foobar", "2001:db8::af63:dc85:9441:0/112"},
		{"2001:db8::/64", "foobar a b", "2001:db8::8594:af63:af63:0/112"},
		{"2001:db8:1::/48", "foobar", "2001:db8:1:8594:4171:f739:67e8:0/112"},
		{"2001:db8:1::/48", "foobar a b", "2001:db8:1:8594:41af:63da:f63d:0/112"},
		{"2001:db8::/56", "foobar a", "2001:db8:0:85:9441:7af6:3dc4:0/112"},
		{"2001:db8::/80", "foobar a", "2001:db8::8594:af63:0/112"},
		{"2001:db8::/96", "foobar a b", "2001:db8::85aa:0/112"},
		{"2001:db8::/104", "foobar a b", "2001:db8::8a:0/112"},
		{"2001:db8::/108", "foobar a", "2001:db8::8:0/112"},
		{"2001:db8::/112", "foobar a", "2001:db8::/112"},
		{"2001:db8::/126", "foobar", "2001:db8::/126"},
		// One field ends with its hash; the rest stays free.
		{"2001:db8::/32", "foobar", "2001:db8:8594:4171:f739:67e8::/96"},
		// 62 bits: the two up to the nibble are zero.
		{"2001:db8:0:4::/62", "foobar", "2001:db8:0:4:8594:4171:f739:0/112"},
	}
	for _, tt := range tests {
		got := Narrow(netip.MustParsePrefix(tt.prefix), strings.Fields(tt.values))
		if got.String() != tt.want {
			t.Errorf("Narrow(%s, %s) = %s, want %s", tt.prefix, tt.values, got, tt.want)
		}
	}
}

// TestDocument holds docs/ip-algo.md to what the code does.
func TestDocument(t *testing.T) {
	document, err := os.ReadFile("../../../docs/ip-algo.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(document), "<!-- table -->\n")
	got, _, _ := strings.Cut(after, "<!-- end -->")
	if diff := cmp.Diff(table(), got); diff != "" {
		t.Errorf("the document's table (-code +document):\n%s", diff)
	}
}

// TestExample holds the document's example to what the code does.
func TestExample(t *testing.T) {
	got := Narrow(netip.MustParsePrefix("2001:db8:0:1::/64"), []string{"default", "web-0"})
	document, err := os.ReadFile("../../../docs/ip-algo.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{got.String(), fmt.Sprintf("`%016x`", Hash("default")), fmt.Sprintf("`%016x`", Hash("web-0"))} {
		if !strings.Contains(string(document), text) {
			t.Errorf("the document's example does not hold %s", text)
		}
	}
}

func table() string {
	var b strings.Builder
	b.WriteString("| pool | host nibbles | one field | two fields | three fields |\n|---|---|---|---|---|\n")
	for bits := 48; bits <= 112; bits += 4 {
		fmt.Fprintf(&b, "| /%d | %d |", bits, (128-bits)/4)
		for fields := 1; fields <= 3; fields++ {
			fmt.Fprintf(&b, " %s |", row(bits, fields))
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func row(bits, fields int) string {
	random := (128 - bits) / 4
	var parts []string
	for _, share := range Shares(bits, fields) {
		parts = append(parts, fmt.Sprint(share))
		random -= share
	}
	return fmt.Sprintf("%s + %d", strings.Join(parts, " + "), random)
}

func FuzzNarrow(f *testing.F) {
	f.Add(uint8(64), "default", "web-0")
	f.Add(uint8(111), "", "x")
	f.Fuzz(func(t *testing.T, bits uint8, a, b string) {
		prefix, err := netip.MustParseAddr("2001:db8::").Prefix(int(bits))
		if err != nil {
			return
		}
		narrow := Narrow(prefix, []string{a, b})
		if !prefix.Contains(narrow.Addr()) || narrow != narrow.Masked() || narrow.Bits() < prefix.Bits() {
			t.Errorf("Narrow(%s) = %s", prefix, narrow)
		}
		if narrow != prefix && narrow.Bits() > 128-4*randomNibbles {
			t.Errorf("Narrow(%s) = %s leaves fewer than %d nibbles", prefix, narrow, randomNibbles)
		}
	})
}
