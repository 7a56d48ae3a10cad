// SPDX-License-Identifier: Apache-2.0

// Package availability keeps the Node's condition NetworkUnavailable, by which the scheduler keeps pods away
// from a node that the routers do not know the way to.
package availability

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"flock.fritzlab.net/flock/internal/kube"
	"flock.fritzlab.net/flock/internal/task"
)

// The reasons of the condition.
const (
	ReasonAnnounces = "FlockAnnounces"
	ReasonSilent    = "FlockDoesNotAnnounce"
)

// The rhythm: writes are at least rest apart, looks at the Node lookRest and at most lookAgain; patience is looked
// at every interval, which costs no request.
const (
	rest          = time.Second
	lookRest      = 10 * time.Second
	lookAgain     = time.Minute
	interval      = 5 * time.Second
	writePatience = 10 * time.Second
)

// Keeper is the task that writes the condition: when it is to change, and when the Node has another one than was
// written. So it looks when the Node may be another one of the same name, and once a minute: a network plugin that
// is taken down, or a cloud's controller, writes the condition too. A watch would bring the whole Node each time
// that its kubelet says how it is.
type Keeper struct {
	nodes    *kube.Nodes
	name     string
	patience time.Duration
	problem  func(error)
	trigger  task.Trigger

	mu sync.Mutex
	// reachable is what was said last, nil before; lost is since when it is false.
	reachable *bool
	message   string
	lost      time.Time
	// status is what the Node has, empty for no condition, where known says that it was ever looked at. A
	// stale one may be of another Node.
	status       corev1.ConditionStatus
	known, stale bool
	looked       time.Time
}

// New returns a keeper for the Node. A Node whose network was available is called unavailable when it has
// not been reachable for as long as patience, in which routers keep the routes of a speaker that starts again.
// It reports how each request went.
func New(client *kube.Client, node string, patience time.Duration, problem func(error)) *Keeper {
	return &Keeper{nodes: client.Nodes(), name: node, patience: patience, problem: problem, trigger: task.NewTrigger(), stale: true}
}

// Set says whether the node's pods can be reached, with a message for people. It never waits.
func (k *Keeper) Set(reachable bool, message string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !reachable && (k.reachable == nil || *k.reachable) {
		k.lost = time.Now()
	}
	k.reachable, k.message = &reachable, message
	k.trigger.Fire()
}

// Verify says that the Node may be another one. It never waits.
func (k *Keeper) Verify() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.stale = true
	k.trigger.Fire()
}

// Name returns the task's name.
func (k *Keeper) Name() string { return "availability" }

// Run writes until the context ends.
func (k *Keeper) Run(ctx context.Context) error {
	return task.Loop(ctx, k.trigger, rest, interval, func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, writePatience)
		defer cancel()
		if asked, err := k.keep(ctx); asked {
			k.problem(err)
		}
	})
}

// keep tells whether there was something to ask the API server.
func (k *Keeper) keep(ctx context.Context) (asked bool, err error) {
	if k.due() {
		asked = true
		if err := k.look(ctx); err != nil {
			return true, fmt.Errorf("read Node %s: %w", k.name, err)
		}
	}
	want, message, differs := k.want()
	if !differs {
		return asked, nil
	}
	if err := k.write(ctx, want, message); err != nil {
		return true, fmt.Errorf("write condition %s of Node %s: %w", corev1.NodeNetworkUnavailable, k.name, err)
	}
	k.mu.Lock()
	k.status = want
	k.mu.Unlock()
	return true, nil
}

// due tells whether the Node is to be looked at.
func (k *Keeper) due() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	since := time.Since(k.looked)
	return k.reachable != nil && (k.stale && since >= lookRest || since >= lookAgain)
}

// want returns what the condition is to be, and whether it is something else.
func (k *Keeper) want() (is corev1.ConditionStatus, message string, differs bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.reachable == nil || !k.known {
		return "", "", false
	}
	is = decide(k.status, *k.reachable, time.Since(k.lost) >= k.patience)
	return is, k.message, is != k.status
}

// decide returns what the condition is to be.
func decide(is corev1.ConditionStatus, reachable, patienceOver bool) corev1.ConditionStatus {
	switch {
	case reachable:
		return corev1.ConditionFalse
	case is == corev1.ConditionFalse && !patienceOver:
		return is
	}
	return corev1.ConditionTrue
}

// look learns what the Node's condition is.
func (k *Keeper) look(ctx context.Context) error {
	k.mu.Lock()
	k.looked, k.stale = time.Now(), false // unless Verify is called from here on
	k.mu.Unlock()
	node, err := k.nodes.Get(ctx, k.name, metav1.GetOptions{})
	k.mu.Lock()
	defer k.mu.Unlock()
	if err != nil {
		k.stale = true
		return err
	}
	k.status, k.known = "", true
	for _, c := range node.Status.Conditions {
		if c.Type == corev1.NodeNetworkUnavailable {
			k.status = c.Status
		}
	}
	return nil
}

func (k *Keeper) write(ctx context.Context, status corev1.ConditionStatus, message string) error {
	now := metav1.Now()
	condition := corev1.NodeCondition{
		Type: corev1.NodeNetworkUnavailable, Status: status, Reason: ReasonAnnounces, Message: message,
		LastHeartbeatTime: now, LastTransitionTime: now,
	}
	if status == corev1.ConditionTrue {
		condition.Reason = ReasonSilent
	}
	patch, err := json.Marshal(map[string]any{"status": map[string]any{"conditions": []corev1.NodeCondition{condition}}})
	if err != nil {
		return err
	}
	_, err = k.nodes.Patch(ctx, k.name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	return err
}
