// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"

	"flock.fritzlab.net/flock/conflist"
	"flock.fritzlab.net/flock/internal/pool"
	"flock.fritzlab.net/flock/plugins/cni"
	"flock.fritzlab.net/flock/test/lab"
)

// network is what is compared: a way to attach pods.
type network struct {
	name string
	// slow ones wait for duplicate-address detection, about two seconds an ADD.
	slow bool
	// dual are IPv6 and IPv4, the others IPv4 alone.
	dual bool
	// many tells that it is measured with many existing attachments as well.
	many bool
	// start returns how to attach and detach on a host, its files below dir.
	start func(b *bench, host *lab.Netns, dir string) (attacher, error)
	// remember enters existing attachments in its store.
	remember func(dir string, attachments []existing) error
}

// attacher attaches and detaches one pod; a [lab.Runtime] is one.
type attacher interface {
	Add(context.Context, *lab.Pod) error
	Del(context.Context, *lab.Pod) error
}

const (
	flockName = "flock, four stages, dual-stack"
	ptp4Name  = "ptp + host-local, IPv4"
	ptp64Name = "ptp + host-local, dual-stack"
	floorName = "floor: 4 empty starts + netlink"
	pool6Text = "fd00:f10c::/64"
	pool4Text = "10.64.0.0/16"
	routes4   = `{"dst":"0.0.0.0/0"}`
	routes64  = routes4 + `,{"dst":"::/0"}`
	ranges4   = `[{"subnet":"` + pool4Text + `"}]`
	ranges64  = ranges4 + `,[{"subnet":"` + pool6Text + `"}]`
	ptp       = `"type":"ptp"`
	bridge    = `"type":"bridge","bridge":"cni0","isGateway":true`
)

var networks = []network{
	{name: flockName, dual: true, many: true, start: startFlock, remember: rememberFlock},
	{name: ptp4Name, many: true, start: reference(ptp, ranges4, routes4), remember: rememberHostLocal},
	{name: ptp64Name, dual: true, slow: true, many: true, start: reference(ptp, ranges64, routes64), remember: rememberHostLocal},
	{name: "bridge + host-local, IPv4", start: reference(bridge, ranges4, routes4), remember: rememberHostLocal},
	{name: "bridge + host-local, dual-stack", dual: true, start: reference(bridge, ranges64, routes64), remember: rememberHostLocal},
	{name: floorName, dual: true, many: true, start: startFloor, remember: func(string, []existing) error { return nil }},
}

// contender is a network on a host of its own that has attachments already.
type contender struct {
	network
	existing int
	host     *lab.Netns
	attach   attacher
	// settled are its real attachments that were there before.
	settled []*lab.Pod
}

func startFlock(b *bench, host *lab.Netns, dir string) (attacher, error) {
	list, err := conflist.New(conflist.Options{
		StateDir: dir,
		IPAM:     conflist.IPAM{Pools: []pool.Spec{{CIDR: pool6Text}, {CIDR: pool4Text}}, Socket: filepath.Join(dir, "absent.sock")},
	})
	if err != nil {
		return nil, err
	}
	text, err := list.JSON()
	if err != nil {
		return nil, err
	}
	if err := host.Netlink(addSummaries); err != nil {
		return nil, err
	}
	return lab.NewRuntime(host, text, []string{b.flock}, filepath.Join(dir, "cache"))
}

// hostLocalNetwork names the reference networks, and so their folder of reservations.
const hostLocalNetwork = "reference"

func reference(main, ranges, routes string) func(*bench, *lab.Netns, string) (attacher, error) {
	return func(b *bench, host *lab.Netns, dir string) (attacher, error) {
		text := fmt.Sprintf(`{"cniVersion":"1.0.0","name":%q,"plugins":[{%s,"ipam":{"type":"host-local","dataDir":%q,"ranges":[%s],"routes":[%s]}}]}`,
			hostLocalNetwork, main, dir, ranges, routes)
		return lab.NewRuntime(host, []byte(text), []string{b.reference}, filepath.Join(dir, "cache"))
	}
}

// newContender sets a network up on a new host with existing attachments.
func (b *bench) newContender(ctx context.Context, n network, attachments int) (*contender, error) {
	id := fmt.Sprintf("%s-h%d", b.name, len(b.netns))
	host, err := b.newHost(id)
	if err != nil {
		return nil, err
	}
	c := &contender{network: n, existing: attachments, host: host}
	dir := filepath.Join(b.dir, id)
	if c.attach, err = n.start(b, host, dir); err != nil {
		return nil, err
	}
	if c.settled, err = b.newPods(b.Few); err != nil {
		return nil, err
	}
	if err := b.populate(c, dir, attachments-b.Few); err != nil {
		return nil, err
	}
	return c, atOnce(c.settled, func(p *lab.Pod) error {
		if c.attach.Add(ctx, p) == nil {
			return nil
		}
		// ptp gives duplicate-address detection five seconds, which a busy machine exceeds.
		return errors.Join(c.attach.Del(ctx, p), c.attach.Add(ctx, p))
	})
}

// newPods makes sandboxes that live as long as the run: taking one down is the kernel's work for long
// after, and would be in the way of what is measured next.
func (b *bench) newPods(count int) ([]*lab.Pod, error) {
	pods := make([]*lab.Pod, count)
	for i := range pods {
		name := fmt.Sprintf("p%d", len(b.netns))
		sandbox, err := lab.NewNetns(b.name + "-" + name)
		if err != nil {
			return nil, err
		}
		id := fmt.Sprintf("%x", sha256.Sum256([]byte(sandbox.Name)))
		b.netns = append(b.netns, sandbox)
		pods[i] = &lab.Pod{
			Netns: sandbox, Pod: cni.Pod{Namespace: "default", Name: name, UID: id[:32]},
			ContainerID: id, Annotations: map[string]string{},
		}
	}
	return pods, nil
}

func (c *contender) String() string { return fmt.Sprintf("%s, %d existing", c.name, c.existing) }

// addresses returns the addresses of the i-th existing attachment, from the end of the pools that
// nobody allocates from during the run.
func (n network) addresses(i int) []netip.Addr {
	four := []netip.Addr{netip.AddrFrom4([4]byte{10, 64, byte(200 + i/250), byte(1 + i%250)})}
	if !n.dual {
		return four
	}
	six := netip.MustParsePrefix(pool6Text).Addr().As16()
	six[8], six[14], six[15] = 0xee, byte(i>>8), byte(i)
	return append(four, netip.AddrFrom16(six))
}

// isFlock tells whether links and routes are marked as flock's are.
func (n network) isFlock() bool { return strings.HasPrefix(n.name, "flock") }
