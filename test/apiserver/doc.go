// SPDX-License-Identifier: Apache-2.0

// Package apiserver starts a real kube-apiserver on a real etcd for tests, in about 4 seconds. There is no
// scheduler, no controller and no kubelet: a test makes the objects that these would make, and what a kubelet
// writes to a pod's status, with [Server.SetReady] and the like.
//
//	s := apiserver.Start(t)                          // one for all tests of the process
//	s.CRDs(t)                                        // of deploy/base
//	s.MakeNode(t, "node1")
//	ns := s.Namespace(t)                             // a name that no other test has
//	pod := s.MakePod(t, ns, "web", "node1", map[string]string{"flock.fritzlab.net/ipv4": "false"})
//	s.SetReady(t, pod, true)
//	kubeconfig := s.ServiceAccount(t, "flock-system", "flock")
//
// [Start] shares one server between the tests of a process; names of cluster-scoped objects must differ
// between tests that run at once. A test that calls [Server.Stop] or [Server.Compact] takes one of its own by [New].
//
// # Network namespaces
//
// The server listens on 127.0.0.1 of the namespace that the test process runs in. [Server.Reach] makes it
// reachable inside another one, at the same address and port: the same kubeconfig works in both.
//
// # What is started
//
// [Build] makes etcd, kube-apiserver and kubectl from the Go modules that binaries/go.mod pins, and keeps them in
// the user's cache folder. The first build takes minutes: run "go run ./test/apiserver/build" before tests whose
// time is limited. etcd listens on a unix socket alone and keeps its data in memory; kube-apiserver has
// RBAC, the Node authorizer and NodeRestriction. Nothing of it outlives the test process, however that ends.
package apiserver
