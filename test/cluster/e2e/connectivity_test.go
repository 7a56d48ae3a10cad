// SPDX-License-Identifier: Apache-2.0

//go:build cluster

package e2e

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"flock.fritzlab.net/flock/test/cluster"
	"flock.fritzlab.net/flock/test/lab"
)

// TestConnectivity has two pods on each node, all of them dual-stack.
func TestConnectivity(t *testing.T) {
	s := newSpace(t, "connectivity")
	start := time.Now()
	for _, n := range site.Nodes {
		s.run(n.Name+"-a", on(n), labelled("web"))
		s.run(n.Name+"-b", on(n), labelled("web"))
	}
	pods := s.ready("node1-a", "node1-b", "node2-a", "node2-b")
	t.Logf("4 pods Ready after %s", time.Since(start).Round(time.Millisecond))
	for i, pod := range pods {
		wantPools(t, pod, site.Nodes[i/2])
	}
	t.Run("KubeletReachesPods", func(t *testing.T) { s.in(t).testKubelet() })
	t.Run("PodToPod", func(t *testing.T) { s.in(t).testPodToPod(pods) })
	t.Run("Router", func(t *testing.T) { s.in(t).testRouter(pods) })
	t.Run("Services", func(t *testing.T) { s.in(t).testServices(pods) })
	t.Run("HostPort", func(t *testing.T) { s.in(t).testHostPort() })
	t.Run("Sizes", func(t *testing.T) { s.in(t).testSizes(pods) })
	t.Run("PathMTU", func(t *testing.T) { s.in(t).testPathMTU(pods) })
}

// in returns the space for a subtest.
func (s *space) in(t *testing.T) *space { return &space{T: t, name: s.name, api: s.api} }

// wantPools wants an address of each of the node's pools.
func wantPools(t *testing.T, pod *corev1.Pod, n *cluster.Node) {
	t.Helper()
	all := addresses(pod)
	if len(all) != 2 || !n.Pool4.Contains(all[0]) || !n.Pool6.Contains(all[1]) {
		t.Errorf("%s on %s has %v, want one of %s and one of %s", pod.Name, n.Name, all, n.Pool4, n.Pool6)
	}
}

// testKubelet goes the ways from the API server to a pod that lead through the kubelet; that the pods are Ready says
// that its probes arrive.
func (s *space) testKubelet() {
	if logs := s.kubectl("logs", "node1-a"); logs != "serving as node1-a\n" {
		s.Errorf("kubectl logs prints %q", logs)
	}
	for _, want := range []string{"/128", "/32", "eth0 1500"} {
		if out := s.exec("node2-b", "addresses"); !strings.Contains(out, want) {
			s.Errorf("%q is not among\n%s", want, out)
		}
	}
}

// testPodToPod asks from each pod of node1 all others, on its node and across.
func (s *space) testPodToPod(pods []*corev1.Pod) {
	for _, from := range pods[:2] {
		for _, to := range pods {
			if from.Name == to.Name {
				continue
			}
			out := s.exec(from.Name, append([]string{"get"}, urls(httpPort, addresses(to)...)...)...)
			for i, line := range strings.Split(strings.TrimSpace(out), "\n") {
				// Who answers sees the caller's own address: nothing is translated.
				if want := to.Name + " " + at(0, addresses(from)[i])[0]; !strings.HasPrefix(line, strings.TrimSuffix(want, "0")) {
					s.Errorf("%s asks %s: %q, want %q", from.Name, to.Name, line, want)
				}
			}
		}
	}
}

// testRouter pings each pod from the router, and asks a service of the router from a pod.
func (s *space) testRouter(pods []*corev1.Pod) {
	for _, pod := range pods {
		for _, a := range addresses(pod) {
			took, err := site.Router.Ping(s.Context(), a, lab.PingOptions{Size: 1500})
			if err != nil {
				s.Error(err)
			}
			s.Logf("router to %s %s: %s", pod.Name, a, took.Round(time.Microsecond))
		}
	}
	n := site.Nodes[0]
	service, err := site.Router.Serve(s.Context(), "router", 9000, n.Gateway4(), n.Gateway6())
	must(s, err)
	defer service.Close()
	for _, pod := range pods {
		if out := s.exec(pod.Name, append([]string{"tcp", "0"}, at(9000, n.Gateway4(), n.Gateway6())...)...); out != "router\nrouter\n" {
			s.Errorf("%s asks the router: %q", pod.Name, out)
		}
	}
}

// service makes a Service for all pods, of both families, and returns it.
func (s *space) service(name string, kind corev1.ServiceType) *corev1.Service {
	s.Helper()
	both := corev1.IPFamilyPolicyRequireDualStack
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.ServiceSpec{
			Type: kind, IPFamilyPolicy: &both, Selector: map[string]string{"app": "web"},
			Ports: []corev1.ServicePort{
				{Name: "http", Port: 80, TargetPort: intstr.FromInt32(httpPort)},
				{Name: "dns", Port: 53, TargetPort: intstr.FromInt32(udpPort), Protocol: corev1.ProtocolUDP},
			},
		},
	}
	must(s, s.api.Post().Namespace(s.name).Resource("services").Body(service).Do(s.Context()).Into(service))
	return service
}

func clusterIPs(service *corev1.Service) []netip.Addr {
	var all []netip.Addr
	for _, ip := range service.Spec.ClusterIPs {
		all = append(all, netip.MustParseAddr(ip))
	}
	return all
}

// testServices asks a Service at its addresses from a pod, over TCP and UDP, and at a port of each node from the
// router, until each pod has answered.
func (s *space) testServices(pods []*corev1.Pod) {
	service := s.service("web", corev1.ServiceTypeNodePort)
	inside := append([]string{"get"}, urls(80, clusterIPs(service)...)...)
	names := append([]string{"udp", "32"}, at(53, clusterIPs(service)...)...)
	s.within(time.Minute, "each pod has answered", func() error {
		out, err := site.Kubectl(s.Context(), append([]string{"exec", "-n", s.name, "node1-a", "--", "/testpod"}, inside...)...)
		if err != nil {
			return err
		}
		seen := s.seen("ClusterIP", out)
		if len(seen) < len(pods) {
			return fmt.Errorf("%v have", seen)
		}
		return nil
	})
	s.Logf("a datagram to each of %v answered by %q", clusterIPs(service), s.exec("node1-a", names...))
	for _, n := range site.Nodes {
		for _, a := range []netip.Addr{n.Address4, n.Address6} {
			to := netip.AddrPortFrom(a, uint16(service.Spec.Ports[0].NodePort))
			// Each node has a kube-proxy, of which the one has its rules before the other.
			s.within(time.Minute, "NodePort "+to.String()+" answers", func() error {
				answer, err := fetch(s.Context(), site.Router.Netns, to)
				if err == nil {
					s.Logf("NodePort %s answered by %s", to, answer)
				}
				return err
			})
		}
	}
}

// answered collects the names of who answered, by test.
var answered = map[string]map[string]bool{}

func (s *space) seen(kind, out string) map[string]bool {
	key := s.name + kind
	if answered[key] == nil {
		answered[key] = map[string]bool{}
	}
	for line := range strings.Lines(out) {
		name, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		answered[key][name] = true
	}
	return answered[key]
}

// testHostPort asks a pod at a port of its node, which portmap leads to it.
func (s *space) testHostPort() {
	n := site.Nodes[1]
	s.run("hostport", on(n), hostPort(8053))
	s.ready("hostport")
	for _, a := range []netip.Addr{n.Address4, n.Address6} {
		to := netip.AddrPortFrom(a, 8053)
		answer, err := fetch(s.Context(), site.Router.Netns, to)
		if err != nil || !strings.HasPrefix(answer, "hostport ") {
			s.Errorf("GET from %s: %q, %v", to, answer, err)
		}
		if name, err := site.Router.Ask(s.Context(), "udp", to); err != nil || name != "hostport" {
			s.Errorf("datagram to %s: %q, %v", to, name, err)
		}
	}
	s.remove("hostport")
}

// testSizes sends what fits into a packet, and what does not and goes in fragments.
func (s *space) testSizes(pods []*corev1.Pod) {
	from, to := pods[0], pods[3]
	for _, size := range []int{1400, 1452, 1500, 4000, 9000} {
		s.exec(from.Name, append([]string{"udp", strconv.Itoa(size)}, at(udpPort, addresses(to)...)...)...)
	}
	for _, a := range addresses(to) {
		if _, err := site.Router.Ping(s.Context(), a, lab.PingOptions{Size: 1501}); err == nil {
			s.Errorf("a packet of 1501 bytes reaches %s whole", a)
		}
	}
}

// testPathMTU makes a link between the pods narrower than either end knows, in both directions in turn.
func (s *space) testPathMTU(pods []*corev1.Pod) {
	setMTU := func(mtu string) {
		n := site.Nodes[1]
		_, err := site.Router.Run(s.Context(), "ip", "link", "set", n.Name, "mtu", mtu)
		must(s, err)
		_, err = n.Run(s.Context(), "ip", "link", "set", "eth0", "mtu", mtu)
		must(s, err)
	}
	setMTU("1400")
	defer setMTU("1500")
	for _, pair := range [][]*corev1.Pod{{pods[0], pods[2]}, {pods[2], pods[0]}} {
		start := time.Now()
		s.exec(pair[0].Name, append([]string{"tcp", "1000000"}, at(tcpPort, addresses(pair[1])...)...)...)
		s.Logf("2 times 1 MB from %s to %s and back over a link of 1400 bytes in %s",
			pair[0].Name, pair[1].Name, time.Since(start).Round(time.Millisecond))
	}
}
