// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"testing"

	"github.com/containernetworking/cni/pkg/types"

	"flock.fritzlab.net/flock/internal/hosttest"
)

func TestMain(m *testing.M) {
	hosttest.AsPlugin(stage, main)
	os.Exit(m.Run())
}

// node is a host on which flock-bird runs.
type node struct {
	*hosttest.Host
	binary, stateDir string
	conf             map[string]any
}

func newNode(tb testing.TB, links ...string) *node {
	n := &node{Host: hosttest.New(tb, links...), binary: hosttest.Binary(tb, stage), stateDir: tb.TempDir()}
	n.conf = map[string]any{"stateDir": n.stateDir}
	return n
}

// call runs a verb for the container that is named as its link, with the addresses that it has.
func (n *node) call(verb, link string, addrs ...string) *types.Error {
	netns := n.Pods[link].Path()
	_, err := n.Call(hosttest.Call{Binary: n.binary, Verb: verb, ContainerID: link, Netns: netns, Conf: n.conf, Prev: hosttest.Result(link, netns, addrs...)})
	return err
}

// must is call for what has to work.
func (n *node) must(t *testing.T, verb, link string, addrs ...string) {
	t.Helper()
	if err := n.call(verb, link, addrs...); err != nil {
		t.Errorf("%s %s: %s", verb, link, hosttest.Describe(err))
	}
}

// del runs DEL with nothing but the container's name.
func (n *node) del(link string) *types.Error {
	_, err := n.Call(hosttest.Call{Binary: n.binary, Verb: "DEL", ContainerID: link, Conf: n.conf})
	return err
}

// announced returns the routes of the table that BIRD reads.
func (n *node) announced() string { return n.Routes("7273") }
