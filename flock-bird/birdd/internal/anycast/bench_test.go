// SPDX-License-Identifier: Apache-2.0

package anycast

import (
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"flock.fritzlab.net/flock/internal/announce"
	"flock.fritzlab.net/flock/internal/claim"
	"flock.fritzlab.net/flock/internal/hosttest"
	"flock.fritzlab.net/flock/internal/rtnl"
	"flock.fritzlab.net/flock/internal/store"
	"flock.fritzlab.net/flock/plugins/cni"
)

// many is the number of pods with an anycast address each.
const many = 500

func attachment(i int) cni.Attachment {
	return cni.Attachment{Network: "flock", ContainerID: fmt.Sprintf("c%d", i), IfName: "eth0"}
}

func object(i int, ready bool) *corev1.Pod {
	status := corev1.ConditionFalse
	if ready {
		status = corev1.ConditionTrue
	}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: fmt.Sprintf("p%d", i)},
		Status:     corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: status}}},
	}
}

// newBusyKeeper returns a keeper that knows of many ready pods, all at one link.
func newBusyKeeper(b *testing.B, conn *rtnl.Conn) (*Keeper, error) {
	link, err := conn.LinkIndex("v1")
	if err != nil {
		return nil, err
	}
	k := New(Options{
		Conn: conn, Store: store.Store{Dir: b.TempDir()}, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Pods: cache.NewSharedIndexInformer(&cache.ListWatch{}, &corev1.Pod{}, 0, nil),
	})
	k.synced.Store(true)
	err = k.Store.Update(func(tx *store.Tx) error {
		for i := range many {
			c := claim.Claim{Pod: cni.Pod{Namespace: "default", Name: fmt.Sprintf("p%d", i)}, Link: "v1", LinkIndex: link,
				Netns: "/proc/self/ns/net", Anycast: []netip.Addr{netip.AddrFrom4([4]byte{10, 9, byte(i >> 8), byte(i)})}}
			for stage, table := range map[string]uint32{announce.Stage: rtnl.TableAnnounce, routeStage: unix.RT_TABLE_MAIN} {
				c.Table = table
				if err := (claim.Book{Tx: tx, Stage: stage}).Put(attachment(i), c); err != nil {
					return err
				}
			}
		}
		return nil
	})
	for i := range many {
		if err == nil {
			err = k.Pods.GetStore().Add(object(i, true))
		}
	}
	return k, err
}

// BenchmarkEvent measures what an event of a pod's readiness costs, from the queue to the kernel's answer, and
// what comparing everything does: at first, when it announces everything, and later.
func BenchmarkEvent(b *testing.B) {
	hosttest.New(b, "v1").Netlink(func(conn *rtnl.Conn) error {
		k, err := newBusyKeeper(b, conn)
		if err != nil {
			return err
		}
		start := time.Now()
		if err := k.compare(); err != nil {
			return err
		}
		first := time.Since(start)
		start = time.Now()
		if err := k.compare(); err != nil {
			return err
		}
		later := time.Since(start)
		ready := true
		for b.Loop() {
			ready = !ready
			if err := k.Pods.GetStore().Update(object(0, ready)); err != nil {
				return err
			}
			k.handle([]item{{pod: "default/p0"}})
			if k.index.entries[attachment(0)].state[netip.AddrFrom4([4]byte{10, 9, 0, 0})] != (state{ready, ready}) {
				return fmt.Errorf("readiness %t was not seen", ready)
			}
		}
		b.ReportMetric(float64(first.Milliseconds()), "ms/first-comparison")
		b.ReportMetric(float64(later.Milliseconds()), "ms/comparison")
		return nil
	})
}
