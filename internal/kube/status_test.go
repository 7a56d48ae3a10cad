// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"flock.fritzlab.net/flock/api/v1alpha1"
	"flock.fritzlab.net/flock/test/apiserver"
)

// writer runs a status writer for the test's time.
func writer(t *testing.T, c *Client, manager string, o *outcomes) *Status {
	t.Helper()
	s := NewStatus(c, manager, o.report)
	go s.Run(t.Context())
	return s
}

func condition(name string, status metav1.ConditionStatus) metav1.Condition {
	return metav1.Condition{Type: name, Status: status, Reason: "Test", Message: "test"}
}

func pools(allocated int64, conditions ...metav1.Condition) v1alpha1.NodeConfigStatus {
	return v1alpha1.NodeConfigStatus{
		Conditions: conditions, IPv6: fmt.Sprintf("%d/2^64", allocated),
		Pools: []v1alpha1.PoolStatus{{Name: "default6", CIDR: "2001:db8:1::/64", Allocated: allocated, Free: 1 << 62}},
	}
}

// await waits until the status is as wanted, but for times and generations.
func await(t *testing.T, c *Client, name string, want v1alpha1.NodeConfigStatus) *v1alpha1.NodeConfig {
	t.Helper()
	var object *v1alpha1.NodeConfig
	within(t, 30*time.Second, "the status", func() (err error) {
		if object, err = c.NodeConfigs().Get(t.Context(), name, metav1.GetOptions{}); err != nil {
			return err
		}
		diff := cmp.Diff(want, object.Status, cmpopts.IgnoreFields(metav1.Condition{}, "LastTransitionTime", "ObservedGeneration"),
			cmpopts.SortSlices(func(a, b metav1.Condition) bool { return a.Type < b.Type }))
		if diff != "" {
			return fmt.Errorf("(-want +got):\n%s", diff)
		}
		return nil
	})
	return object
}

// writes returns when a client wrote a status.
func writes(t *testing.T, s *apiserver.Server, userAgent string) []time.Time {
	t.Helper()
	var at []time.Time
	for _, r := range s.Requests(t, userAgent) {
		if r.Verb == "patch" && r.Object.Subresource == "status" {
			at = append(at, r.At)
		}
	}
	return at
}

func TestStatusOfTwoManagers(t *testing.T) {
	t.Parallel()
	s := apiserver.Start(t)
	s.CRDs(t)
	c := connect(t, s, "test-two")
	object := makeNodeConfig(t, c, "kube-two")
	var o outcomes
	ipamd, birdd := writer(t, c, "flock-ipamd", &o), writer(t, c, "flock-birdd", &o)
	ipamd.Set(object, pools(1, condition("PoolsReady", "True")))
	peers := []v1alpha1.PeerStatus{{Name: "tor", State: "Active"}}
	birdd.Set(object, v1alpha1.NodeConfigStatus{
		Conditions: []metav1.Condition{condition("Established", "False")}, Sessions: "0/1", Peers: peers,
	})
	want := pools(1, condition("PoolsReady", "True"), condition("Established", "False"))
	want.Sessions, want.Peers = "0/1", peers
	await(t, c, "kube-two", want)

	// What a manager sets no more goes, and what is the other's stays.
	birdd.Set(object, v1alpha1.NodeConfigStatus{Sessions: "0/0"})
	want = pools(1, condition("PoolsReady", "True"))
	want.Sessions = "0/0"
	await(t, c, "kube-two", want)
	if err := o.lastError(); err != nil {
		t.Error(err)
	}
}

// A manager may have nothing to say: not yet, or no more.
func TestStatusOfNothing(t *testing.T) {
	t.Parallel()
	s := apiserver.Start(t)
	s.CRDs(t)
	c := connect(t, s, "test-nothing")
	object := makeNodeConfig(t, c, "kube-nothing")
	w := NewStatus(c, "flock-birdd", nil)
	established := v1alpha1.NodeConfigStatus{Conditions: []metav1.Condition{condition("Established", "False")}, Sessions: "0/1"}
	for _, status := range []v1alpha1.NodeConfigStatus{{}, established, {}, established} {
		w.Set(object, status)
		if _, err := w.write(t.Context()); err != nil {
			t.Fatal(err)
		}
		await(t, c, "kube-nothing", status)
	}
}

func TestStatusIsWrittenSeldom(t *testing.T) {
	t.Parallel()
	s := apiserver.Start(t)
	s.CRDs(t)
	c := connect(t, s, "test-seldom")
	object := makeNodeConfig(t, c, "kube-seldom")
	w := writer(t, c, "flock-ipamd", new(outcomes))
	n := int64(0)
	within(t, 20*time.Second, "a second write", func() error {
		n++
		w.Set(object, pools(n))
		if len(writes(t, s, "test-seldom")) < 2 {
			return fmt.Errorf("%d changes, no second write", n)
		}
		return nil
	})
	await(t, c, "kube-seldom", pools(n))
	if n < 20 {
		t.Errorf("%d changes until the second write, too few to tell", n)
	}
	before := len(writes(t, s, "test-seldom"))
	// The first changes nothing; had it been written, the next would come 5 s later.
	w.Set(object, pools(n))
	w.Set(object, pools(n+1))
	await(t, c, "kube-seldom", pools(n+1))
	at := writes(t, s, "test-seldom")
	if len(at) != before+1 {
		t.Errorf("%d writes for one change", len(at)-before)
	}
	for i := range at[1:] {
		if gap := at[i+1].Sub(at[i]); gap < 4900*time.Millisecond {
			t.Errorf("two writes within %s", gap)
		}
	}
}

func TestStatusWithoutChangeIsNotWritten(t *testing.T) {
	t.Parallel()
	s := apiserver.Start(t)
	s.CRDs(t)
	c := connect(t, s, "test-unchanged")
	object := makeNodeConfig(t, c, "kube-unchanged")
	w := NewStatus(c, "flock-ipamd", func(error) {})
	for range 3 {
		w.Set(object, pools(1, condition("PoolsReady", "True")))
		if _, err := w.write(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	w.Set(object, pools(2))
	if _, err := w.write(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := len(writes(t, s, "test-unchanged")); n != 2 {
		t.Errorf("%d writes, want 2", n)
	}
}

func TestConditionsKeepTheirTransitionTime(t *testing.T) {
	t.Parallel()
	s := apiserver.Start(t)
	s.CRDs(t)
	c := connect(t, s, "test")
	object := makeNodeConfig(t, c, "kube-times")
	hourAgo := metav1.NewTime(time.Now().Add(-time.Hour).Truncate(time.Second))
	dated := condition("PoolsReady", "True")
	dated.LastTransitionTime = hourAgo
	object.Status = pools(1, dated)
	object, err := c.NodeConfigs().UpdateStatus(t.Context(), object, metav1.UpdateOptions{FieldManager: "flock-ipamd"})
	if err != nil {
		t.Fatal(err)
	}
	// A daemon that has just started knows the time from the object alone.
	w := writer(t, c, "flock-ipamd", new(outcomes))
	object.Generation = 7
	changed := condition("PoolsReady", "True")
	changed.Message = "still"
	w.Set(object, pools(2, changed))
	got := meta.FindStatusCondition(await(t, c, "kube-times", pools(2, changed)).Status.Conditions, "PoolsReady")
	if !got.LastTransitionTime.Equal(&hourAgo) || got.ObservedGeneration != 7 {
		t.Errorf("condition %+v, want generation 7 and the time %s", got, hourAgo)
	}
	w.Set(object, pools(2, condition("PoolsReady", "False")))
	got = meta.FindStatusCondition(await(t, c, "kube-times", pools(2, condition("PoolsReady", "False"))).Status.Conditions, "PoolsReady")
	if time.Since(got.LastTransitionTime.Time) > time.Minute {
		t.Errorf("condition %+v: its status has changed just now", got)
	}
}

func TestLongMessageIsCut(t *testing.T) {
	t.Parallel()
	s := apiserver.Start(t)
	s.CRDs(t)
	c := connect(t, s, "test")
	object := makeNodeConfig(t, c, "kube-long")
	w := NewStatus(c, "flock-ipamd", nil)
	long := condition("PoolsReady", "False")
	long.Message = strings.Repeat("é", 20_000)
	w.Set(object, pools(1, long))
	if _, err := w.write(t.Context()); err != nil {
		t.Fatal(err)
	}
	long.Message = strings.Repeat("é", 510) + "…"
	await(t, c, "kube-long", pools(1, long))
}

func TestStatusOfANamesake(t *testing.T) {
	t.Parallel()
	s := apiserver.Start(t)
	s.CRDs(t)
	c := connect(t, s, "test")
	old := makeNodeConfig(t, c, "kube-namesake")
	var o outcomes
	w := NewStatus(c, "flock-ipamd", o.report)
	write := func() {
		t.Helper()
		if wrote, err := w.write(t.Context()); !wrote || err != nil {
			t.Errorf("write = %v, %v", wrote, err)
		}
	}
	w.Set(old, pools(1))
	write()
	if err := c.NodeConfigs().Delete(t.Context(), old.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	w.Set(old, pools(2))
	write()
	made := makeNodeConfig(t, c, "kube-namesake")
	w.Set(old, pools(3)) // the informer has not yet told of the new one
	write()
	w.Set(made, pools(2))
	write()
	await(t, c, made.Name, pools(2))
}

func TestStatusIsRetried(t *testing.T) {
	t.Parallel()
	s := apiserver.New(t)
	s.CRDs(t)
	c := connect(t, s, "test")
	object := makeNodeConfig(t, c, "kube-retried")
	s.Stop()
	var o outcomes
	w := writer(t, c, "flock-ipamd", &o)
	w.Set(object, pools(1))
	within(t, 20*time.Second, "a report", func() error {
		if o.lastError() == nil {
			return fmt.Errorf("none")
		}
		return nil
	})
	s.Resume(t)
	within(t, 60*time.Second, "a write", o.lastError)
	await(t, c, "kube-retried", pools(1))
}

// One of several API servers may not serve NodeConfigs yet, while another has told of one.
func TestStatusOfWhatIsNotServed(t *testing.T) {
	t.Parallel()
	s := apiserver.New(t)
	c := connect(t, s, "test-unserved")
	object := &v1alpha1.NodeConfig{ObjectMeta: metav1.ObjectMeta{Name: "kube-unserved", UID: "1"}}
	var o outcomes
	w := writer(t, c, "flock-ipamd", &o)
	wantWrites := func(n int) {
		t.Helper()
		within(t, 20*time.Second, fmt.Sprintf("write %d", n), func() error {
			if got := len(writes(t, s, "test-unserved")); got != n {
				return fmt.Errorf("%d", got)
			}
			return nil
		})
	}
	w.Set(object, pools(1))
	wantWrites(1)
	s.CRDs(t)
	makeNodeConfig(t, c, object.Name)
	w.Set(object, pools(1)) // as a daemon does from time to time
	wantWrites(2)
	await(t, c, object.Name, pools(1))
	w.Set(object, pools(1))
	w.Set(object, pools(2))
	await(t, c, object.Name, pools(2))
	wantWrites(3)
	if err := o.lastError(); err != nil {
		t.Error(err)
	}
}

func TestColumns(t *testing.T) {
	t.Parallel()
	s := apiserver.Start(t)
	s.CRDs(t)
	c := connect(t, s, "test")
	object := makeNodeConfig(t, c, "kube-columns")
	object.Spec.BGP = &v1alpha1.BGP{LocalASN: 64512}
	object, err := c.NodeConfigs().Update(t.Context(), object, metav1.UpdateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	down := metav1.Condition{Type: "Established", Status: "False", Reason: v1alpha1.ReasonPeersDown, Message: "1 of 2 peers; tor-b is Active"}
	w := NewStatus(c, "flock-birdd", nil)
	w.Set(object, v1alpha1.NodeConfigStatus{
		Conditions: []metav1.Condition{v1alpha1.Ready(down)}, Sessions: "1/2", IPv6: "12/2^64", IPv4: "12/253",
	})
	if _, err := w.write(t.Context()); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(s.Kubectl(t, "get", "nodeconfigs", "kube-columns", "-o", "wide"), "\n")
	var got [][]string
	for _, line := range lines {
		got = append(got, strings.Fields(line))
	}
	got[1][7] = "0s" // its age
	want := [][]string{
		{"NAME", "READY", "REASON", "ASN", "PEERS", "IPV6", "IPV4", "AGE", "MESSAGE"},
		{"kube-columns", "False", "PeersDown", "64512", "1/2", "12/2^64", "12/253", "0s", "Established:", "1", "of", "2", "peers;", "tor-b", "is", "Active"},
	}
	if diff := cmp.Diff(want, got[:2]); diff != "" {
		t.Errorf("kubectl get nodeconfigs (-want +got):\n%s", diff)
	}
}
