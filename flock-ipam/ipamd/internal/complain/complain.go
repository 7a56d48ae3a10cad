// SPDX-License-Identifier: Apache-2.0

// Package complain tells on a pod, by an Event, why it gets no address.
package complain

import (
	"errors"
	"strconv"
	"sync"
	"time"

	cnitypes "github.com/containernetworking/cni/pkg/types"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"

	"flock.fritzlab.net/flock/api/v1alpha1/annotation"
	"flock.fritzlab.net/flock/flock-ipam/internal/allocate"
	"flock.fritzlab.net/flock/internal/nodefile"
	"flock.fritzlab.net/flock/internal/report"
	"flock.fritzlab.net/flock/plugins/cni"
)

// Complainer makes the Events. It is a [cache.ResourceEventHandler] on the node's pods, and takes the reports
// of flock-ipam. What it said of a pod it does not say again for a while, whoever finds it again.
type Complainer struct {
	Recorder record.EventRecorder
	// Node returns the pools of node.json, an error where there is none.
	Node func() (nodefile.Node, error)
	// Find returns the pod as the API server has it, and false where it is not known.
	Find func(cni.Pod) (*corev1.Pod, bool)

	mu   sync.Mutex
	said map[complaint]time.Time
}

// complaint is what was said of a pod.
type complaint struct {
	pod             corev1.ObjectReference
	reason, message string
}

const (
	// quiet is for how long a complaint is not repeated.
	quiet = 10 * time.Minute
	// memory bounds how many complaints are remembered.
	memory = 1000
)

// OnAdd looks at a pod's annotations.
func (c *Complainer) OnAdd(object any, _ bool) { c.look(object) }

// OnUpdate looks at a pod's annotations.
func (c *Complainer) OnUpdate(_, object any) { c.look(object) }

// OnDelete does nothing.
func (c *Complainer) OnDelete(any) {}

func (c *Complainer) look(object any) {
	pod, ok := object.(*corev1.Pod)
	if !ok || !awaitsAddress(pod) {
		return
	}
	if err := c.refusal(pod); err != nil {
		c.say(reference(pod), cni.CodeBadAnnotation, err.Error())
	}
}

// awaitsAddress tells whether flock-ipam is yet to read the pod's annotations.
func awaitsAddress(pod *corev1.Pod) bool {
	return !pod.Spec.HostNetwork && pod.DeletionTimestamp == nil && len(pod.Status.PodIPs) == 0 &&
		(pod.Status.Phase == corev1.PodPending || pod.Status.Phase == "")
}

// refusal returns the error with which flock-ipam will refuse the pod's annotations, as far as can be told without
// the store and with the node's pools.
func (c *Complainer) refusal(pod *corev1.Pod) error {
	asked, err := annotation.Parse(pod.Annotations)
	if err != nil {
		return err
	}
	if silent(asked) {
		return nil
	}
	node, err := c.Node()
	if err != nil {
		return nil // a matter of the node's, not of the pod's
	}
	_, err = allocate.NewPlan(allocate.Wish{
		Pod: cni.Pod{Namespace: pod.Namespace, Name: pod.Name, UID: string(pod.UID)}, Node: node, Annotations: pod.Annotations,
	})
	if bad := (*annotation.Error)(nil); errors.As(err, &bad) {
		return err
	}
	return nil
}

// silent tells that a pod asks for nothing, and so can ask for nothing wrong.
func silent(r annotation.Request) bool {
	return r.IPv6 == nil && r.IPv4 == nil && !r.CIDR6.IsValid() && !r.CIDR4.IsValid() &&
		len(r.IPAlgo)+len(r.Addresses)+len(r.Anycast) == 0
}

// Refused passes on what flock-ipam tells of an ADD.
func (c *Complainer) Refused(r report.Report) {
	pod := corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: r.Pod.Namespace, Name: r.Pod.Name, UID: types.UID(r.Pod.UID)}
	if known, found := c.Find(r.Pod); found {
		pod = reference(known)
	}
	c.say(pod, r.Code, r.Message)
}

func reference(pod *corev1.Pod) corev1.ObjectReference {
	return corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID}
}

func (c *Complainer) say(pod corev1.ObjectReference, code uint, message string) {
	one := complaint{pod, Reason(code), message}
	if c.isNew(one, time.Now()) {
		c.Recorder.Event(&pod, corev1.EventTypeWarning, one.reason, one.message)
	}
}

// isNew notes a complaint and tells whether it was not made lately.
func (c *Complainer) isNew(one complaint, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if last, said := c.said[one]; said && now.Sub(last) < quiet {
		return false
	}
	for old, last := range c.said {
		if now.Sub(last) >= quiet {
			delete(c.said, old)
		}
	}
	if c.said == nil || len(c.said) >= memory {
		c.said = map[complaint]time.Time{}
	}
	c.said[one] = now
	return true
}

// reasons are names of the specification's own codes.
var reasons = map[uint]string{
	cnitypes.ErrDecodingFailure:      "DecodingFailure",
	cnitypes.ErrInvalidNetworkConfig: "InvalidNetworkConfig",
	cnitypes.ErrTryAgainLater:        "TryAgainLater",
}

// Reason returns an Event's reason, and a metric's label, for a CNI error code: its name, or else its number.
func Reason(code uint) string {
	for _, known := range cni.Codes {
		if known.Code == code {
			return known.Name
		}
	}
	if name, known := reasons[code]; known {
		return name
	}
	return "CNIError" + strconv.FormatUint(uint64(code), 10)
}
