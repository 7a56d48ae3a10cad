// SPDX-License-Identifier: Apache-2.0

package node

import (
	"fmt"

	"flock.fritzlab.net/flock/plugins/speaker"
)

// defaultTTL is what packets of a connection start with unless told otherwise, which GoBGP does for external peers alone.
const defaultTTL = 64

// refuse returns what GoBGP cannot do of the configuration, a [*speaker.RefusedError].
func refuse(c speaker.Config) error {
	for _, p := range c.Peers {
		field, reason := refusal(p, c.LocalASN)
		if reason != "" {
			return &speaker.RefusedError{Field: fmt.Sprintf("bgp.peers[%s].%s", p.Name, field), Reason: reason}
		}
	}
	return nil
}

func refusal(p speaker.Peer, localASN uint32) (field, reason string) {
	switch {
	case p.BFD != speaker.BFDOff:
		return "bfd", "the BFD of GoBGP does not check that packets come from the link, and knows neither graceful restart " +
			"nor several hops: remove it and shorten holdTime, or use speaker: bird"
	case p.LocalPref != nil && *p.LocalPref == 0:
		return "localPref", "GoBGP cannot send 0: use 1, or speaker: bird"
	case p.ASN == localASN && p.Multihop > defaultTTL:
		return "multihop", fmt.Sprintf("GoBGP reaches internal peers at most %d hops away: use that, or speaker: bird", defaultTTL)
	}
	return "", ""
}
