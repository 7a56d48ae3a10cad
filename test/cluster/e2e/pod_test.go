// SPDX-License-Identifier: Apache-2.0

//go:build cluster

package e2e

import (
	"fmt"
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"flock.fritzlab.net/flock/test/cluster"
)

// Ports that testpod serves.
const (
	httpPort = 8080
	udpPort  = 8081
	tcpPort  = 8082
)

// option changes a pod before it is made.
type option func(*corev1.Pod)

func on(n *cluster.Node) option { return func(p *corev1.Pod) { p.Spec.NodeName = n.Name } }

func labelled(value string) option {
	return func(p *corev1.Pod) { p.Labels = map[string]string{"app": value} }
}

// annotated gives the pod one of flock's annotations.
func annotated(key, value string) option {
	return func(p *corev1.Pod) { metav1.SetMetaDataAnnotation(&p.ObjectMeta, "flock.fritzlab.net/"+key, value) }
}

// lingering lets the pod serve on for a while after it was told to end.
func lingering(for_ time.Duration) option {
	return func(p *corev1.Pod) {
		seconds := int64(for_.Seconds()) + 5
		p.Spec.TerminationGracePeriodSeconds = &seconds
		p.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "LINGER", Value: for_.String()}}
	}
}

func hostPort(port int32) option {
	return func(p *corev1.Pod) {
		p.Spec.Containers[0].Ports = []corev1.ContainerPort{
			{ContainerPort: httpPort, HostPort: port, Protocol: corev1.ProtocolTCP},
			{ContainerPort: udpPort, HostPort: port, Protocol: corev1.ProtocolUDP},
		}
	}
}

// run makes a pod that serves, with probes.
func (s *space) run(name string, options ...option) {
	s.Helper()
	now := int64(1)
	probe := func(path string) *corev1.Probe {
		return &corev1.Probe{
			ProbeHandler:  corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: path, Port: intstr.FromInt32(httpPort)}},
			PeriodSeconds: 1, TimeoutSeconds: 5,
		}
	}
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.PodSpec{
			TerminationGracePeriodSeconds: &now,
			Containers: []corev1.Container{{
				Name: "testpod", Image: cluster.PodImage, ReadinessProbe: probe("/ready"), LivenessProbe: probe("/"),
			}},
		},
	}
	pod.Spec.Containers[0].ReadinessProbe.FailureThreshold = 1
	for _, change := range options {
		change(pod)
	}
	s.create("pods", pod)
}

func (s *space) get(name string) (*corev1.Pod, error) {
	pod := &corev1.Pod{}
	return pod, s.api.Get().Namespace(s.name).Resource("pods").Name(name).Do(s.Context()).Into(pod)
}

// ready waits until the pods are Ready, and returns them in that order.
func (s *space) ready(names ...string) []*corev1.Pod {
	s.Helper()
	var pods []*corev1.Pod
	for _, name := range names {
		s.within(startLimit, "pod "+name+" is Ready", func() error {
			pod, err := s.get(name)
			if err == nil && !isReady(pod) {
				err = fmt.Errorf("its phase is %s", pod.Status.Phase)
			}
			if err == nil {
				pods = append(pods, pod)
			}
			return err
		})
	}
	return pods
}

func isReady(pod *corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// remove deletes the pods, and waits until they are gone.
func (s *space) remove(names ...string) {
	s.Helper()
	for _, name := range names {
		must(s, s.api.Delete().Namespace(s.name).Resource("pods").Name(name).Do(s.Context()).Error())
	}
	for _, name := range names {
		s.within(endLimit, "pod "+name+" is gone", func() error {
			_, err := s.get(name)
			if apierrors.IsNotFound(err) {
				return nil
			}
			return fmt.Errorf("it is there: %v", err)
		})
	}
}

// addresses returns the pod's, that of IPv4 first where it has both.
func addresses(pod *corev1.Pod) []netip.Addr {
	var all []netip.Addr
	for _, ip := range pod.Status.PodIPs {
		all = append(all, netip.MustParseAddr(ip.IP))
	}
	if len(all) == 2 && all[0].Is6() {
		all[0], all[1] = all[1], all[0]
	}
	return all
}

// at returns each address with the port, as URLs and dialers want it.
func at(port uint16, addresses ...netip.Addr) []string {
	var all []string
	for _, a := range addresses {
		all = append(all, netip.AddrPortFrom(a, port).String())
	}
	return all
}

func urls(port uint16, addresses ...netip.Addr) []string {
	all := at(port, addresses...)
	for i := range all {
		all[i] = "http://" + all[i] + "/"
	}
	return all
}
