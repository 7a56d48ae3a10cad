// SPDX-License-Identifier: Apache-2.0

package node

import (
	"errors"
	"os"
	"testing"
	"time"

	"flock.fritzlab.net/flock/plugins/speaker"
)

func TestRefuse(t *testing.T) {
	zero, one := uint32(0), uint32(1)
	for _, test := range []struct {
		peer  speaker.Peer
		field string
	}{
		{speaker.Peer{Name: "tor", ASN: 64500, Multihop: 255, LocalPref: &one, MED: &zero}, ""},
		{speaker.Peer{Name: "tor", ASN: 64512, Multihop: 64}, ""},
		{speaker.Peer{Name: "tor", ASN: 64512, Multihop: 65}, "bgp.peers[tor].multihop"},
		{speaker.Peer{Name: "tor", BFD: speaker.BFDGraceful}, "bgp.peers[tor].bfd"},
		{speaker.Peer{Name: "tor", BFD: speaker.BFDImmediate}, "bgp.peers[tor].bfd"},
		{speaker.Peer{Name: "tor", LocalPref: &zero}, "bgp.peers[tor].localPref"},
	} {
		err := refuse(speaker.Config{LocalASN: 64512, Peers: []speaker.Peer{{Name: "other"}, test.peer}})
		var refused *speaker.RefusedError
		if errors.As(err, &refused) != (test.field != "") || test.field != "" && refused.Field != test.field {
			t.Errorf("refuse %+v: %v, want it for %q", test.peer, err, test.field)
		}
	}
}

func TestMarker(t *testing.T) {
	for _, dir := range []string{"", t.TempDir()} {
		m := marker{dir}
		for range 2 {
			if err := m.write(); err != nil || m.recent() != (dir != "") {
				t.Errorf("in %q: write: %v, there: %t", dir, err, m.recent())
			}
		}
		if then := time.Now().Add(-time.Hour); dir != "" {
			if err := os.Chtimes(m.file(), then, then); err != nil || m.recent() {
				t.Errorf("an old one: %v, recent: %t", err, m.recent())
			}
			if err := m.write(); err != nil || !m.recent() {
				t.Errorf("written anew: %v, recent: %t", err, m.recent())
			}
		}
		for range 2 {
			if err := m.remove(); err != nil || m.recent() {
				t.Errorf("in %q: remove: %v, there: %t", dir, err, m.recent())
			}
		}
	}
	if err := (marker{"/proc/none"}).write(); err == nil {
		t.Error("a folder that is not there is no error")
	}
}
