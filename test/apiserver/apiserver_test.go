// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"flock.fritzlab.net/flock/test/lab"
)

func TestVersion(t *testing.T) {
	s := Start(t)
	if Start(t) != s {
		t.Error("the second Start returns another server")
	}
	version := s.Kubectl(t, "version")
	for _, want := range []string{"Client Version: v1.35.4", "Server Version: v1.35.4"} {
		if !strings.Contains(version, want) {
			t.Errorf("kubectl version says\n%swant %q", version, want)
		}
	}
}

func TestPod(t *testing.T) {
	s := Start(t)
	s.MakeNode(t, "pod-node", "10.244.9.0/24", "2001:db8:9::/64")
	ns := s.Namespace(t)
	pod := s.MakePod(t, ns, "web", "pod-node", map[string]string{"flock.fritzlab.net/ipv4": "false"})
	for _, ready := range []bool{true, false} {
		s.SetReady(t, pod, ready)
		if got := describe(s.Pod(t, ns, "web")); got != fmt.Sprintf("Running, ready: %t, ends: false", ready) {
			t.Errorf("after SetReady(%t) the pod is %s", ready, got)
		}
	}
	s.PatchStatus(t, pod, corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: "main", ImageID: "sha256:1"}}})
	s.DeletePod(t, pod)
	now := s.Pod(t, ns, "web")
	if got := describe(now); got != "Running, ready: false, ends: true" || now.Status.ContainerStatuses[0].ImageID != "sha256:1" {
		t.Errorf("after DeletePod the pod is %s: %v", got, now.Status.ContainerStatuses)
	}
	s.RemovePod(t, pod)
	if again := s.MakePod(t, ns, "web", "pod-node", nil); again.UID == pod.UID {
		t.Error("the second pod of the name has the UID of the first")
	}
}

func describe(p *corev1.Pod) string {
	ready := false
	for _, c := range p.Status.Conditions {
		ready = ready || c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	}
	return fmt.Sprintf("%s, ready: %t, ends: %t", p.Status.Phase, ready, p.DeletionTimestamp != nil)
}

func TestServiceAccountMayDoWhatRBACSays(t *testing.T) {
	s := Start(t)
	ns := s.Namespace(t)
	kubeconfig := s.ServiceAccount(t, ns, "reader")
	if _, err := s.TryKubectl(t.Context(), kubeconfig, "", "get", "nodes"); err == nil || !strings.Contains(err.Error(), "Forbidden") {
		t.Errorf("get nodes without a role: %v, want Forbidden", err)
	}
	s.Kubectl(t, "create", "clusterrolebinding", ns, "--clusterrole=system:node-reader", "--serviceaccount="+ns+":reader")
	s.Kubectl(t, "create", "clusterrole", "system:node-reader", "--verb=get,list", "--resource=nodes")
	check(t, lab.Within(t.Context(), 10*time.Second, "the role is in force", func() error {
		_, err := s.TryKubectl(t.Context(), kubeconfig, "", "get", "nodes")
		return err
	}))
}

func TestAgentNamesItsNode(t *testing.T) {
	s := Start(t)
	s.MakeNode(t, "account-node")
	kubeconfig := s.Agent(t, s.Namespace(t), "agent", "account-node")
	out, err := s.TryKubectl(t.Context(), kubeconfig, "", "auth", "whoami")
	if err != nil || !strings.Contains(out, "account-node") {
		t.Errorf("kubectl auth whoami says %s (%v), want the node's name", out, err)
	}
}

// A kubelet may delete its own pods and no others.
func TestUserIsHeldToItsNode(t *testing.T) {
	s := Start(t)
	ns := s.Namespace(t)
	for _, node := range []string{"held1", "held2"} {
		s.MakeNode(t, node)
		s.MakePod(t, ns, node, node, nil)
	}
	kubelet := s.User(t, "system:node:held1", "system:nodes")
	remove := func(pod string) error {
		_, err := s.TryKubectl(t.Context(), kubelet, "", "delete", "pod", "--namespace", ns, "--wait=false", pod)
		return err
	}
	if err := remove("held1"); err != nil {
		t.Error(err)
	}
	if err := remove("held2"); err == nil || !strings.Contains(err.Error(), "Forbidden") {
		t.Errorf("held1's kubelet deletes held2's pod: %v, want Forbidden", err)
	}
}

func TestReach(t *testing.T) {
	s := New(t)
	host, err := lab.NewNetns(lab.UniqueName("flt-apiserver"))
	check(t, err)
	t.Cleanup(func() { check(t, host.Delete()) })
	getWithin := func(timeout string) error {
		_, err := host.Run(t.Context(), s.bin+"/kubectl", "--request-timeout", timeout, "--kubeconfig", s.Kubeconfig(t), "get", "--raw", "/readyz")
		return err
	}
	get := func() error { return getWithin("10s") }
	if get() == nil {
		t.Fatal("the server is reachable before Reach")
	}
	link := s.Reach(t, host)
	check(t, get())
	link.Cut()
	if get() == nil {
		t.Error("the server is reachable over a link that is cut")
	}
	link.Mend()
	check(t, get())
	s.Freeze()
	if getWithin("200ms") == nil {
		t.Error("the server answers while it is frozen")
	}
	s.Thaw()
	check(t, get())
	s.Stop()
	if get() == nil {
		t.Error("the server is reachable while it is stopped")
	}
	s.Resume(t)
	check(t, get())
}

// watchFrom watches the pods of the namespace and returns the status that the server answers with.
func watchFrom(t *testing.T, s *Server, namespace, version string) error {
	t.Helper()
	w, err := s.core(t).Get().Namespace(namespace).Resource("pods").
		VersionedParams(&metav1.ListOptions{Watch: true, ResourceVersion: version, AllowWatchBookmarks: true}, metav1.ParameterCodec).
		Watch(t.Context())
	if err != nil {
		return err
	}
	defer w.Stop()
	select {
	case event := <-w.ResultChan():
		if event.Type == watch.Error {
			return apierrors.FromObject(event.Object)
		}
		return nil
	case <-time.After(time.Second):
		return nil
	}
}

func TestCompactExpiresWatches(t *testing.T) {
	s := New(t)
	ns := s.Namespace(t)
	s.MakeNode(t, "compact-node")
	version := s.MakePod(t, ns, "old", "compact-node", nil).ResourceVersion
	s.MakePod(t, ns, "new", "compact-node", nil)
	check(t, watchFrom(t, s, ns, version))
	s.Compact(t)
	err := watchFrom(t, s, ns, version)
	if status := apierrors.APIStatus(nil); !errors.As(err, &status) || status.Status().Code != http.StatusGone {
		t.Errorf("the watch from before continues: %v, want 410", err)
	}
	if got := s.Pod(t, ns, "new").Name; got != "new" {
		t.Errorf("the pod is %q", got)
	}
}

func TestWatchesAndRequests(t *testing.T) {
	s := Start(t)
	ns := s.Namespace(t)
	config := s.Config()
	config.UserAgent = "audited/1"
	w, err := newCore(config)
	check(t, err)
	open, err := w.Get().Namespace(ns).Resource("pods").
		VersionedParams(&metav1.ListOptions{Watch: true}, metav1.ParameterCodec).Watch(t.Context())
	check(t, err)
	if watches := s.Watches(t, "audited/"); len(watches) != 1 || watches[0].Object.Resource != "pods" {
		t.Errorf("open watches are %v, want one of pods", watches)
	}
	open.Stop()
	check(t, lab.Within(t.Context(), 10*time.Second, "the watch is no more", func() error {
		if watches := s.Watches(t, "audited/"); len(watches) > 0 {
			return fmt.Errorf("%v", watches)
		}
		return nil
	}))
	if all := s.Requests(t, "audited/"); len(all) != 2 {
		t.Errorf("requests are %v, want a watch's begin and end", all)
	}
}

// Whatever kills a test process, its servers and their files go with it.
func TestNothingOutlivesTheProcess(t *testing.T) {
	if os.Getenv("FLOCK_APISERVER_CHILD") != "" {
		s := Start(t)
		fmt.Println("child:", s.dir, s.etcd.cmd.Process.Pid, s.api.cmd.Process.Pid)
		check(t, exec.Command("kill", "-9", fmt.Sprint(os.Getpid())).Run())
		<-t.Context().Done()
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), "FLOCK_APISERVER_CHILD=1")
	out, err := cmd.Output()
	if err == nil {
		t.Fatalf("the child was not killed: %s", out)
	}
	var dir string
	var etcd, api int
	if _, err := fmt.Sscanf(string(out), "child: %s %d %d", &dir, &etcd, &api); err != nil {
		t.Fatalf("the child said %q: %v", out, err)
	}
	check(t, lab.Within(t.Context(), 10*time.Second, "all is gone", func() error {
		for _, path := range []string{dir, fmt.Sprintf("/proc/%d", etcd), fmt.Sprintf("/proc/%d", api)} {
			if exists(path) {
				return fmt.Errorf("%s is there", path)
			}
		}
		return nil
	}))
}
