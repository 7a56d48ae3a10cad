// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"flock.fritzlab.net/flock/plugins/allocator"
	"flock.fritzlab.net/flock/plugins/allocator/allocatortest"
	"flock.fritzlab.net/flock/test/apiserver"
	"flock.fritzlab.net/flock/test/lab"
	"flock.fritzlab.net/flock/test/suite"
)

var program string

func TestMain(m *testing.M) { os.Exit(suite.Main(m, "../allocator-sticky", &program)) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// newCluster is an API server with deploy/components/sticky in it.
func newCluster(t *testing.T) *apiserver.Server {
	t.Helper()
	s := apiserver.Start(t)
	applyComponent(t, s)
	return s
}

func applyComponent(t *testing.T, s *apiserver.Server) {
	t.Helper()
	for _, file := range []string{"stickyaddresses.flock.fritzlab.net.yaml", "rbac.yaml", "admission.yaml"} {
		s.Kubectl(t, "apply", "-f", filepath.Join("../../../deploy/components/sticky", file))
	}
	s.Kubectl(t, "wait", "--for=condition=Established", "--timeout=60s", "crd", "stickyaddresses.flock.fritzlab.net")
}

// node makes a Node of this machine, and returns what starts the allocator that ipamd would start there.
func node(t *testing.T, s *apiserver.Server, name string) func() (allocator.Allocator, func(), error) {
	t.Helper()
	makeNode(t, s, name)
	return allocatortest.Program(program, "KUBECONFIG="+s.Agent(t, "flock-system", "flock", name))
}

func makeNode(t *testing.T, s *apiserver.Server, name string) {
	t.Helper()
	s.MakeNode(t, name)
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	must(t, err)
	setBoot(t, s, name, strings.TrimSpace(string(boot)))
}

func setBoot(t *testing.T, s *apiserver.Server, name, boot string) {
	t.Helper()
	s.Kubectl(t, "patch", "node", name, "--subresource=status", "--type=merge", "-p", fmt.Sprintf(`{"status": {"nodeInfo": {"bootID": %q}}}`, boot))
}

// pod is a StatefulSet's.
func pod(number int) allocator.Pod {
	return allocator.Pod{
		Namespace: "default", Name: fmt.Sprint("db-", number), UID: fmt.Sprint("uid-", number),
		Owner: allocator.Owner{APIVersion: "apps/v1", Kind: "StatefulSet", Name: "db", UID: "uid"},
	}
}

// start starts the allocator, until the test ends or it is killed before.
func start(t *testing.T, program func() (allocator.Allocator, func(), error)) (a allocator.Allocator, kill func()) {
	t.Helper()
	a, kill, err := program()
	must(t, err)
	t.Cleanup(kill)
	return a, kill
}

// awaitPolicies has the allocator give an address and take it back, which works when the policies are in force.
func awaitPolicies(t *testing.T, a allocator.Allocator, node string) {
	t.Helper()
	r := request(node, "first", pod(0), "2001:db8:ffff::/64")
	must(t, lab.Within(t.Context(), 20*time.Second, "the policies are in force", func() error {
		_, err := a.Allocate(t.Context(), r)
		return err
	}))
	must(t, a.Release(t.Context(), r.Attachment))
}

func request(node, container string, pod allocator.Pod, prefix string) allocator.Request {
	p := netip.MustParsePrefix(prefix)
	return allocator.Request{
		Attachment: allocator.Attachment{Node: node, ContainerID: container, IfName: "eth0"},
		Pod:        pod, Pool: allocator.Pool{Name: prefix, Prefix: p}, Within: p,
	}
}

// TestConformance runs one allocator for two nodes, which no policy would let it: as an administrator.
func TestConformance(t *testing.T) {
	s := newCluster(t)
	node(t, s, "conform-a")
	node(t, s, "conform-b")
	start := allocatortest.Program(program, "KUBECONFIG="+s.Kubeconfig(t))
	a, kill, err := start()
	must(t, err)
	awaitPolicies(t, a, "conform-a")
	kill()
	allocatortest.Run(t, allocatortest.Options{
		Start: start, Pod: pod, Nodes: [2]string{"conform-a", "conform-b"},
		Refused: func() allocator.Pod { return allocator.Pod{Namespace: "default", Name: "db-0"} },
	})
}

// TestTwoNodes has a program on each of two nodes, of which the first one loses its node.
func TestTwoNodes(t *testing.T) {
	s := newCluster(t)
	one, kill := start(t, node(t, s, "sticky-one"))
	two, _ := start(t, node(t, s, "sticky-two"))
	awaitPolicies(t, one, "sticky-one")
	const pool = "2001:db8:1::/64"
	first := request("sticky-one", "old", pod(0), pool)
	addr, err := one.Allocate(t.Context(), first)
	must(t, err)
	if _, err := one.Allocate(t.Context(), request("sticky-two", "stolen", pod(1), pool)); err == nil ||
		!strings.Contains(err.Error(), "flock of node sticky-one gives addresses on no node but its own") {
		t.Errorf("a program of one node gives addresses on another: %v", err)
	}
	kill()
	shortly, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	moved := request("sticky-two", "new", pod(0), pool)
	_, err = two.Allocate(shortly, moved)
	if err == nil || !strings.Contains(err.Error(), "old/eth0 on node sticky-one has its address "+addr.String()) {
		t.Errorf("the address of an unreachable node: %v", err)
	}
	setBoot(t, s, "sticky-one", "another")
	if got, err := two.Allocate(t.Context(), moved); err != nil || got != addr {
		t.Errorf("after a reboot: %s, %v, want %s", got, err, addr)
	}
	if _, err := two.Allocate(t.Context(), request("sticky-two", "other", allocator.Pod{Name: "web-0"}, pool)); !errors.Is(err, allocator.ErrRefused) {
		t.Errorf("a pod of no StatefulSet: %v", err)
	}
	checkMemory(t)
}

// maxMemory of a program that has done little, in kB: most of it is the program's own file. Measured: 27,000.
const maxMemory = 48_000

// checkMemory looks at the test's programs.
func checkMemory(t *testing.T) {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/exe")
	must(t, err)
	found := 0
	for _, exe := range all {
		if path, err := os.Readlink(exe); err != nil || path != program {
			continue
		}
		status, err := os.ReadFile(filepath.Join(filepath.Dir(exe), "status"))
		must(t, err)
		_, rest, _ := strings.Cut(string(status), "VmHWM:")
		var kB int
		if _, err := fmt.Sscan(rest, &kB); err != nil || kB > maxMemory {
			t.Errorf("allocator-sticky takes %d kB, %v, more than %d", kB, err, maxMemory)
		}
		found++
	}
	if found == 0 {
		t.Error("no program runs")
	}
}

func TestOutsideOfACluster(t *testing.T) {
	for env, want := range map[string]string{
		"KUBECONFIG=":              "find the API server from inside a pod: ",
		"KUBECONFIG=/nonexistent/": "load kubeconfig /nonexistent/: ",
	} {
		cmd := exec.Command(program)
		var stderr bytes.Buffer
		cmd.Env, cmd.Stderr = []string{env}, &stderr
		if err := cmd.Run(); err == nil || !strings.HasPrefix(stderr.String(), "allocator-sticky: "+want) {
			t.Errorf("%s: %v, %s", env, err, &stderr)
		}
	}
}
