// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"flock.fritzlab.net/flock/api/v1alpha1"
	"flock.fritzlab.net/flock/internal/kube"
	"flock.fritzlab.net/flock/internal/nodefile"
	"flock.fritzlab.net/flock/plugins/cni"
	"flock.fritzlab.net/flock/test/apiserver"
	"flock.fritzlab.net/flock/test/build"
)

// member is a node of Kubernetes on which ipamd runs, with the rights that deploy/base gives it.
type member struct {
	*node
	api              *apiserver.Server
	name, kubeconfig string
	socket           string
	ipam             string // the program flock-ipam
	namespace        string
	client           *kube.Client // the test's own
}

var members atomic.Int64

// granted are the servers that have deploy/base's roles.
var granted sync.Map

func grant(t *testing.T, api *apiserver.Server) {
	t.Helper()
	once, _ := granted.LoadOrStore(api, new(sync.Once))
	once.(*sync.Once).Do(func() {
		root, err := build.Root()
		if err != nil {
			t.Fatal(err)
		}
		base := filepath.Join(root, "deploy", "base")
		api.Kubectl(t, "apply", "--server-side", "-f", filepath.Join(base, "namespace.yaml"), "-f", filepath.Join(base, "rbac.yaml"))
	})
}

// newMember makes the node's objects, and no NodeConfig. The test runs beside others: much of its time it waits.
func newMember(t *testing.T, api *apiserver.Server, podCIDRs ...string) *member {
	t.Helper()
	t.Parallel()
	n := newNode(t, "x1")
	m := &member{
		node: n, api: api, name: fmt.Sprintf("node-%d-%d", os.Getpid(), members.Add(1)),
		socket: filepath.Join(n.db, "ipamd.sock"), namespace: api.Namespace(t),
	}
	api.CRDs(t)
	grant(t, api)
	var err error
	if m.client, err = kube.Connect(api.Kubeconfig(t), "test"); err != nil {
		t.Fatal(err)
	}
	m.kubeconfig = api.ServiceAccount(t, "flock-system", "flock")
	api.MakeNode(t, m.name, podCIDRs...)
	api.Reach(t, n.Netns)
	if m.ipam, err = build.Flock(t.Context()); err != nil {
		t.Fatal(err)
	}
	m.ipam = filepath.Join(m.ipam, "flock-ipam")
	return m
}

// join starts the daemon with more flags.
func (m *member) join(flags ...string) {
	m.t.Helper()
	m.run(append([]string{"--node-name", m.name, "--kubeconfig", m.kubeconfig, "--socket", m.socket}, flags...)...)
}

// configure makes or replaces the NodeConfig; spec is JSON.
func (m *member) configure(spec string) {
	m.t.Helper()
	m.api.Apply(m.t, `{"apiVersion": "flock.fritzlab.net/v1alpha1", "kind": "NodeConfig", "metadata": {"name": "`+m.name+`"}, "spec": `+spec+`}`)
	m.t.Cleanup(m.forget)
}

func (m *member) forget() {
	m.api.TryKubectl(m.t.Context(), m.api.Kubeconfig(m.t), "", "delete", "nodeconfig", m.name, "--ignore-not-found")
}

const onePool = `{"pools": [{"name": "p", "cidr": "10.0.0.0/24"}]}`

// pools waits until node.json has these.
func (m *member) pools(want ...string) {
	m.t.Helper()
	m.eventually(fmt.Sprint("node.json has ", want), func() error {
		node, err := nodefile.Read(m.nodeFile)
		var got []string
		for _, p := range node.Pools {
			got = append(got, p.Prefix.String())
		}
		if err == nil && fmt.Sprint(got) != fmt.Sprint(want) {
			err = fmt.Errorf("it has %v", got)
		}
		return err
	})
}

// status returns the NodeConfig's.
func (m *member) status() (v1alpha1.NodeConfigStatus, error) {
	config, err := m.client.NodeConfigs().Get(m.t.Context(), m.name, metav1.GetOptions{})
	if err != nil {
		return v1alpha1.NodeConfigStatus{}, err
	}
	return config.Status, nil
}

// says waits until the status does, in its conditions and pools as JSON.
func (m *member) says(texts ...string) {
	m.t.Helper()
	m.eventually(fmt.Sprint("the status says ", texts), func() error {
		status, err := m.status()
		if err != nil {
			return err
		}
		var lines []string
		for _, c := range status.Conditions {
			lines = append(lines, fmt.Sprintf("%s=%s %s: %s", c.Type, c.Status, c.Reason, c.Message))
		}
		for _, p := range status.Pools {
			lines = append(lines, fmt.Sprintf("%s %s: %d allocated, %d cooling, %d free", p.Name, p.CIDR, p.Allocated, p.Cooling, p.Free))
		}
		got := strings.Join(lines, "\n")
		for _, text := range texts {
			if !strings.Contains(got, text) {
				return fmt.Errorf("it says\n%s", got)
			}
		}
		return nil
	})
}

// add runs flock-ipam's ADD for a pod, whose annotations the runtime does not hand over, and returns the result's
// first address.
func (m *member) add(id string, pod cni.Pod) (string, error) {
	out, err := m.call("ADD", id, pod)
	if err != nil {
		return "", err
	}
	var result struct{ IPs []struct{ Address string } }
	if err := json.Unmarshal(out, &result); err != nil {
		return "", err
	}
	if len(result.IPs) == 0 {
		return "", errors.New("no address")
	}
	return result.IPs[0].Address, nil
}

func (m *member) call(verb, id string, pod cni.Pod) ([]byte, error) {
	conf, err := json.Marshal(map[string]any{
		"cniVersion": "1.1.0", "name": "flock", "type": "flock-ipam", "stateDir": m.db, "nodeFile": m.nodeFile, "socket": m.socket,
	})
	if err != nil {
		return nil, err
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.Command(m.ipam)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(conf), &stdout, &stderr
	cmd.Env = append(os.Environ(), "CNI_COMMAND="+verb, "CNI_CONTAINERID="+id, "CNI_IFNAME=eth0", "CNI_NETNS="+m.Pods["x1"].Path(), "CNI_PATH=/nowhere",
		fmt.Sprintf("CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAMESPACE=%s;K8S_POD_NAME=%s;K8S_POD_UID=%s", pod.Namespace, pod.Name, pod.UID))
	if err := m.Do(cmd.Run); err == nil {
		return stdout.Bytes(), nil
	}
	failure := new(types.Error)
	if err := json.Unmarshal(stdout.Bytes(), failure); err != nil {
		return nil, fmt.Errorf("%s of %s printed no CNI error: %q, %s", verb, id, stdout.Bytes(), stderr.Bytes())
	}
	return nil, failure
}

// gives wants an ADD to give this address.
func (m *member) gives(pod *corev1.Pod, id, want string) {
	m.t.Helper()
	got, err := m.add(id, podOf(pod))
	if err != nil || got != want {
		m.t.Errorf("ADD of %s: %q, %v; want %s\n%s", id, got, err, want, m.daemon.LastWords())
	}
}

func podOf(pod *corev1.Pod) cni.Pod {
	return cni.Pod{Namespace: pod.Namespace, Name: pod.Name, UID: string(pod.UID)}
}

// events waits for an Event on the pod with these texts, and returns how many it has in all.
func (m *member) events(pod *corev1.Pod, texts ...string) (count int) {
	m.t.Helper()
	m.eventually(fmt.Sprint("an Event with ", texts), func() error {
		list, err := m.client.Events(pod.Namespace).List(m.t.Context(), metav1.ListOptions{FieldSelector: "involvedObject.uid=" + string(pod.UID)})
		if err != nil {
			return err
		}
		var out string
		count = 0
		for _, event := range list.Items {
			out += fmt.Sprintf("%s %s by %s: %s\n", event.Type, event.Reason, event.Source.Component, event.Message)
			count += int(event.Count)
		}
		for _, text := range texts {
			if !strings.Contains(out, text) {
				return fmt.Errorf("there are\n%s", out)
			}
		}
		return nil
	})
	return count
}

// counts waits until the metrics have all of these lines.
func (m *member) counts(lines ...string) {
	m.t.Helper()
	m.eventually("the metrics say "+strings.Join(lines, ", "), func() error {
		answer, err := m.get("/metrics")
		if err != nil {
			return err
		}
		for _, line := range lines {
			if !strings.Contains(answer, "\n"+line+"\n") {
				name, _, _ := strings.Cut(line, "{")
				name, _, _ = strings.Cut(name, " ")
				_, rest, _ := strings.Cut(answer, "\n"+name)
				return fmt.Errorf("they say %s%.300s", name, rest)
			}
		}
		return nil
	})
}

// restart ends the daemon by the signal and starts it again.
func (m *member) restart(sig syscall.Signal, flags ...string) {
	m.t.Helper()
	m.end(sig)
	m.join(flags...)
}

// roundsPass waits until the daemon has compared so often.
func (m *member) roundsPass(n int) {
	m.t.Helper()
	was, err := m.rounds()
	if err != nil {
		m.t.Fatal(err)
	}
	m.eventually(fmt.Sprint(n, " rounds pass"), func() error {
		is, err := m.rounds()
		if err == nil && is < was+n {
			err = fmt.Errorf("%d have passed", is-was)
		}
		return err
	})
}

func (m *member) rounds() (n int, err error) {
	answer, err := m.get("/metrics")
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(answer, `flock_ipamd_reconcile_rounds_total{outcome="ok"} `)
	_, err = fmt.Sscan(rest, &n)
	return n, err
}

// watches waits until so many of the node's watches of a resource are open.
func (m *member) watches(resource string, want int) {
	m.t.Helper()
	m.eventually(fmt.Sprintf("%d watches of %s are open", want, resource), func() error {
		open := map[string]bool{}
		for _, r := range m.requests() {
			if r.Verb == "watch" && r.Object.Resource == resource {
				open[r.ID] = r.Stage == "ResponseStarted"
			}
		}
		maps.DeleteFunc(open, func(_ string, is bool) bool { return !is })
		if len(open) != want {
			return fmt.Errorf("%d are", len(open))
		}
		return nil
	})
}

// requests returns what this node's daemons have asked the API server for.
func (m *member) requests() (own []apiserver.Request) {
	m.t.Helper()
	for _, r := range m.api.Requests(m.t, "ipamd") {
		if strings.Contains(r.URI, m.name+"&") || strings.Contains(r.URI, m.name+"/") || strings.HasSuffix(r.URI, m.name) {
			own = append(own, r)
		}
	}
	return own
}
