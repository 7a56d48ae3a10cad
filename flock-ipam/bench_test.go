// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"flock.fritzlab.net/flock/internal/store"
	"flock.fritzlab.net/flock/plugins/cni"
	"flock.fritzlab.net/flock/test/lab"
)

// BenchmarkADD measures one ADD from exec to exit, dual-stack, with the store on a tmpfs as it is on a
// node, and a DEL that is not counted.
func BenchmarkADD(b *testing.B) {
	for _, existing := range []int{10, 5000} {
		b.Run(fmt.Sprint(existing), func(b *testing.B) {
			dir := b.TempDir()
			if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
			ns, err := lab.NewNetns(lab.UniqueName("flt-ipam-bench"))
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { ns.Delete() })
			populate(b, dir, existing)
			conf := `{"cniVersion": "1.0.0", "name": "flock", "type": "flock-ipam", "stateDir": "` + dir + `",
				"pools": ["2001:db8::/64", "10.0.0.0/16"], "runtimeConfig": {"` + capAnnotations + `": {"app": "web"}}}`
			for b.Loop() {
				run(b, ns, conf, "ADD")
				b.StopTimer()
				run(b, ns, conf, "DEL")
				b.StartTimer()
			}
		})
	}
}

func populate(b *testing.B, dir string, existing int) {
	b.Helper()
	err := store.Store{Dir: dir}.Update(func(tx *store.Tx) error {
		for i := range existing {
			low, high := byte(i+2), byte((i+2)>>8)
			err := tx.Put(store.Allocation{
				Attachment: attachment(fmt.Sprintf("%064x", i)), State: store.Committed, Pod: cni.Pod{Namespace: "default", Name: fmt.Sprint("web-", i)},
				Addresses: []netip.Addr{
					netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 8: low, 14: high, 15: low}),
					netip.AddrFrom4([4]byte{10, 0, high, low}),
				},
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
}

func run(b *testing.B, ns *lab.Netns, conf, verb string) {
	b.Helper()
	cmd := exec.Command(binary)
	cmd.Env = []string{"CNI_COMMAND=" + verb, "CNI_CONTAINERID=bench", "CNI_IFNAME=eth0", "CNI_NETNS=" + ns.Path(), "CNI_PATH=/opt/cni/bin"}
	cmd.Stdin = strings.NewReader(conf)
	cmd.Stderr = os.Stderr
	if out, err := cmd.Output(); err != nil {
		b.Fatalf("%s: %v: %s", verb, err, out)
	}
}
