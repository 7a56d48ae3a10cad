// SPDX-License-Identifier: Apache-2.0

// Package cluster brings up a Kubernetes cluster on one machine without Docker: a control plane, nodes that are each a
// network namespace with a containerd, a kubelet and a kube-proxy of their own, and a top-of-rack router that they
// are joined to. Command run, below it, is what "make cluster" and "make cluster-down" execute.
//
//	                router (AS 65000)
//	fd00:n::1, 10.0.n.1 /    |    \
//	                   /     |     \
//	   control plane (n=0)  node1  node2 …   (AS 65000+n)
//
// The router has the first address of each link and the other side the second. Node n's pods have addresses of
// 2001:db8:244:n::/64 and 10.244.n.0/24.
//
// # A node
//
// Besides its network namespace a node has a mount namespace: an empty /run, an /etc that is the machine's below what
// the node writes, a /var/lib, /var/log and /opt that are folders of the cluster's, and a /sys that shows its own
// network. It has a cgroup of the cluster's name and its own in every hierarchy, below which its pods are.
// Nothing is changed on the machine but for these cgroups, the named network namespaces, and the cluster's folder;
// [Cluster.Down] removes them all.
//
// # Outliving
//
// What is started runs on when the process ends that started it. Another one takes the cluster up with [New], by
// its name and folder.
package cluster
