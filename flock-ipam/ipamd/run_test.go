// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"flock.fritzlab.net/flock/internal/hosttest"
	"flock.fritzlab.net/flock/internal/nodefile"
	"flock.fritzlab.net/flock/internal/store"
	"flock.fritzlab.net/flock/plugins/cni"
	"flock.fritzlab.net/flock/test/lab"
)

// programs is a folder for those that tests build.
var programs string

func TestMain(m *testing.M) {
	hosttest.AsPlugin("ipamd", main)
	var err error
	if programs, err = os.MkdirTemp("", "flt-ipamd-"); err != nil {
		panic(err)
	}
	code := m.Run()
	os.RemoveAll(programs)
	os.Exit(code)
}

// node is a host on which ipamd runs.
type node struct {
	*hosttest.Host
	t                            *testing.T
	binary, config, nodeFile, db string
	daemon                       *lab.Process
}

const listen = "127.0.0.1:7274"

func newNode(t *testing.T, links ...string) *node {
	dir := t.TempDir()
	n := &node{
		Host: hosttest.New(t, links...), t: t, binary: hosttest.Binary(t, "ipamd"),
		config: filepath.Join(dir, "nodeconfig.yaml"), nodeFile: filepath.Join(dir, "lib", "node.json"), db: filepath.Join(dir, "run"),
	}
	n.write("10.0.0.0/24")
	return n
}

// write replaces the NodeConfig.
func (n *node) write(cidr string) {
	n.t.Helper()
	text := "apiVersion: flock.fritzlab.net/v1alpha1\nkind: NodeConfig\nmetadata: {name: node1}\nspec:\n  pools: [{name: p, cidr: \"" + cidr + "\"}]\n"
	next := n.config + ".next"
	if err := errors.Join(os.WriteFile(next, []byte(text), 0o600), os.Rename(next, n.config)); err != nil {
		n.t.Fatal(err)
	}
}

// start runs the daemon with the NodeConfig's file.
func (n *node) start() {
	n.t.Helper()
	n.run("--config", n.config)
}

// run runs the daemon, which is killed when the test ends.
func (n *node) run(flags ...string) {
	n.t.Helper()
	var err error
	flags = append([]string{"run", "--node-file", n.nodeFile, "--state-dir", n.db, "--interval", "501ms", "--listen", listen}, flags...)
	n.daemon, err = n.Start(filepath.Join(n.t.TempDir(), "log"), n.binary, flags...)
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() {
		n.end(syscall.SIGKILL)
		if n.t.Failed() {
			n.t.Log(n.daemon.LastWords())
		}
	})
}

func (n *node) end(sig os.Signal) {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if err := n.daemon.End(ctx, sig); err != nil {
		n.t.Error(err)
	}
}

func (n *node) eventually(what string, check func() error) {
	n.t.Helper()
	if err := lab.Within(n.t.Context(), 15*time.Second, what, check); err != nil {
		n.t.Fatalf("%v\n%s", err, n.daemon.LastWords())
	}
}

// get asks the daemon, from inside the host, and returns the whole answer.
func (n *node) get(path string) (answer string, err error) {
	err = n.Do(func() error {
		conn, err := net.Dial("tcp", listen)
		if err != nil {
			return err
		}
		defer conn.Close()
		fmt.Fprintf(conn, "GET %s HTTP/1.0\r\n\r\n", path)
		raw, err := io.ReadAll(conn)
		answer = string(raw)
		return err
	})
	return answer, err
}

// answers waits for an answer with all of these texts.
func (n *node) answers(path string, texts ...string) {
	n.t.Helper()
	n.eventually(path+" answers "+strings.Join(texts, ", "), func() error {
		answer, err := n.get(path)
		for _, text := range texts {
			if err == nil && !strings.Contains(answer, text) {
				err = fmt.Errorf("answer %q", answer)
			}
		}
		return err
	})
}

func (n *node) store() store.Store {
	return store.Store{Dir: n.db, Warn: func(text string) { n.t.Error(text) }}
}

// put allocates an address.
func (n *node) put(id, netns, addr string) {
	n.t.Helper()
	alloc := store.Allocation{
		Attachment: cni.Attachment{Network: "flock", ContainerID: id, IfName: "eth0"}, State: store.Committed,
		Netns: netns, Addresses: []netip.Addr{netip.MustParseAddr(addr)},
	}
	if err := n.store().Update(func(tx *store.Tx) error { return tx.Put(alloc) }); err != nil {
		n.t.Fatal(err)
	}
}

// has returns the containers that have an address.
func (n *node) has() []string {
	n.t.Helper()
	var ids []string
	err := n.store().View(func(tx *store.Tx) error {
		return tx.All(func(a store.Allocation) error { ids = append(ids, a.Attachment.ContainerID); return nil })
	})
	if err != nil {
		n.t.Fatal(err)
	}
	slices.Sort(ids)
	return ids
}

func (n *node) eventuallyHas(want ...string) {
	n.t.Helper()
	n.eventually(fmt.Sprint("allocations are those of ", want), func() error {
		if got := n.has(); !slices.Equal(got, want) {
			return fmt.Errorf("those of %v", got)
		}
		return nil
	})
}

func TestNodeFileFollowsTheConfig(t *testing.T) {
	n := newNode(t)
	n.start()
	pool := func(want string) func() error {
		return func() error {
			node, err := nodefile.Read(n.nodeFile)
			if err == nil && (len(node.Pools) != 1 || node.Pools[0].Prefix.String() != want) {
				err = fmt.Errorf("pools %v", node.Pools)
			}
			return err
		}
	}
	n.eventually("node.json is written", pool("10.0.0.0/24"))
	n.answers("/healthz", "200")
	n.answers("/readyz", "200")
	n.write("10.1.0.0/24")
	n.eventually("node.json follows", pool("10.1.0.0/24"))
	n.write("10.1.0.1/24")
	n.answers("/readyz", "503", "NodeConfig", "10.1.0.1/24")
	if err := pool("10.1.0.0/24")(); err != nil {
		t.Error("after a wrong NodeConfig:", err)
	}
	if err := os.Remove(n.config); err != nil {
		t.Fatal(err)
	}
	n.answers("/readyz", "503", "no such file")
	if err := pool("10.1.0.0/24")(); err != nil {
		t.Error("without a NodeConfig:", err)
	}
	n.write("10.2.0.0/24")
	n.answers("/readyz", "200")
	n.eventually("node.json follows again", pool("10.2.0.0/24"))
	n.end(syscall.SIGTERM)
}

// TestTheDeadAreReleased has four pods: of flock-veth, of another main plugin, of one whose namespace went
// before its link, and a dead one that was never finished.
func TestTheDeadAreReleased(t *testing.T) {
	n := newNode(t, "v1", "x2", "v3")
	n.IP("link set v1 alias flock:flock/veth/eth0")
	n.IP("link set v3 alias flock:flock/linked/eth0")
	n.IP("route add 10.0.0.9 dev v1 proto 72 metric 16")
	n.put("veth", n.Pods["v1"].Path(), "10.0.0.1")
	n.put("delegated", n.Pods["x2"].Path(), "10.0.0.2")
	n.put("linked", "/run/netns/flt-never-was", "10.0.0.3")
	n.put("dead", "/run/netns/flt-never-was", "10.0.0.4")
	n.start()
	n.eventuallyHas("delegated", "linked", "veth")
	n.Kill("x2")
	n.eventuallyHas("linked", "veth")
	n.eventually("the routed address is allocated too", func() error {
		out, err := n.Run(t.Context(), n.binary, "allocations", "--state-dir", n.db)
		if err == nil && !strings.Contains(out, "10.0.0.1,10.0.0.9") {
			err = errors.New(out)
		}
		return err
	})
	n.Kill("v1")
	n.IP("link del v3")
	n.eventuallyHas()
	n.end(syscall.SIGTERM)
}

// TestKilled: killed at any moment, the daemon leaves the living what they have; the next one finishes.
func TestKilled(t *testing.T) {
	n := newNode(t, "x1")
	n.put("living", n.Pods["x1"].Path(), "10.0.0.1")
	for i := range 8 {
		for j := range 20 {
			n.put(fmt.Sprintf("dead-%d-%d", i, j), "/run/netns/flt-never-was", fmt.Sprintf("10.0.%d.%d", i+1, j))
		}
		n.start()
		n.eventually("node.json is there", func() error { _, err := os.Stat(n.nodeFile); return err })
		// Not to wait for something, but to die at another moment each time: around the second round.
		time.Sleep(450*time.Millisecond + time.Duration(i)*25*time.Millisecond)
		n.end(syscall.SIGKILL)
		if err := n.store().Verify(); err != nil {
			t.Fatalf("kill %d: verify the store: %v", i, err)
		}
		if !slices.Contains(n.has(), "living") {
			t.Fatalf("kill %d: the living has lost its address", i)
		}
		if _, err := nodefile.Read(n.nodeFile); err != nil {
			t.Fatalf("kill %d: %v", i, err)
		}
	}
	n.start()
	n.eventuallyHas("living")
}

// TestDamagedStore: the daemon repairs the store by itself and says so.
func TestDamagedStore(t *testing.T) {
	n := newNode(t, "v1")
	n.IP("link set v1 alias flock:flock/veth/eth0")
	n.IP("route add 10.0.0.1 dev v1 proto 72 metric 16")
	n.put("veth", n.Pods["v1"].Path(), "10.0.0.1")
	if err := os.Truncate(filepath.Join(n.db, "store.db"), 4096); err != nil {
		t.Fatal(err)
	}
	n.start()
	n.eventually("the store is repaired", func() error {
		out, err := n.Run(t.Context(), n.binary, "allocations", "--state-dir", n.db)
		if err == nil && !strings.Contains(out, "10.0.0.1") {
			err = errors.New(out)
		}
		return err
	})
	n.eventually("the log tells of it", func() error {
		if words := n.daemon.LastWords(); !strings.Contains(words, "store repaired") || !strings.Contains(words, "a damaged store was kept") {
			return errors.New(words)
		}
		return nil
	})
}

// TestEndsThoughStuck: the daemon ends in time while somebody holds the store.
func TestEndsThoughStuck(t *testing.T) {
	n := newNode(t)
	n.put("living", "/run/netns/flt-never-was", "10.0.0.1")
	lock, err := os.Open(filepath.Join(n.db, "store.lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	n.start()
	n.answers("/readyz", "503", "reconcile: not yet")
	n.end(syscall.SIGTERM)
	if words := n.daemon.LastWords(); !strings.HasSuffix(words, "ipamd: task reconcile: has not ended") {
		t.Errorf("it said: %s", words)
	}
}

func TestMistakes(t *testing.T) {
	n := newNode(t)
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"unknown command": {[]string{"walk"}, "unknown command"},
		"argument":        {[]string{"run", "fast"}, "unknown command"},
		"interval":        {[]string{"run", "--config", n.config, "--interval", "10ms"}, "10ms is too short"},
		"config folder":   {[]string{"run", "--config", "/absent/nodeconfig.yaml"}, "watch /absent"},
		"address":         {[]string{"run", "--config", "", "--listen", "192.0.2.1:1"}, "listen for health checks"},
		"two modes":       {[]string{"run", "--config", n.config, "--node-name", "node1"}, "--config and --node-name are both given"},
		"no name":         {[]string{"run", "--kubeconfig", "/absent"}, "--kubeconfig is given and no name of a node"},
		"kubeconfig":      {[]string{"run", "--node-name", "node1", "--kubeconfig", "/absent", "--state-dir", n.db}, "load kubeconfig /absent"},
		"no pod":          {[]string{"run", "--node-name", "node1", "--state-dir", n.db}, "find the API server from inside a pod"},
		"output":          {[]string{"allocations", "-o", "xml"}, `"xml" is neither table nor json`},
	} {
		_, err := n.Run(t.Context(), n.binary, test.args...)
		if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "exit status 1") {
			t.Errorf("%s: %v, want exit status 1 and %q", name, err, test.want)
		}
	}
}

// TestUnseenNamespace: an attachment of a container runtime that is no more does not end the daemon's readiness.
func TestUnseenNamespace(t *testing.T) {
	n := newNode(t)
	n.put("left", "/absent/netns/1", "10.0.0.1")
	n.start()
	n.eventually("the log tells of it", func() error {
		if words := n.daemon.LastWords(); !strings.Contains(words, "flock/left/eth0") {
			return errors.New(words)
		}
		return nil
	})
	n.answers("/readyz", "200")
	n.eventuallyHas("left")
}
