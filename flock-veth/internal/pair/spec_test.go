// SPDX-License-Identifier: Apache-2.0

package pair

import (
	"fmt"
	"strings"
	"testing"

	"flock.fritzlab.net/flock/plugins/cni"
)

func attachment(containerID string) cni.Attachment {
	return cni.Attachment{Network: "flock", ContainerID: containerID, IfName: "eth0"}
}

func TestIdentify(t *testing.T) {
	s, err := Identify(attachment("c1"))
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(s.HostName, " ", s.Alias, " ", s.IfName, " ", s.PodMAC)
	if want := "flock8829dfd9 flock:flock/c1/eth0 eth0 36:1f:02:ea:cd:da"; got != want {
		t.Errorf("Identify = %s, want %s: a pod must keep its MAC address over an upgrade", got, want)
	}
	if _, err := Identify(attachment(strings.Repeat("c", 300))); err == nil {
		t.Error("Identify of a name that no alias can hold: no error")
	}
}

func TestPodMACIsLocalUnicast(t *testing.T) {
	seen := map[string]bool{}
	for i := range 1000 {
		mac := podMAC(fmt.Sprint("flock:flock/", i, "/eth0"))
		if mac[0]&3 != 2 {
			t.Fatalf("podMAC = %s, which is not locally administered unicast", mac)
		}
		seen[mac.String()] = true
	}
	if len(seen) != 1000 {
		t.Errorf("1000 attachments have %d MAC addresses", len(seen))
	}
}

func TestLinkLocal(t *testing.T) {
	if got := linkLocal([6]byte{0x36, 0x1f, 0x02, 0xea, 0xcd, 0xda}).String(); got != "fe80::341f:2ff:feea:cdda" {
		t.Errorf("linkLocal = %s", got)
	}
}

// The drafts of two networks are told apart, and a person's own groups from both.
func TestDraftGroup(t *testing.T) {
	a, b := draftGroup("flock"), draftGroup("other")
	if a == b || a < 1<<30 || b < 1<<30 || a >= 1<<31 {
		t.Errorf("draft groups %d and %d", a, b)
	}
}

func TestUnescape(t *testing.T) {
	if got := unescape(`/run/a\040b\134c`); got != `/run/a b\c` {
		t.Errorf("unescape = %s", got)
	}
}
