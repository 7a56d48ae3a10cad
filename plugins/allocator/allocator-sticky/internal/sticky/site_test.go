// SPDX-License-Identifier: Apache-2.0

package sticky

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"flock.fritzlab.net/flock/api/v1alpha1"
	"flock.fritzlab.net/flock/internal/kube"
	"flock.fritzlab.net/flock/plugins/allocator"
	"flock.fritzlab.net/flock/test/apiserver"
	"flock.fritzlab.net/flock/test/build"
	"flock.fritzlab.net/flock/test/lab"
)

// site is a cluster in which no other test has the same names and addresses.
type site struct {
	*testing.T
	*apiserver.Server
	// c is an administrator's access.
	c         cluster
	namespace string
	number    int64
	canary    netip.Addr // is held
}

var (
	sites   atomic.Int64
	applied sync.Map // server to *sync.Once
)

func TestMain(m *testing.M) {
	kube.LogTo(slog.New(slog.DiscardHandler))
	os.Exit(m.Run())
}

func newSite(t *testing.T) *site {
	t.Helper()
	return siteOn(t, apiserver.Start(t))
}

func siteOn(t *testing.T, server *apiserver.Server) *site {
	t.Helper()
	once, _ := applied.LoadOrStore(server, new(sync.Once))
	once.(*sync.Once).Do(func() {
		root, err := build.Root()
		must(t, err)
		folder := filepath.Join(root, "deploy", "components", "sticky")
		server.Kubectl(t, "apply", "-f", filepath.Join(folder, "stickyaddresses.flock.fritzlab.net.yaml"), "-f", filepath.Join(folder, "admission.yaml"))
		server.Kubectl(t, "wait", "--for=condition=Established", "--timeout=60s", "crd", "stickyaddresses.flock.fritzlab.net")
	})
	config := server.Config()
	config.UserAgent = "allocator-sticky"
	c, err := newCluster(config)
	must(t, err)
	s := &site{T: t, Server: server, c: c, namespace: server.Namespace(t), number: sites.Add(1)}
	s.awaitPolicy()
	return s
}

// awaitPolicy waits until nobody can delete what is held: policies come into force some moments after they are made.
func (s *site) awaitPolicy() {
	s.Helper()
	s.canary = netip.AddrFrom4([4]byte{10, byte(s.number), 0, 0})
	s.assign(allocator.Pool{Name: "canary"}, s.canary, "db-0")
	o := s.object(s.canary)
	o.Spec.Holder = &v1alpha1.StickyHolder{Node: "n", BootID: "b", ContainerID: "c", IfName: "eth0", Since: *now()}
	must(s.T, s.c.update(s.Context(), o))
	must(s.T, lab.Within(s.Context(), 20*time.Second, "the policies are in force", func() error {
		if deletable, err := s.c.deletable(s.Context(), o.Name); err != nil || deletable {
			return fmt.Errorf("deletable: %t, %v", deletable, err)
		}
		return nil
	}))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// pool returns a pool of the site's own, of the family and so many bits.
func (s *site) pool(v4 bool, bits int) allocator.Pool {
	first := netip.MustParseAddr(fmt.Sprintf("2001:db8:%x::", s.number))
	if v4 {
		first = netip.AddrFrom4([4]byte{10, byte(s.number), 1, 0})
	}
	return allocator.Pool{Name: fmt.Sprintf("%s-%t-%d", s.namespace, v4, bits), Prefix: netip.PrefixFrom(first, bits)}
}

// machine is a node and the allocator on it.
type machine struct {
	*Allocator
	s    *site
	name string
	boot atomic.Pointer[string]
}

// node makes a node that is ready.
func (s *site) node(name string) *machine {
	s.Helper()
	m := &machine{s: s, name: s.namespace + "-" + name}
	m.Allocator = &Allocator{cluster: s.c, bootID: func() (string, error) { return *m.boot.Load(), nil }, turns: newTurns()}
	s.MakeNode(s.T, m.name)
	m.reboot()
	return m
}

var boots atomic.Int64

// start gives the machine's kernel a new boot, of which its Node does not know.
func (m *machine) start() string {
	boot := fmt.Sprint("boot-", boots.Add(1))
	m.boot.Store(&boot)
	return boot
}

func (m *machine) reboot() {
	m.s.Helper()
	m.s.patchNode(m.name, "status", map[string]any{"status": map[string]any{"nodeInfo": map[string]any{"bootID": m.start()}}})
}

func (m *machine) setReady(status corev1.ConditionStatus) {
	m.s.Helper()
	m.s.patchNode(m.name, "status", map[string]any{"status": map[string]any{"conditions": []corev1.NodeCondition{
		{Type: corev1.NodeReady, Status: status},
	}}})
}

// taint says that the machine is off, and untaint that it is not.
func (m *machine) taint() {
	m.s.Helper()
	m.s.Kubectl(m.s.T, "taint", "node", m.name, "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute")
}

func (m *machine) untaint() {
	m.s.Helper()
	m.s.Kubectl(m.s.T, "taint", "node", m.name, "node.kubernetes.io/out-of-service-")
}

func (s *site) patchNode(name, subresource string, patch any) {
	s.Helper()
	text, err := json.Marshal(patch)
	must(s.T, err)
	_, err = s.c.nodes.Patch(s.Context(), name, types.StrategicMergePatchType, text, metav1.PatchOptions{}, subresource)
	must(s.T, err)
}

// pod is the pod of that name of the StatefulSet db, each time another.
func (s *site) pod(name string) allocator.Pod {
	set, _, _ := strings.Cut(name, "-")
	return allocator.Pod{
		Namespace: s.namespace, Name: name, UID: fmt.Sprint("uid-", boots.Add(1)),
		Owner: allocator.Owner{APIVersion: "apps/v1", Kind: "StatefulSet", Name: set, UID: "uid"},
	}
}

// sandbox is a new attachment on the machine.
func (m *machine) sandbox() allocator.Attachment {
	return allocator.Attachment{Node: m.name, ContainerID: fmt.Sprintf("%012d-container", boots.Add(1)), IfName: "eth0"}
}

// request is for a new sandbox of the pod.
func (m *machine) request(pod string, pool allocator.Pool) allocator.Request {
	return allocator.Request{Attachment: m.sandbox(), Pod: m.s.pod(pod), Pool: pool, Within: pool.Prefix}
}

// try asks with so much time.
func (m *machine) try(r allocator.Request, limit time.Duration) (netip.Addr, error) {
	ctx, cancel := context.WithTimeout(m.s.Context(), limit)
	defer cancel()
	return m.Allocate(ctx, r)
}

// shortly is time enough for a server that answers, and is over soon where there is nothing to be had.
const shortly = 2 * time.Second

// give returns the address for a request that must be granted.
func (m *machine) give(r allocator.Request) netip.Addr {
	m.s.Helper()
	addr, err := m.try(r, 10*time.Second)
	if err != nil {
		m.s.Fatalf("%s gets no address: %v", r.Pod.Name, err)
	}
	return addr
}

// refuse wants an error with all of the words.
func (m *machine) refuse(r allocator.Request, words ...string) {
	m.s.Helper()
	begun := time.Now()
	addr, err := m.try(r, shortly)
	if err == nil {
		m.s.Fatalf("%s gets %s", r.Pod.Name, addr)
	}
	if took := time.Since(begun); took >= shortly {
		m.s.Errorf("the error comes after %s, when nobody hears it", took)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			m.s.Errorf("the error is\n%v\nwithout %q", err, word)
		}
	}
}

func (m *machine) end(at allocator.Attachment) {
	m.s.Helper()
	must(m.s.T, m.Release(m.s.Context(), at))
}

// object returns the address's object, nil if there is none.
func (s *site) object(addr netip.Addr) *v1alpha1.StickyAddress {
	s.Helper()
	o, err := s.c.get(s.Context(), v1alpha1.StickyAddressName(addr))
	must(s.T, err)
	return o
}

// holds wants the attachment, or nobody if it is zero, to hold the address.
func (s *site) holds(addr netip.Addr, want allocator.Attachment) {
	s.Helper()
	got := allocator.Attachment{}
	if o := s.object(addr); o != nil && o.Spec.Holder != nil {
		got = attachment(o.Spec.Holder)
	}
	if got != want {
		s.Fatalf("%s is held by %+v, want %+v", addr, got, want)
	}
}

// watched returns an error while nobody waits for the address to change.
func (s *site) watched(addr netip.Addr) error {
	s.Helper()
	if !slices.ContainsFunc(s.Watches(s.T, "allocator-sticky"), func(r apiserver.Request) bool {
		return strings.Contains(r.URI, v1alpha1.StickyAddressName(addr)+"&")
	}) {
		return errors.New("nobody waits for " + addr.String())
	}
	return nil
}

// all returns the addresses of the pool, as "address pod".
func (s *site) all(p allocator.Pool) []string {
	s.Helper()
	var all []string
	must(s.T, s.c.each(s.Context(), func(o *v1alpha1.StickyAddress) error {
		if o.Spec.Pool == p.Name {
			all = append(all, fmt.Sprintf("%s %s-%d", o.Spec.Address, o.Spec.Owner.StatefulSet, o.Spec.Owner.Ordinal))
		}
		return nil
	}))
	return all
}

// assign makes an address a pod's, as an administrator may.
func (s *site) assign(p allocator.Pool, addr netip.Addr, pod string) {
	s.Helper()
	owner, err := ownerOf(s.pod(pod))
	must(s.T, err)
	must(s.T, s.c.add(s.Context(), &v1alpha1.StickyAddress{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.APIVersion, Kind: "StickyAddress"},
		ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.StickyAddressName(addr)},
		Spec:       v1alpha1.StickyAddressSpec{Address: addr.String(), Pool: p.Name, Owner: owner},
	}))
}

// set makes a StatefulSet of so many pods, the first of which has the number start.
func (s *site) set(name string, start, replicas int) {
	s.Helper()
	s.Apply(s.T, fmt.Sprintf(`{"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": %q, "namespace": %q}, "spec": {
		"replicas": %d, "ordinals": {"start": %d}, "serviceName": "db", "selector": {"matchLabels": {"a": "b"}},
		"template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "main", "image": "registry.example/main:1"}]}}}}`,
		name, s.namespace, replicas, start))
}
