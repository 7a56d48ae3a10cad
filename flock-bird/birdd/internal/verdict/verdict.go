// SPDX-License-Identifier: Apache-2.0

// Package verdict judges how the node announces from what was seen of it: the peers and conditions of
// NodeConfig.status, and whether the node's pods can be reached at all.
package verdict

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"flock.fritzlab.net/flock/api/v1alpha1"
	"flock.fritzlab.net/flock/flock-bird/birdd/internal/source"
	"flock.fritzlab.net/flock/flock-bird/birdd/internal/status"
)

// Seen is what there is to judge by.
type Seen struct {
	// Config is the NodeConfig that birdd goes by, nil before the first valid one.
	Config *v1alpha1.Config
	// ConfigErr is why birdd does not go by the NodeConfig as it is now, SpeakerErr why the speaker does not.
	ConfigErr, SpeakerErr error
	// LeftOut says by name which peers have no session for want of their password, and why.
	LeftOut map[string]string
	// Foreign tells that the speaker is none of birdd's: it reads the announcement table, and nobody knows its sessions.
	Foreign bool
	// Report is nil before the first look.
	Report *status.Report
}

// Conditions returns Established, Announced and, from them and PoolsReady as ipamd judges it, Ready.
// poolsReady may be nil.
func Conditions(s Seen, poolsReady *metav1.Condition) []metav1.Condition {
	if poolsReady == nil {
		poolsReady = condition(v1alpha1.ConditionPoolsReady, metav1.ConditionUnknown, v1alpha1.ReasonNotYetKnown, "ipamd has not said")
	}
	all := []metav1.Condition{*established(s), *announced(s)}
	return append(all, v1alpha1.Ready(append(slices.Clone(all), *poolsReady)...))
}

func condition(kind string, is metav1.ConditionStatus, reason, message string) *metav1.Condition {
	return &metav1.Condition{Type: kind, Status: is, Reason: reason, Message: message}
}

// unknown returns why nothing can be said of sessions and announcements, nil if it can.
func unknown(kind string, s Seen) *metav1.Condition {
	switch {
	case s.Report == nil || s.Config == nil && s.ConfigErr == nil:
		return condition(kind, metav1.ConditionUnknown, v1alpha1.ReasonNotYetKnown, "birdd has just started")
	case s.Config == nil:
		return condition(kind, metav1.ConditionFalse, reasonOf(s.ConfigErr), s.ConfigErr.Error())
	case s.Foreign && kind == v1alpha1.ConditionAnnounced:
		return nil
	case s.Report.Speaker.Error != "":
		return condition(kind, metav1.ConditionUnknown, unreachable(s), s.Report.Speaker.Error)
	}
	return nil
}

func unreachable(s Seen) string {
	if s.Report.Speaker.Name == v1alpha1.SpeakerBIRD {
		return v1alpha1.ReasonBIRDUnreachable
	}
	return v1alpha1.ReasonSpeakerUnreachable
}

func reasonOf(configErr error) string {
	if errors.Is(configErr, source.ErrInvalid) {
		return v1alpha1.ReasonInvalidNodeConfig
	}
	return v1alpha1.ReasonNotYetKnown
}

// established is true when every peer has a session.
func established(s Seen) *metav1.Condition {
	const kind = v1alpha1.ConditionEstablished
	if c := unknown(kind, s); c != nil {
		return c
	}
	peers := Peers(s)
	var down []string
	for _, p := range peers {
		if p.State != v1alpha1.PeerEstablished {
			down = append(down, strings.TrimSuffix(p.Name+" is "+p.State+": "+p.LastError, ": "))
		}
	}
	switch {
	case len(peers) == 0:
		return condition(kind, metav1.ConditionFalse, v1alpha1.ReasonNoPeers, "the NodeConfig that birdd goes by has none")
	case len(down) == 0:
		return condition(kind, metav1.ConditionTrue, v1alpha1.ReasonAllEstablished, fmt.Sprintf("%d of %d peers", len(peers), len(peers)))
	}
	message := fmt.Sprintf("%d of %d peers; %s", len(peers)-len(down), len(peers), strings.Join(down, "; "))
	return condition(kind, metav1.ConditionFalse, v1alpha1.ReasonPeersDown, message)
}

// announced is true when the node announces what its NodeConfig says, and not an earlier one.
func announced(s Seen) *metav1.Condition {
	const kind = v1alpha1.ConditionAnnounced
	if c := unknown(kind, s); c != nil {
		return c
	}
	switch {
	case errors.Is(s.ConfigErr, source.ErrInvalid):
		return condition(kind, metav1.ConditionFalse, v1alpha1.ReasonInvalidNodeConfig, "birdd keeps to the NodeConfig before this one: "+s.ConfigErr.Error())
	case s.SpeakerErr != nil:
		return condition(kind, metav1.ConditionFalse, v1alpha1.ReasonConfigurationNotLoaded, s.SpeakerErr.Error())
	}
	if missing := unannounced(s); len(missing) > 0 {
		return condition(kind, metav1.ConditionFalse, v1alpha1.ReasonSummariesNotAnnounced, strings.Join(missing, "; "))
	}
	return condition(kind, metav1.ConditionTrue, v1alpha1.ReasonSummariesAnnounced, fmt.Sprintf("%d of %d pools", len(s.Config.Summaries), len(s.Config.Summaries)))
}

// unannounced returns which of the pools that are announced whole no peer was told of, and why.
func unannounced(s Seen) []string {
	var missing []string
	for _, p := range s.Config.Summaries {
		i := slices.IndexFunc(s.Report.Summaries, func(one status.Summary) bool { return one.Prefix == p })
		switch {
		case i < 0 || !s.Report.Summaries[i].Announced:
			missing = append(missing, p.String()+" is not in the announcement table")
		case !s.Foreign && len(s.Report.Summaries[i].SentTo) == 0:
			missing = append(missing, p.String()+" was sent to no peer")
		}
	}
	return missing
}

// Reachable tells whether the routers know the way to the node's pods: each summary is in the announcement
// table and was exported to a peer, or nothing is to be announced. The text says so, or what is missing. It
// must not be asked before there is a report and a NodeConfig.
func Reachable(s Seen) (bool, string) {
	if s.Config.BGP == nil {
		return true, "the NodeConfig has no BGP"
	}
	// What of the NodeConfig of now is not in force does not cut off the pods of the one before.
	s.ConfigErr, s.SpeakerErr = nil, nil
	c := announced(s)
	return c.Status == metav1.ConditionTrue, c.Message
}
