// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"fmt"

	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
)

// Attachment names one interface of one container on one network (CNI specification, section 1): the
// key under which everything that belongs to it is kept.
type Attachment struct {
	Network     string `json:"network"`
	ContainerID string `json:"containerID"`
	IfName      string `json:"ifName"`
}

// String returns "network/containerID/ifName". None of the three can hold a slash.
func (a Attachment) String() string { return a.Network + "/" + a.ContainerID + "/" + a.IfName }

// Pod is the Kubernetes pod that CNI_ARGS names; all empty outside Kubernetes.
type Pod struct {
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name,omitempty"`
	UID       string `json:"uid,omitempty"`
}

// String returns "namespace/name", or "" when there is no pod.
func (p Pod) String() string {
	if p.Name == "" {
		return ""
	}
	return p.Namespace + "/" + p.Name
}

// Request is one ADD, DEL or CHECK.
type Request[C any] struct {
	Input
	Attachment Attachment
	// Netns is the path of the container's network namespace. In a DEL it is empty when there is no
	// such namespace any more, whatever is left under the path.
	Netns string
	Pod   Pod
	Conf  C
}

// GCRequest is one GC.
type GCRequest[C any] struct {
	Input
	Conf  C
	valid map[Attachment]bool
}

// Valid tells whether the attachment must be kept: it is of another network, or the runtime lists it.
func (r *GCRequest[C]) Valid(a Attachment) bool { return a.Network != r.Network || r.valid[a] }

// StatusRequest is one STATUS.
type StatusRequest[C any] struct {
	Input
	Conf C
}

// podArgs are the keys of CNI_ARGS that container runtimes set for Kubernetes.
type podArgs struct {
	types.CommonArgs
	K8S_POD_NAMESPACE types.UnmarshallableString //nolint:revive // the name is the key
	K8S_POD_NAME      types.UnmarshallableString //nolint:revive
	K8S_POD_UID       types.UnmarshallableString //nolint:revive
}

func newRequest[C any](params parameters, in Input, conf C) (*Request[C], error) {
	pod := podArgs{CommonArgs: types.CommonArgs{IgnoreUnknown: true}}
	if err := types.LoadArgs(params.args, &pod); err != nil {
		return nil, Wrap(types.ErrInvalidEnvironmentVariables, fmt.Errorf("read CNI_ARGS %q: %w", params.args, err))
	}
	return &Request[C]{
		Input:      in,
		Attachment: Attachment{Network: in.Network, ContainerID: params.containerID, IfName: params.ifName},
		Netns:      params.netns,
		Pod: Pod{
			Namespace: string(pod.K8S_POD_NAMESPACE),
			Name:      string(pod.K8S_POD_NAME),
			UID:       string(pod.K8S_POD_UID),
		},
		Conf: conf,
	}, nil
}

func newGCRequest[C any](in Input, conf C) (*GCRequest[C], error) {
	if in.validAttachments == nil {
		return nil, Wrap(types.ErrInvalidNetworkConfig,
			fmt.Errorf("collect garbage of network %s: no cni.dev/valid-attachments; refusing to treat every attachment as stale", in.Network))
	}
	req := &GCRequest[C]{Input: in, Conf: conf, valid: map[Attachment]bool{}}
	for i, a := range *in.validAttachments {
		if a.ContainerID == "" || a.IfName == "" {
			return nil, Wrap(types.ErrInvalidNetworkConfig,
				fmt.Errorf("collect garbage of network %s: cni.dev/valid-attachments[%d] has no containerID or no ifname", in.Network, i))
		}
		req.valid[Attachment{Network: in.Network, ContainerID: a.ContainerID, IfName: a.IfName}] = true
	}
	return req, nil
}

// RequirePrevResult returns prevResult, or a CNI error that says which plugin must stand before this one.
func (in Input) RequirePrevResult(who string) (*current.Result, error) {
	if in.PrevResult == nil {
		return nil, Wrap(types.ErrInvalidNetworkConfig, fmt.Errorf("%s got no prevResult: put it after the plugin that makes the interface", who))
	}
	return in.PrevResult, nil
}
