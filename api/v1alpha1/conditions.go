// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The condition types of a NodeConfig.
const (
	// ConditionPoolsReady tells whether new pods get addresses. ipamd owns it.
	ConditionPoolsReady = "PoolsReady"
	// ConditionEstablished tells whether the session with every peer is up. birdd owns it; it is
	// absent where spec.bgp is.
	ConditionEstablished = "Established"
	// ConditionAnnounced tells whether the node's pools are exported to a peer, so that packets for
	// its pods find it. birdd owns it; it is absent where spec.bgp is.
	ConditionAnnounced = "Announced"
	// ConditionReady tells whether all the others are true. birdd owns it, ipamd where spec.bgp is absent.
	ConditionReady = "Ready"
)

// Reasons of more than one condition. A condition that is not True makes Ready False for its reason.
const (
	// ReasonEverythingTrue is the reason of Ready when it is True.
	ReasonEverythingTrue = "EverythingTrue"
	// ReasonInvalidNodeConfig: flock refuses the NodeConfig and goes by the valid one before it, if
	// there was one. False.
	ReasonInvalidNodeConfig = "InvalidNodeConfig"
	// ReasonNotYetKnown: the daemon has just started, or has not looked yet. Unknown.
	ReasonNotYetKnown = "NotYetKnown"
	// ReasonBIRDUnreachable, of Established and Announced: BIRD's control socket does not answer. Unknown.
	ReasonBIRDUnreachable = "BIRDUnreachable"
	// ReasonSpeakerUnreachable, of Established and Announced: the extension that spec.bgp.speaker names is not
	// there, or does not answer. Unknown.
	ReasonSpeakerUnreachable = "SpeakerUnreachable"
)

// Reasons of PoolsReady.
const (
	// ReasonPoolsServing: every family that has a pool has free addresses. True.
	ReasonPoolsServing = "PoolsServing"
	// ReasonPoolsDraining: as PoolsServing, and pods still use addresses of a pool that was removed or
	// made smaller; they keep them, and no more of them are given out. True.
	ReasonPoolsDraining = "PoolsDraining"
	// ReasonNoPools: spec.pools is empty. False.
	ReasonNoPools = "NoPools"
	// ReasonPoolsExhausted: a family has pools and no address is free in them. False.
	ReasonPoolsExhausted = "PoolsExhausted"
	// ReasonAllocatorUnavailable: the extension that picks a pool's addresses is not up; the message says why. False.
	ReasonAllocatorUnavailable = "AllocatorUnavailable"
	// ReasonStoreUnreadable: the allocation store can be read or written no more. False.
	ReasonStoreUnreadable = "StoreUnreadable"
	// ReasonNodeFileNotWritten: the plugins could not be told of the pools. False.
	ReasonNodeFileNotWritten = "NodeFileNotWritten"
)

// Reasons of Established.
const (
	// ReasonAllEstablished: the session with every peer is up. True.
	ReasonAllEstablished = "AllEstablished"
	// ReasonPeersDown: a session is not up; the message says which, and why. False.
	ReasonPeersDown = "PeersDown"
	// ReasonNoPeers: spec.bgp.peers is empty. False.
	ReasonNoPeers = "NoPeers"
)

// Reasons of Announced.
const (
	// ReasonSummariesAnnounced: every pool is exported to at least one peer that is established. True.
	ReasonSummariesAnnounced = "SummariesAnnounced"
	// ReasonSummariesNotAnnounced: a pool is not in the announcement table, or was sent to no peer. False.
	ReasonSummariesNotAnnounced = "SummariesNotAnnounced"
	// ReasonConfigurationNotLoaded: the speaker refuses what the NodeConfig makes, or the one that it newly names is not there,
	// and the node goes by what it had. False.
	ReasonConfigurationNotLoaded = "ConfigurationNotLoaded"
)

// Ready returns the condition Ready for these others: True when all of them are, else False for the
// reason of the first that is False, or that is Unknown where none is False.
func Ready(others ...metav1.Condition) metav1.Condition {
	for _, status := range []metav1.ConditionStatus{metav1.ConditionFalse, metav1.ConditionUnknown} {
		for _, c := range others {
			if c.Status == status {
				return metav1.Condition{Type: ConditionReady, Status: metav1.ConditionFalse, Reason: c.Reason, Message: c.Type + ": " + c.Message}
			}
		}
	}
	return metav1.Condition{Type: ConditionReady, Status: metav1.ConditionTrue, Reason: ReasonEverythingTrue, Message: "the node is well"}
}
