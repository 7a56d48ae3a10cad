// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/containernetworking/cni/pkg/types"

	"flock.fritzlab.net/flock/flock-ipam/internal/allocate"
	"flock.fritzlab.net/flock/internal/lookup"
	"flock.fritzlab.net/flock/plugins/cni"
)

// The runtime's capabilities that the plugin uses.
const (
	capAnnotations = "io.kubernetes.cri.pod-annotations"
	capIPs         = "ips"
)

const (
	// lookupWait is how long ipamd may take to see the pod.
	lookupWait = 10 * time.Second
	// imageWait bounds asking for what ipamd knows at once, where the answer can be done without.
	imageWait = 100 * time.Millisecond
)

// mayWait tells whether the pod's annotations are to be had from ipamd alone.
func mayWait(req *request) bool {
	_, given := req.RuntimeConfig[capAnnotations]
	return !given && req.Pod.Name != ""
}

// readWish completes the wish with what the runtime and the pod ask for. Its errors have their codes.
func readWish(ctx context.Context, req *request, wish *allocate.Wish) error {
	var err error
	if wish.Fixed, err = readIPs(req.RuntimeConfig[capIPs]); err != nil {
		return cni.Wrap(types.ErrDecodingFailure, err)
	}
	if mayWait(req) {
		if err := askAnnotations(ctx, req, wish); err != nil {
			return err
		}
	} else if raw := req.RuntimeConfig[capAnnotations]; raw != nil {
		if err := json.Unmarshal(raw, &wish.Annotations); err != nil {
			return cni.Wrap(types.ErrDecodingFailure, fmt.Errorf("decode the capability %s: %w", capAnnotations, err))
		}
	}
	if wish.Image == "" && allocate.NeedsImage(*wish) {
		wish.Image = askImage(ctx, req)
	}
	return nil
}

// readIPs returns the addresses of the capability "ips"; runtimes may put a prefix length behind them.
func readIPs(raw json.RawMessage) ([]string, error) {
	if raw == nil {
		return nil, nil
	}
	var ips []string
	if err := json.Unmarshal(raw, &ips); err != nil {
		return nil, fmt.Errorf("decode the capability %s: %w", capIPs, err)
	}
	for i, text := range ips {
		ips[i], _, _ = strings.Cut(text, "/")
	}
	return ips, nil
}

func askAnnotations(ctx context.Context, req *request, wish *allocate.Wish) error {
	ctx, cancel := context.WithTimeout(ctx, lookupWait)
	defer cancel()
	answer, err := lookup.Ask(ctx, req.Conf.Socket, req.Pod)
	if err != nil {
		return types.NewError(types.ErrTryAgainLater, fmt.Sprintf("read the annotations of pod %s: %v", req.Pod, err),
			"let the runtime hand them over (capability "+capAnnotations+"), or see that ipamd runs on the node")
	}
	wish.Annotations, wish.Image = answer.Annotations, answer.Image
	return nil
}

// askImage returns the digest of the pod's image if ipamd knows it by now, and else the container's ID.
func askImage(ctx context.Context, req *request) string {
	if req.Pod.Name != "" {
		ctx, cancel := context.WithTimeout(ctx, imageWait)
		defer cancel()
		if answer, err := lookup.AskAtOnce(ctx, req.Conf.Socket, req.Pod); err == nil && answer.Image != "" {
			return answer.Image
		}
	}
	return req.Attachment.ContainerID
}
