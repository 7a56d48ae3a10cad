// SPDX-License-Identifier: Apache-2.0

package sticky

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"flock.fritzlab.net/flock/api/v1alpha1"
)

// heldError says that an address is not to be had yet, and why. Its object, which was read at the version, may change.
type heldError struct{ object, version, reason string }

// Error returns the reason.
func (e *heldError) Error() string { return e.reason }

// How long nothing but a Node may change before it is looked at again, and how much earlier than the caller we give up,
// so that the reason is heard.
const (
	nodeInterval = time.Second
	margin       = 300 * time.Millisecond
)

// early returns a context that ends a little before the other, if that has a deadline.
func early(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithDeadline(ctx, deadline.Add(-min(margin, time.Until(deadline)/4)))
}

// await returns when the address has changed, or after a second in which a Node may have.
func (a *Allocator) await(ctx context.Context, held *heldError) {
	ctx, cancel := context.WithTimeout(ctx, nodeInterval)
	defer cancel()
	a.changed(ctx, held.object, held.version)
}

// outOfService tells whether an operator has said that the machine is off.
func outOfService(n *corev1.Node) bool {
	return slices.ContainsFunc(n.Spec.Taints, func(t corev1.Taint) bool { return t.Key == corev1.TaintNodeOutOfService })
}

func ready(n *corev1.Node) bool {
	return slices.ContainsFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
	})
}

// boot returns the boot of this node that a holder is to be noted with.
func (a *Allocator) boot(ctx context.Context, name string) (string, error) {
	id, err := a.bootID()
	if err != nil {
		return "", err
	}
	node, err := a.node(ctx, name)
	if err != nil {
		return "", err
	}
	switch said := node.Status.NodeInfo.BootID; {
	case said != id:
		// A holder noted with either would be taken for one of an earlier boot.
		return "", fmt.Errorf("boot %s runs on node %s, and its Node says %q: wait until kubelet has reported", id, name, said)
	case outOfService(node):
		return "", fmt.Errorf("its node runs, and is said to be off: kubectl taint node %s %s-", name, corev1.TaintNodeOutOfService)
	}
	return id, nil
}

// readBootID asks the kernel, as kubelet does.
func readBootID() (string, error) {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("read the node's boot ID: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}

// mayRun returns why the holder's pod may still run, and what to do; empty if it can't.
func (a *Allocator) mayRun(ctx context.Context, o *v1alpha1.StickyAddress) (string, error) {
	h := o.Spec.Holder
	node, err := a.node(ctx, h.Node)
	if apierrors.IsNotFound(err) {
		return "the Node is gone and the machine may run: if it is off, kubectl patch sticky " + o.Name +
			` --type=json -p '[{"op": "remove", "path": "/spec/holder"}]'`, nil
	}
	if err != nil {
		return "", err
	}
	boot := node.Status.NodeInfo.BootID
	switch {
	case boot != "" && boot != h.BootID:
		return "", nil
	case outOfService(node) && ready(node):
		return h.Node + " is ready, whatever its taint " + corev1.TaintNodeOutOfService + " says", nil
	case outOfService(node):
		return "", nil
	case ready(node):
		return fmt.Sprintf("%s is ready and has not ended the pod yet: if the pod is gone, see that ipamd and allocator-sticky run on "+
			"%[1]s; else see there why it does not end", h.Node), nil
	}
	return fmt.Sprintf("%s is not ready and may still run it: free once the node is back and has ended it, or was rebooted; "+
		"if the machine is off, kubectl taint node %[1]s %[2]s=nodeshutdown:NoExecute", h.Node, corev1.TaintNodeOutOfService), nil
}
