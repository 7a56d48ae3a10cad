// SPDX-License-Identifier: Apache-2.0

package hosttest

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
	"time"

	current "github.com/containernetworking/cni/pkg/types/100"

	"flock.fritzlab.net/flock/internal/claim"
	"flock.fritzlab.net/flock/internal/store"
	"flock.fritzlab.net/flock/plugins/cni"
	"flock.fritzlab.net/flock/plugins/cni/cnitest"
	"flock.fritzlab.net/flock/test/lab"
)

// Attach is a cnitest.Plugin's PrevResult for the stages that come after the link is made: attachment n has
// link hostN, addresses 2001:db8::N and 10.0.0.N, and anycast address 2001:db8:a::N.
func Attach(_ cnitest.Host, a cnitest.Attachment) (*current.Result, error) {
	link := fmt.Sprintf("host%d", a.Index)
	for _, command := range []string{
		"ip link add " + link + " type veth peer name " + a.IfName + " netns " + a.Netns,
		"ip link set " + link + " up",
		"nsenter --net=" + a.Netns + " ip link set " + a.IfName + " up",
	} {
		if err := run(command); err != nil {
			return nil, err
		}
	}
	if err := awaitCarrier(link, a); err != nil {
		return nil, err
	}
	return Result(link, a.Netns, fmt.Sprintf("2001:db8::%d", a.Index), fmt.Sprintf("10.0.0.%d", a.Index),
		fmt.Sprintf("2001:db8:a::%d@lo", a.Index)), nil
}

// awaitCarrier waits until both ends are as they will stay, because cnitest compares them before and after.
func awaitCarrier(link string, a cnitest.Attachment) error {
	return lab.Within(context.Background(), 10*time.Second, link+" has a carrier", func() error {
		host, err := exec.Command("ip", "link", "show", link).Output()
		if err != nil {
			return err
		}
		pod, err := exec.Command("nsenter", "--net="+a.Netns, "ip", "addr", "show", a.IfName).Output()
		if err == nil && (!bytes.Contains(host, []byte("state UP")) || !bytes.Contains(pod, []byte("state UP")) || !bytes.Contains(pod, []byte("fe80:"))) {
			err = fmt.Errorf("%s%s", host, pod)
		}
		return err
	})
}

func run(command string) error {
	args := strings.Fields(command)
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", command, err, out)
	}
	return nil
}

// Damage is a cnitest.Difference's Do: it runs ip(8), with the attachment's number for each %d.
func Damage(format string) func(cnitest.Host, cnitest.Attachment) error {
	return func(_ cnitest.Host, a cnitest.Attachment) error {
		return run("ip " + strings.ReplaceAll(format, "%d", fmt.Sprint(a.Index)))
	}
}

// Relink puts another link in the place of the attachment's.
func Relink(_ cnitest.Host, a cnitest.Attachment) error {
	link := fmt.Sprintf("host%d", a.Index)
	if err := run("ip link del " + link); err != nil {
		return err
	}
	return run("ip link add " + link + " type veth peer name elsewhere")
}

// Forget returns what deletes the stage's claim of the attachment from the store.
func Forget(stage string) func(cnitest.Host, cnitest.Attachment) error {
	return func(h cnitest.Host, a cnitest.Attachment) error {
		return store.Store{Dir: h.Dir}.Update(func(tx *store.Tx) error {
			return tx.DeleteNote(stage, cni.Attachment{Network: a.Network, ContainerID: a.ContainerID, IfName: a.IfName})
		})
	}
}

// Claims returns what lists the stage's claims in the store, for cnitest.Plugin's Observe.
func Claims(stage string) func(cnitest.Host) ([]string, error) {
	return func(h cnitest.Host) ([]string, error) {
		all, err := claim.Keeper{Store: store.Store{Dir: h.Dir}, Stage: stage}.All()
		var lines []string
		for a, c := range all {
			lines = append(lines, fmt.Sprintf("claim %s %v", a, c))
		}
		return lines, err
	}
}

// NoStateDir is a cnitest.Unready's Conf: the state folder is none.
func NoStateDir(conf map[string]any) { conf["stateDir"] = "/dev/null" }
