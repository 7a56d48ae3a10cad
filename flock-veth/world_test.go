// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"

	"flock.fritzlab.net/flock/internal/rtnl"
	"flock.fritzlab.net/flock/test/lab"
)

// program is the plugin's executable, built once.
var program string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "flock-veth")
	if err != nil {
		panic(err)
	}
	program = filepath.Join(dir, name)
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", program, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build %s: %v\n%s", name, err, out)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// space is a network namespace that the test's end deletes.
type space struct {
	*lab.Netns
	t testing.TB
}

var spaces int

func newSpace(t testing.TB, kind string) space {
	t.Helper()
	spaces++
	ns, err := lab.NewNetns(fmt.Sprintf("flt-veth-%d-%s%d", os.Getpid(), kind, spaces))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ns.Delete(); err != nil {
			t.Error(err)
		}
	})
	return space{ns, t}
}

// run executes a command of the words in the namespace and returns its output.
func (s space) run(words string) string {
	s.t.Helper()
	fields := strings.Fields(words)
	out, err := s.Run(s.t.Context(), fields[0], fields[1:]...)
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

func (s space) sysctl(key string) string {
	s.t.Helper()
	return strings.TrimSpace(s.run("cat /proc/sys/net/" + key))
}

func (s space) setSysctl(key, value string) {
	s.t.Helper()
	if err := s.Sysctl(key, value); err != nil {
		s.t.Fatal(err)
	}
}

// picture returns what "ip" shows of the namespace, a sorted line for each veth, address, route and
// permanent neighbour, less the uplink's.
func (s space) picture() string {
	s.t.Helper()
	var lines []string
	for _, question := range []struct{ ip, keep string }{
		{"-o link show type veth", "@"}, {"-o addr show", "inet"},
		{"-4 route show", " "}, {"-6 route show", " "}, {"neigh show nud permanent", " "},
	} {
		var answer []string
		for line := range strings.Lines(s.run("ip " + question.ip)) {
			if strings.Contains(line, question.keep) && !strings.Contains(line, "up0") {
				answer = append(answer, tidy(line))
			}
		}
		slices.Sort(answer)
		lines = append(lines, answer...)
	}
	return strings.Join(lines, "\n")
}

// tidy leaves out of a line of ip's what differs from run to run, or says nothing.
func tidy(line string) string {
	for _, noise := range []string{
		`\`, "valid_lft forever", "preferred_lft forever", "qdisc noqueue", "state UP", "state UNKNOWN", "mode DEFAULT",
		"qlen 1000", "brd ff:ff:ff:ff:ff:ff", "pref medium", "group default",
	} {
		line = strings.ReplaceAll(line, noise, " ")
	}
	words := strings.Fields(line)
	if number := strings.TrimSuffix(words[0], ":"); number != words[0] {
		words = words[1:]
	}
	for i, w := range words {
		if w == "link-netns" {
			words = append(words[:i:i], words[i+2:]...)
			break
		}
	}
	return strings.TrimSuffix(strings.Join(words, " "), ":")
}

// testNode is a host without pods. Its uplink up0 has an MTU of 1450, and a default route of each family.
type testNode struct {
	space
	conf map[string]any
}

func newNode(t testing.TB) testNode {
	t.Helper()
	n := newLocalNode(t)
	n.run("ip -4 route add default via 192.0.2.1")
	n.run("ip -6 route add default via 2001:db8:ffff::1")
	return n
}

// newLocalNode has no default route.
func newLocalNode(t testing.TB) testNode {
	t.Helper()
	n := testNode{space: newSpace(t, "node"), conf: map[string]any{"cniVersion": "1.1.0", "name": "flock", "type": name}}
	router := newSpace(t, "router")
	n.run("ip link add up0 mtu 1450 type veth peer name down0 netns " + router.Name)
	n.run("ip link set up0 up")
	router.run("ip link set down0 up")
	n.run("ip addr add 192.0.2.10/24 dev up0")
	n.run("ip addr add 2001:db8:ffff::10/64 dev up0 nodad")
	return n
}

// attachmentOf is the attachment of a pod's eth0.
type attachmentOf struct {
	containerID string
	pod         space
	ifName      string
}

func newPod(t testing.TB, containerID string) attachmentOf {
	t.Helper()
	pod := newSpace(t, "pod")
	pod.run("ip link set lo down")
	return attachmentOf{containerID, pod, "eth0"}
}

// hostLink is the name of the pair's end on the host.
func (a attachmentOf) hostLink() string { return rtnl.HostName(a.containerID, a.ifName) }

// given makes the result that an IPAM plugin before flock-veth would hand on.
func (a attachmentOf) given(unicast []string, anycast ...string) *current.Result {
	r := &current.Result{CNIVersion: "1.1.0", Interfaces: []*current.Interface{{Name: "lo", Sandbox: a.pod.Path()}}}
	for _, address := range unicast {
		r.IPs = append(r.IPs, ip(address))
	}
	for _, address := range anycast {
		r.IPs = append(r.IPs, ip(address, 0))
	}
	return r
}

// exec runs the program on the node as a runtime does. prev may be nil.
func (n testNode) exec(verb string, a attachmentOf, prev *current.Result, env ...string) (stdout []byte, failure *types.Error) {
	n.t.Helper()
	conf := map[string]any{}
	for k, v := range n.conf {
		conf[k] = v
	}
	if prev != nil {
		conf["prevResult"] = prev
	}
	stdin, err := json.Marshal(conf)
	if err != nil {
		n.t.Fatal(err)
	}
	cmd := exec.Command(program)
	cmd.Stdin = bytes.NewReader(stdin)
	cmd.Env = append([]string{"CNI_COMMAND=" + verb, "CNI_CONTAINERID=" + a.containerID, "CNI_IFNAME=" + a.ifName,
		"CNI_NETNS=" + a.pod.path(), "CNI_PATH=" + filepath.Dir(program)}, env...)
	err = n.Do(func() (err error) {
		stdout, err = cmd.Output()
		return err
	})
	if err == nil {
		return stdout, nil
	}
	failure = &types.Error{}
	if json.Unmarshal(stdout, failure) != nil {
		n.t.Fatalf("%s: %v: %q", verb, err, stdout)
	}
	return nil, failure
}

func (s space) path() string {
	if s.Netns == nil {
		return ""
	}
	return s.Path()
}

// add runs an ADD that must succeed.
func (n testNode) add(a attachmentOf, prev *current.Result) *current.Result {
	n.t.Helper()
	stdout, failure := n.exec("ADD", a, prev)
	if failure != nil {
		n.t.Fatalf("ADD: code %d: %s", failure.Code, failure)
	}
	return decode(n.t, stdout)
}

func decode(t testing.TB, stdout []byte) *current.Result {
	t.Helper()
	result := &current.Result{}
	if err := json.Unmarshal(stdout, result); err != nil {
		t.Fatalf("%v: %q", err, stdout)
	}
	return result
}

// must runs another verb that must succeed.
func (n testNode) must(verb string, a attachmentOf, prev *current.Result) {
	n.t.Helper()
	if _, failure := n.exec(verb, a, prev); failure != nil {
		n.t.Fatalf("%s: code %d: %s", verb, failure.Code, failure)
	}
}

// refuse runs a verb that must fail with the code and the words.
func (n testNode) refuse(verb string, a attachmentOf, prev *current.Result, code uint, words string) {
	n.t.Helper()
	_, failure := n.exec(verb, a, prev)
	if failure == nil || failure.Code != code || !strings.Contains(failure.Error(), words) {
		n.t.Errorf("%s = %+v, want code %d with %q", verb, failure, code, words)
	}
}
