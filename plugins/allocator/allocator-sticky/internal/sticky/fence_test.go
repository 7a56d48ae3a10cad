// SPDX-License-Identifier: Apache-2.0

package sticky

import (
	"net/netip"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"flock.fritzlab.net/flock/plugins/allocator"
)

// fenced is a site of two nodes, on the first of which db-0 runs when that one is heard of no more.
type fenced struct {
	*site
	old, new *machine
	pool     allocator.Pool
	first    allocator.Request
	addr     netip.Addr
}

func newFenced(t *testing.T) fenced {
	t.Helper()
	s := newSite(t)
	f := fenced{site: s, old: s.node("old"), new: s.node("new"), pool: s.pool(false, 64)}
	f.first = f.old.request("db-0", f.pool)
	f.addr = f.old.give(f.first)
	f.old.setReady(corev1.ConditionUnknown)
	return f
}

// waits wants that a new pod gets no address, for these reasons.
func (f fenced) waits(words ...string) {
	f.Helper()
	f.new.refuse(f.new.request("db-0", f.pool), append(words, f.addr.String(), f.old.name, f.first.Attachment.ContainerID[:12])...)
	f.holds(f.addr, f.first.Attachment)
}

// moves wants that a new pod gets the address, and that the old one has no more say.
func (f fenced) moves() allocator.Request {
	f.Helper()
	r := f.new.request("db-0", f.pool)
	if got := f.new.give(r); got != f.addr {
		f.Fatalf("db-0 gets %s, and had %s", got, f.addr)
	}
	f.old.end(f.first.Attachment)
	f.holds(f.addr, r.Attachment)
	return r
}

func TestUnreachableNodeKeepsTheAddress(t *testing.T) {
	t.Parallel()
	f := newFenced(t)
	f.waits("is not ready and may still run it", "kubectl taint node "+f.old.name+" node.kubernetes.io/out-of-service=nodeshutdown:NoExecute")
	f.old.setReady(corev1.ConditionFalse)
	f.waits("is not ready and may still run it")
	f.Kubectl(t, "taint", "node", f.old.name, "node.kubernetes.io/unreachable:NoExecute", "node.kubernetes.io/not-ready:NoExecute")
	f.waits("is not ready and may still run it")

	// That its Node is deleted says nothing of the machine.
	must(t, f.c.nodes.Delete(t.Context(), f.old.name, metav1.DeleteOptions{}))
	f.waits("the Node is gone and the machine may run: if it is off, kubectl patch sticky ")
	f.MakeNode(t, f.old.name)
	f.waits("ready and has not ended the pod yet") // its kubelet has not said which boot it is
	f.patchNode(f.old.name, "status", map[string]any{"status": map[string]any{"nodeInfo": map[string]any{"bootID": *f.old.boot.Load()}}})
	f.waits("ready and has not ended the pod yet: if the pod is gone, see that ipamd and allocator-sticky run on "+f.old.name, "; else see there why it does not end")

	// Back again, its ipamd releases what it has no pod for.
	f.old.end(f.first.Attachment)
	f.moves()
}

func TestRebootedNodeLosesTheAddress(t *testing.T) {
	t.Parallel()
	f := newFenced(t)
	f.old.start() // of which its Node does not know
	f.waits("is not ready and may still run it")
	f.old.reboot()
	f.moves()
}

func TestMachineThatIsOffLosesTheAddress(t *testing.T) {
	t.Parallel()
	f := newFenced(t)
	f.old.setReady(corev1.ConditionTrue)
	f.old.taint()
	f.waits("is ready, whatever its taint node.kubernetes.io/out-of-service says")
	f.old.setReady(corev1.ConditionUnknown)
	f.moves()
}

// The operator's word is of the boot that was, not of the one that is.
func TestTaintIsNotOfTheNextBoot(t *testing.T) {
	t.Parallel()
	f := newFenced(t)
	f.old.taint()
	back := f.moves()
	f.new.end(back.Attachment)
	f.old.reboot()
	f.old.setReady(corev1.ConditionTrue)
	f.old.refuse(f.old.request("db-0", f.pool), "is said to be off: kubectl taint node "+f.old.name+" node.kubernetes.io/out-of-service-")
	f.holds(f.addr, allocator.Attachment{})
	f.old.untaint()
	f.first = f.old.request("db-0", f.pool)
	f.old.give(f.first)
	f.old.setReady(corev1.ConditionUnknown)
	f.waits("is not ready and may still run it")
}

// A holder that is noted with a boot that the Node does not name would pass for rebooted.
func TestBootThatTheNodeDoesNotName(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	m := s.node("one")
	r := m.request("db-0", s.pool(true, 24))
	boot := m.start()
	m.refuse(r, boot, "wait until kubelet has reported")
	if all, err := m.List(t.Context(), m.name); err != nil || len(all) > 0 {
		t.Errorf("it holds %v, %v", all, err)
	}
	m.reboot()
	m.give(r)
	must(t, s.c.nodes.Delete(t.Context(), m.name, metav1.DeleteOptions{}))
	m.refuse(r, "get node "+m.name)
}

// An administrator may say it of a Node that is gone, or of one pod, too.
func TestHolderRemovedByHand(t *testing.T) {
	t.Parallel()
	f := newFenced(t)
	f.Kubectl(t, "patch", "stickyaddress", f.object(f.addr).Name, "--type=json", "-p", `[{"op": "remove", "path": "/spec/holder"}]`)
	f.moves()
}

func TestReadBootID(t *testing.T) {
	if id, err := readBootID(); err != nil || len(id) != 36 {
		t.Errorf("%q, %v", id, err)
	}
}
