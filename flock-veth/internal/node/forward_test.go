// SPDX-License-Identifier: Apache-2.0

package node

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"flock.fritzlab.net/flock/flock-veth/internal/sysctl"
	"flock.fritzlab.net/flock/internal/rtnl"
	"flock.fritzlab.net/flock/test/lab"
)

// TestPrepareAtOnce: the node's first pods come at once while the kernel is busy with links, and all links of the node
// forward in the end.
func TestPrepareAtOnce(t *testing.T) {
	busy := exec.Command("unshare", "--net", "sh", "-c", "while ip link add a type veth peer name b && ip link del a; do :; done")
	if err := busy.Start(); err != nil {
		t.Fatal(err)
	}
	defer busy.Wait()
	defer busy.Process.Kill()
	ns, err := lab.NewNetns(fmt.Sprintf("flt-node-%d-at-once", os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ns.Delete(); err != nil {
			t.Error(err)
		}
	})
	if _, err := ns.Run(t.Context(), "ip", strings.Fields("link add up0 type veth peer name down0")...); err != nil {
		t.Fatal(err)
	}
	for round := range 100 {
		if err := ns.Sysctl("ipv4/ip_forward", "0"); err != nil {
			t.Fatal(err)
		}
		var pods sync.WaitGroup
		for range 8 {
			pods.Go(func() {
				if err := ns.Do(prepare4); err != nil {
					t.Error(err)
				}
			})
		}
		pods.Wait()
		err := ns.Do(func() error {
			for _, dev := range []string{"up0", "default"} {
				if is, err := sysctl.Get("ipv4/conf/" + dev + "/forwarding"); err != nil || is != "1" {
					return errors.Join(fmt.Errorf("forwarding of %s is %q", dev, is), err)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
	}
}

func prepare4() error {
	c, err := rtnl.Dial()
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = Prepare(c, Families{IPv4: true}, DefaultMTU)
	return err
}
