// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"cmp"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"flock.fritzlab.net/flock/api/v1alpha1"
	"flock.fritzlab.net/flock/flock-bird/birdd/internal/status"
)

// States are all that a peer can be in.
var States = []string{"Idle", "Connect", "Active", "OpenSent", "OpenConfirm", v1alpha1.PeerEstablished, v1alpha1.PeerAbsent}

// Peers returns how each peer of the NodeConfig is, in its order; none where the speaker cannot be asked. An
// unnumbered peer with several sessions is as well as the best of them.
func Peers(s Seen) []v1alpha1.PeerStatus {
	if s.Config == nil || s.Config.BGP == nil || s.Foreign || s.Report == nil || s.Report.Speaker.Error != "" {
		return nil
	}
	peers := make([]v1alpha1.PeerStatus, 0, len(s.Config.BGP.Peers))
	for _, p := range s.Config.BGP.Peers {
		var sessions []status.Session
		for _, one := range s.Report.Sessions {
			if one.Peer == p.Name {
				sessions = append(sessions, one)
			}
		}
		peers = append(peers, peer(p.Name, sessions, s.LeftOut[p.Name]))
	}
	return peers
}

func peer(name string, sessions []status.Session, leftOut string) v1alpha1.PeerStatus {
	if len(sessions) == 0 {
		return v1alpha1.PeerStatus{Name: name, State: v1alpha1.PeerAbsent, LastError: cmp.Or(leftOut, "the speaker has not loaded it")}
	}
	best := slices.MaxFunc(sessions, func(a, b status.Session) int { return progress(a) - progress(b) })
	p := v1alpha1.PeerStatus{Name: name, State: string(best.State), LastError: best.LastError}
	if !best.Since.IsZero() {
		p.Since = &metav1.Time{Time: best.Since.Local().Truncate(time.Second)}
	}
	for _, one := range sessions {
		p.PrefixesReceived += int64(one.Received)
		p.PrefixesExported += int64(one.Exported)
	}
	return p
}

func progress(s status.Session) int { return slices.Index(States, string(s.State)) }

// Prefixes returns the counts of a peer by family, "ipv4" and "ipv6", over all its sessions.
func Prefixes(s Seen, peer string) map[string]status.Family {
	all := map[string]status.Family{}
	for _, one := range s.Report.Sessions {
		if one.Peer != peer {
			continue
		}
		for _, f := range one.Families {
			sum := all[f.Name]
			all[f.Name] = status.Family{Name: f.Name, Received: sum.Received + f.Received, Exported: sum.Exported + f.Exported}
		}
	}
	return all
}
