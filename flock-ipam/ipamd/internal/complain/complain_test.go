// SPDX-License-Identifier: Apache-2.0

package complain

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"flock.fritzlab.net/flock/api/v1alpha1/annotation"
	"flock.fritzlab.net/flock/internal/nodefile"
	"flock.fritzlab.net/flock/internal/pool"
	"flock.fritzlab.net/flock/internal/report"
	"flock.fritzlab.net/flock/plugins/cni"
)

// book writes down Events, a line each.
type book struct{ strings.Builder }

func (b *book) Event(object runtime.Object, _, reason, message string) {
	pod := object.(*corev1.ObjectReference)
	fmt.Fprintf(b, "%s/%s %s %s: %s\n", pod.Namespace, pod.Name, pod.UID, reason, message)
}

func (b *book) Eventf(object runtime.Object, kind, reason, format string, args ...any) {
	b.Event(object, kind, reason, fmt.Sprintf(format, args...))
}

func (b *book) AnnotatedEventf(object runtime.Object, _ map[string]string, kind, reason, format string, args ...any) {
	b.Eventf(object, kind, reason, format, args...)
}

func node() (nodefile.Node, error) {
	return nodefile.Spec{Pools: []pool.Spec{{Name: "v4", CIDR: "10.0.0.0/24"}}}.Parse()
}

func unknown(cni.Pod) (*corev1.Pod, bool) { return nil, false }

// web returns a pod with annotations, written "key=value", without flock's prefix.
func web(annotations ...string) *corev1.Pod {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web", UID: "u"}}
	pod.Status.Phase = corev1.PodPending
	pod.Annotations = map[string]string{"other.example/key": "?"}
	for _, text := range annotations {
		key, value, _ := strings.Cut(text, "=")
		pod.Annotations[annotation.Prefix+key] = value
	}
	return pod
}

func TestAnnotations(t *testing.T) {
	for _, test := range []struct {
		name   string
		pod    *corev1.Pod
		change func(*corev1.Pod)
		want   string // part of the Event, none where empty
	}{
		{name: "none", pod: web()},
		{name: "right", pod: web("cidr4=10.0.0.0/25", "ip-algo=pod")},
		{name: "does not parse", pod: web("ipv4=perhaps"), want: `read annotation "flock.fritzlab.net/ipv4" with value "perhaps": want "true" or "false"`},
		{name: "unknown key", pod: web("ipv5=true"), want: "unknown key: correct it to"},
		{name: "outside the pools", pod: web("cidr4=10.0.1.0/24"), want: "lies in none of the node's pools: v4 (10.0.0.0/24)"},
		{name: "no pool of the family", pod: web("ipv6=true"), want: "no pool of the node has IPv6"},
		{name: "the node's own want", pod: web("ip-algo=pod")},
		{name: "on the host's network", pod: web("ipv4=perhaps"), change: func(p *corev1.Pod) { p.Spec.HostNetwork = true }},
		{name: "being deleted", pod: web("ipv4=perhaps"), change: func(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{} }},
		{name: "has its address", pod: web("ipv4=perhaps"), change: func(p *corev1.Pod) { p.Status.PodIPs = []corev1.PodIP{{IP: "10.0.0.7"}} }},
		{name: "ended", pod: web("ipv4=perhaps"), change: func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }},
	} {
		if test.change != nil {
			test.change(test.pod)
		}
		var events book
		c := &Complainer{Recorder: &events, Node: node, Find: unknown}
		for range 3 {
			c.OnUpdate(nil, test.pod)
		}
		got := events.String()
		if test.want == "" && got != "" || test.want != "" && (strings.Count(got, "\n") != 1 || !strings.HasPrefix(got, "default/web u BadAnnotation: ") || !strings.Contains(got, test.want)) {
			t.Errorf("%s: Events\n%s\nwant one with %q", test.name, got, test.want)
		}
	}
}

// TestNoPoolsKnown: what cannot be told from the annotations alone is not held against the pod.
func TestNoPoolsKnown(t *testing.T) {
	var events book
	c := &Complainer{Recorder: &events, Find: unknown, Node: func() (nodefile.Node, error) { return nodefile.Node{}, errors.New("none") }}
	c.OnAdd(web("cidr4=10.0.1.0/24"), true)
	if got := events.String(); got != "" {
		t.Errorf("Events\n%s", got)
	}
}

func TestReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var events book
		static := web()
		static.UID = "api"
		c := &Complainer{Recorder: &events, Node: node, Find: func(pod cni.Pod) (*corev1.Pod, bool) { return static, pod.UID == "file" }}
		full := report.Report{Pod: cni.Pod{Namespace: "default", Name: "web", UID: "u"}, Code: cni.CodePoolExhausted, Message: "exhausted"}
		for range 5 {
			c.Refused(full)
			time.Sleep(time.Minute)
		}
		other := full
		other.Pod.UID = "file"
		c.Refused(other)
		late := full
		late.Code, late.Message = 11, "read the annotations"
		c.Refused(late)
		c.OnAdd(web("ipv4=perhaps"), false)
		c.Refused(report.Report{Pod: full.Pod, Code: cni.CodeBadAnnotation, Message: `read annotation "flock.fritzlab.net/ipv4" with value "perhaps": want "true" or "false"`})
		time.Sleep(quiet)
		c.Refused(full)
		want := `default/web u PoolExhausted: exhausted
default/web api PoolExhausted: exhausted
default/web u TryAgainLater: read the annotations
default/web u BadAnnotation: read annotation "flock.fritzlab.net/ipv4" with value "perhaps": want "true" or "false"
default/web u PoolExhausted: exhausted
`
		if diff := cmp.Diff(want, events.String()); diff != "" {
			t.Errorf("Events (-want +got):\n%s", diff)
		}
		if len(c.said) != 1 {
			t.Errorf("%d complaints are remembered, want 1", len(c.said))
		}
	})
}

// TestMemoryIsBounded: a thousand pods with a thousand mistakes are forgotten.
func TestMemoryIsBounded(t *testing.T) {
	c := &Complainer{}
	for i := range 3 * memory {
		if !c.isNew(complaint{message: fmt.Sprint(i)}, time.Unix(int64(i/1000), 0)) {
			t.Fatalf("complaint %d is not new", i)
		}
	}
	if len(c.said) > memory {
		t.Errorf("%d complaints are remembered", len(c.said))
	}
}
