// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"flock.fritzlab.net/flock/api/v1alpha1"
	"flock.fritzlab.net/flock/internal/task"
)

// The rhythm of status writes, and how long one may take.
const (
	statusRest     = 5 * time.Second
	statusPatience = 10 * time.Second
	statusMaxWait  = 30 * time.Second
)

// maxMessage bounds a condition's message, in bytes: a NodeConfig may be wrong in many places, and the API server
// refuses a status with a message of more than 32 KiB.
const maxMessage = 1024

// Status writes what one daemon observes into NodeConfig.status: by server-side apply, so that each
// daemon owns the fields that it sets and no others; on change only, and at most once in 5 s.
type Status struct {
	client  *Client
	manager string
	report  func(error)
	trigger task.Trigger

	mu      sync.Mutex
	want    document
	written document
}

// document is a status and the object that it is of.
type document struct {
	name   string
	uid    types.UID
	status v1alpha1.NodeConfigStatus
}

// NewStatus returns a writer under the name of a field manager. It reports how each write went; that the API server
// knows no such NodeConfig is no error.
func NewStatus(c *Client, manager string, report func(error)) *Status {
	return &Status{client: c, manager: manager, report: report, trigger: task.NewTrigger()}
}

// Set says what the status of a NodeConfig is to be, as far as this daemon owns it: what the last call
// had and this one has not is removed. Conditions need a type, a status, a reason and a message, which is cut
// at 1024 bytes; when they changed, and the generation that they were observed at, is filled in. It is to be called
// from time to time as long as there is the NodeConfig, also with the same status. It never waits.
func (s *Status) Set(of *v1alpha1.NodeConfig, status v1alpha1.NodeConfigStatus) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := of.Status.Conditions
	if s.want.uid == of.UID {
		before = s.want.status.Conditions // an informer may be behind what was written
	}
	want := document{of.Name, of.UID, *status.DeepCopy()}
	for i := range want.status.Conditions {
		complete(&want.status.Conditions[i], before, of.Generation)
	}
	s.want = want
	s.trigger.Fire()
}

// complete fills in when a condition got its status, and of which generation it speaks, and cuts its message.
func complete(condition *metav1.Condition, before []metav1.Condition, generation int64) {
	if message := condition.Message; len(message) > maxMessage {
		condition.Message = strings.ToValidUTF8(message[:maxMessage-len("…")], "") + "…"
	}
	condition.ObservedGeneration = generation
	condition.LastTransitionTime = metav1.NewTime(time.Now().Truncate(time.Second))
	if old := meta.FindStatusCondition(before, condition.Type); old != nil && old.Status == condition.Status {
		condition.LastTransitionTime = old.LastTransitionTime
	}
}

// Name returns what the task is called.
func (s *Status) Name() string { return "status" }

// Run writes until the context ends.
func (s *Status) Run(ctx context.Context) error {
	rest := statusRest
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.trigger:
		}
		wrote, err := s.write(ctx)
		if ctx.Err() != nil {
			return nil
		}
		switch {
		case err != nil:
			rest = min(2*rest, statusMaxWait)
			s.trigger.Fire()
		case !wrote:
			continue
		default:
			rest = statusRest
		}
		s.report(err)
		if !task.Sleep(ctx, rest) {
			return nil
		}
	}
}

// write brings the wanted status to the API server, and tells whether there was something to write.
func (s *Status) write(ctx context.Context) (bool, error) {
	s.mu.Lock()
	want := s.want
	s.mu.Unlock()
	if want.uid == s.written.uid && equality.Semantic.DeepEqual(want.status, s.written.status) {
		return false, nil
	}
	err := s.apply(ctx, want)
	switch {
	case apierrors.IsNotFound(err):
		// The NodeConfig is gone, and nobody sets its status any more; or one of several API servers does not serve
		// NodeConfigs yet, and the next Set has it tried again.
		return true, nil
	case err != nil:
		return true, fmt.Errorf("write the status of NodeConfig %s: %w", want.name, err)
	}
	s.written = want
	return true, nil
}

func (s *Status) apply(ctx context.Context, d document) error {
	ctx, cancel := context.WithTimeout(ctx, statusPatience)
	defer cancel()
	patch, err := d.patch()
	if err != nil {
		return err
	}
	force := true
	_, err = s.client.NodeConfigs().Patch(ctx, d.name, types.ApplyPatchType, patch,
		metav1.PatchOptions{FieldManager: s.manager, Force: &force}, "status")
	return err
}

// patch returns what is to be applied. It may meet another object of the name for a moment: the API server heeds
// no UID here, and what that object is to say follows as soon as it is known.
func (d document) patch() ([]byte, error) {
	patch := map[string]any{
		"apiVersion": v1alpha1.APIVersion,
		"kind":       v1alpha1.Kind,
		"metadata":   map[string]any{"name": d.name},
	}
	status, err := json.Marshal(d.status)
	if err != nil {
		return nil, err
	}
	if string(status) != "{}" { // which the API server would take for null
		patch["status"] = json.RawMessage(status)
	}
	return json.Marshal(patch)
}
